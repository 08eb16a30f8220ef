"""How a run starts: in a folder that is its own, anew or from the newest checkpoint that it left there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.folder import find_checkpoint, lock_folder, write_run_description
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE
from hybrid_ir.training.checkpoints import drop_logged_steps, find_newest_checkpoint

TAKEOVER = 10  # seconds that the processes of a killed run may take to let its folder go


@dataclass(frozen=True)
class RunStart:
    """What is left to do of a run."""

    folder: Path
    trains: bool
    start: str | None  # checkpoint
    complete: bool = False
    reports: bool = True  # this process writes what is to be read; the other ranks of a run do not
    test_checkpoint: str = "best"

    def measured(self, fit: bool) -> str | None:
        """The checkpoint to measure."""
        return find_checkpoint(self.folder, self.test_checkpoint) if fit else self.start


@contextmanager
def open_run(cfg: DictConfig, folder: Path) -> Iterator[RunStart]:
    """The run in its folder, for this process alone.

    Raises:
        ValueError: a choice that does not exist, or a folder that holds a run which is not to be resumed.
    """
    if cfg.resume not in ("never", "auto"):
        raise ValueError(f"resume={cfg.resume!r} must be never or auto")
    find_checkpoint(
        None, cfg.test_checkpoint
    )  # a wrong choice is said before the training, not after it
    raise_when_asked_to_stop()
    main = rank_zero_only.rank == 0
    watched = FAILURE_FOLDER_VARIABLE in os.environ  # the process that watches owns the folder
    with lock_folder(folder, wait=TAKEOVER) if main and not watched else nullcontext():
        start = find_start(cfg, folder, main)
        if main and start.complete:
            print(f"complete: {folder} has the results; resume=never starts a new run beside it")
        elif main:
            write_run_description(folder, OmegaConf.to_container(cfg, resolve=True))
        yield start


def find_start(cfg: DictConfig, folder: Path, main: bool) -> RunStart:
    checkpoint = find_checkpoint(cfg.ckpt_path, "last" if cfg.fit else cfg.test_checkpoint)
    measured, newest = (folder / "metrics.json").exists(), None
    if cfg.resume == "never" and (measured or any((folder / "checkpoints").glob("*.ckpt"))):
        raise ValueError(
            f"{folder} holds a run already: go on in it with resume=auto, or give another hydra.run.dir="
        )
    if cfg.resume == "auto" and not measured:
        newest = find_newest_checkpoint(folder, cfg.trainer.max_steps) if cfg.fit else None
        if main and cfg.fit:
            for left in (folder / "checkpoints").glob(".*.writing"):  # by a process that was killed
                left.unlink()
            drop_logged_steps(folder, newest.step if newest else 0)
            print(f"resume: {folder}, {newest or 'from the start: no checkpoint there'}")
    return RunStart(
        folder,
        trains=cfg.fit and not (newest and newest.ended),
        start=str(newest.path) if newest else checkpoint,
        complete=measured or bool(newest and newest.ended and not cfg.benchmark),
        reports=main,
        test_checkpoint=cfg.test_checkpoint,
    )
