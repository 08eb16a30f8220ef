"""The default run with a stopwatch: `python train.py` of one or more checkouts, phase by phase.

    python benchmarks/default_run.py                              this checkout, cold and warm cache
    python benchmarks/default_run.py OLD NEW --rounds 3           two checkouts in turn
    python benchmarks/default_run.py --override trainer.max_steps=1

Each run is a process of its own with a fresh output folder. A cold cache is an empty folder, a warm
one is the folder that the run before has filled. Where a phase ends is seen from what the run
prints, so any version of train.py can be timed. Seconds of the wall and of the processor are given
for each phase: other jobs on the machine change the first much more than the second.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
# A phase ends with the first line that begins so.
ENDS_OF_PHASES = {
    "start and build": "batch card",
    "train and validate": "trained ",
    "test": "measured: ",
}
LAST_PHASE = "report and end"
FIRST_LINE = "first line"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Timing:
    """When something was reached, in seconds since the start of a process.

    Attributes:
        wall: seconds of the clock.
        processor: seconds of all its threads.
    """

    wall: float
    processor: float

    def __sub__(self, other: "Timing") -> "Timing":
        return Timing(self.wall - other.wall, self.processor - other.processor)

    def __str__(self) -> str:
        return f"{self.wall:6.1f} s ({self.processor:5.1f})"


@dataclass(frozen=True)
class RunTimes:
    """What a run took.

    Attributes:
        phases: how long each phase took, by its name.
        first_line: when the run had printed its first line.
        total: how long the whole run took.
        peak_megabytes: the most memory that the process held.
    """

    phases: dict[str, Timing]
    first_line: Timing
    total: Timing
    peak_megabytes: float


def read_processor_seconds(process_id: int) -> float:
    """Returns the seconds that a running process has used of all processors."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def time_run(checkout: Path, cache: Path, overrides: list[str]) -> RunTimes:
    """Runs train.py of a checkout in a fresh output folder.

    Args:
        checkout: folder with train.py.
        cache: of tokens, corpora and backbones.
        overrides: KEY=VALUE arguments of the run.

    Raises:
        RuntimeError: the run failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HYBRID_IR_CACHE": str(cache)}
    environment["PYTHONUNBUFFERED"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(checkout / "train.py"), f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=folder,
        )
        output = []
        ends: dict[str, Timing] = {}
        waiting = dict(ENDS_OF_PHASES)
        for line in process.stdout:
            output.append(line)
            now = Timing(time.perf_counter() - start, read_processor_seconds(process.pid))
            ends.setdefault(FIRST_LINE, now)
            for name, beginning in list(waiting.items()):
                if line.strip().startswith(beginning):
                    ends[name] = now
                    del waiting[name]
        _, status, usage = os.wait4(process.pid, 0)
        total = Timing(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)
    if status != 0:
        raise RuntimeError(f"{checkout}/train.py failed:\n{''.join(output)}")
    first_line = ends.pop(FIRST_LINE)
    ends[LAST_PHASE] = total
    phases = {}
    before = Timing(0.0, 0.0)
    for name, end in ends.items():
        phases[name] = end - before
        before = end
    return RunTimes(phases, first_line, total, usage.ru_maxrss * 1024 / MEGABYTE)


def print_run(name: str, run: RunTimes) -> None:
    """Prints the phases of a run in one line."""
    phases = ", ".join(f"{phase} {timing}" for phase, timing in run.phases.items())
    print(
        f"{name}: {run.total}, {run.peak_megabytes:,.0f} MB; first line after "
        f"{run.first_line.wall:.1f} s; {phases}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def print_table(runs: dict[str, list[RunTimes]]) -> None:
    """Prints the medians over the rounds, a row for each phase."""
    print("\nmedians, seconds of the wall (of the processor)")
    names = list(runs)
    print("| phase | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    phases = list(runs[names[0]][0].phases)
    for phase in [*phases, "total"]:
        cells = []
        for name in names:
            timings = []
            for run in runs[name]:
                timings.append(run.total if phase == "total" else run.phases[phase])
            wall = statistics.median(timing.wall for timing in timings)
            processor = statistics.median(timing.processor for timing in timings)
            cells.append(f"{wall:.1f} ({processor:.1f})")
        print(f"| {phase} | " + " | ".join(cells) + " |")
    firsts = []
    peaks = []
    for name in names:
        firsts.append(f"{statistics.median(run.first_line.wall for run in runs[name]):.1f}")
        peaks.append(f"{statistics.median(run.peak_megabytes for run in runs[name]):,.0f}")
    print("| first line after | " + " | ".join(firsts) + " |")
    print("| peak memory, MB | " + " | ".join(peaks) + " |")


def main() -> None:
    """Times the runs of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, default=[HERE])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--caches", nargs="+", choices=["cold", "warm"], default=["cold", "warm"])
    parser.add_argument("--override", action="append", default=[], help="KEY=VALUE of the run")
    options = parser.parse_args()
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {version('torch')}, "
        f"lightning {version('lightning')}, load {os.getloadavg()[0]:.1f}"
    )
    runs: dict[str, list[RunTimes]] = {}
    for number in range(options.rounds):
        caches = [tempfile.TemporaryDirectory() for _ in options.checkouts]
        for cache in ("cold", "warm"):
            for checkout, folder in zip(options.checkouts, caches, strict=True):
                if cache not in options.caches and cache == "cold":
                    # A cold run that is not asked for still has to fill the cache.
                    time_run(checkout, Path(folder.name), ["trainer.max_steps=1"])
                    continue
                if cache not in options.caches:
                    continue
                run = time_run(checkout, Path(folder.name), options.override)
                name = f"{checkout.name} {cache}"
                print_run(f"round {number}, {name}", run)
                runs.setdefault(name, []).append(run)
        for folder in caches:
            folder.cleanup()
    print_table(runs)


if __name__ == "__main__":
    main()
