"""`hybrid-ir train` and `hybrid-ir sweep`: the one train.py, also without a clone."""

import os
import runpy
import sys
from collections.abc import Callable, Sequence

from hybrid_ir.cli.help import print_train_help, wants_help
from hybrid_ir.runs.shipped_files import find_shipped_file
from hybrid_ir.runs.wandb_agent import restore_agent_arguments

SWEEP_USAGE = """hybrid-ir sweep KEY=A,B ... [slots=N] [devices=[0,1]] [folder=NAME] [retry=failed]

slots=auto     # processes at once on CPU cores, one core for each of their threads; auto: all cores
devices=auto   # GPUs to hand out, as a list of numbers; auto: all
folder=...     # of the sweep; by default one that the same command finds again, and goes on in
retry=failed   # try jobs again that failed when the sweep was started before

KEY=A,B runs a job for every combination of values, of any keys in `hybrid-ir train --help`.
"""
# The keys of `hybrid-ir sweep` by their names in Hydra.
SWEEP_KEYS = {
    "slots": "hydra.launcher.slots",
    "devices": "hydra.launcher.devices",
    "folder": "hydra.sweep.dir",
}


def make_user_modules_importable() -> None:
    """Lets modules be imported from the folder that a command is started in, as `python -m` has.

    So a `_target_: my_module.MyLoss` in a config of one's own needs no PYTHONPATH. The folder comes
    last, and hides no installed package.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def run_from_command_line(train: Callable[[], None]) -> None:
    """Runs train.py's function for the arguments of this process: help, clear errors, exit codes.

    Args:
        train: what `hydra.main` has made of it; it reads the arguments itself.
    """
    from hybrid_ir.runs.errors import report_errors_clearly  # It loads Hydra, as train.py does.
    from hybrid_ir.system.progress import watch_progress

    make_user_modules_importable()
    with report_errors_clearly():
        sys.argv[1:] = restore_agent_arguments(sys.argv[1:])
        if wants_help(sys.argv[1:]):
            print_train_help()
        else:
            with watch_progress("train"):
                train()


def run_training(arguments: Sequence[str]) -> None:
    """Runs train.py with some arguments in this process."""
    path = str(find_shipped_file("train.py"))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def run_sweep(arguments: Sequence[str]) -> None:
    """Runs train.py for every combination of the values that the arguments list."""
    if wants_help(arguments):
        print(SWEEP_USAGE, end="")
        return
    from hybrid_ir.runs.errors import report_errors_clearly  # It loads Hydra.

    with report_errors_clearly():
        overrides = [translate_sweep_argument(argument) for argument in arguments]
    run_training(["-m", *overrides])


def translate_sweep_argument(argument: str) -> str:
    """Returns an argument of `hybrid-ir sweep` as Hydra calls it.

    Raises:
        ValueError: `retry` is not `failed`, `slots` is no number, or a key has no value.
    """
    key, equals, value = argument.partition("=")
    if not equals and not argument.startswith(("~", "-")):
        raise ValueError(f"{argument!r} has no value: write KEY=A,B or KEY=VALUE")
    if key == "slots" and value != "auto":
        from hybrid_ir.runs.launchers import parse_slots

        parse_slots(value)
    if key == "retry":
        if value != "failed":
            raise ValueError(f"retry={value} must be failed")
        return "hydra.launcher.retry_failed=true"
    if key in SWEEP_KEYS:
        return f"{SWEEP_KEYS[key]}={value}"
    return argument
