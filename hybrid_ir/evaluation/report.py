"""What a run shows and keeps: tables for the terminal, files for programs, pictures for people."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from hybrid_ir.evaluation import pictures
from hybrid_ir.evaluation.views import VIEWS, Results
from hybrid_ir.run_folder import write_whole

SHOWN = {"map": "mAP", "recall@1": "R@1", "recall@10": "R@10", "ndcg@10": "nDCG@10", "mrr@10": "MRR@10",
         "rank_distance": "distance"}


def report(results: Results, folder: Path, console: Console | None = None) -> None:
    """Write metrics.json, per_query.parquet and the pictures of a measured benchmark, and print its tables."""
    write_whole(folder / "metrics.json", json.dumps(as_dict(results), indent=2, allow_nan=False))
    pq.write_table(pa.table(results.columns()), folder / "per_query.parquet")
    pictures.heat_map(results, folder / "heat_map.png")
    console = console or Console()
    console.print(views_table(results))
    console.print(languages_table(results))
    console.print(f"results in {folder}: metrics.json, per_query.parquet, heat_map.png", soft_wrap=True)


def report_card(card, folder: Path, console: Console | None = None) -> None:
    """Print the batch card and write it as batch_card.json."""
    write_whole(folder / "batch_card.json", json.dumps(card.as_dict(), indent=2))
    card.show(console or Console())


def report_training(folder: Path, steps: int, max_steps: int, console: Console | None = None) -> None:
    """Draw what the steps of a training logged as curves.png, and say how far it went."""
    pictures.training_curves(folder / "metrics.jsonl", folder / "curves.png")
    early = "" if steps >= max_steps else f" of {max_steps:,}: stopped early"
    (console or Console()).print(f"trained {steps:,} steps{early}, see {folder}: metrics.jsonl, curves.png, checkpoints",
                                 soft_wrap=True, highlight=False)


def as_dict(results: Results) -> dict:
    """Everything but the per-query values, as plain values; what is undefined is null."""
    def plain(means: dict[str, float]) -> dict:
        return {name: None if np.isnan(value) else float(value) for name, value in means.items()}
    source = results.benchmark.source
    return {
        "benchmark": {"name": source.name, "revision": source.revision, "choices": source.choices,
                      "languages": list(results.benchmark.languages), "queries": len(results.benchmark.queries),
                      "pool": results.pool_sizes, "queries_without_relevant": results.left_out},
        "loss": plain({"loss": np.nan if results.loss is None else results.loss})["loss"],
        "macro_over_settings": {view: plain(results.macro(view)) for view in VIEWS},
        "micro_over_questions": {view: plain(results.micro(view)) for view in VIEWS},
        "settings": [{"view": s.view, "query_language": s.query_language, "passage_language": s.passage_language,
                      "queries": s.queries, **plain(s.means)} for s in results.settings],
    }


def views_table(results: Results) -> Table:
    benchmark = results.benchmark
    choices = ", ".join(f"{key}={value}" for key, value in benchmark.source.choices.items())
    title = f"{benchmark.name} ({choices})" if choices else benchmark.name
    table = Table(title=f"{title}: mean over the n settings of a view", title_justify="left")
    for column in ("view", "n", *SHOWN.values(), "ties"):
        table.add_column(column, justify="left" if column == "view" else "right", no_wrap=True)
    for view in VIEWS:
        means, settings = results.macro(view), sum(s.view == view for s in results.settings)
        if settings:
            table.add_row(view, str(settings), *(number(means[name], name) for name in SHOWN),
                          f"{means['tie_rate']:.1%}")
    return table


def languages_table(results: Results, most: int = 30) -> Table:
    """mAP of each query language in the three views; cross is its mean over passage languages."""
    languages = results.benchmark.languages
    title = "mAP by query language" + (f", first {most} of {len(languages)}" if len(languages) > most else "")
    table = Table(title=title, title_justify="left")
    for column in ("query language", *VIEWS, "rank distance"):
        table.add_column(column, justify="left" if column == "query language" else "right")
    cells: dict[tuple[str, str], list] = {}
    for setting in results.settings:
        cells.setdefault((setting.query_language, setting.view), []).append(setting.means)
    for language in languages[:most]:
        means = [np.mean([row["map"] for row in cells.get((language, view), [{"map": np.nan}])]) for view in VIEWS]
        distance = cells.get((language, "multi"), [{"rank_distance": np.nan}])[0]["rank_distance"]
        table.add_row(language, *(number(value, "map") for value in means), number(distance, "rank_distance"))
    return table


def number(value: float | None, metric: str) -> str:
    if value is None or np.isnan(value):
        return "·"
    return f"{value:,.1f}" if "rank" in metric and "normalised" not in metric else f"{value:.4f}"
