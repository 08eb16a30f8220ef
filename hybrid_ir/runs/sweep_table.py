"""After a sweep: which jobs failed and why, and all jobs beside each other in one table."""

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hybrid_ir.evaluation.number_format import format_number
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.errors import describe_error

# View and metric of the means that sweep.json holds of every job.
WRITTEN_MEANS = (
    ("mono", "map"),
    ("cross", "map"),
    ("multi", "map"),
    ("mono", "recall@1"),
    ("multi", "recall@10"),
    ("multi", "rank_distance"),
    ("multi", "lpr@1"),
)
# What the table on W&B has of jobs.json besides.
LOGGED_JOB_FIELDS = ("state", "metric", "seconds", "overrides", "reason")
# The columns of the printed table, and which mean each shows.
TABLE_COLUMNS = {
    "mono": "mono/map",
    "cross": "cross/map",
    "multi": "multi/map",
    "distance": "multi/rank_distance",
    "own first": "multi/lpr@1",
}


class CompareJobs(Callback):
    """Hydra's hooks around the jobs of a sweep; for a single run they do nothing."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Prints why a job of a sweep failed."""
        is_sweep = config.hydra.mode.name == "MULTIRUN"
        if not is_sweep or job_return.status != JobStatus.FAILED:
            return
        console = Console(stderr=True)
        console.print(f"[red]job {job_return.hydra_cfg.hydra.job.num} failed:[/] ", end="")
        console.print(describe_error(job_return._return_value), markup=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Has the table of the sweep printed when the program ends.

        Not in on_multirun_end, which Hydra does not call if a job failed.
        """
        tracker = config.get("logger") or {}
        project = (tracker.get("wandb") or {}).get("project")
        atexit.register(print_sweep_table, Path(config.hydra.sweep.dir), project)


def print_sweep_table(folder: Path, wandb_project: str | None = None) -> None:
    """Prints a row for each job of a sweep, failed ones included, and writes sweep.json.

    Args:
        folder: the sweep folder, with a run folder for each job.
        wandb_project: where the table is also logged as a run of its own; None for nowhere.
    """
    states = _read_job_states(folder)
    jobs = _list_jobs(folder, states)
    if not jobs:
        return
    rows = []
    for job in jobs:
        row = {"job": job.name}
        if job.name in states:
            row["state"] = states[job.name]
        row.update(_read_means(job / "metrics.json"))
        rows.append(row)
    write_text_atomically(folder / "sweep.json", json.dumps(rows, indent=2))
    console = Console()
    console.print(_build_table(rows))
    console.print(
        f"more in {folder}: sweep.json, and a folder per job", soft_wrap=True, highlight=False
    )
    if wandb_project:
        _log_table_to_wandb(folder, wandb_project)


def _log_table_to_wandb(folder: Path, project: str) -> None:
    """Logs the table of a sweep to W&B, in a process of its own.

    This process is about to end, and Python lets no library start a thread then.
    """
    program = (
        "import sys; from hybrid_ir.runs.sweep_table import log_sweep; log_sweep(*sys.argv[1:])"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(folder), project])
    if ended.returncode != 0:
        print(f"warning: the table of {folder} did not get to W&B", file=sys.stderr)


def log_sweep(folder: str, project: str) -> None:
    """Logs the table of a sweep as a W&B run in the group of its jobs.

    Args:
        folder: the sweep folder, with sweep.json.
        project: of W&B.
    """
    # Here, since Hydra loads this file at every start.
    from hybrid_ir.training.wandb_logging import log_rows_to_wandb

    name = Path(folder).name
    rows = json.loads((Path(folder) / "sweep.json").read_text())
    jobs = Path(folder) / "jobs.json"
    details = {}
    if jobs.exists():
        for job in json.loads(jobs.read_text()):
            details[job["job"]] = job
    for row in rows:
        job = details.get(row["job"], {})
        row.update({key: job[key] for key in LOGGED_JOB_FIELDS if key in job})
    log_rows_to_wandb(Path(folder), f"sweep {name}", "sweep", rows, project, group=name)


def _read_job_states(folder: Path) -> dict[str, str]:
    """Reads the state of every job in jobs.json, by the name of its folder."""
    path = folder / "jobs.json"
    if not path.exists():  # Another launcher than ours.
        return {}
    return {row["job"]: row["state"] for row in json.loads(path.read_text())}


def _list_jobs(folder: Path, states: dict[str, str]) -> list[Path]:
    """Lists the run folders of the jobs, by their number in the sweep."""
    jobs = []
    for config in folder.glob("*/config.yaml"):
        job = config.parent
        if not states or job.name in states:
            jobs.append(job)
    return sorted(jobs, key=_get_sort_key)


def _get_sort_key(job: Path) -> tuple[int, str]:
    number = job.name.split("_")[0]
    return (int(number) if number.isdigit() else 0, job.name)


def _read_means(path: Path) -> dict[str, float | None]:
    """Reads the means of a run; empty if the run did not get as far as its results."""
    if not path.exists():
        return {}
    means = json.loads(path.read_text())["macro_over_settings"]
    return {f"{view}/{metric}": means[view][metric] for view, metric in WRITTEN_MEANS}


def _build_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title=f"{len(rows)} jobs: mAP of each view, rank distance, own language first",
        title_justify="left",
    )
    table.add_column("job", overflow="fold")  # A long name takes two lines; it is never cut.
    for column in TABLE_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        if TABLE_COLUMNS["multi"] in row:
            cells = [format_number(row[name], name) for name in TABLE_COLUMNS.values()]
        else:
            cells = [row.get("state", "·")]
        table.add_row(row["job"], *cells)
    return table
