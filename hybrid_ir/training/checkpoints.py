"""Checkpoints that are whole or not there."""

import json
import os
import shutil
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch import nn

from hybrid_ir.distributed import gather_uneven
from hybrid_ir.files.atomic import write_atomically, write_text_atomically
from hybrid_ir.system.interruption import Interrupted, StopRequests

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, to the disk, and moves it there; reads one only if its checksums hold."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with write_atomically(path) as beside:
                with open(beside, "wb") as file:
                    torch.save(checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                if (
                    path.name == LAST and path.exists()
                ):  # a second one, for a disk that loses what it had written
                    os.replace(path, path.with_name(PREVIOUS))
            sync_folder(path.parent)
        except (
            OSError,
            RuntimeError,
        ) as error:  # torch's writer says RuntimeError where the disk is full
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                f"the checkpoint of step {checkpoint.get('global_step')} could not be written to {path} "
                f"({str(error).splitlines()[0]}; {free / 2**20:,.0f} MiB are free): the run stops, the checkpoints "
                "before it are whole. Free some space and go on from them with resume=auto"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


class LastCheckpoint(Checkpoint):
    """`last.ckpt`: every so many steps, when somebody asks the run to stop (SIGTERM, SIGUSR1, SIGUSR2), and when training ends.

    It is written before a step rather than after one, so that what follows a step (validation, its log, early stopping) is in
    it, and a run that goes on from it repeats and misses nothing.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int):
        if every_n_train_steps < 1:
            raise ValueError(
                f"callbacks.checkpoint_last.every_n_train_steps={every_n_train_steps} must be at least 1"
            )
        self.path, self.every = Path(dirpath) / LAST, every_n_train_steps
        self.ended, self.saved_at = False, 0
        self.requests = StopRequests()

    def state_dict(self) -> dict[str, bool]:
        return {"ended": self.ended}

    def on_fit_start(self, trainer, module) -> None:
        if trainer.is_global_zero:
            require_disk_space(self.path.parent, module)

    def on_train_start(self, trainer, module) -> None:
        self.ended, self.saved_at = False, trainer.global_step
        steps = gather_uneven(torch.tensor([trainer.global_step])).tolist()
        if len({*steps}) > 1:
            raise ValueError(
                f"the processes of this run found checkpoints of different steps ({steps}): the run folder must be "
                "on a disk that all see alike; start it again"
            )
        self.requests.listen()

    def on_train_batch_start(self, trainer, module, batch, batch_idx: int) -> None:
        step, loop = trainer.global_step, trainer.fit_loop.epoch_loop
        # Lightning counts one too many after a restart: rows of the log and validations would come a step too late or early
        loop._batches_that_stepped, loop.batch_progress.total.ready = step, batch_idx + 1
        if (
            batch_idx % trainer.accumulate_grad_batches
        ):  # gradients that wait for their step are in no checkpoint
            return
        asked = self.requests.heard_by_any()
        if step > self.saved_at and (asked or step % self.every == 0):
            self._save(trainer)
        if asked:
            raise Interrupted(
                f"asked to stop at step {step} of {trainer.max_steps}: saved, resume=auto goes on from there"
            )

    def on_train_end(self, trainer, module) -> None:
        self.ended = True
        self._save(trainer)
        self.requests.obey_at_once()

    def on_test_start(self, trainer, module) -> None:
        self.requests.obey_at_once()

    def on_exception(self, trainer, module, exception: BaseException) -> None:
        exception.step = trainer.global_step  # for the one message that says where the run failed

    def _save(self, trainer) -> None:
        trainer.save_checkpoint(self.path, False)  # not the weights alone: training can go on
        self.saved_at = trainer.global_step


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`, the best validation so far; it stays the best when the run folder is moved."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        here = Path(self.dirpath) / BEST
        if here.exists():
            score = state["best_model_score"]
            state = state | {
                "dirpath": self.dirpath,
                "best_model_path": str(here),
                "kth_best_model_path": str(here),
                "best_k_models": {str(here): score},
            }
        super().load_state_dict(state)


def sync_folder(folder: Path) -> None:
    """Bring the names of the files of a folder to the disk, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What a checkpoint holds, as plain values.

    Raises:
        ValueError: it is no checkpoint, or not whole: torch takes flipped bytes for weights and looks at no checksum.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong")
        found = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not {"state_dict", "global_step"} <= found.keys():
            raise ValueError("it is no checkpoint of ours")
    except Exception as error:  # of many types: what is read may be anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{file} cannot be read ({reason}): it was cut or damaged; copy it again from where it was trained, or "
            "take another checkpoint of the run (test_checkpoint=last or best)"
        ) from error
    return found


def require_disk_space(folder: Path, module: nn.Module) -> None:
    """ValueError, before a step is trained, where the disk of a folder is too small for the checkpoints it will hold."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = sum(4 * p.numel() for p in module.parameters())
    moments = sum(8 * p.numel() for p in module.parameters() if p.requires_grad)  # of AdamW
    there = sum(file.stat().st_size for file in folder.glob("*.ckpt"))
    needed = 4 * (weights + moments) - there  # last, previous, best, and one that is being written
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"the disk of {folder} has {free / 2**20:,.0f} MiB free, and the checkpoints of this run need "
            f"{needed / 2**20:,.0f} MiB: free some, or write to another disk with paths.output_dir="
        )


@dataclass(frozen=True, order=True)
class SavedCheckpoint:
    """A checkpoint of a run folder."""

    step: int
    ended: bool  # training ended there
    path: Path

    def __str__(self) -> str:
        return f"{'training ended' if self.ended else 'from step'} {'at step ' * self.ended}{self.step} ({self.path.name})"


def find_newest_checkpoint(folder: Path, max_steps: int) -> SavedCheckpoint | None:
    """The newest whole checkpoint of a run folder from which something is left to do; None if there is none."""
    found = []
    for name in (LAST, PREVIOUS, BEST):
        path = folder / "checkpoints" / name
        if not path.exists():
            continue
        with open(path, "rb") as file:
            file.read(
                1
            )  # a disk that does not answer is an error; only what is damaged is passed over
        with suppress(Exception):  # of many types: a damaged file may hold anything
            peeked = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            ended = peeked["callbacks"].get(LastCheckpoint.__qualname__, {}).get("ended", False)
            if (
                ended or peeked["global_step"] < max_steps
            ):  # else the best one, written just before training ended
                found.append(SavedCheckpoint(peeked["global_step"], ended, path))
    for saved in sorted(found, reverse=True):
        with suppress(ValueError):
            read_checkpoint(saved.path)  # whole, by its checksums
            return saved
    return None


def drop_logged_steps(folder: Path, step: int) -> None:
    """Drop what the logs of a run tell of a step and later ones, which a run that goes on tells again."""
    for path in filter(Path.exists, (folder / "metrics.jsonl", folder / "nonfinite.jsonl")):
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:  # cut in the middle when the run was killed
                break
        kept = [
            row
            for row in rows
            if row["step"] < step and not any(key.startswith("test/") for key in row)
        ]
        write_text_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
