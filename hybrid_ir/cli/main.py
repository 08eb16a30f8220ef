"""`hybrid-ir COMMAND ...`: finds the command and hands over."""

import runpy
import sys
from importlib import import_module

from hybrid_ir.runs.conf import find_shipped_file
from hybrid_ir.runs.errors import report_errors_clearly
from hybrid_ir.system.setup import silence_libraries

USAGE = """hybrid-ir: multilingual dense retrieval with batches planned by language

  hybrid-ir train [KEY=VALUE ...]                                the same as `python train.py`; --help lists every key
  hybrid-ir sweep KEY=A,B ... [slots=N] [retry=failed]           every combination, each in a process of its own; again: goes on
  hybrid-ir doctor [KEY=VALUE ...] [processes=N]                 does this machine, with this config, train what it should
  hybrid-ir evaluate checkpoint=RUN benchmark=[xquad_r,mlqa_r]   measure a run of ours, or model=NAME: any bi-encoder
  hybrid-ir compare runs=[RUN,SWEEP,...]                         the paper's tables, significance, pictures, one HTML report
  hybrid-ir latency checkpoints=[A,B,C] benchmark=xquad_r        latency per query: tokenise, encode, search; by language
  hybrid-ir data describe NAME [KEY=VALUE ...]                   what a corpus or benchmark holds, and its first planned batches
  hybrid-ir data fetch|verify NAME [mirror=URL]                  get its files once, and check them
  hybrid-ir data import FORM path=FILES to=FOLDER                your own pairs, every line checked, as a corpus to train on
  hybrid-ir data clean corpus=NAME against=[BENCHMARK] to=FOLDER  a corpus without what benchmarks have, and without repetitions
  hybrid-ir mine checkpoint=RUN corpus=NAME to=FOLDER            hard negatives found by an encoder, chosen by language
  hybrid-ir translate corpus=NAME model=NLLB to=FOLDER ...       make a corpus parallel by machine translation
"""
SHORT = {
    "slots": "hydra.launcher.slots",
    "devices": "hydra.launcher.devices",
    "folder": "hydra.sweep.dir",
}
COMMANDS = ("compare", "data", "doctor", "evaluate", "latency", "mine", "translate")


def launcher_key(argument: str) -> str:
    """The keys of `hybrid-ir sweep` by their names in Hydra."""
    key, equals, value = argument.partition("=")
    if key == "retry":
        if value != "failed":
            raise SystemExit(f"error: retry={value} must be failed")
        return "hydra.launcher.retry_failed=true"
    return f"{SHORT[key]}={value}" if key in SHORT and equals else argument


def main() -> None:
    command, rest = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command in ("train", "sweep"):
        sys.argv = [
            str(find_shipped_file("train.py")),
            *(["-m", *map(launcher_key, rest)] if command == "sweep" else rest),
        ]
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif command in COMMANDS:
        silence_libraries()
        with report_errors_clearly():
            import_module(f"hybrid_ir.cli.{command}").main(rest)
    else:
        print(f"error: hybrid-ir has no command {command!r}\n\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)
