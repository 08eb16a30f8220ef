"""Hydra launchers: the jobs of a sweep as processes packed on the devices of this machine, or as jobs of SLURM."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.jobs import (
    DONE,
    FAILED,
    JOB_LOG,
    PENDING,
    RUNNING,
    Job,
    JobFailed,
    write_job_table,
)
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, raise_when_asked_to_stop
from hybrid_ir.system.progress import PROGRESS_COLUMNS


class JobLauncher(Launcher):
    """Every job is a process of its own; as many run at once as there are devices or CPU slots for.

    Args:
        slots: CPU slots, each for one process of one thread; auto for the cores that this process may use.
        devices: GPUs to hand out, by number; auto for all.
        retry_failed: try jobs again that failed when the sweep was started before; those that are done are never run again.
    """

    def __init__(
        self,
        slots: int | str = "auto",
        devices: Sequence[int | str] | str = "auto",
        retry_failed: bool = False,
    ):
        self.slots = count_cores() if slots == "auto" else int(slots)
        if self.slots < 1:
            raise ValueError(f"hydra.launcher.slots={slots} must be at least 1, or auto")
        self.devices = list_gpus() if devices == "auto" else list(devices)
        self.retry_failed = retry_failed
        self.jobs: list[Job] = []

    def setup(self, *, hydra_context, task_function, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        place = Path(self.config.hydra.sweep.dir)
        with lock_folder(place):
            new = [
                self._job(place, overrides, initial_job_idx + i)
                for i, overrides in enumerate(job_overrides)
            ]
            self.jobs += new
            for job in new:
                job.remember(self.retry_failed)
            write_job_table(place, self.jobs)
            self._say_what_is_known(place, new)
            left = self._run_and_tell([job for job in new if job.state == PENDING], place)
            with (
                Progress(
                    *PROGRESS_COLUMNS, console=Console(stderr=True), transient=True
                ) as progress,
                closing(left) as running,
            ):
                task = progress.add_task(
                    "jobs",
                    total=len(new),
                    completed=sum(job.state in (DONE, FAILED) for job in new),
                )
                for job in running:
                    if job.state == FAILED:
                        progress.console.print(f"[red]job {job.folder.name} failed:[/] ", end="")
                        progress.console.print(
                            job.reason, markup=False, highlight=False, soft_wrap=True
                        )
                    progress.advance(task, job.state != RUNNING)
        return [to_job_return(job) for job in new]

    def _run_and_tell(self, waiting: list[Job], place: Path) -> Iterator[Job]:
        try:
            with closing(self.run(waiting)) as running:
                for job in running:
                    write_job_table(place, self.jobs)
                    yield job
        finally:
            write_job_table(place, self.jobs)

    def _say_what_is_known(self, place: Path, jobs: Sequence[Job]) -> None:
        done, failed = (sum(job.state == state for job in jobs) for state in (DONE, FAILED))
        if done or failed:
            again = ", not tried again without hydra.launcher.retry_failed=true" * bool(failed)
            print(f"{place}: of {len(jobs)} jobs {done} are done, {failed} failed{again}")

    def _job(self, place: Path, overrides: Sequence[str], number: int) -> Job:
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        before = HydraConfig.instance().cfg
        with read_write(cfg), open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
        try:
            HydraConfig.instance().set_config(cfg)
            folder = place / str(cfg.hydra.sweep.subdir)
            with (
                read_write(cfg),
                open_dict(cfg),
                read_write(cfg.hydra),
                read_write(cfg.hydra.runtime),
            ):
                cfg.hydra.runtime.output_dir = str(folder.absolute())
            HydraConfig.instance().set_config(cfg)
            with read_write(cfg), open_dict(cfg):
                del cfg["hydra"]
            job = Job.of(cfg, folder, overrides)
        finally:
            HydraConfig.instance().cfg = before
        job.processes = count_processes(job.config["trainer"], len(self.devices))
        return job

    def run(self, waiting: list[Job]) -> Iterator[Job]:
        """Start jobs in their order as devices get free, a later one first where an earlier one does not fit yet.

        Yields each job when it starts and when it ends.
        """
        free = {"cpu": list(range(self.slots)), "gpu": list(self.devices)}
        running: list[tuple[Job, str, list[int]]] = []
        raise_when_asked_to_stop()
        try:
            yield from self._fill(waiting, running, free)
        finally:  # asked to stop: so are the jobs, which save and go on when the sweep is started again
            for job, *_ in running:
                job.process.send_signal(signal.SIGTERM)
            for job, *_ in running:
                job.process.wait()
                job.conclude(job.process.returncode and REQUEUE_EXIT_CODE)

    def _fill(
        self, waiting: list[Job], running: list[tuple[Job, str, list[int]]], free: dict[str, list]
    ) -> Iterator[Job]:
        while waiting or running:
            for job in list(waiting):
                kind, wanted, most = self.needs(job)
                if len(free[kind]) >= min(wanted, most):
                    taken, free[kind] = free[kind][:wanted], free[kind][wanted:]
                    waiting.remove(job)
                    job.start(
                        {"CUDA_VISIBLE_DEVICES": ",".join(map(str, taken))} if kind == "gpu" else {}
                    )
                    running.append((job, kind, taken))
                    yield job
            for job, kind, taken in list(running):
                if job.ended():
                    running.remove((job, kind, taken))
                    free[kind] += taken
                    yield job
            time.sleep(0.1)

    def needs(self, job: Job) -> tuple[str, int, int]:
        """Which devices a job takes, how many, and how many there are: one that wants more gets all."""
        if job.config["trainer"]["accelerator"] in ("gpu", "cuda") or (
            job.config["trainer"]["accelerator"] == "auto" and self.devices
        ):
            return (
                "gpu",
                job.processes,
                len(self.devices),
            )  # 0 where there are none: the job then says so
        return "cpu", job.processes * job.config["threads"], self.slots


def to_job_return(job: Job) -> JobReturn:
    """A job as sweepers want to see it: its objective, or an error that is raised when they look."""
    ret = JobReturn(
        overrides=job.overrides,
        cfg=OmegaConf.create(job.config),
        working_dir=str(job.folder),
        task_name="train",
    )
    ret.status = JobStatus.COMPLETED if job.state == DONE else JobStatus.FAILED
    ret.return_value = (
        job.metric if job.state == DONE else JobFailed(f"job {job.folder.name}: {job.reason}")
    )
    return ret


def count_processes(trainer: dict[str, Any], devices: int) -> int:
    """How many processes of one machine a trainer has."""
    wanted = trainer["devices"]
    if isinstance(wanted, list):
        return len(wanted)
    return max(1, devices) if wanted in ("auto", -1, "-1") else int(wanted)


def list_gpus() -> list[int | str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if named := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [name.strip() for name in named.split(",")]
    import torch  # here, since Hydra loads this file whenever it starts

    return list(range(torch.cuda.device_count()))


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        while (
            code := self.process.poll()
        ) is None:  # not wait: its lock is held while checkpoint comes in by a signal
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

    def __init__(
        self,
        cluster: str = "slurm",
        retry_failed: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ):
        super().__init__(devices=(), retry_failed=retry_failed)
        self.cluster, self.parameters = cluster, dict(parameters or {})

    def run(self, waiting: list[Job]) -> Iterator[Job]:
        try:
            import submitit
        except ImportError as error:
            raise ValueError(
                "jobs of SLURM need submitit: pip install 'hybrid-ir[slurm]'"
            ) from error
        queue = Path(self.config.hydra.sweep.dir).absolute() / "submitit"
        executor = submitit.AutoExecutor(
            queue, cluster=self.cluster, slurm_max_num_timeout=REQUEUES
        )
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
