"""The jobs of a sweep: processes started from resolved configs, and a table of their states."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.json_lines import read_log_rows
from hybrid_ir.runs.errors import find_error_line
from hybrid_ir.runs.folder import write_config
from hybrid_ir.runs.identity import hash_config
from hybrid_ir.runs.shipped_files import find_shipped_file
from hybrid_ir.system.interruption import STOPPED_EXIT_CODES
from hybrid_ir.system.processes import WATCHER_VARIABLE

JOB_STATE_FILE = "job.json"
JOB_LOG_FILE = "job.log"
# The columns of the table of jobs, after the name of the job; also the keys of job.json.
ROW_FIELDS = (
    "state",
    "reason",
    "metric",
    "seconds",
    "config_hash",
    "processes",
    "queued_as",
    "started_at",
    "overrides",
)


class JobState(StrEnum):
    """How far a job is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobFailed(ValueError):
    """A job of a sweep failed; the message has the reason that it gave."""


@dataclass
class Job:
    """One run of a sweep, in a folder of its own.

    The state is also in job.json of the folder, which outlives the process that started the job.

    Attributes:
        folder: the run folder.
        config: the resolved config as plain values.
        overrides: the choices of this job, as on the command line.
        config_hash: the hash of the config, which names the experiment.
        processes: how many processes the job has on its machine.
        state: how far the job is.
        reason: why the job failed, or why it is pending again.
        metric: the objective of the sweep, once the job is done.
        seconds: how long the job ran.
        queued_as: the id of the job in the queue of a cluster; empty without a cluster.
        started_at: when the job was started, in seconds since 1970.
        process: the process of the job, if this process started it.
    """

    folder: Path
    config: dict[str, Any]
    overrides: list[str]
    config_hash: str
    processes: int = 1
    state: JobState = JobState.PENDING
    reason: str = ""
    metric: float | None = None
    seconds: float = 0.0
    queued_as: str = ""
    started_at: float = field(default=0.0, repr=False)
    process: subprocess.Popen | None = field(default=None, repr=False)

    @classmethod
    def from_config(cls, cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> "Job":
        """Makes a job from the whole config of a run, which need not be resolved."""
        config = OmegaConf.to_container(cfg, resolve=True)
        devices = config["trainer"]["devices"]
        return cls(folder, config, list(overrides), hash_config(cfg), devices)

    def run(self) -> None:
        """Runs the job and waits for its end, unless it is done already.

        Raises:
            JobFailed: the job failed, or was asked to stop.
        """
        self.restore_state(retry_failed=True)
        if self.state != JobState.DONE:
            self.start({})
            self.process.wait()
            self.conclude(self.process.returncode)
        if self.state != JobState.DONE:
            raise JobFailed(f"job {self.folder.name}: {self.reason}")

    def restore_state(self, retry_failed: bool) -> None:
        """Takes over the state that an earlier start of the sweep left in the folder.

        A job that is done stays done. One that was running keeps its place in the queue of a
        cluster.

        Args:
            retry_failed: whether a job that failed is pending again. If not, it stays failed.
        """
        path = self.folder / JOB_STATE_FILE
        saved = json.loads(path.read_text()) if path.exists() else {"state": JobState.PENDING}
        # A run without a benchmark has no metrics.json.
        is_done = saved["state"] == JobState.DONE or (self.folder / "metrics.json").exists()
        if is_done:
            self.state = JobState.DONE
            self.metric = self._read_metric()
            self.seconds = saved.get("seconds", 0.0)
        elif saved["state"] == JobState.FAILED and not retry_failed:
            self.state = JobState.FAILED
            self.reason = saved["reason"]
            self.seconds = saved["seconds"]
        elif saved["state"] == JobState.RUNNING:
            self.queued_as = saved["queued_as"]
            self.started_at = saved["started_at"]

    def build_command(self) -> list[str]:
        """Writes the config to the folder and builds the command that runs it from there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return [*build_train_command(self.config, self.folder, self.folder), "resume=auto"]

    def start(self, environment: Mapping[str, str]) -> None:
        """Starts the process of the job, which ends when this process ends.

        Args:
            environment: variables on top of those of this process.
        """
        command = self.build_command()
        variables = {**os.environ, "COLUMNS": "150", **environment}
        variables[WATCHER_VARIABLE] = str(os.getpid())
        with open(self.folder / JOB_LOG_FILE, "ab") as log:
            # In a session of its own, so that Ctrl-C does not reach it: the launcher passes it on
            # as a request to save and stop.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=variables,
            )
        self.mark_running()

    def mark_running(self, queued_as: str = "") -> None:
        """Notes that the job is running from now on, and saves that.

        Args:
            queued_as: the id of the job in the queue of a cluster.
        """
        self.state = JobState.RUNNING
        self.reason = ""
        self.queued_as = queued_as
        self.started_at = time.time()
        self._save()

    def has_ended(self) -> bool:
        """Returns whether the process has ended; if so, the state says how from now on."""
        code = self.process.poll()
        if code is None:
            return False
        self.conclude(code)
        return True

    def conclude(self, exit_code: int) -> None:
        """Sets and saves the state of a job whose process has ended.

        Args:
            exit_code: that of the process; the negative number of a signal that killed it.
        """
        self.seconds = time.time() - self.started_at
        if exit_code == 0:
            self.state = JobState.DONE
            self.metric = self._read_metric()
        elif exit_code in STOPPED_EXIT_CODES:
            self.state = JobState.PENDING
            self.reason = "it was asked to stop, and goes on when the sweep is started again"
        else:
            self.state = JobState.FAILED
            self.reason = _find_failure_reason(self.folder / JOB_LOG_FILE, exit_code)
        self._save()

    def to_row(self) -> dict[str, Any]:
        """Returns the row of this job in the table of the sweep."""
        values = {name: getattr(self, name) for name in ROW_FIELDS}
        return {"job": self.folder.name, **values}

    def _save(self) -> None:
        write_text_atomically(self.folder / JOB_STATE_FILE, json.dumps(self.to_row()))

    def _read_metric(self) -> float | None:
        return read_objective_of_run(self.folder, self.config)


def _find_failure_reason(log: Path, exit_code: int) -> str:
    """Returns the last error in the log of a job, or how its process ended."""
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return find_error_line(output) or f"exit code {exit_code}, see {log}"


def read_objective_of_run(folder: Path, config: Mapping[str, Any]) -> float | None:
    """Reads the objective of a run where its best checkpoint is.

    Args:
        folder: the run folder.
        config: of the run, as plain values; it names the objective and what is best.
    """
    best = (config.get("callbacks") or {}).get("checkpoint_best") or {}
    return read_objective(
        folder,
        config.get("objective"),
        monitor=best.get("monitor", "val/loss"),
        mode=best.get("mode", "min"),
    )


def read_objective(
    folder: Path, name: str | None, monitor: str = "val/loss", mode: str = "min"
) -> float | None:
    """Reads a logged value of the step whose weights a run keeps as its best checkpoint.

    Args:
        folder: the run folder.
        name: the key of the value in metrics.jsonl, such as `val/multi/map`.
        monitor: the key of the value that says which step is best.
        mode: `min` or `max`: which value of the monitor is the best one.

    Returns:
        The value; the last one if the monitor was not logged, and None if the value was not.
    """
    if not name:
        return None
    best_score = None
    best_value = None
    for row in read_log_rows(folder / "metrics.jsonl"):
        if name not in row or not math.isfinite(row[name]):
            continue
        score = row.get(monitor)
        if score is None:
            best_value = row[name]
        elif _is_better(score, best_score, mode):
            best_score = score
            best_value = row[name]
    return best_value


def _is_better(score: float, best_score: float | None, mode: str) -> bool:
    """Returns whether a score is better than the best so far; of equal ones the first is best."""
    if best_score is None:
        return True
    return score < best_score if mode == "min" else score > best_score


def write_job_table(folder: Path, jobs: Sequence[Job]) -> None:
    """Writes the states of all jobs to jobs.json of the sweep folder."""
    rows = [job.to_row() for job in jobs]
    write_text_atomically(folder / "jobs.json", json.dumps(rows, indent=2))


def build_train_command(config: dict[str, Any], config_folder: Path, run_folder: Path) -> list[str]:
    """Builds the command that runs a resolved config, and writes the config where it reads it.

    Args:
        config: the resolved config as plain values.
        config_folder: an existing folder for the file config.yaml.
        run_folder: the folder of the run.
    """
    write_config(config_folder, config)
    return [
        sys.executable,
        str(find_shipped_file("train.py")),
        f"--config-dir={config_folder.absolute()}",
        "--config-name=config",
        f"hydra.run.dir='{run_folder.absolute()}'",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
    ]
