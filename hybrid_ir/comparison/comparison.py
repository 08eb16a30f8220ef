"""The comparison of measured models: from result folders to tables, figures and one report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hybrid_ir.comparison import rendering
from hybrid_ir.comparison.build_sections import attach_query_texts, build_sections
from hybrid_ir.comparison.comparison_tables import (
    MainMeans,
    build_effects_tables,
    build_overview_tables,
    build_systems_table,
    compute_main_means,
)
from hybrid_ir.comparison.language_changes import (
    build_change_tables,
    build_seen_table,
    compare_language_pairs,
)
from hybrid_ir.comparison.language_tables import build_language_tables
from hybrid_ir.comparison.load import (
    Runs,
    list_unfinished_jobs,
    load_mteb_results,
    load_results,
)
from hybrid_ir.comparison.mteb_tables import MtebComparison, compare_mteb_results
from hybrid_ir.comparison.report import write_report_page
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import Grid, Resampling
from hybrid_ir.comparison.table import Table
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.types import Benchmark


@dataclass(frozen=True, eq=False)
class ComparedBenchmark:
    """What is reported about one benchmark.

    Attributes:
        section: The systems that were measured on it.
        macro: The tested means over settings.
        micro: The tested means over rows.
        pairs: The differences by pair of query and passage language.
        tables: The tables by the name of their chapter in the report.
    """

    section: Section
    macro: MainMeans
    micro: MainMeans
    pairs: Grid
    tables: dict[str, list[Table]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Measured models beside each other, on one benchmark or several.

    Attributes:
        metric: The main metric.
        resampling: How the tests and intervals were drawn.
        overview: Tables 1 and 2 over all benchmarks, as macro and as micro means.
        benchmarks: What is reported about each benchmark.
        with_paper: Whether the tables hold the paper's numbers.
        job_notes: A note for each job that has no results.
        mteb: What mteb itself computed, None where there are no scores of it.
    """

    metric: str
    resampling: Resampling
    overview: list[Table]
    benchmarks: list[ComparedBenchmark]
    with_paper: bool = True
    job_notes: list[str] = field(default_factory=list)
    mteb: MtebComparison | None = None

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order of the report."""
        tables = list(self.overview)
        for benchmark in self.benchmarks:
            for chapter_tables in benchmark.tables.values():
                tables += chapter_tables
        if self.mteb is not None:
            tables += self.mteb.tables
        return tables

    @property
    def notes(self) -> list[str]:
        """What readers should know about the results that were compared."""
        notes = list(self.job_notes)
        for benchmark in self.benchmarks:
            notes += benchmark.section.notes
        if self.mteb is not None:
            notes += self.mteb.notes
        return notes

    def get_table(self, file: str) -> Table:
        """Returns the table whose CSV file has this stem, such as "table1_macro".

        Raises:
            KeyError: There is no such table.
        """
        tables = {table.file: table for table in self.tables}
        return tables[file]

    def save(self, folder: str | Path) -> None:
        """Writes the report.

        The files are report.html with figures/, tables.md, tables.tex, a CSV file for each table,
        and comparison.json.
        """
        folder = Path(folder)
        self.save_tables(folder)
        write_report_page(self, folder)

    def save_tables(self, folder: str | Path) -> None:
        """Writes the report without its page and figures."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        markdown = [rendering.to_markdown(table) for table in self.tables]
        write_text_atomically(folder / "tables.md", "\n".join(markdown))
        latex = [rendering.to_latex(table) for table in self.tables]
        write_text_atomically(folder / "tables.tex", rendering.LATEX_PREAMBLE + "\n".join(latex))
        for table in self.tables:
            write_text_atomically(folder / f"{table.file}.csv", rendering.to_csv(table))
        content = json.dumps(self.to_json_object(), indent=2, allow_nan=False, ensure_ascii=False)
        write_text_atomically(folder / "comparison.json", content)

    def to_json_object(self) -> dict[str, Any]:
        """Returns what comparison.json holds."""
        benchmarks = {}
        for benchmark in self.benchmarks:
            section = benchmark.section
            benchmarks[section.name] = {
                "benchmark": section.benchmark_metrics,
                "notes": list(section.notes),
                "systems": _describe_systems(section),
            }
        content = {
            "metric": self.metric,
            "chance": vars(self.resampling),
            "notes": self.job_notes,
            "benchmarks": benchmarks,
            "tables": {table.file: rendering.to_json_object(table) for table in self.tables},
        }
        if self.mteb is not None:
            content["mteb"] = self.mteb.to_json_object()
        return content


