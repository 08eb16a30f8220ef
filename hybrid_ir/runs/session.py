"""How a run starts: what is left to do in its folder, anew or from its newest checkpoint."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.folder import (
    find_checkpoint,
    lock_folder,
    require_checkpoint_choice,
    write_run_description,
)
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE
from hybrid_ir.training.checkpoints import (
    SavedCheckpoint,
    drop_logged_steps,
    find_newest_checkpoint,
)

# How long to wait, in seconds, until the processes of a killed run have let its folder go.
TAKEOVER_SECONDS = 10


@dataclass(frozen=True)
class RunSession:
    """What is left to do of a run.

    Attributes:
        is_complete: nothing is left: the folder has all results that the config asks for.
        needs_training: the training has not ended, or not begun.
        resume_from: the checkpoint file from which the training goes on; None to start anew.
        measured_place: the run folder or checkpoint file that is measured; None measures the
            encoder as it was built.
        test_checkpoint: which checkpoint of a run folder is measured, best or last.
    """

    is_complete: bool
    needs_training: bool
    resume_from: str | None
    measured_place: str | Path | None
    test_checkpoint: str

    def checkpoint_to_measure(self) -> str | None:
        """Finds the checkpoint file that is measured, once the training has ended."""
        return find_checkpoint(self.measured_place, self.test_checkpoint)


@contextmanager
def open_run(cfg: DictConfig, folder: Path) -> Iterator[RunSession]:
    """Opens the folder of a run for this process, or for the ranks that work on the run together.

    Rank 0 prepares the folder: it describes the run, and when the run is resumed it drops what
    was logged after the checkpoint. While the run is open no other run can write to the folder.

    Args:
        cfg: the whole config of the run.
        folder: the run folder.

    Raises:
        ValueError: a choice does not exist, there is no checkpoint at `ckpt_path`, or the folder
            holds a run that is not to be resumed.
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
    require_checkpoint_choice(cfg.test_checkpoint)


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
    """The newest checkpoint of an earlier start of this run, if training can go on from it."""
    if cfg.resume != "auto" or not cfg.fit or _has_results(folder):
        return None
    return find_newest_checkpoint(folder, cfg.trainer.max_steps)


def _plan_session(cfg: DictConfig, folder: Path, newest: SavedCheckpoint | None) -> RunSession:
    # Looked up even if it is not used, so that a wrong path is found before the training.
    chosen = find_checkpoint(cfg.ckpt_path, "last" if cfg.fit else cfg.test_checkpoint)
    training_has_ended = newest is not None and newest.ended
    is_complete = _has_results(folder) or (training_has_ended and not cfg.benchmark)
    resume_from = str(newest.path) if newest is not None else chosen
    return RunSession(
        is_complete=is_complete,
        needs_training=cfg.fit and not training_has_ended,
        resume_from=resume_from if cfg.fit else None,
        measured_place=folder if cfg.fit else cfg.ckpt_path,
        test_checkpoint=cfg.test_checkpoint,
    )


def _prepare_folder(
    cfg: DictConfig, folder: Path, newest: SavedCheckpoint | None, session: RunSession
) -> None:
    if cfg.resume == "auto" and cfg.fit and not _has_results(folder):
        for unfinished in (folder / "checkpoints").glob(".*.writing"):  # Of a killed process.
            unfinished.unlink()
        drop_logged_steps(folder, 0 if newest is None else newest.step)
        start = "from the start: no checkpoint there" if newest is None else str(newest)
        print(f"resume: {folder}, {start}")
    if session.is_complete:
        print(f"complete: {folder} has the results; resume=never starts a new run beside it")
    else:
        write_run_description(folder, OmegaConf.to_container(cfg, resolve=True))
