"""How figures look and how they are saved: PDF for papers, SVG for the page, PNG for trackers."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.pages.svg import INK

# Okabe and Ito (2008), which colour-blind readers can distinguish; without yellow, which is
# invisible on white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f")
MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")
_WIDTH = 6.6  # inches: the width of the text of a paper
_SINGLE_PANEL_WIDTH = 0.62  # of the width above
_PNG_RESOLUTION = 150  # dots an inch
_RC_PARAMETERS = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    # Comes with matplotlib, and has the letters of Greek and Cyrillic and arrows.
    "font.family": "DejaVu Sans",
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


@dataclass(frozen=True)
class SystemStyle:
    """How a system is drawn, the same in every figure of a report."""

    color: str
    marker: str
    linestyle: str


def choose_styles(labels: Iterable[str]) -> dict[str, SystemStyle]:
    """Returns a style for each label of a system."""
    styles = {}
    for number, label in enumerate(dict.fromkeys(labels)):
        styles[label] = SystemStyle(
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle=LINES[number // len(COLOURS) % len(LINES)],
        )
    return styles


def use_paper_style(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
    """Decorates a function that draws a figure, so that it has the style of this file."""

    @wraps(draw)
    def draw_in_style(*arguments, **keywords):
        with rc_context(_RC_PARAMETERS):
            return draw(*arguments, **keywords)

    return draw_in_style


def build_panels(
    titles: Sequence[str], height: float, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a panel for each title, two in a row.

    A phone and a column of a paper have room for so many.

    Args:
        titles: The titles of the panels.
        height: The height of a panel in inches.
        sharey: Whether the panels share the vertical axis.
    """
    rows = -(-len(titles) // 2)
    columns = min(2, len(titles))
    width = _WIDTH if columns == 2 else _SINGLE_PANEL_WIDTH * _WIDTH
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel().tolist()
    for unused_panel in axes[len(titles) :]:
        unused_panel.set_visible(False)
    panels = axes[: len(titles)]
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, loc="left", fontweight="bold")
    return figure, panels


def name_figure(figure: Figure, title: str) -> None:
    """Writes above all panels what was measured, so that a picture can stand alone."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=_RC_PARAMETERS["axes.titlesize"])


def add_legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    """Adds one legend for all panels below them, where it covers nothing."""
    handles = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)


def save_report_figure(figure: Figure, folder: Path, name: str) -> None:
    """Writes NAME.svg and NAME.pdf for people and NAME.png for trackers."""
    FigureCanvasAgg(figure)
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({**_RC_PARAMETERS, "svg.hashsalt": name}):
        figure.draw_without_rendering()
        # What the layout engine has placed stays, so that it runs once for three files.
        figure.set_layout_engine("none")
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png", dpi=_PNG_RESOLUTION, facecolor="white")
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        write_text_atomically(folder / f"{name}.svg", svg.getvalue())
