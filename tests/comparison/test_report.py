"""The report in a real browser, its pictures, and the command in a real process."""

import html
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hybrid_ir.comparison.everything import Comparison, compare
from hybrid_ir.comparison.grid import Resampling
from hybrid_ir.comparison.page import write_report_page
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.texts import attach_texts
from PIL import Image

from hybrid_ir.comparison.figures import forest
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.style import look, save
from tests.support.comparison_results import (
    Tags,
    card_of,
    small_benchmark,
    training_of,
    write_result,
)

BAD = "<script>document.title='taken'</script><b>$x_1$"
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Comparison:
    """Markup in the name of a model, of a choice and in every question."""
    root = tmp_path_factory.mktemp("planted")
    benchmark = small_benchmark(6, languages=("ar", "de", "el", "en", "th", "zh"))
    source = replace(benchmark.source, choices={"queries": BAD})
    benchmark = replace(
        benchmark, queries=[f"{BAD} {text}" for text in benchmark.queries], source=source
    )
    for name, noise in (("x_x_mono", 0.9), ("x_y", 1.2), ("hybrid", 0.7)):
        for seed in (1, 2):
            write_result(
                root / f"{name}{seed}",
                benchmark,
                noise,
                0.3,
                seed,
                card_of(benchmark, training_of(name, seed, model=f"e5 {BAD}")),
            )
    measured = build_sections(read_results([root]))
    return compare(
        attach_texts(measured, {"made_r": benchmark}),
        chance=Resampling(flips=100, resamples=100),
        notes=[f"note {BAD}"],
    )


@pytest.fixture(scope="module")
def report(planted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report_page(planted, folder)
    return folder / "report.html"


def test_the_page_needs_nothing_from_outside_and_planted_markup_is_text(report):
    page = Tags(report.read_text())
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("b") == 0
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "xlink:href", "src"):
            assert attributes.get(name, "#").startswith(("#", "data:"))  # big heat maps are pixels
    assert not re.search(r"url\((?!#)", report.read_text())
    assert page.text.count(BAD) > 20
    assert len(page.ids) == len(set(page.ids))
    assert {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"} <= set(page.ids)


def test_every_picture_has_an_alternative_text_and_files(report, planted):
    page = Tags(report.read_text())
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 6  # intervals, two heat maps, distances, alpha, curves
    assert all(
        len(attributes["aria-label"]) > 40 and attributes["role"] == "img"
        for attributes in pictures
    )
    names = {path.stem for path in (report.parent / "figures").iterdir()}
    assert len(names) == 6
    for name in names:
        files = [report.parent / "figures" / f"{name}.{kind}" for kind in ("pdf", "svg", "png")]
        assert files[0].read_bytes().startswith(b"%PDF") and "<svg" in files[1].read_text()
        pixels = np.asarray(Image.open(files[2]).convert("L"))
        assert pixels.std() > 5 and pixels.max() == 255


def test_one_seed_gives_one_picture_to_the_letter(report, planted, tmp_path):
    part, labels = planted.parts[0], [system.label for system in planted.parts[0].section.systems]
    save(forest(part.macro, look(labels)), tmp_path, "made_r_effects")
    for kind in ("svg", "pdf", "png"):
        again, first = (
            tmp_path / f"made_r_effects.{kind}",
            report.parent / "figures" / f"made_r_effects.{kind}",
        )
        assert again.read_bytes() == first.read_bytes()


def chromium(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder / 'user'}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def measuring(report: Path, folder: Path, width: int) -> Path:
    """A page that shows the report in a frame of a width, and writes down what it measures there."""
    page = folder / f"measure_{width}.html"
    page.write_text(f"""<!doctype html><body style="margin:0"><p id="found"></p>
<iframe id="frame" style="border:0" width="{width}" height="900" srcdoc="{html.escape(report.read_text())}"></iframe>
<script>onload = () => {{
  const inside = document.getElementById("frame").contentDocument, root = inside.documentElement;
  inside.querySelectorAll("details").forEach(one => one.open = true);
  const wide = [...inside.querySelectorAll("svg, h1, h2, p, nav, figure, details, .scroll")].filter(
    one => one.getBoundingClientRect().right > {width} + 1);
  document.getElementById("found").textContent = [root.scrollWidth, wide.length, inside.querySelectorAll("table").length,
    inside.querySelectorAll("script").length, inside.title.includes("taken")].join(" ");
}}</script>""")
    return page


@needs_chromium
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_a_desk(report, tmp_path, width):
    page = measuring(report, tmp_path, width)
    picture = tmp_path / "seen.png"
    chromium(
        f"--screenshot={picture}",
        f"--window-size={max(width, 500)},1500",
        "--virtual-time-budget=4000",
        page.as_uri(),
        folder=tmp_path,
    )
    dom = chromium("--dump-dom", "--virtual-time-budget=4000", page.as_uri(), folder=tmp_path)
    scroll_width, too_wide, tables, scripts, taken = (
        re.search(r'<p id="found">([^<]*)</p>', dom).group(1).split()
    )
    assert (int(scroll_width), int(too_wide), int(scripts), taken) == (width, 0, 0, "false")
    assert int(tables) == report.read_text().count("<table>") > 10
    pixels = np.asarray(Image.open(picture).convert("L"))[:900, :width]
    assert len(np.unique(pixels)) > 20 and pixels.std() > 10


@needs_chromium
def test_the_browser_reads_the_tables_as_written(report, tmp_path, planted):
    dom = chromium("--dump-dom", report.as_uri(), folder=tmp_path)
    page = Tags(dom)
    for table in planted.overview:
        assert table.title in page.text
        assert all(cell.text in page.text for row in table.rows for cell in row.cells)
    assert "script" not in {tag for tag, _ in page.tags}
