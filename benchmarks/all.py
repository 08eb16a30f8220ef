"""Runs the benchmarks that compare with peers on a CPU, and prints their lines.

    python benchmarks/all.py --quick --xquad data/xquad-r --mlqa data/mlqa-r --model MODEL

Every benchmark is a process of its own, one after the other; inside of it ours and the peer take
turns. `--quick` takes few texts and rounds, for under ten minutes on two cores; without it the
numbers are those of benchmarks/README.md.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ("torch", "transformers", "sentence-transformers")


def list_commands(options: argparse.Namespace) -> list[list[str]]:
    """Returns the scripts with their arguments."""
    rounds = "3" if options.quick else "7"
    batch = "16" if options.quick else "64"
    count = "64" if options.quick else "512"
    kinds = ["natural", "mixed"] if options.quick else ["natural", "short", "long", "mixed"]
    measured = ["--rounds", rounds, "--threads", str(options.threads), "--texts", *kinds]
    some_languages = ["--languages", "en", "de", "zh"] if options.quick else []
    full = ["--languages", "en", "de", "--depth", "full", "--rounds", "1"]
    return [
        ["sampler_speed.py", "--steps", "500" if options.quick else "2000"],
        ["training_step.py", options.mlqa, options.model, "--batch", batch, *measured],
        ["encoding.py", options.xquad, options.model, "--count", count, *measured],
        ["rank_counting.py", options.xquad, "--rounds", rounds],
        ["all_views.py", options.xquad, "--rounds", "2", *some_languages],
        ["all_views.py", options.xquad, *full],
    ]


def run_script(command: Sequence[str]) -> None:
    """Runs a script of this folder and prints what it prints, without warnings of libraries."""
    print(f"\n$ python benchmarks/{' '.join(command)}", flush=True)
    started = time.perf_counter()
    arguments = [sys.executable, str(HERE / command[0]), *command[1:]]
    result = subprocess.run(arguments, capture_output=True, text=True)
    print(result.stdout, end="")
    if result.returncode != 0:
        print(result.stderr, end="")
        raise SystemExit(f"{command[0]} failed")
    load = os.getloadavg()[0]
    print(f"({time.perf_counter() - started:.0f} s, load of the machine {load:.1f})", flush=True)


def main() -> None:
    """Runs all of them."""
    parser = argparse.ArgumentParser(description="All benchmarks beside peers on a CPU.")
    parser.add_argument("--quick", action="store_true", help="few texts and rounds")
    parser.add_argument("--xquad", required=True, help="the folder of XQuAD-R")
    parser.add_argument("--mlqa", required=True, help="the folder of MLQA-R")
    parser.add_argument("--model", default="intfloat/multilingual-e5-small")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {versions}")
    for command in list_commands(options):
        run_script(command)


if __name__ == "__main__":
    main()
