"""Hydra launchers: the jobs of a sweep as processes of this machine, or as jobs of SLURM."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.jobs import JOB_LOG_FILE, Job, JobFailed, JobState, write_job_table
from hybrid_ir.system.hardware import AUTO, CHOSEN_VARIABLE, THREADS_VARIABLE, count_cores
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, raise_when_asked_to_stop
from hybrid_ir.system.progress import PROGRESS_COLUMNS, show_progress

# Seconds between two looks at the processes of this machine, and at the queue of a cluster.
PROCESS_POLL_SECONDS = 0.1
QUEUE_POLL_SECONDS = 2
# How often SLURM may queue a job again because its time was over.
MAX_REQUEUES = 1000


@dataclass(frozen=True)
class DeviceRequest:
    """What a job needs to run: so many devices of a kind, `cpu` slots or `gpu`."""

    kind: str
    count: int


@dataclass(frozen=True)
class RunningJob:
    """A job that runs, and the devices that it has."""

    job: Job
    kind: str
    devices: list[int | str]


def parse_slots(value: int | str) -> int:
    """Returns a number of CPU slots. Raises ValueError if it is no whole number from 1."""
    if not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"slots={value} must be a whole number from 1, or auto")
    return int(value)


class JobLauncher(Launcher):
    """Runs every job in a process of its own, as many at once as there are devices.

    Args:
        slots: CPU slots, each for one thread of one process; auto for the number of cores that
            this process may use.
        devices: the GPUs to hand out, by number; auto for all.
        retry_failed: whether jobs run again that failed when the sweep was started before. Jobs
            that are done never run again.
    """

    def __init__(
        self,
        slots: int | str = "auto",
        devices: Sequence[int | str] | str = "auto",
        retry_failed: bool = False,
    ):
        self.slots = count_cores() if slots == "auto" else parse_slots(slots)
        self.chosen_devices = devices
        self.retry_failed = retry_failed
        self.jobs: list[Job] = []

    @cached_property
    def devices(self) -> list[int | str]:
        """The GPUs to hand out; looked for when a job has a config, since that loads torch."""
        return list_gpus() if self.chosen_devices == "auto" else list(self.chosen_devices)

    def setup(self, *, hydra_context, task_function, config: DictConfig) -> None:
        """Keeps what Hydra hands to a launcher before the first job."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs jobs and waits for all of them; those that are done already are not run.

        Args:
            job_overrides: the choices of each job, as on the command line.
            initial_job_idx: the number of the first job in the sweep.
        """
        folder = Path(self.config.hydra.sweep.dir)
        with lock_folder(folder):
            jobs = []
            for offset, overrides in enumerate(job_overrides):
                job = self._create_job(folder, overrides, initial_job_idx + offset)
                job.restore_state(self.retry_failed)
                jobs.append(job)
            self.jobs += jobs
            write_job_table(folder, self.jobs)
            _print_known_states(folder, jobs)
            self._run_with_progress(jobs, folder)
        return [to_job_return(job) for job in jobs]

    def _create_job(self, sweep_folder: Path, overrides: Sequence[str], number: int) -> Job:
        """Composes the config of a job as Hydra's own launchers do."""
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with read_write(cfg), open_dict(cfg):
            cfg.hydra.job.id = number
            cfg.hydra.job.num = number
        previous = HydraConfig.instance().cfg
        try:
            # Interpolations of `hydra:` are resolved from what HydraConfig holds.
            HydraConfig.instance().set_config(cfg)
            folder = sweep_folder / str(cfg.hydra.sweep.subdir)
            with read_write(cfg), open_dict(cfg), read_write(cfg.hydra.runtime):
                cfg.hydra.runtime.output_dir = str(folder.absolute())
            HydraConfig.instance().set_config(cfg)
            with read_write(cfg), open_dict(cfg):
                del cfg["hydra"]
            job = Job.from_config(cfg, folder, overrides)
        finally:
            HydraConfig.instance().cfg = previous
        job.processes = count_processes(job.config["trainer"], len(self.devices))
        return job

    def _run_with_progress(self, jobs: Sequence[Job], folder: Path) -> None:
        """Runs the pending jobs under a progress bar, and prints why a job failed."""
        pending = [job for job in jobs if job.state == JobState.PENDING]
        progress = Progress(*PROGRESS_COLUMNS, console=Console(stderr=True), transient=True)
        finished = len(jobs) - len(pending)
        with (
            progress,
            show_progress("jobs", len(jobs), finished, is_small=True) as work,
            closing(self._run_with_table(pending, folder)) as changes,
        ):
            task = progress.add_task("jobs", total=len(jobs), completed=finished)
            for job in changes:
                if job.state == JobState.FAILED:
                    name = job.folder.name
                    progress.console.print(f"[red]job {name} failed:[/] ", end="")
                    progress.console.print(
                        job.reason, markup=False, highlight=False, soft_wrap=True
                    )
                if job.state != JobState.RUNNING:
                    progress.advance(task)
                    work.advance()

    def _run_with_table(self, pending: list[Job], folder: Path) -> Iterator[Job]:
        """Runs jobs, and writes the table of the sweep whenever one starts or ends."""
        try:
            with closing(self.run(pending)) as changes:
                for job in changes:
                    write_job_table(folder, self.jobs)
                    yield job
        finally:
            write_job_table(folder, self.jobs)

    def run(self, pending: list[Job]) -> Iterator[Job]:
        """Starts jobs in their order as devices get free.

        A later job starts first if an earlier one does not fit yet. When the iteration is closed
        before all have ended, the others are asked to save and stop.

        Args:
            pending: the jobs; those that were started are removed from the list.

        Yields:
            Each job when it has started, and again when it has ended.
        """
        free = {"cpu": list(range(self.slots)), "gpu": list(self.devices)}
        running: list[RunningJob] = []
        raise_when_asked_to_stop()
        try:
            while pending or running:
                for job in list(pending):
                    started = self._start_if_it_fits(job, free)
                    if started is not None:
                        pending.remove(job)
                        running.append(started)
                        yield job
                for current in list(running):
                    if current.job.has_ended():
                        running.remove(current)
                        free[current.kind] += current.devices
                        yield current.job
                time.sleep(PROCESS_POLL_SECONDS)
        finally:
            _stop_jobs(running)

    def _start_if_it_fits(self, job: Job, free: dict[str, list]) -> RunningJob | None:
        """Starts a job and takes its devices, or returns None if too few are free."""
        request = self.find_request(job)
        available = free[request.kind]
        if len(available) < request.count:
            return None
        devices = available[: request.count]
        free[request.kind] = available[request.count :]
        environment = {}
        if request.kind == "gpu":
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
        elif job.config["threads"] == AUTO:
            # Jobs beside each other use the cores better than threads inside of one.
            environment[THREADS_VARIABLE] = "1"
            environment[CHOSEN_VARIABLE] = ""
        job.start(environment)
        return RunningJob(job, request.kind, devices)

    def find_request(self, job: Job) -> DeviceRequest:
        """Finds which devices a job needs; one that wants more than there are gets all.

        A job that wants a GPU where there is none is started without one, and then says so.
        """
        accelerator = job.config["trainer"]["accelerator"]
        needs_gpu = accelerator in ("gpu", "cuda")
        if accelerator == "auto" and self.devices:
            needs_gpu = True
        if needs_gpu:
            return DeviceRequest("gpu", min(job.processes, len(self.devices)))
        threads = job.config["threads"]
        threads_per_process = 1 if threads == AUTO else threads
        return DeviceRequest("cpu", min(job.processes * threads_per_process, self.slots))


