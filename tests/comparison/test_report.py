"""The report's page in a parser and in a real browser, and the files of its figures."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_ir.comparison.comparison import Comparison, compare
from hybrid_ir.comparison.figures import draw_intervals, draw_system_curves
from hybrid_ir.comparison.pair_heat_maps import draw_pair_heat_map
from hybrid_ir.comparison.style import choose_styles, save_report_figure
from hybrid_ir.comparison.verdict import build_verdict
from tests.support.browser import (
    HEIGHT,
    PRINTED_WIDTH,
    PageMeasures,
    measure_page,
    needs_chromium,
    needs_pdftotext,
    print_page,
    read_printed_pages,
    run_chromium,
    style_as_printed,
    write_measuring_page,
)
from tests.support.comparison_results import (
    PageContent,
    build_benchmark,
    build_card,
    build_training,
    write_result,
)

MARKUP = "<script>document.title='taken'</script><b>$x_1$"
LANGUAGES = ("ar", "de", "el", "en", "th", "zh")
NOISE = {"x_x_mono": 0.9, "x_y": 1.2, "hybrid": 0.7}
WIDTHS = (390, 1280)  # pixels: a phone and a desk


@pytest.fixture(scope="module")
def with_markup(tmp_path_factory) -> Comparison:
    """A comparison with markup in the name of a model, of a choice and in every question."""
    root = tmp_path_factory.mktemp("markup")
    benchmark = build_benchmark(6, languages=LANGUAGES)
    benchmark = replace(
        benchmark,
        queries=[f"{MARKUP} {text}" for text in benchmark.queries],
        source=replace(benchmark.source, choices={"queries": MARKUP}),
    )
    for sampler, noise in NOISE.items():
        for seed in (1, 2):
            card = build_card(benchmark, build_training(sampler, seed, model=f"e5 {MARKUP}"))
            write_result(root / f"{sampler}{seed}", benchmark, card, noise=noise, seed=seed)
    comparison = compare([root], benchmarks={"made_r": benchmark}, flips=100, resamples=100)
    return replace(comparison, job_notes=[f"note {MARKUP}"])


@pytest.fixture(scope="module")
def report(with_markup, tmp_path_factory) -> Path:
    """The page of that comparison."""
    folder = tmp_path_factory.mktemp("report")
    with_markup.save(folder)
    return folder / "report.html"


def test_the_page_needs_nothing_from_outside(report):
    page = PageContent(report.read_text())
    tags = {tag for tag, _ in page.tags}

    assert not {"script", "link", "iframe", "object", "img"} & tags
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        # Links lead to the files beside the page; the pixels of big heat maps are in it.
        allowed = ("#", "data:", "figures/") if tag == "a" else ("#", "data:")
        for name in ("href", "xlink:href", "src"):
            assert attributes.get(name, "#").startswith(allowed)
    assert not re.search(r"url\((?!#)", report.read_text())


def test_markup_in_names_and_questions_is_text(report):
    page = PageContent(report.read_text())

    bold = report.read_text().count("<b>")
    assert bold == report.read_text().count('<span class="language"')
    assert page.text.count(MARKUP) > 20


def test_links_of_the_page_lead_to_ids_and_files_that_are_there(report):
    page = PageContent(report.read_text())
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    files = {target for target in targets if not target.startswith("#")}

    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in targets - files} <= set(page.ids)
    written = {f"figures/{path.name}" for path in (report.parent / "figures").iterdir()}
    assert files == written


def test_every_figure_has_a_description_and_files(report):
    page = PageContent(report.read_text())
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    names = {path.stem for path in (report.parent / "figures").iterdir()}

    # Intervals, distances, alpha and training curves; heat maps are tables with files.
    assert len(figures) == 4
    assert len(names) == 4 + 2
    for attributes in figures:
        assert len(attributes["aria-label"]) > 40
        assert attributes["role"] == "img"
    for name in names:
        path = report.parent / "figures" / name
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in path.with_suffix(".svg").read_text()
        pixels = np.asarray(Image.open(path.with_suffix(".png")).convert("L"))
        assert pixels.std() > 5
        assert pixels.max() == 255


def test_a_figure_is_drawn_the_same_again(report, with_markup, tmp_path):
    benchmark = with_markup.benchmarks[0]
    styles = choose_styles(system.label for system in benchmark.section.systems)

    save_report_figure(draw_intervals(benchmark.macro, styles), tmp_path, "made_r_effects")

    for kind in ("svg", "pdf", "png"):
        file = f"made_r_effects.{kind}"
        first = report.parent / "figures" / file
        assert (tmp_path / file).read_bytes() == first.read_bytes()


def list_heat_maps(page: str) -> list[list[tuple[str, str]]]:
    """Returns the colour and the text of every cell of every heat map of a page."""
    heat_maps = []
    for table in re.findall(r'<table class="heat">(.*?)</table>', page, flags=re.DOTALL):
        cells = re.findall(r'<td class="(\w+)">(?:<strong>)?([^<]+)', table)
        heat_maps.append(cells)
    return heat_maps


def test_heat_maps_beside_each_other_have_one_scale(report):
    first, second = list_heat_maps(report.read_text())

    assert len(first) == len(second) == len(LANGUAGES) ** 2
    ranks = {}
    for colour, text in first + second:
        step = int(colour[1:]) if colour[0] == "p" else -int(colour[1:])
        ranks.setdefault(float(text.replace("−", "-")), set()).add(step)
    steps = []
    for _, colours in sorted(ranks.items()):
        steps += sorted(colours)
    assert steps == sorted(steps)
    assert {abs(step) for step in steps} >= {0, 4}


def test_drawn_heat_maps_have_one_scale_and_one_unit(with_markup):
    benchmark = with_markup.benchmarks[0]
    limits = set()
    for system, _ in benchmark.section.tested_systems:
        figure = draw_pair_heat_map(benchmark.section, system, benchmark.pairs)
        (mesh,) = figure.axes[0].collections
        limits.add(mesh.get_clim())
        texts = [float(text.get_text().replace("−", "-")) for text in figure.axes[0].texts]
        assert texts == pytest.approx(mesh.get_array().ravel().tolist(), abs=0.051)
        assert "hundredths" in figure.axes[1].get_ylabel()

    assert len(limits) == 1


def test_every_picture_names_model_and_benchmark(with_markup):
    benchmark = with_markup.benchmarks[0]
    styles = choose_styles(system.label for system in benchmark.section.systems)
    figures = [
        draw_intervals(benchmark.macro, styles),
        draw_pair_heat_map(benchmark.section, 1, benchmark.pairs),
        draw_system_curves(benchmark.section, styles),
    ]

    for figure in figures:
        assert f"made_r, e5 {MARKUP}" in figure.get_suptitle()


def test_a_training_that_was_validated_once_has_no_curve(with_markup):
    section = with_markup.benchmarks[0].section
    styles = choose_styles(system.label for system in section.systems)
    systems = []
    for system in section.systems:
        results = [replace(result, steps=result.steps[-1:]) for result in system.results]
        systems.append(replace(system, results=tuple(results)))

    assert draw_system_curves(section, styles) is not None
    assert draw_system_curves(replace(section, systems=tuple(systems)), styles) is None


def test_the_answer_comes_first_then_pictures_then_tables(report, with_markup):
    text = PageContent(report.read_text()).text
    for sentence in build_verdict(with_markup.benchmarks[0].macro).sentences:
        assert sentence in text

    places = [text.index("The answer"), text.index("How to read the numbers")]
    page = report.read_text()
    assert places == sorted(places)
    assert page.index('class="verdict') < page.index('id="pictures"') < page.index('id="overview"')
    assert "M (monolingual)" in text[: text.index("Contents")]


@pytest.fixture(scope="module")
def measuring_page(report, tmp_path_factory) -> Path:
    """A page with the report in a frame of each width, one below the other."""
    return write_measuring_page(report.read_text(), WIDTHS, tmp_path_factory.mktemp("measuring"))


@needs_chromium
def test_the_page_fits_a_phone_and_a_desk(report, measuring_page, tmp_path):
    tables = report.read_text().count("<table")
    measures = measure_page(measuring_page, tmp_path)

    assert tables > 10
    for width in WIDTHS:
        assert measures[width] == PageMeasures(
            scroll_width=width,
            too_wide=0,
            clipped_tables=0,
            tables=tables,
            scripts=0,
            is_title_changed=False,
        )


@needs_chromium
def test_the_browser_draws_the_page_at_both_widths(measuring_page, tmp_path):
    screenshot = tmp_path / "screenshot.png"

    run_chromium(
        f"--screenshot={screenshot}",
        f"--window-size={max(WIDTHS)},{len(WIDTHS) * HEIGHT}",
        "--virtual-time-budget=4000",
        measuring_page.as_uri(),
        folder=tmp_path,
    )

    pixels = np.asarray(Image.open(screenshot).convert("L"))
    for place, width in enumerate(WIDTHS):
        frame = pixels[place * HEIGHT : (place + 1) * HEIGHT, :width]
        assert len(np.unique(frame)) > 20
        assert frame.std() > 10


@needs_chromium
def test_the_browser_reads_the_tables_as_written(report, tmp_path, with_markup):
    dom = run_chromium("--dump-dom", report.as_uri(), folder=tmp_path)

    page = PageContent(dom)
    assert "script" not in {tag for tag, _ in page.tags}
    for table in with_markup.overview:
        if "(macro)" not in table.title:
            continue
        assert table.caption in page.text
        for row in table.rows:
            assert all(cell.text in page.text for cell in row.cells)


@needs_chromium
def test_nothing_is_wider_than_a_sheet_of_paper(report, tmp_path):
    printed = style_as_printed(report.read_text())
    measuring_page = write_measuring_page(printed, [PRINTED_WIDTH], tmp_path)

    measures = measure_page(measuring_page, tmp_path)[PRINTED_WIDTH]

    assert 'class="table wide"' not in printed  # such a table is printed on a sheet turned round
    assert measures.scroll_width == PRINTED_WIDTH
    assert measures.too_wide == 0


@needs_chromium
def test_the_page_is_printed_on_some_sheets(report, tmp_path):
    printed = print_page(report, tmp_path).read_bytes()

    assert printed.startswith(b"%PDF")
    sheets = re.findall(rb"/Type\s*/Page\b(?!s)", printed)
    boxes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed))
    assert 5 < len(sheets) < 30
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}


@needs_chromium
@needs_pdftotext
def test_no_heading_is_printed_at_the_end_of_a_sheet(report, tmp_path):
    headings = re.findall(r"<h[23][^>]*>([^<]+)</h[23]>", report.read_text())

    pages = read_printed_pages(print_page(report, tmp_path))

    assert len(headings) > 10
    assert any("Methods" in lines for lines in pages)
    for lines in pages:
        assert lines[-1] not in headings
