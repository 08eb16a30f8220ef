"""The jobs of a sweep: each a process of its own from its own resolved config, and a table of what became of them."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.conf import find_shipped_file
from hybrid_ir.runs.identity import hash_config
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from hybrid_ir.system.processes import WATCHER_VARIABLE

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
JOB_STATE, JOB_LOG = "job.json", "job.log"


class JobFailed(ValueError):
    """A job of a sweep failed, for the reason that it gave."""


@dataclass
class Job:
    """One run of a sweep, in a folder of its own; job.json there survives whoever started it."""

    folder: Path
    config: dict[str, Any]  # resolved
    overrides: list[str]
    config_hash: str
    processes: int = 1
    state: str = PENDING
    reason: str = ""
    metric: float | None = None
    seconds: float = 0.0
    queued_as: str = ""  # its number in the queue of a cluster
    started_at: float = field(default=0.0, repr=False)
    process: subprocess.Popen | None = field(default=None, repr=False)

    @classmethod
    def of(cls, cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> "Job":
        config = OmegaConf.to_container(cfg, resolve=True)
        return cls(folder, config, list(overrides), hash_config(cfg), config["trainer"]["devices"])

    def run(self) -> None:
        """Run it, unless it is done; ValueError with the reason where it fails."""
        self.remember(retry_failed=True)
        if self.state != DONE:
            self.start({})
            self.process.wait()
            self.ended()
        if self.state != DONE:
            raise JobFailed(f"job {self.folder.name}: {self.reason}")

    def remember(self, retry_failed: bool) -> None:
        """Take over what an earlier start of the sweep left: done stays done, failed too unless it is to be tried again."""
        path = self.folder / JOB_STATE
        known = json.loads(path.read_text()) if path.exists() else {"state": PENDING}
        if (self.folder / "metrics.json").exists() or known[
            "state"
        ] == DONE:  # without a benchmark there is no metrics.json
            self.state, self.metric = (
                DONE,
                read_objective(self.folder, self.config.get("objective")),
            )
            self.seconds = known.get("seconds", 0.0)
        elif known["state"] == FAILED and not retry_failed:
            self.state, self.reason, self.seconds = FAILED, known["reason"], known["seconds"]
        elif known["state"] == RUNNING:
            self.queued_as, self.started_at = known["queued_as"], known["started_at"]

    def command(self) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return [*build_train_command(self.config, self.folder, self.folder), "resume=auto"]

    def start(self, environment: dict[str, str]) -> None:
        command = self.command()
        with open(self.folder / JOB_LOG, "ab") as log:
            # a session of its own: Ctrl-C comes to it through the launcher, as a request to save and stop
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "COLUMNS": "150",
                    **environment,
                    WATCHER_VARIABLE: str(os.getpid()),
                },
            )
        self.state, self.reason, self.started_at = RUNNING, "", time.time()
        self.save()

    def ended(self) -> bool:
        """Whether it has ended by now; its state then says how."""
        if self.process.poll() is None:
            return False
        self.conclude(self.process.returncode)
        return True

    def conclude(self, code: int) -> None:
        self.seconds = time.time() - self.started_at
        if code == 0:
            self.state, self.metric = (
                DONE,
                read_objective(self.folder, self.config.get("objective")),
            )
        elif code == REQUEUE_EXIT_CODE:
            self.state, self.reason = (
                PENDING,
                "it was asked to stop, and goes on when the sweep is started again",
            )
        else:
            self.state, self.reason = FAILED, find_failure_reason(self.folder / JOB_LOG, code)
        self.save()

    def save(self) -> None:
        write_text_atomically(self.folder / JOB_STATE, json.dumps(self.row()))

    def row(self) -> dict[str, Any]:
        """What the table of the sweep says of it."""
        shown = (
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
        return {"job": self.folder.name, **{key: getattr(self, key) for key in shown}}


def find_failure_reason(log: Path, code: int) -> str:
    """The last error that a job reported, or how it ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines if line.startswith("error: ")]
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return errors[-1].removeprefix("error: ") if errors else f"exit code {code}, see {log}"


def read_objective(folder: Path, name: str | None) -> float | None:
    """A logged value where the run was best by its validation loss (the last one where there is none); None if never logged."""
    path = folder / "metrics.jsonl"
    if not name or not path.exists():
        return None
    rows = [
        row
        for row in map(json.loads, path.read_text().splitlines())
        if name in row and math.isfinite(row[name])
    ]
    if not rows:
        return None
    return min(reversed(rows), key=lambda row: row.get("val/loss", 0.0))[name]


def write_job_table(folder: Path, jobs: Sequence[Job]) -> None:
    """jobs.json of the sweep folder."""
    write_text_atomically(folder / "jobs.json", json.dumps([job.row() for job in jobs], indent=2))


def build_train_command(
    config: dict[str, Any], place: Path, folder: Path, *more: str
) -> Sequence[str]:
    """The command that runs a resolved config, which is written to a place, in a run folder."""
    (place / "config.yaml").write_text(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    return [
        sys.executable,
        str(find_shipped_file("train.py")),
        f"--config-dir={place.absolute()}",
        "--config-name=config",
        f"hydra.run.dir='{folder.absolute()}'",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        *more,
    ]