def _print_known_states(folder: Path, jobs: Sequence[Job]) -> None:
    done = sum(job.state == JobState.DONE for job in jobs)
    failed = sum(job.state == JobState.FAILED for job in jobs)
    if not done and not failed:
        return
    cure = ", not tried again without hydra.launcher.retry_failed=true" if failed else ""
    print(f"{folder}: of {len(jobs)} jobs {done} are done, {failed} failed{cure}")


def _stop_jobs(running: Sequence[RunningJob]) -> None:
    """Asks jobs to save and stop, and waits; they go on when the sweep is started again."""
    for current in running:
        current.job.process.send_signal(signal.SIGTERM)
    for current in running:
        code = current.job.process.wait()
        current.job.conclude(0 if code == 0 else REQUEUE_EXIT_CODE)


def to_job_return(job: Job) -> JobReturn:
    """Turns a job into what sweepers expect: its objective, or an error that they raise."""
    result = JobReturn(
        overrides=job.overrides,
        cfg=OmegaConf.create(job.config),
        working_dir=str(job.folder),
        task_name="train",
    )
    if job.state == JobState.DONE:
        result.status = JobStatus.COMPLETED
        result.return_value = job.metric
    else:
        result.status = JobStatus.FAILED
        result.return_value = JobFailed(f"job {job.folder.name}: {job.reason}")
    return result


