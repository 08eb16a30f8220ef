"""`hybrid-ir COMMAND ...`: finds the command and hands over."""

import runpy
import sys

from hybrid_ir.commands import one_clear_error, shipped

USAGE = """hybrid-ir: multilingual dense retrieval with batches planned by language

  hybrid-ir train [KEY=VALUE ...]                  the same as `python train.py`; --help lists every key
  hybrid-ir data describe NAME [KEY=VALUE ...]     what a corpus or benchmark holds, and its first planned batches
"""


def main() -> None:
    command, rest = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command == "train":
        sys.argv = [str(shipped("train.py")), *rest]
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif command == "data":
        from hybrid_ir.commands import data
        with one_clear_error():
            data.main(rest)
    else:
        print(f"error: hybrid-ir has no command {command!r}\n\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)
