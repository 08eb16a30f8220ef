"""After a multirun: say which jobs failed and why, and compare the others in one table."""

import atexit
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

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
    from hybrid_ir.runs.sweep_comparison import print_sweep_table

    print_sweep_table(folder, Console())
