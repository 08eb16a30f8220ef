"""Runs the same things in two checkouts on this machine and compares what they give bit for bit.

    python tests/golden/compare_checkouts.py OLD NEW [--folder FOLDER]

OLD and NEW are clones, each with `from hybrid_ir import Retriever`. In both: everything that
record.py records, with whole weights; a default `python train.py`; and its checkpoint measured on
100 questions. Takes about ten minutes on two cores. Ends with 1 if anything differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors import safe_open

HERE = Path(__file__).parent
# Files that are the same byte for byte, and what of a checkpoint is.
RUN_FILES = (
    "run/metrics.json",
    "run/per_query.parquet",
    "run/batch_card.json",
    "evaluation/cldr_facts/metrics.json",
    "evaluation/cldr_facts/per_query.parquet",
)
LOG = "run/metrics.jsonl"
PREFIX_OF_SPEED = "throughput/"  # of what a log says of how fast the steps were
CHECKPOINTS = ("run/checkpoints/best.ckpt", "run/checkpoints/last.ckpt")
EVALUATION = ["benchmark=[cldr_facts]", "benchmark.cldr_facts.max_queries=100"]


def run_everything(checkout: Path, folder: Path) -> None:
    """Runs all that is compared in one checkout; its files come into the folder."""
    copy_of_golden = folder / "code" / "tests" / "golden"
    shutil.copytree(HERE, copy_of_golden, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HYBRID_IR_CACHE": str(folder / "cache"),
        "PYTHONPATH": f"{checkout}{os.pathsep}{folder / 'code'}",
    }
    out = ["--out", "golden.json", "--exact", "weights.safetensors", "--folder", "made"]
    evaluation = ["evaluate", "checkpoint=run", "out=evaluation", *EVALUATION]
    run_python(folder, environment, str(copy_of_golden / "record.py"), *out)
    run_python(folder, environment, str(checkout / "train.py"), "hydra.run.dir=run")
    run_python(folder, environment, "-c", find_console_command(checkout), *evaluation)


def find_console_command(checkout: Path) -> str:
    """Returns Python code that starts `hybrid-ir` of a checkout."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = project["project"]["scripts"]["hybrid-ir"].partition(":")
    return f"from {module} import {function} as start; start()"


def run_python(place: Path, environment: dict[str, str], *arguments: str) -> None:
    """Runs Python in a folder and raises what it said if it failed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {place} failed:\n{done.stdout}{done.stderr}")


def compare_everything(old: Path, new: Path) -> dict[str, str]:
    """Returns the difference in each thing that was run, an empty text where there is none."""
    found = compare_records(old, new)
    found |= compare_weights(old / "weights.safetensors", new / "weights.safetensors")
    for name in RUN_FILES:
        found[name] = compare_bytes(old / name, new / name)
    found[LOG] = compare_logs(old / LOG, new / LOG)
    for name in CHECKPOINTS:
        found[name] = compare_checkpoints(old / name, new / name)
    imported = sorted(path.name for path in (old / "made" / "imported").iterdir())
    for name in imported:
        if name != "corpus.json":
            place = Path("made") / "imported" / name
            found[f"import: {name}"] = compare_bytes(old / place, new / place)
    return found


def compare_records(old: Path, new: Path) -> dict[str, str]:
    """Returns the difference in each record of the golden.json, where a float has all its bits."""
    old_golden = json.loads((old / "golden.json").read_text(encoding="utf-8"))
    new_golden = json.loads((new / "golden.json").read_text(encoding="utf-8"))
    found = {}
    for kind, records in old_golden.items():
        for name, record in records.items():
            same = new_golden[kind].get(name) == record
            found[f"{kind}: {name}"] = "" if same else "other values"
    return found


def compare_weights(old: Path, new: Path) -> dict[str, str]:
    """Returns the difference in the whole weights and losses of each training."""
    with safe_open(old, "pt") as old_file, safe_open(new, "pt") as new_file:
        old_names = set(old_file.keys())
        new_names = set(new_file.keys())
        found = {}
        for name in sorted(old_names | new_names):
            label = f"all weights: {name.partition('/')[0]}"
            difference = found.get(label, "")
            if name not in old_names or name not in new_names:
                difference = f"{name} is in one only"
            elif not have_same_bits(old_file.get_tensor(name), new_file.get_tensor(name)):
                difference = f"{name} differs"
            found[label] = difference
    return found


def compare_checkpoints(old: Path, new: Path) -> str:
    """Returns the first weight that differs between two checkpoints."""
    old_weights = torch.load(old, map_location="cpu", weights_only=True)["state_dict"]
    new_weights = torch.load(new, map_location="cpu", weights_only=True)["state_dict"]
    if old_weights.keys() != new_weights.keys():
        return f"other names: {sorted(old_weights.keys() ^ new_weights.keys())}"
    for name, weight in old_weights.items():
        if not have_same_bits(weight, new_weights[name]):
            return f"{name} differs"
    return ""


def have_same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Returns whether two tensors have the same form and bytes, so that -0 is not 0."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    left_bytes = left.detach().contiguous().flatten().view(torch.uint8)
    right_bytes = right.detach().contiguous().flatten().view(torch.uint8)
    return torch.equal(left_bytes, right_bytes)


def compare_bytes(old: Path, new: Path) -> str:
    """Returns whether one of two files is missing or has other bytes."""
    for path in (old, new):
        if not path.is_file():
            return f"{path} is missing"
    return "" if old.read_bytes() == new.read_bytes() else "other bytes"


def compare_logs(old: Path, new: Path) -> str:
    """Returns whether two logs have other values, but for how fast the steps were."""
    logs = []
    for path in (old, new):
        if not path.is_file():
            return f"{path} is missing"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        logs.append([drop_speed(row) for row in rows])
    return "" if logs[0] == logs[1] else "other values"


def drop_speed(row: dict) -> dict:
    """Returns a row of a log without how fast the steps were."""
    return {name: value for name, value in row.items() if not name.startswith(PREFIX_OF_SPEED)}


def print_table(found: dict[str, str]) -> None:
    """Prints a line for each thing that was compared."""
    table = Table("compared", "result")
    for name, difference in found.items():
        table.add_row(name, difference or "the same")
    console = Console()
    console.print(table)
    differing = sum(map(bool, found.values()))
    console.print(f"{len(found)} things compared, {differing} differ")


def read_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--folder", type=Path, help="new folder for all files, which then stay")
    return parser.parse_args()


def main() -> None:
    """Compares the checkouts of the command line."""
    arguments = read_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        checkouts = [arguments.old.absolute(), arguments.new.absolute()]
        folders = [folder / "old", folder / "new"]
        with ThreadPoolExecutor() as pool:
            list(pool.map(run_everything, checkouts, folders))
        found = compare_everything(*folders)
    print_table(found)
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    main()
