"""How pictures look and how they are kept: vector files for papers, SVG for the page, PNG for trackers."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hybrid_ir.files.atomic import write_text_atomically

INK = "#20242a"  # lines and letters; the page swaps it for its own colour, so that a dark page has light letters
# Okabe and Ito (2008), told apart by colour-blind readers; yellow left out, which white paper swallows
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f")
MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")
WIDTH = 6.6  # inches: the text width of a paper
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "font.family": "DejaVu Sans",  # comes with matplotlib and has the letters of Greek, Cyrillic, Arabic codes and arrows
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": "#8888884d",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
}


def styled(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
    @wraps(draw)
    def drawn(*arguments, **choices):
        with rc_context(STYLE):
            return draw(*arguments, **choices)

    return drawn


def look(labels: Iterable[str]) -> dict[str, dict]:
    """Colour, marker and line of each system, the same in every picture of a report."""
    found: dict[str, dict] = {}
    for i, label in enumerate(dict.fromkeys(labels)):
        found[label] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i // len(COLOURS) % len(LINES)],
        }
    return found


def panels(titles: Sequence[str], height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Two panels in a row, as a phone and a column of a paper can show them; each `height` inches."""
    rows = -(-len(titles) // 2)
    columns = min(2, len(titles))
    figure = Figure(
        figsize=(WIDTH if columns == 2 else 0.62 * WIDTH, height * rows), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel().tolist()
    for one in axes[len(titles) :]:
        one.set_visible(False)
    for one, title in zip(axes, titles, strict=False):
        one.set_title(title, loc="left", fontweight="bold")
    return figure, axes[: len(titles)]


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, under them, so that it covers nothing."""
    handles = {
        label: handle
        for one in axes
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    if len(handles) > 1:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=2 if len(handles) > 1 else 1,
        )


def save(figure: Figure, folder: Path, name: str) -> None:
    """NAME.svg and NAME.pdf for people, NAME.png for trackers."""
    FigureCanvasAgg(figure)
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what it placed stays: once is enough for three files
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white")
        write_text_atomically(folder / f"{name}.svg", svg(figure))


def svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def inline_svg(text: str, name: str, alt: str) -> str:
    """An SVG file as part of a page: ids that are its own, the page's colour for lines and letters, and a text for the blind.

    `alt` must be escaped already.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = text.replace(INK, "currentColor")
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()
    head = f'<svg viewBox="0 0 {width} {height}" width="{width}pt" height="{height}pt" role="img" aria-label="{alt}" '
    head += 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(
        r"<svg.*?>", lambda _: f"{head}<title>{alt}</title>", text, count=1, flags=re.DOTALL
    )
