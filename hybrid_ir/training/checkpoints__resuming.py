"""The newest whole checkpoint of a run, from which it goes on as if nothing had happened."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from hybrid_ir.training.checkpoints import BEST, LAST, PREVIOUS, LastCheckpoint, read_checkpoint
from hybrid_ir.runs.folder import write_text_atomically


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
            file.read(1)  # a disk that does not answer is an error; only what is damaged is passed over
        with suppress(Exception):  # of many types: a damaged file may hold anything
            peeked = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            ended = peeked["callbacks"].get(LastCheckpoint.__qualname__, {}).get("ended", False)
            if ended or peeked["global_step"] < max_steps:  # else the best one, written just before training ended
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
        kept = [row for row in rows if row["step"] < step and not any(key.startswith("test/") for key in row)]
        write_text_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