def count_processes(trainer: Mapping[str, Any], gpus: int) -> int:
    """Counts the processes that a trainer has on one machine.

    Args:
        trainer: the resolved config of the trainer.
        gpus: how many GPUs the machine has.
    """
    devices = trainer["devices"]
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        return max(1, gpus)
    return int(devices)


def list_gpus() -> list[int | str]:
    """Lists the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return [name.strip() for name in visible.split(",")]
    import torch  # Here, since Hydra loads this file at every start.

    return list(range(torch.cuda.device_count()))


class RunCommand:
    """What SLURM runs: the process of a job.

    Before the time of the job is over, submitit calls `checkpoint`: the process is asked to save,
    and the job is queued again.

    Args:
        command: the command of the process.
        log: the file to which the process writes.
    """

    def __init__(self, command: Sequence[str], log: Path):
        self.command = list(command)
        self.log = log
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Runs the process and returns its exit code."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        return self._wait()

    def checkpoint(self) -> Any:
        """Asks the process to save and stop; returns what submitit shall queue instead."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.send_signal(signal.SIGUSR1)
            self._wait()
        return DelayedSubmission(RunCommand(self.command, self.log))

    def _wait(self) -> int:
        # Not Popen.wait, which holds a lock: submitit calls `checkpoint` from the handler of a
        # signal, in the middle of this loop.
        while self.process.poll() is None:
            time.sleep(1)
        return self.process.returncode


class SlurmLauncher(JobLauncher):
    """Runs every job as a job of SLURM; all are in its queue at once.

    A sweep that is started again finds the jobs that are still queued or running.

    Args:
        cluster: slurm, or local to try it without a cluster.
        retry_failed: whether jobs run again that failed when the sweep was started before.
        parameters: what submitit shall ask of SLURM for every job, such as slurm_partition,
            timeout_min, gpus_per_node, cpus_per_task or mem_gb.
    """

    def __init__(
        self,
        cluster: str = "slurm",
        retry_failed: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ):
        super().__init__(devices=(), retry_failed=retry_failed)
        self.cluster = cluster
        self.parameters = {} if parameters is None else dict(parameters)

    def run(self, pending: list[Job]) -> Iterator[Job]:
        """Queues all jobs and waits for them.

        Yields:
            Each job when it is queued, and again when it has ended.
        """
        try:
            import submitit
        except ImportError as error:
            raise ValueError(
                "jobs of SLURM need submitit: pip install 'hybrid-ir[slurm]'"
            ) from error
        queue = Path(self.config.hydra.sweep.dir).absolute() / "submitit"
        executor = submitit.AutoExecutor(
            queue, cluster=self.cluster, slurm_max_num_timeout=MAX_REQUEUES
        )
        executor.update_parameters(name="hybrid-ir", tasks_per_node=1, **self.parameters)
        running = []
        for job in pending:
            if job.queued_as and self.cluster == "slurm":
                handle = submitit.SlurmJob(queue, job.queued_as)
                job.state = JobState.RUNNING
            else:
                log = job.folder.absolute() / JOB_LOG_FILE
                handle = executor.submit(RunCommand(job.build_command(), log))
                job.mark_running(queued_as=handle.job_id)
            running.append((job, handle))
            yield job
        while running:
            for job, handle in list(running):
                if handle.done():
                    running.remove((job, handle))
                    was_run = handle.exception() is None
                    job.conclude(handle.result() if was_run else 1)
                    yield job
            time.sleep(QUEUE_POLL_SECONDS)
