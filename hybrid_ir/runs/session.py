"""How a run starts: in this process or in several, anew or from its newest checkpoint."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.saved_encoder import can_save_encoder, save_encoder
from hybrid_ir.runs.building import build, require_own_benchmark
from hybrid_ir.runs.folder import (
    find_checkpoint,
    lock_folder,
    require_checkpoint_choice,
    write_run_description,
)
from hybrid_ir.runs.identity import find_cluster_job_id
from hybrid_ir.runs.jobs import Job, build_train_command
from hybrid_ir.runs.resuming import (
    fingerprint_content,
    require_continuable,
    require_continued_content,
    require_same_content,
    require_same_experiment,
    write_content,
)
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, RankProcesses
from hybrid_ir.training.checkpoints import (
    SavedCheckpoint,
    drop_logged_steps,
    find_newest_checkpoint,
    load_encoder_weights,
)
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.training.loading import ENCODER_FOLDER
from hybrid_ir.types import Corpus

# How long to wait, in seconds, until the processes of a killed run have let its folder go.
TAKEOVER_SECONDS = 10
# Other libraries take a folder for a model by its config.json, and print its type if they do not
# know it. So they say what a run folder is, and how it becomes a model.
SIGNPOST = (
    "none, since this is a run folder of hybrid-ir: `hybrid-ir export checkpoint=RUN "
    "to=MODEL` writes a folder that transformers and sentence-transformers load"
)


@dataclass(frozen=True)
class RunSession:
    """What is left to do of a run.

    Attributes:
        folder: of the run.
        is_complete: nothing is left: the folder has all results that the config asks for.
        needs_training: the training has not ended, or not begun.
        resume_from: the checkpoint file from which the training goes on with everything; None to
            start anew.
        goes_on_in_folder: that checkpoint is one of this very run.
        weights_from: the checkpoint file whose weights a new training starts from, and nothing
            else of it; None for the weights that the model is built with.
        measured_place: the run folder or checkpoint file that is measured; None measures the
            encoder as it was built.
        test_checkpoint: which checkpoint of a run folder is measured, best or last.
    """

    folder: Path
    is_complete: bool
    needs_training: bool
    resume_from: str | None
    goes_on_in_folder: bool
    weights_from: str | None
    measured_place: str | Path | None
    test_checkpoint: str

    def find_checkpoint_to_measure(self) -> str | None:
        """Finds the checkpoint file that is measured, once the training has ended."""
        return find_checkpoint(self.measured_place, self.test_checkpoint)

    def load_starting_weights(self, encoder: BiEncoder) -> None:
        """Gives an encoder the weights that a new training starts from, if they are of a run.

        Raises:
            ValueError: the weights are of another encoder.
        """
        if self.weights_from is None:
            return
        step, differences = load_encoder_weights(Path(self.weights_from), encoder)
        if rank_zero_only.rank == 0 and self.resume_from is None:
            print(f"starts from the weights of {self.weights_from}, step {step}")
            if differences:
                print(f"they were trained with {'; '.join(differences)}")

    def require_same_content(self, data: RetrievalData, corpus: Corpus, encoder: BiEncoder) -> None:
        """Compares what the run reads with what it read before, and says if it is complete.

        Args:
            data: with the benchmarks of the run.
            corpus: that is trained on.
            encoder: with the weights that the training starts from.

        Raises:
            ValueError: names what has changed since the run was started.
        """
        if rank_zero_only.rank > 0:
            return
        content = fingerprint_content(data, corpus, encoder)
        if self.goes_on_in_folder:
            require_same_content(self.folder, content)
        elif self.resume_from is not None:
            require_continued_content(self.resume_from, content)
        if self.is_complete:
            print(
                f"complete: {self.folder} has the results; resume=never starts a new run beside it"
            )
        else:
            write_content(self.folder, content)

    def keep_encoder(self, encoder: BiEncoder) -> None:
        """Writes the encoder without its weights into the run folder, where it is not there yet.

        So the folder is all that a checkpoint needs on another machine. Other libraries are told
        what the folder is.
        """
        if rank_zero_only.rank > 0:
            return
        text = json.dumps({"model_type": SIGNPOST})
        write_text_atomically(self.folder / "config.json", text)
        folder = self.folder / ENCODER_FOLDER
        if not folder.exists() and can_save_encoder(encoder):
            save_encoder(encoder, folder)


@contextmanager
def open_run(cfg: DictConfig, folder: Path) -> Iterator[RunSession]:
    """Opens the folder of a run for this process, or for the ranks that work on the run together.

    Rank 0 prepares the folder: it describes the run, and when the run is resumed it drops what
    was logged after the checkpoint. While the run is open no other run can write to the folder.

    Args:
        cfg: the whole config of the run.
        folder: the run folder.

    Raises:
        ValueError: a choice does not exist, there is no checkpoint at `ckpt_path` or `resume_from`,
            or the folder holds a run that is not to be resumed, or another experiment.
    """
    _require_known_choices(cfg)
    raise_when_asked_to_stop()
    is_rank_zero = rank_zero_only.rank == 0
    is_watched = FAILURE_FOLDER_VARIABLE in os.environ  # The watching process holds the folder.
    needs_lock = is_rank_zero and not is_watched
    with lock_folder(folder, TAKEOVER_SECONDS) if needs_lock else nullcontext():
        if cfg.resume == "never":
            _require_no_run(folder)
        newest = _find_checkpoint_to_resume(cfg, folder)
        session = _plan_session(cfg, folder, newest)
        if is_rank_zero:
            _prepare_folder(cfg, folder, newest, session)
        yield session


def _require_known_choices(cfg: DictConfig) -> None:
    """Refuses wrong values before the training, not after it."""
    if cfg.resume not in ("never", "auto"):
        raise ValueError(f"resume={cfg.resume!r} must be never or auto")
    for key in ("fit", "cache_gradients"):
        if not isinstance(cfg[key], bool):
            raise ValueError(f"{key}={cfg[key]!r} must be true or false")
    if cfg.trainer.get("use_distributed_sampler"):
        raise ValueError(
            "trainer.use_distributed_sampler=true would replace the sampler of hybrid-ir, which "
            "plans the global batch of all processes itself: leave it false"
        )
    require_own_benchmark(cfg.get("validation"))
    require_own_benchmark(cfg.get("benchmark"))
    require_checkpoint_choice(cfg.test_checkpoint)
    if cfg.resume_from is not None and (cfg.ckpt_path is not None or not cfg.fit):
        raise ValueError(
            f"resume_from={cfg.resume_from} goes on with everything of a run, so it needs fit=true "
            "and no ckpt_path, which takes the weights alone"
        )


def _require_no_run(folder: Path) -> None:
    has_checkpoints = any((folder / "checkpoints").glob("*.ckpt"))
    if has_checkpoints or _has_results(folder):
        raise ValueError(
            f"{folder} holds a run already: go on in it with resume=auto, or give another "
            "hydra.run.dir="
        )


def _has_results(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def _find_checkpoint_to_resume(cfg: DictConfig, folder: Path) -> SavedCheckpoint | None:
    """Returns the newest checkpoint of an earlier start of this run, if there is any."""
    if cfg.resume != "auto" or not cfg.fit:
        return None
    return find_newest_checkpoint(folder, cfg.trainer.max_steps)


def _plan_session(cfg: DictConfig, folder: Path, newest: SavedCheckpoint | None) -> RunSession:
    # Looked up even if they are not used, so that a wrong path is found before the training.
    weights = find_checkpoint(cfg.ckpt_path, cfg.test_checkpoint)
    continued = find_checkpoint(cfg.resume_from, "last")
    config = OmegaConf.to_container(cfg, resolve=True)
    training_has_ended = newest is not None and newest.ended
    # Results are written after the end of a training only.
    is_complete = _has_results(folder) or (training_has_ended and not cfg.benchmark)
    goes_on_in_folder = newest is not None or is_complete
    if goes_on_in_folder:
        require_same_experiment(folder, config)
    elif continued is not None:
        require_continuable(continued, config)
    if newest is not None:
        continued = str(newest.path)
    return RunSession(
        folder=folder,
        is_complete=is_complete,
        needs_training=cfg.fit and not training_has_ended,
        resume_from=continued,
        goes_on_in_folder=goes_on_in_folder,
        weights_from=weights if cfg.fit else None,
        measured_place=folder if cfg.fit else cfg.ckpt_path,
        test_checkpoint=cfg.test_checkpoint,
    )


def _prepare_folder(
    cfg: DictConfig, folder: Path, newest: SavedCheckpoint | None, session: RunSession
) -> None:
    if session.is_complete:
        return
    if cfg.resume == "auto" and cfg.fit:
        for unfinished in (folder / "checkpoints").glob(".*.writing"):  # Of a killed process.
            unfinished.unlink()
        drop_logged_steps(folder, 0 if newest is None else newest.step)
        start = "from the start: no checkpoint there" if newest is None else str(newest)
        print(f"resume: {folder}, {start}")
    write_run_description(folder, OmegaConf.to_container(cfg, resolve=True))


def count_processes_to_start(trainer: DictConfig) -> int:
    """Counts the processes that a run has on this machine and that are still to be started.

    Args:
        trainer: the config of the trainer.

    Returns:
        1 if this process trains by itself, or if it is one of several already.

    Raises:
        ValueError: the trainer wants several machines, which this process cannot start.
    """
    if _is_one_of_several():
        return 1
    if "SLURM_NTASKS" in os.environ:
        # A job of one task: the processes that we start are no tasks of SLURM, and Lightning does
        # not look for such tasks in an interactive job.
        os.environ["SLURM_JOB_NAME"] = "interactive"
    probe = build(trainer)(logger=False, enable_checkpointing=False)
    if probe.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={probe.num_nodes}: processes of several machines are started by "
            "torchrun or srun, see docs/scaling.md"
        )
    starts_processes = probe.strategy.launcher is not None
    return probe.num_devices if starts_processes else 1


def _is_one_of_several() -> bool:
    return (
        FAILURE_FOLDER_VARIABLE in os.environ
        or "LOCAL_RANK" in os.environ
        or find_cluster_job_id() is not None
    )


def run_in_processes(cfg: DictConfig, folder: Path) -> bool:
    """Runs an experiment in other processes, where it needs them, and watches these.

    A job of a sweep is a process of its own, whichever launcher of Hydra starts it. A trainer with
    several devices has a process for each.

    Args:
        cfg: the whole config of the run.
        folder: the run folder.

    Returns:
        True if the experiment was run and nothing is left to do for this process.

    Raises:
        RanksEnded: one of the ranks failed, or they were asked to stop.
        ValueError: a job of a sweep failed.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        Job.from_config(cfg, folder, HydraConfig.get().overrides.task).run()
        return True
    count = count_processes_to_start(cfg.trainer)
    if count == 1:
        return False
    with lock_folder(folder, TAKEOVER_SECONDS):
        ranks = RankProcesses(count)
        config = OmegaConf.to_container(cfg, resolve=True)
        ranks.start(build_train_command(config, ranks.folder, folder))
        ranks.wait()
    return True
