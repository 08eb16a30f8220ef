"""`hybrid-ir doctor [KEY=VALUE ...]`: whether this machine trains and measures what it should.

It compares what short runs of the real train.py leave: weights that are equal, numbers too.
"""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.help import wants_help
from hybrid_ir.cli.short_runs import ShortRuns
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.system.environment import PACKAGES, get_installed_version
from hybrid_ir.system.hardware import count_cores

# Length of a run in steps, and queries per step and process.
STEPS = 4
BATCH_SIZE = 8
# Plain gradient descent: Adam would hide a factor on the gradients.
GRADIENT_DESCENT = [
    "optimizer=sgd",
    "scheduler=none",
    "trainer.gradient_clip_val=null",
    "trainer.precision=32-true",
]
# A short run that leaves its weights in the middle (previous.ckpt) and at the end (last.ckpt).
SHORT_RUN = [
    f"trainer.max_steps={STEPS}",
    "callbacks=last_only",
    "benchmark@validation=none",
    "trainer.limit_val_batches=0",
    "logger=none",
    f"callbacks.checkpoint_last.every_n_train_steps={STEPS // 2}",
]
SMALL_BENCHMARK = [
    "benchmark=cldr_facts_dev",
    "benchmark.languages=[de,en]",
    "benchmark.max_queries=50",
]
# Largest relative difference of learnt weights that is rounding, in float32.
ROUNDING = 1e-3
# Largest relative error of a matrix product in bf16.
BF16_ERROR = 0.02
USAGE = """hybrid-ir doctor [KEY=VALUE ...]

Checks this machine and how it trains, and prints the cure for what does not hold.

processes=2       processes of the run with several ranks, 2 or more
out=FILE          also writes the findings to a JSON file
KEY=VALUE         any key of train.py but trainer=, such as model=, corpus= or sampler=
"""
STATUS = {True: "[green]holds[/]", False: "[red]does not[/]", None: "[yellow]unknown[/]"}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what is checked.
        holds: whether it holds; None if it could not be checked.
        measured: the numbers on which that rests, in words.
        cure: what to do if it does not hold.
    """

    name: str
    holds: bool | None
    measured: str
    cure: str = ""


@dataclass(frozen=True)
class DoctorOptions:
    """The arguments of the command."""

    overrides: list[str]  # keys of train.py that all runs have
    processes: int = 2  # how many are compared with one
    out: Path | None = None  # the JSON file for the findings, if they shall be written


def main(arguments: list[str]) -> None:
    """Runs all checks, prints them as a table, and exits with 1 if one of them does not hold."""
    if wants_help(arguments):
        print(USAGE, end="")
        return
    options = parse_options(arguments)
    require_known_overrides(options.overrides)
    started = time.monotonic()
    findings = check_machine()
    with tempfile.TemporaryDirectory(prefix="hybrid-ir-doctor-") as folder:
        findings += check_runs(ShortRuns(Path(folder), options.overrides), options.processes)
    seconds = time.monotonic() - started
    Console().print(build_table(findings, seconds))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rows = [vars(finding) for finding in findings]
        write_text_atomically(options.out, json.dumps(rows, indent=2))
    if not all(finding.holds for finding in findings):
        sys.exit(1)


def parse_options(arguments: Sequence[str]) -> DoctorOptions:
    """Reads the arguments of the command. Raises ValueError for one that does not exist."""
    overrides = []
    processes = 2
    out = None
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "processes" and value.isdigit() and int(value) > 1:
            processes = int(value)
        elif key == "out":
            out = Path(value)
        elif key in ("processes", "trainer"):
            raise ValueError(f"{argument} cannot be had here. Usage: {USAGE}")
        else:
            overrides.append(argument)
    return DoctorOptions(overrides, processes, out)


def require_known_overrides(overrides: Sequence[str]) -> None:
    """Raises a ValueError for a key or option that train.py does not know, before any run."""
    if not any(override.startswith("-") for override in overrides):
        compose_config("train", overrides)


def build_table(findings: Sequence[Finding], seconds: float) -> Table:
    """Builds the table that is printed: a row for each finding, with the cure if there is need."""
    table = Table(title=f"hybrid-ir doctor, {seconds:.0f} s", title_justify="left")
    for column in ("", "check", "measured"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        measured = finding.measured
        if finding.cure and not finding.holds:
            measured += f"\n[bold]cure:[/] {finding.cure}"
        table.add_row(STATUS[finding.holds], finding.name, measured)
    return table


def check_machine() -> list[Finding]:
    """Checks versions, devices and bf16 of this machine."""
    return [_check_versions(), _check_devices(), _check_bf16()]


def _check_versions() -> Finding:
    versions = {name: get_installed_version(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding(
        "versions",
        not missing,
        f"Python {platform.python_version()}, {listed}",
        f"pip install -c constraints.txt -e . brings {', '.join(missing)}",
    )


def _check_devices() -> Finding:
    import torch  # Here, so that a misspelt key is refused before it is loaded.

    gpus = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gpus.append(f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)")
    if gpus:
        return Finding("devices", True, ", ".join(gpus))
    threads = torch.get_num_threads()
    measured = f"no GPU; {count_cores()} CPU cores, torch uses {threads} threads"
    return Finding("devices", True, measured)


def _check_bf16() -> Finding:
    import torch

    has_gpu = torch.cuda.device_count() > 0
    device = "cuda" if has_gpu else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    left, right = torch.randn(2, 256, 256, device=device, generator=generator)
    exact = left @ right
    rounded = (left.bfloat16() @ right.bfloat16()).float()
    error = float((rounded - exact).norm() / exact.norm())
    is_fast = torch.cuda.is_bf16_supported() if has_gpu else _cpu_computes_bf16()
    speed = "fast" if is_fast else "correct but not fast"
    measured = f"relative error of a product {error:.1e}; {speed} on this {device}"
    return Finding("bf16", error < BF16_ERROR, measured, "use trainer.precision=32-true")


def _cpu_computes_bf16() -> bool:
    path = Path("/proc/cpuinfo")
    flags = path.read_text() if path.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def check_runs(runs: ShortRuns, processes: int) -> list[Finding]:
    """Starts all runs and compares them in pairs.

    Args:
        runs: where the runs are started; none has been started before.
        processes: how many processes are compared with one.
    """
    _start_runs(runs, processes)
    batch_size = processes * BATCH_SIZE
    return [
        compare_runs(
            runs,
            "the tokenizer reads alike in two processes",
            ("one", "plain"),
            compare_tokenizers,
            "the tokenizer depends on something that changes between starts: use a saved one "
            "(model.backbone=FOLDER)",
        ),
        compare_runs(
            runs,
            f"{processes} processes x {BATCH_SIZE} learn what 1 x {batch_size} learns",
            ("one", "several"),
            compare_learning,
            "gradients differ between processes: report it with these versions, and train on one "
            "process until then",
        ),
        compare_runs(
            runs,
            "cached gradients learn what plain ones learn, with dropout",
            ("plain", "cached"),
            compare_learning,
            "random states are not repeated here: use cache_gradients=false",
        ),
        compare_runs(
            runs,
            "a run that goes on ends as one that was never stopped",
            ("plain", "resumed"),
            compare_weights,
            "this model or device is not deterministic: trainer.deterministic=true makes it so "
            "where torch can",
        ),
        compare_runs(
            runs,
            f"the evaluation is the same on 1 and {processes} processes",
            ("measured_by_one", "measured_by_several"),
            compare_results,
            "vectors depend on the process: give every process the same threads= and device",
        ),
    ]


def _start_runs(runs: ShortRuns, processes: int) -> None:
    import torch

    gpus = torch.cuda.device_count()
    device = ["trainer=gpu", "trainer.deterministic=true"] if gpus else ["trainer=cpu"]
    # One process and several are compared on devices of one kind.
    if gpus >= processes:
        one_process = device
        several_processes = ["trainer=ddp", f"trainer.devices={processes}"]
    else:
        one_process = ["trainer=cpu"]
        several_processes = ["trainer=ddp_cpu", f"trainer.devices={processes}"]
    batch_size = processes * BATCH_SIZE
    short = [*SHORT_RUN, *GRADIENT_DESCENT, f"sampler.batch_size={batch_size}"]
    # Several processes draw other dropout than one, so that they are compared without it.
    without_dropout = [*short, "model.dropout=0.0", "benchmark=none"]
    with_dropout = [*short, "model.dropout=0.1"]
    train_with_dropout = [*device, *with_dropout, "benchmark=none"]
    runs.run(
        {
            "one": [*one_process, *without_dropout],
            "several": [*several_processes, *without_dropout],
            "plain": train_with_dropout,
            "cached": [*train_with_dropout, "cache_gradients=true"],
        }
    )
    plain = runs.folder / "plain"
    measure = [
        *with_dropout,
        *SMALL_BENCHMARK,
        "fit=false",
        f"ckpt_path={plain}",
        "test_checkpoint=last",
    ]
    middle = plain / "checkpoints" / "previous.ckpt"
    runs.run(
        {
            "resumed": [*train_with_dropout, f"resume_from={middle}"],
            "measured_by_one": [*one_process, *measure],
            "measured_by_several": [*several_processes, *measure],
        }
    )


def compare_runs(
    runs: ShortRuns,
    name: str,
    pair: tuple[str, str],
    compare: Callable[[ShortRuns, str, str], tuple[bool, str]],
    cure: str,
) -> Finding:
    """Compares two runs, or says why they could not be compared.

    Args:
        runs: the runs, which have ended.
        name: what is checked.
        pair: the names of the two runs.
        compare: returns whether the check holds for two runs, and the numbers in words.
        cure: what to do if it does not hold.
    """
    errors = [f"{run}: {runs.errors[run]}" for run in pair if run in runs.errors]
    if errors:
        # If no run works, nothing is known of what they would have learnt.
        holds = None if len(runs.errors) == runs.count else False
        return Finding(name, holds, "; ".join(errors), "see the message")
    holds, measured = compare(runs, *pair)
    return Finding(name, holds, measured, cure)


def compare_tokenizers(runs: ShortRuns, one: str, other: str) -> tuple[bool, str]:
    """Compares the canaries of the tokenizers of two runs, which hash the ids of fixed texts."""
    canaries = {runs.read_checkpoint(run)["tokenizer_canary"] for run in (one, other)}
    return len(canaries) == 1, f"canary {' and '.join(sorted(canaries))}"


def compare_learning(runs: ShortRuns, one: str, other: str) -> tuple[bool, str]:
    """Compares what two runs learn from the middle to the end; differences may be rounding."""
    learnt_by_one = runs.read_weights(one) - runs.read_weights(one, "previous.ckpt")
    learnt_by_other = runs.read_weights(other) - runs.read_weights(other, "previous.ckpt")
    error = float((learnt_by_one - learnt_by_other).norm() / learnt_by_one.norm())
    return error < ROUNDING, f"relative difference {error:.1e}, at most {ROUNDING:.0e} is rounding"


def compare_weights(runs: ShortRuns, one: str, other: str) -> tuple[bool, str]:
    """Compares the last weights of two runs, which must be equal to the last bit."""
    difference = float((runs.read_weights(one) - runs.read_weights(other)).abs().max())
    return difference == 0, f"largest difference of a weight {difference:.1e}"


def compare_results(runs: ShortRuns, one: str, other: str) -> tuple[bool, str]:
    """Compares all numbers that two runs have measured."""
    results = [runs.read_metrics(run) for run in (one, other)]
    maps = [result["macro_over_settings"]["multi"]["map"] for result in results]
    measured = f"multilingual mAP {maps[0]:.12f} and {maps[1]:.12f}, and all other numbers"
    return results[0] == results[1], measured
