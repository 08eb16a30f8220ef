"""The jobs of a sweep as jobs of SLURM, through submitit."""

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_ir.runs.jobs import JOB_LOG, RUNNING, Job
from hybrid_ir.runs.launchers import JobLauncher

WATCH = 2  # seconds between two looks at the queue
REQUEUES = 1000  # of one job whose time was over


class RunCommand:
    """What runs on the cluster: the process of a job; it is asked to save before its time is over, and queued again."""

    def __init__(self, command: Sequence[str], log: Path):
        self.command, self.log = list(command), log
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        return self._end()

    def _end(self) -> int:
        while (code := self.process.poll()) is None:  # not wait: its lock is held while checkpoint comes in by a signal
            time.sleep(1)
        return code

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission
        if self.process is not None:
            self.process.send_signal(signal.SIGUSR1)
            self._end()
        return DelayedSubmission(RunCommand(self.command, self.log))


class SlurmLauncher(JobLauncher):
    """Every job is one of SLURM's, in its queue at once; a sweep that is started again finds those that still run.

    Args:
        cluster: slurm, or local to try it without a cluster.
        retry_failed: try jobs again that failed when the sweep was started before.
        parameters: of submitit, for every job: slurm_partition, timeout_min, gpus_per_node, cpus_per_task, mem_gb ...
    """

    def __init__(self, cluster: str = "slurm", retry_failed: bool = False, parameters: Mapping[str, Any] | None = None):
        super().__init__(devices=(), retry_failed=retry_failed)
        self.cluster, self.parameters = cluster, dict(parameters or {})

    def run(self, waiting: list[Job]) -> Iterator[Job]:
        try:
            import submitit
        except ImportError as error:
            raise ValueError("jobs of SLURM need submitit: pip install 'hybrid-ir[slurm]'") from error
        queue = Path(self.config.hydra.sweep.dir).absolute() / "submitit"
        executor = submitit.AutoExecutor(queue, cluster=self.cluster, slurm_max_num_timeout=REQUEUES)
        executor.update_parameters(name="hybrid-ir", tasks_per_node=1, **self.parameters)
        running = []
        for job in waiting:
            if job.queued_as and self.cluster == "slurm":
                handle, job.state = submitit.SlurmJob(queue, job.queued_as), RUNNING
            else:
                handle = executor.submit(RunCommand(job.command(), job.folder.absolute() / JOB_LOG))
                job.state, job.queued_as, job.started_at = RUNNING, handle.job_id, time.time()
                job.save()
            running.append((job, handle))
            yield job
        while running:
            for job, handle in list(running):
                if handle.done():
                    running.remove((job, handle))
                    job.conclude(handle.result() if handle.exception() is None else 1)
                    yield job
            time.sleep(WATCH)
