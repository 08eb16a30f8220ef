"""`hybrid-ir doctor [KEY=VALUE ...]`: whether this machine, with the keys of a run, trains and measures what it should.

Real runs of a few steps, by the real train.py: what one process does, several processes, cached gradients, and a run that
goes on from a checkpoint, compared weight by weight; the evaluation on one process and on several, number by number.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.conf import find_shipped_file
from hybrid_ir.runs.launchers import count_cores
from hybrid_ir.system.versions import PACKAGES, get_installed_version
from hybrid_ir.training.checkpoints import read_checkpoint

STEPS, BATCH = 4, 8
# plain gradient descent: what a factor on the gradients does, Adam would hide
GRADIENTS = [
    "~optimizer",
    "+optimizer={_target_: torch.optim.SGD, _partial_: true}",
    "++optimizer.lr=0.01",
    "scheduler=none",
    "trainer.gradient_clip_val=null",
    "trainer.precision=32-true",
]
SHORT = [
    f"trainer.max_steps={STEPS}",
    "callbacks=last_only",
    "benchmark@validation=none",
    "trainer.limit_val_batches=0",
    "logger=none",
    f"callbacks.checkpoint_last.every_n_train_steps={STEPS // 2}",
]
MEASURED = ["benchmark=cldr_facts_dev", "benchmark.languages=[de,en]", "benchmark.max_queries=50"]
CLOSE = 1e-3  # relative difference of what was learnt, in float32


@dataclass(frozen=True)
class Finding:
    """One thing that holds or does not."""

    name: str
    holds: bool | None  # None: it could not be looked at
    measured: str
    cure: str = ""


def main(arguments: list[str]) -> None:
    given, processes, out = [], 2, None
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "processes" and value.isdigit() and int(value) > 1:
            processes = int(value)
        elif key == "out":
            out = Path(value)
        elif key in ("processes", "trainer") or argument in ("-h", "--help"):
            raise ValueError(
                "hybrid-ir doctor [KEY=VALUE of train.py, such as model=, corpus=, sampler=] [processes=N, 2 or "
                "more] [out=FILE]; the trainer is chosen here"
            )
        else:
            given.append(argument)
    console, started = Console(), time.monotonic()
    findings = [*machine(), *Runs(given, processes).findings()]
    table = Table(
        title=f"hybrid-ir doctor, {time.monotonic() - started:.0f} s", title_justify="left"
    )
    for column in ("", "check", "measured"):
        table.add_column(column, overflow="fold")
    for found in findings:
        table.add_row(
            {True: "[green]holds[/]", False: "[red]does not[/]", None: "[yellow]unknown[/]"}[
                found.holds
            ],
            found.name,
            found.measured
            + (f"\n[bold]cure:[/] {found.cure}" if found.cure and not found.holds else ""),
        )
    console.print(table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(out, json.dumps([vars(found) for found in findings], indent=2))
    if not all(found.holds for found in findings):
        sys.exit(1)


def machine() -> list[Finding]:
    """Versions, devices and bf16."""
    versions = ", ".join(f"{name} {get_installed_version(name)}" for name in PACKAGES)
    missing = [name for name in PACKAGES if get_installed_version(name) is None]
    gpus = [
        f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
        for i in range(torch.cuda.device_count())
    ]
    device = "cuda" if gpus else "cpu"
    left, right = torch.randn(
        2, 256, 256, device=device, generator=torch.Generator(device).manual_seed(0)
    )
    exact = left @ right
    error = float(((left.bfloat16() @ right.bfloat16()).float() - exact).norm() / exact.norm())
    native = (
        torch.cuda.is_bf16_supported()
        if gpus
        else "avx512_bf16" in cpu_flags() or "amx_bf16" in cpu_flags()
    )
    return [
        Finding(
            "versions",
            not missing,
            f"Python {platform.python_version()}, {versions}",
            f"pip install -c constraints.txt -e . brings {', '.join(missing)}",
        ),
        Finding(
            "devices",
            True,
            ", ".join(gpus)
            or f"no GPU; {count_cores()} CPU cores, torch uses {torch.get_num_threads()} threads",
        ),
        Finding(
            "bf16",
            error < 0.02,
            f"relative error of a product {error:.1e}; {'fast' if native else 'correct but not fast'} "
            f"on this {device}",
            "use trainer.precision=32-true",
        ),
    ]


def cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


class Runs:
    """The short runs, and what their checkpoints and results say about each other."""

    def __init__(self, given: Sequence[str], processes: int):
        self.given, self.processes = list(given), processes
        gpus = torch.cuda.device_count()
        self.device = ["trainer=gpu", "trainer.deterministic=true"] if gpus else ["trainer=cpu"]
        # one process and several are compared on devices of one kind
        self.alone = self.device if gpus >= processes else ["trainer=cpu"]
        self.several = [
            ("trainer=ddp" if gpus >= processes else "trainer=ddp_cpu"),
            f"trainer.devices={processes}",
        ]
        self.failed: dict[str, str] = {}

    def findings(self) -> list[Finding]:
        with tempfile.TemporaryDirectory(prefix="hybrid-ir-doctor-") as name:
            self.place = Path(name)
            size = BATCH * self.processes
            train = [*SHORT, *GRADIENTS, f"sampler.batch_size={size}"]
            still, moving = "model.dropout=0.0", "model.dropout=0.1"
            self._run(
                {
                    "one": [*self.alone, *train, still, "benchmark=none"],
                    "several": [*self.several, *train, still, "benchmark=none"],
                    "plain": [*self.device, *train, moving, "benchmark=none"],
                    "cached": [
                        *self.device,
                        *train,
                        moving,
                        "benchmark=none",
                        "cache_gradients=true",
                    ],
                }
            )
            self._run(
                {
                    "resumed": [
                        *self.device,
                        *train,
                        moving,
                        "benchmark=none",
                        f"ckpt_path={self.place}/plain/checkpoints/previous.ckpt",
                    ],
                    **{
                        name: [
                            *trainer,
                            *train,
                            moving,
                            *MEASURED,
                            "fit=false",
                            f"ckpt_path={self.place}/plain",
                            "test_checkpoint=last",
                        ]
                        for name, trainer in (("alone", self.alone), ("measured", self.several))
                    },
                }
            )
            return [
                self._finding(*check)
                for check in (
                    (
                        "the tokenizer reads alike in two processes",
                        ("one", "plain"),
                        self._canary,
                        "the tokenizer depends on something that changes between starts: use a saved one (model.backbone=FOLDER)",
                    ),
                    (
                        f"{self.processes} processes x {BATCH} learn what 1 x {size} learns",
                        ("one", "several"),
                        self._learnt,
                        "gradients differ between processes: report it with these versions, and train on one process until then",
                    ),
                    (
                        "cached gradients learn what plain ones learn, with dropout",
                        ("plain", "cached"),
                        self._learnt,
                        "random states are not repeated here: use cache_gradients=false",
                    ),
                    (
                        "a run that goes on ends as one that was never stopped",
                        ("plain", "resumed"),
                        self._resumed,
                        "this model or device is not deterministic: trainer.deterministic=true makes it so where torch can",
                    ),
                    (
                        f"the evaluation is the same on 1 and {self.processes} processes",
                        ("alone", "measured"),
                        self._measured,
                        "vectors depend on the process: give every process the same threads= and device",
                    ),
                )
            ]

    def _run(self, runs: dict[str, list[str]]) -> None:
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True
        )
        with bar, ThreadPoolExecutor(max(1, min(2, count_cores()))) as pool:
            task = bar.add_task(" ".join(runs), total=len(runs))
            for name, done in pool.map(self._one, runs.items()):
                bar.advance(task)
                if done.returncode:
                    lines = [
                        line for line in done.stderr.splitlines() if line.startswith("error: ")
                    ] or [done.stderr[-300:]]
                    self.failed[name] = lines[-1].removeprefix("error: ")

    def _one(self, run: tuple[str, list[str]]) -> tuple[str, subprocess.CompletedProcess]:
        name, arguments = run
        command = [
            sys.executable,
            str(find_shipped_file("train.py")),
            *self.given,
            *arguments,
            f"hydra.run.dir={self.place}/{name}",
        ]
        return name, subprocess.run(command, capture_output=True, text=True)

    def _finding(self, name: str, runs: tuple[str, str], compare: Callable, cure: str) -> Finding:
        failed = [f"{run}: {self.failed[run]}" for run in runs if run in self.failed]
        if failed:
            return Finding(
                name, False if len(self.failed) < 7 else None, "; ".join(failed), "see the message"
            )
        holds, measured = compare(*runs)
        return Finding(name, holds, measured, cure)

    def _saved(self, run: str, file: str = "last.ckpt") -> dict:
        return read_checkpoint(self.place / run / "checkpoints" / file)

    def _canary(self, one: str, other: str) -> tuple[bool, str]:
        canaries = {self._saved(run)["tokenizer_canary"] for run in (one, other)}
        return len(canaries) == 1, f"canary {' and '.join(sorted(canaries))}"

    def _learnt(self, one: str, other: str) -> tuple[bool, str]:
        """Over the last two steps, of which both runs have the first and the last weights."""
        moved = [
            flat(self._saved(run)) - flat(self._saved(run, "previous.ckpt")) for run in (one, other)
        ]
        error = float((moved[0] - moved[1]).norm() / moved[0].norm())
        return error < CLOSE, f"relative difference {error:.1e}, at most {CLOSE:.0e} is rounding"

    def _resumed(self, one: str, other: str) -> tuple[bool, str]:
        difference = float((flat(self._saved(one)) - flat(self._saved(other))).abs().max())
        return difference == 0, f"largest difference of a weight {difference:.1e}"

    def _measured(self, one: str, other: str) -> tuple[bool, str]:
        results = [
            json.loads((self.place / run / "metrics.json").read_text()) for run in (one, other)
        ]
        multi = [found["macro_over_settings"]["multi"]["map"] for found in results]
        return results[0] == results[
            1
        ], f"multilingual mAP {multi[0]:.12f} and {multi[1]:.12f}, and all other numbers"


def flat(checkpoint: dict) -> torch.Tensor:
    """All weights as one vector, in float64."""
    return torch.cat(
        [value.double().flatten() for _, value in sorted(checkpoint["state_dict"].items())]
    )
