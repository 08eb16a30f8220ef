"""One table of several runs: a sweep's jobs, or any run folders."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hybrid_ir.evaluation.report import number
from hybrid_ir.run_folder import write_whole

COLUMNS = {"mono map": ("mono", "map"), "cross map": ("cross", "map"), "multi map": ("multi", "map"),
           "mono R@1": ("mono", "recall@1"), "multi R@10": ("multi", "recall@10"),
           "rank distance": ("multi", "rank_distance"), "own first": ("multi", "lpr@1")}


def compare(folder: Path, console: Console) -> None:
    """Print one row per job of a sweep folder, failed ones included, and write the rows to comparison.json."""
    jobs = sorted((path.parent for path in folder.glob("*/config.yaml")), key=lambda path: job_number(path.name))
    if not jobs:
        return
    rows = [{"job": job.name, **read(job / "metrics.json")} for job in jobs]
    write_whole(folder / "comparison.json", json.dumps(rows, indent=2))
    table = Table(title=f"{len(jobs)} jobs of {folder}: mean over settings", title_justify="left")
    for column in ("job", *COLUMNS):
        table.add_column(column, justify="left" if column == "job" else "right")
    for row in rows:
        values = [number(row[column], metric) for column, (_, metric) in COLUMNS.items()] if len(row) > 1 else ["no result"]
        table.add_row(row["job"], *values)
    console.print(table)


def read(path: Path) -> dict[str, float | None]:
    """The compared means of a run; empty when the run did not get as far as its results."""
    if not path.exists():
        return {}
    macro = json.loads(path.read_text())["macro_over_settings"]
    return {column: macro[view][metric] for column, (view, metric) in COLUMNS.items()}


def job_number(name: str) -> tuple[int, str]:
    head = name.split("_")[0]
    return (int(head) if head.isdigit() else 0, name)
