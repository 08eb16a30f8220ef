"""After a multirun: say which jobs failed and why, and compare the others in one table."""

import atexit
import json
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hybrid_ir.evaluation.report import format_number
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.errors import describe_error


class CompareJobs(Callback):
    """Hydra's hooks around the jobs of a sweep; for a single run it does nothing."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if job_return.status == JobStatus.FAILED and config.hydra.mode.name == "MULTIRUN":
            Console(stderr=True).print(
                f"[red]job {job_return.hydra_cfg.hydra.job.num} failed:[/] ", end=""
            )
            Console(stderr=True).print(describe_error(job_return._return_value), markup=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        # at exit, since Hydra calls on_multirun_end only where no job failed
        atexit.register(print_table_of_jobs, Path(config.hydra.sweep.dir))


def print_table_of_jobs(folder: Path) -> None:
    print_sweep_table(folder, Console())


KEPT = (
    ("mono", "map"),
    ("cross", "map"),
    ("multi", "map"),
    ("mono", "recall@1"),
    ("multi", "recall@10"),
    ("multi", "rank_distance"),
    ("multi", "lpr@1"),
)
SHOWN = {
    "mono": "mono/map",
    "cross": "cross/map",
    "multi": "multi/map",
    "distance": "multi/rank_distance",
    "own first": "multi/lpr@1",
}


def print_sweep_table(folder: Path, console: Console) -> None:
    """Print one row per job of a sweep folder, failed ones included, and write the rows to comparison.json."""
    states = read_job_states(folder)
    jobs = sorted(
        (
            path.parent
            for path in folder.glob("*/config.yaml")
            if not states or path.parent.name in states
        ),
        key=lambda path: job_number(path.name),
    )
    if not jobs:
        return
    rows = [
        {"job": job.name, **states.get(job.name, {}), **read_compared_means(job / "metrics.json")}
        for job in jobs
    ]
    write_text_atomically(folder / "comparison.json", json.dumps(rows, indent=2))
    table = Table(
        title=f"{len(jobs)} jobs: mAP of each view, rank distance, own language first",
        title_justify="left",
    )
    table.add_column("job", overflow="fold")  # a long name takes two lines, it is never cut
    for column in SHOWN:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        known = SHOWN["multi"] in row
        table.add_row(
            row["job"],
            *(
                [format_number(row[name], name) for name in SHOWN.values()]
                if known
                else [row.get("state", "·")]
            ),
        )
    console.print(table)
    console.print(
        f"more in {folder}: comparison.json, and a folder per job", soft_wrap=True, highlight=False
    )


def read_job_states(folder: Path) -> dict[str, dict[str, str]]:
    """What jobs.json says became of each job."""
    path = folder / "jobs.json"
    known = json.loads(path.read_text()) if path.exists() else []
    return {row["job"]: {"state": row["state"]} for row in known}


def read_compared_means(path: Path) -> dict[str, float | None]:
    """The compared means of a run; empty when the run did not get as far as its results."""
    if not path.exists():
        return {}
    macro = json.loads(path.read_text())["macro_over_settings"]
    return {f"{view}/{metric}": macro[view][metric] for view, metric in KEPT}


def job_number(name: str) -> tuple[int, str]:
    head = name.split("_")[0]
    return (int(head) if head.isdigit() else 0, name)
