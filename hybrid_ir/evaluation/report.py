"""Shows and keeps the results of a benchmark: tables for the terminal, files, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.evaluation.bias_rows import describe_language_bias
from hybrid_ir.evaluation.card import (
    build_card_table,
    describe_measured_model,
    describe_missing,
    replace_nan,
)
from hybrid_ir.evaluation.figures import draw_heat_map, draw_one_target
from hybrid_ir.evaluation.language_bias import compute_alignment, compute_language_bias
from hybrid_ir.evaluation.number_format import format_fraction, format_number
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results, count_possible_queries
from hybrid_ir.files.atomic import write_atomically, write_text_atomically

SHOWN_METRICS = {
    "map": "mAP",
    "recall@1": "R@1",
    "recall@10": "R@10",
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "rank_distance": "distance",
}
SHOWN_LANGUAGES = 30  # rows of the table of languages


def write_report(
    results: Results, card: dict[str, Any], folder: Path, console: Console | None = None
) -> None:
    """Writes the files of a measured benchmark into a folder, and prints its tables.

    Args:
        results: what was measured.
        card: of the evaluation, see `build_evaluation_card`.
        folder: where the files go; it is made if need be.
        console: on which to print; by default the terminal.
    """
    record = write_result_files(results, card, folder)
    console = console or Console()
    console.print(build_card_table(card))
    console.print(build_views_table(results))
    console.print(build_bias_table(record))
    console.print(build_languages_table(results))
    for line in describe_exclusions(results):
        console.print(line, markup=False, highlight=False)
    console.print(
        f"results in {folder}: metrics.json, per_query.parquet, evaluation_card.json, "
        "heat_map.png, one_target.png",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def write_result_files(results: Results, card: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes the files of a measured benchmark into a folder.

    These are metrics.json, per_query.parquet, evaluation_card.json, heat_map.png and
    one_target.png.

    Args:
        results: what was measured.
        card: of the evaluation, see `build_evaluation_card`.
        folder: where the files go; it is made if need be.

    Returns:
        The content of metrics.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = results_to_dict(results)
    card_text = json.dumps(card, indent=2, allow_nan=False, ensure_ascii=False)
    write_text_atomically(folder / "evaluation_card.json", card_text)
    with write_atomically(folder / "per_query.parquet") as path:
        pq.write_table(results.to_arrow(), path)
    model = describe_measured_model(card)
    draw_heat_map(results, folder / "heat_map.png", model)
    one_target_cells = record["language_bias"]["one_target"]["cells"]
    draw_one_target(results.benchmark, one_target_cells, folder / "one_target.png", model)
    # last: with it a result is complete
    metrics_text = json.dumps(record, indent=2, allow_nan=False)
    write_text_atomically(folder / "metrics.json", metrics_text)
    return record


def describe_exclusions(results: Results) -> list[str]:
    """Says in words what was left out of means, one line each."""
    benchmark = results.benchmark
    totals = count_possible_queries(len(benchmark.queries), len(benchmark.languages))
    reasons = {
        "mono": "queries have no relevant passage in their own language",
        "cross": "pairs of a query and another language have no relevant passage",
        "multi": "queries have no relevant passage at all",
    }
    lines = []
    for view in VIEWS:
        count = results.queries_without_relevant[view]
        if count:
            lines.append(f"left out: {count:,} of {totals[view]:,} {reasons[view]}")
    least_grade = benchmark.least_relevant_grade
    undefined = results.count_undefined_queries("multi")
    without_relevant = 0
    if least_grade > 0:
        without_relevant = undefined.get("map", 0)
    if without_relevant:
        lines.append(
            f"counted by nDCG alone: {without_relevant:,} queries of the multilingual view have "
            f"no relevant passage of grade {least_grade:g} or more"
        )
    for metric, count in undefined.items():
        if count == without_relevant:
            continue
        lines.append(
            f"undefined, and left out of its mean: {metric} of {count:,} queries of the "
            "multilingual view"
        )
    lines.extend(describe_unknown_passages(results))
    return lines


def describe_unknown_passages(results: Results) -> list[str]:
    """Says how relevant passages that are not in the corpus change mAP, in a line if there are."""
    unknown_passages = describe_missing(results)
    if unknown_passages is None:
        return []
    numbers = []
    for name in ("counted_as_missed", "left_out"):
        means = unknown_passages[name]["macro_over_settings"]
        mono = format_fraction(means["mono"].get("map"))
        multi = format_fraction(means["multi"].get("map"))
        numbers.append(f"{name.replace('_', ' ')} mAP mono {mono} multi {multi}")
    main = unknown_passages["main"].replace("_", " ")
    return [
        f"unknown passages: {unknown_passages['judgements']:,} judgements of "
        f"{unknown_passages['queries']:,} queries; {', '.join(numbers)}; all other numbers have "
        f"them {main}"
    ]


def results_to_dict(results: Results) -> dict[str, Any]:
    """Returns the content of metrics.json: plain values, with None for what is undefined."""
    source = results.benchmark.source
    record = {
        "benchmark": {
            "name": source.name,
            "revision": source.revision,
            "choices": source.choices,
            "languages": list(results.benchmark.languages),
            "queries": len(results.benchmark.queries),
            "pool": results.pool_sizes,
            "queries_without_relevant": results.queries_without_relevant,
        },
        "loss": results.loss,
        "macro_over_settings": {view: results.macro(view) for view in VIEWS},
        "micro_over_questions": {view: results.micro(view) for view in VIEWS},
        "undefined_queries": {view: results.count_undefined_queries(view) for view in VIEWS},
        "settings": [setting.to_row() for setting in results.settings],
        "language_bias": measure_language_bias(results),
    }
    unknown_passages = describe_missing(results)
    if unknown_passages is not None:
        record["unknown_passages"] = unknown_passages
    return replace_nan(record)


def measure_language_bias(results: Results) -> dict[str, Any]:
    """Measures language bias and geometry, as far as they are defined."""
    table = results.relevant_table
    measures = compute_language_bias(table)
    if "uniformity" in results.geometry:  # which says that there is one unit vector a passage
        measures["alignment"] = compute_alignment(table)
    else:
        measures["alignment"] = dict.fromkeys(("same_language", "other_language", "all"), np.nan)
    measures.update(results.geometry)
    pool_sizes_L = np.array(list(results.pool_sizes.values()))
    corpus_share_L = pool_sizes_L / max(1, pool_sizes_L.sum())
    for name, mix_LL in results.geometry.items():
        if name.startswith("language_mix@"):
            with np.errstate(divide="ignore", invalid="ignore"):
                measures[f"{name}_over_corpus"] = (np.array(mix_LL) / corpus_share_L).tolist()
    return measures


def build_views_table(results: Results) -> Table:
    """Builds the table of macro means, one row for each view."""
    benchmark = results.benchmark
    title = benchmark.name
    if benchmark.source.choices:
        choices = ", ".join(f"{key}={value}" for key, value in benchmark.source.choices.items())
        title = f"{title} ({choices})"
    table = Table(
        title=Plain(f"{title}: mean over the n settings of a view"),
        title_justify="left",
        title_style="italic",
    )
    table.add_column("view", justify="left", no_wrap=True)
    for column in ("n", *SHOWN_METRICS.values(), "ties"):
        table.add_column(column, justify="right", no_wrap=True)
    for view in VIEWS:
        settings = [setting for setting in results.settings if setting.view == view]
        if not settings:
            continue
        means = results.macro(view)
        cells = [format_number(means[metric], metric) for metric in SHOWN_METRICS]
        table.add_row(view, str(len(settings)), *cells, f"{means['tie_rate']:.1%}")
    return table


def build_bias_table(record: dict[str, Any]) -> Table:
    """Builds the table of language bias; a measure that is not defined says why.

    Args:
        record: the content of metrics.json.
    """
    table = Table(title="language bias in the multilingual pool", title_justify="left")
    table.add_column("measure", justify="left")
    table.add_column("value", justify="right")
    table.add_column("without bias", justify="right")
    for row in describe_language_bias(record):
        table.add_row(*row)
    return table


def build_languages_table(results: Results) -> Table:
    """Builds the table of mAP by query language; cross is its mean over passage languages."""
    languages = results.benchmark.languages
    title = "mAP by query language"
    if len(languages) > SHOWN_LANGUAGES:
        title = f"{title}, first {SHOWN_LANGUAGES} of {len(languages)}"
    table = Table(title=title, title_justify="left")
    table.add_column("query language", justify="left")
    for column in (*VIEWS, "rank distance"):
        table.add_column(column, justify="right")
    means_by_setting: dict[tuple[str, str], list[dict[str, float]]] = {}
    for setting in results.settings:
        key = (setting.query_language, setting.view)
        means_by_setting.setdefault(key, []).append(setting.means)
    for language in languages[:SHOWN_LANGUAGES]:
        cells = []
        for view in VIEWS:
            values = [means["map"] for means in means_by_setting.get((language, view), [])]
            cells.append(format_fraction(np.mean(values) if values else None))
        distance = None
        if (language, "multi") in means_by_setting:
            distance = means_by_setting[language, "multi"][0]["rank_distance"]
        table.add_row(Plain(language), *cells, format_number(distance, "rank_distance"))
    return table
