"""What a run shows and keeps: tables for the terminal, files for programs, pictures for people."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.evaluation import figures as pictures
from hybrid_ir.evaluation.card import build_card_table
from hybrid_ir.evaluation.geometry import compute_alignment
from hybrid_ir.evaluation.language_bias import compute_language_bias
from hybrid_ir.evaluation.results import VIEWS, Results
from hybrid_ir.files.atomic import write_atomically, write_text_atomically

SHOWN = {
    "map": "mAP",
    "recall@1": "R@1",
    "recall@10": "R@10",
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "rank_distance": "distance",
}


def write_report(
    results: Results, card: dict[str, Any], folder: Path, console: Console | None = None
) -> None:
    """Write what is known of a measured benchmark into a folder, and print its tables.

    The files: metrics.json, per_query.parquet, evaluation_card.json, heat_map.png, one_target.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = results_to_dict(results)
    write_text_atomically(
        folder / "evaluation_card.json",
        json.dumps(card, indent=2, allow_nan=False, ensure_ascii=False),
    )
    with write_atomically(folder / "per_query.parquet") as beside:
        pq.write_table(results.columns(), beside)
    pictures.draw_heat_map(results, folder / "heat_map.png")
    pictures.draw_one_target(
        results.benchmark, found["language_bias"]["one_target"]["cells"], folder / "one_target.png"
    )
    write_text_atomically(
        folder / "metrics.json", json.dumps(found, indent=2, allow_nan=False)
    )  # last: with it a result is complete
    console = console or Console()
    console.print(build_card_table(card))
    console.print(build_views_table(results))
    console.print(build_bias_table(found))
    console.print(build_languages_table(results))
    for line in describe_exclusions(results):
        console.print(line, markup=False, highlight=False)
    console.print(
        f"results in {folder}: metrics.json, per_query.parquet, evaluation_card.json, heat_map.png, one_target.png",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def describe_exclusions(results: Results) -> list[str]:
    """What was left out of means, in words: nothing leaves a mean unsaid."""
    asked, languages = len(results.benchmark.queries), len(results.benchmark.languages)
    words = {
        "mono": (asked, "queries have no relevant passage in their own language"),
        "cross": (
            asked * (languages - 1),
            "pairs of a query and another language have no relevant passage",
        ),
        "multi": (asked, "queries have no relevant passage at all"),
    }
    left_out = [
        f"left out: {results.left_out[view]:,} of {total:,} {said}"
        for view, (total, said) in words.items()
        if results.left_out[view]
    ]
    return left_out + [
        f"undefined, and left out of its mean: {name} of {count:,} queries of the multilingual view"
        for name, count in results.undefined("multi").items()
    ]


def results_to_dict(results: Results) -> dict:
    """Everything but the per-query values, as plain values; what is undefined is null."""

    def plain(means: dict[str, float]) -> dict:
        return {name: replace_nan(float(value)) for name, value in means.items()}

    source = results.benchmark.source
    return {
        "benchmark": {
            "name": source.name,
            "revision": source.revision,
            "choices": source.choices,
            "languages": list(results.benchmark.languages),
            "queries": len(results.benchmark.queries),
            "pool": results.pool_sizes,
            "queries_without_relevant": results.left_out,
        },
        "loss": plain({"loss": np.nan if results.loss is None else results.loss})["loss"],
        "macro_over_settings": {view: plain(results.macro(view)) for view in VIEWS},
        "micro_over_questions": {view: plain(results.micro(view)) for view in VIEWS},
        "undefined_queries": {view: results.undefined(view) for view in VIEWS},
        "settings": [
            {
                "view": s.view,
                "query_language": s.query_language,
                "passage_language": s.passage_language,
                "queries": s.queries,
                **plain(s.means),
            }
            for s in results.settings
        ],
        "language_bias": replace_nan(measure_language_bias(results)),
    }


def measure_language_bias(results: Results) -> dict[str, Any]:
    """Language bias and geometry, as far as they are defined."""
    unit = "uniformity" in results.observed  # the geometry is one of unit vectors, a passage each
    near = (
        compute_alignment(results.table)
        if unit
        else dict.fromkeys(("same_language", "other_language", "all"), np.nan)
    )
    found = compute_language_bias(results.table) | {"alignment": near} | results.observed
    mix = next((name for name in found if name.startswith("language_mix@")), None)
    if mix:
        corpus_L = np.array(list(results.pool_sizes.values())) / max(
            1, sum(results.pool_sizes.values())
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            found[f"{mix}_over_corpus"] = (np.array(found[mix]) / corpus_L).tolist()
    return found


def replace_nan(value: Any) -> Any:
    """The same plain values with None for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: replace_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [replace_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def build_views_table(results: Results) -> Table:
    benchmark = results.benchmark
    choices = ", ".join(f"{key}={value}" for key, value in benchmark.source.choices.items())
    title = f"{benchmark.name} ({choices})" if choices else benchmark.name
    table = Table(
        title=Plain(f"{title}: mean over the n settings of a view"),
        title_justify="left",
        title_style="italic",
    )
    for column in ("view", "n", *SHOWN.values(), "ties"):
        table.add_column(column, justify="left" if column == "view" else "right", no_wrap=True)
    for view in VIEWS:
        means, settings = results.macro(view), sum(s.view == view for s in results.settings)
        if settings:
            table.add_row(
                view,
                str(settings),
                *(format_number(means[name], name) for name in SHOWN),
                f"{means['tie_rate']:.1%}",
            )
    return table


def build_bias_table(found: dict[str, Any]) -> Table:
    """One line a measure of language bias; what is not defined says why."""
    bias, multi = found["language_bias"], found["macro_over_settings"]["multi"]
    table = Table(title="language bias in the multilingual pool", title_justify="left")
    for column, justify in (("measure", "left"), ("value", "right"), ("without bias", "left")):
        table.add_column(column, justify=justify)
    table.add_row(
        "rank distance",
        format_number(multi["rank_distance"], "rank_distance"),
        "the number of relevant passages less one",
    )
    table.add_row(
        "own language first (lpr@1)",
        format_number(multi["lpr@1"], "lpr@1"),
        "one over the number of languages",
    )
    table.add_row("one-target gap", format_number(bias["one_target"]["diagonal_gap"], "map"), "0")
    for name, key in (("Kendall's W of passage languages", "friedman"), ("PEER", "peer")):
        value = bias[key].get("kendalls_w", bias[key].get("peer"))
        table.add_row(
            name,
            "·" if "reason" in bias[key] else format_number(value, "map"),
            bias[key].get("reason", "0" if key == "friedman" else "about .5"),
        )
    if "same_language_neighbours" in bias:
        table.add_row(
            "same-language neighbours",
            format_number(bias["same_language_neighbours"], "map"),
            "the languages' corpus shares",
        )
        table.add_row(
            "alignment, same / other language",
            " / ".join(
                format_number(bias["alignment"][name], "map")
                for name in ("same_language", "other_language")
            ),
            "equal",
        )
        table.add_row("uniformity", format_number(bias["uniformity"], "map"), "lower is more even")
    return table


def build_languages_table(results: Results, most: int = 30) -> Table:
    """mAP of each query language in the three views; cross is its mean over passage languages."""
    languages = results.benchmark.languages
    title = "mAP by query language" + (
        f", first {most} of {len(languages)}" if len(languages) > most else ""
    )
    table = Table(title=title, title_justify="left")
    for column in ("query language", *VIEWS, "rank distance"):
        table.add_column(column, justify="left" if column == "query language" else "right")
    cells: dict[tuple[str, str], list] = {}
    for setting in results.settings:
        cells.setdefault((setting.query_language, setting.view), []).append(setting.means)
    for language in languages[:most]:
        means = [
            np.mean([row["map"] for row in cells.get((language, view), [{"map": np.nan}])])
            for view in VIEWS
        ]
        distance = cells.get((language, "multi"), [{"rank_distance": np.nan}])[0]["rank_distance"]
        table.add_row(
            Plain(language),
            *(format_number(value, "map") for value in means),
            format_number(distance, "rank_distance"),
        )
    return table


def format_number(value: float | None, metric: str) -> str:
    if value is None or np.isnan(value):
        return "·"
    return f"{value:,.1f}" if "rank" in metric and "normalised" not in metric else f"{value:.4f}"
