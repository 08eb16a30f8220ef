"""Short runs of train.py whose checkpoints and results `hybrid-ir doctor` compares."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_ir.runs.errors import find_error_line
from hybrid_ir.runs.shipped_files import find_shipped_file
from hybrid_ir.system.hardware import count_cores
from hybrid_ir.system.progress import show_progress

if TYPE_CHECKING:
    import torch

# How much of the output of a failed run is shown if it holds no error message.
SHOWN_CHARACTERS = 300


class ShortRuns:
    """Short runs of train.py, each in a folder of its own.

    Args:
        folder: the folder of the run folders.
        overrides: keys of train.py that all runs have.
    """

    def __init__(self, folder: Path, overrides: Sequence[str]):
        self.folder = folder
        self.overrides = list(overrides)
        self.errors: dict[str, str] = {}  # Why a run failed, by its name.
        self.count = 0

    def run(self, runs: Mapping[str, Sequence[str]]) -> None:
        """Runs train.py with these keys, by the name of the run; two runs at once on two cores."""
        self.count += len(runs)
        with (
            show_progress(" ".join(runs), len(runs)) as work,
            ThreadPoolExecutor(min(2, count_cores())) as pool,
        ):
            processes = pool.map(self._run_one, runs, runs.values())
            for name, process in zip(runs, processes, strict=True):
                work.advance()
                if process.returncode != 0:
                    message = find_error_line(process.stderr)
                    self.errors[name] = message or process.stderr[-SHOWN_CHARACTERS:]

    def _run_one(self, name: str, overrides: Sequence[str]) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            str(find_shipped_file("train.py")),
            *self.overrides,
            *overrides,
            f"hydra.run.dir={self.folder / name}",
        ]
        return subprocess.run(command, capture_output=True, text=True)

    def read_checkpoint(self, run: str, file: str = "last.ckpt") -> dict[str, Any]:
        """Reads a checkpoint of a run."""
        from hybrid_ir.training.checkpoints import read_checkpoint

        return read_checkpoint(self.folder / run / "checkpoints" / file)

    def read_weights(self, run: str, file: str = "last.ckpt") -> "torch.Tensor":
        """Reads all weights of a checkpoint as one vector in float64."""
        import torch

        weights = self.read_checkpoint(run, file)["state_dict"]
        vectors = [weights[name].double().flatten() for name in sorted(weights)]
        return torch.cat(vectors)

    def read_metrics(self, run: str) -> dict[str, Any]:
        """Reads the results of a run."""
        return json.loads((self.folder / run / "metrics.json").read_text())