def compare(
    runs: Runs,
    *,
    metric: str = "map",
    baseline: str | None = None,
    paper: bool = True,
    benchmarks: Mapping[str, Benchmark] | None = None,
    flips: int = 10_000,
    resamples: int = 5_000,
    seed: int = 1,
) -> Comparison:
    """Compares measured models: significance, tables and figures.

        comparison = compare(["outputs/sweep"], baseline="x_x_mono")
        comparison.save("report")

    Args:
        runs: Folders of runs, sweeps or evaluations, or that hold some at any depth. With names of
            systems, {"base": FOLDER, "tuned": [FOLDER, FOLDER]}, these are the labels.
        metric: The metric of the main tables, a column of per_query.parquet.
        baseline: What systems are tested against: a sampler (of each system's own model) or the
            label of one system. None for the first system with a name, or x_x_mono, or the
            untrained encoder where there is none.
        paper: Whether the paper's numbers stand beside measured ones, where the benchmark was
            measured as the paper did.
        benchmarks: Loaded benchmarks by any name, whose queries are shown as examples.
        flips: Sign flips of the randomisation test.
        resamples: Resamples of the bootstrap for the intervals.
        seed: The seed of both.

    Raises:
        ValueError: There are no results, or they are damaged or cannot stand in one table, or no
            system has the name of the baseline. The message names everything that is wrong.
    """
    _require_arguments(runs, flips, resamples)
    results = load_results(runs)
    mteb = compare_mteb_results(load_mteb_results(runs))
    if not results and baseline is not None:
        raise ValueError(
            f"baseline={baseline!r}: these runs hold scores of mteb alone, and nothing is tested "
            "with them: leave it out"
        )
    sections = build_sections(results, baseline)
    if benchmarks:
        sections = attach_query_texts(sections, benchmarks)
    resampling = Resampling(seed=seed, flips=flips, resamples=resamples)
    notes = list_unfinished_jobs(runs)
    return replace(compare_sections(sections, metric, paper, resampling, notes), mteb=mteb)


def _require_arguments(runs: Runs, flips: int, resamples: int) -> None:
    problems = []
    if isinstance(runs, str | Path):
        problems.append(f"runs={str(runs)!r} must be a list of folders: [{str(runs)!r}]")
    elif len(runs) == 0:
        problems.append("runs=[] must name at least one folder")
    for name, number in (("flips", flips), ("resamples", resamples)):
        if type(number) is not int or number < 1:
            problems.append(f"{name}={number!r} must be a whole number from 1")
    if problems:
        raise ValueError("; ".join(problems))


def compare_sections(
    sections: Sequence[Section],
    metric: str,
    with_paper: bool,
    resampling: Resampling,
    job_notes: Sequence[str] = (),
) -> Comparison:
    """Tests the systems of every section and builds all tables."""
    benchmarks = []
    for section in sections:
        benchmarks.append(_compare_benchmark(section, metric, with_paper, resampling))
    macro_means = [benchmark.macro for benchmark in benchmarks]
    micro_means = [benchmark.micro for benchmark in benchmarks]
    overview = []
    if benchmarks:  # there are none where mteb alone has measured
        overview += build_overview_tables(macro_means, metric, with_paper, micro=False)
        overview += build_overview_tables(micro_means, metric, with_paper, micro=True)
    return Comparison(metric, resampling, overview, benchmarks, with_paper, list(job_notes))


def _compare_benchmark(
    section: Section, metric: str, with_paper: bool, resampling: Resampling
) -> ComparedBenchmark:
    macro = compute_main_means(section, metric, resampling, micro=False)
    micro = compute_main_means(section, metric, resampling, micro=True)
    pairs = compare_language_pairs(section, metric, resampling)
    seen_table = build_seen_table(section, metric, resampling)
    tables = {
        "systems": [build_systems_table(section)],
        "effects": build_effects_tables(macro, micro),
        "languages": build_language_tables(section, metric, resampling, with_paper),
        "seen": [] if seen_table is None else [seen_table],
        "changes": build_change_tables(section, metric, resampling, pairs),
    }
    return ComparedBenchmark(section, macro, micro, pairs, tables)


def _describe_systems(section: Section) -> list[dict[str, Any]]:
    """Returns the systems of a section as comparison.json holds them."""
    systems = []
    for system, baseline in zip(section.systems, section.baselines, strict=True):
        description = {
            "label": system.label,
            "seeds": system.seeds,
            "identity": system.identity,
            "baseline": None if baseline is None else section.systems[baseline].label,
            "folders": [str(result.folder) for result in system.results],
        }
        if system.differences:
            description["differences"] = system.differences
        systems.append(description)
    return systems
