"""Clear errors: a mistake of the user is one line, everything else keeps its traceback."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from functools import wraps
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from hybrid_ir.runs.conf import get_output_folder, list_groups, list_keys
from hybrid_ir.runs.folder import remove_refused_run
from hybrid_ir.runs.suggestions import describe_composition_error
from hybrid_ir.system.interruption import (
    KEYBOARD_INTERRUPT_CODE,
    Interrupted,
    end_where_nobody_reads,
)
from hybrid_ir.system.processes import Failure, RanksEnded, end_with_watcher, report_failure

# Errors whose message is meant for the user.
USER_ERRORS = (ValueError, TypeError, OSError, HydraException, OmegaConfBaseException)
# Exit codes of a program.
PROGRAM_ERROR_CODE = 1
USER_ERROR_CODE = 2
# What torch says of a process of a data loader that has ended.
LOST_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\)")
# How much of a library's message is quoted.
QUOTED_CHARACTERS = 200


@contextmanager
def report_errors_clearly() -> Iterator[None]:
    """Turns errors of the block into a message and an exit code, and ends the program.

    A mistake of the user is printed as one line, and the exit code is 2. An error of the program
    keeps its traceback, and the exit code is 1. A run that was asked to stop exits with 75, so
    that a cluster queues it again, and with 130 after Ctrl-C.
    """
    end_with_watcher()
    try:
        with end_where_nobody_reads():
            yield
    except KeyboardInterrupt:
        print("stopped; what was written whole stays", file=sys.stderr)
        sys.exit(KEYBOARD_INTERRUPT_CODE)
    except RanksEnded as ended:
        if str(ended):
            print(ended, file=sys.stderr)
        sys.exit(ended.code)
    except Interrupted as request:
        # One rank asks to be queued again. A bad exit of another one would have the cluster kill
        # all of them.
        if _get_process_rank() != 0:
            sys.exit(0)
        print(request, file=sys.stderr)
        sys.exit(request.code)
    except Exception as error:
        failure = _describe_failure(error)
        is_one_of_several = "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1
        if failure.code == PROGRAM_ERROR_CODE and failure.details and not is_one_of_several:
            raise
        if not report_failure(failure):
            message = str(failure) if is_one_of_several else failure.message
            print(
                f"{failure.details}error: {message}\n(HYBRID_IR_TRACEBACK=1 shows where)",
                file=sys.stderr,
            )
        sys.exit(failure.code)


def report_run_errors_clearly(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Reports errors clearly inside of Hydra, which would print a line of its own first.

    A run says at once where its results will be, since loading libraries takes seconds.
    In a sweep the errors are left alone, since Hydra's launcher needs the error itself. A run that
    was refused before it did anything leaves no folder.
    """

    @wraps(task)
    def run(cfg: DictConfig) -> None:
        if HydraConfig.get().mode != RunMode.RUN:
            task(cfg)
            return
        if _get_process_rank() == 0:
            print(f"run folder: {get_output_folder()}", flush=True)
        with report_errors_clearly():
            try:
                task(cfg)
            except Exception:
                remove_refused_run(get_output_folder(), Path(cfg.paths.output_dir))
                raise

    return run


def _get_process_rank() -> int:
    """Returns the number of this process in its run, 0 if it is the only one.

    Our own launcher and torchrun set RANK, SLURM sets SLURM_PROCID.
    """
    for variable in ("RANK", "SLURM_PROCID"):
        if variable in os.environ:
            return int(os.environ[variable])
    return 0


@dataclass(frozen=True)
class _Cause:
    """What an error is about.

    Attributes:
        message: what to say of it.
        is_known: whether the message alone says what can be done.
        is_lost_peer: whether the error only says that another rank has ended.
        code: the exit code where the message alone says what can be done.
    """

    message: str
    is_known: bool = True
    is_lost_peer: bool = False
    code: int = USER_ERROR_CODE


def _describe_failure(error: Exception) -> Failure:
    """Describes an error: one line for what users can mend, the traceback for everything else."""
    cause = _find_cause(error)
    shows_traceback = not cause.is_known or os.environ.get("HYBRID_IR_TRACEBACK")
    return Failure(
        rank=_get_process_rank(),
        message=cause.message if cause.is_known else f"{type(error).__name__}: {cause.message}",
        step=getattr(error, "step", None),
        is_consequence=cause.is_lost_peer,
        code=cause.code if cause.is_known else PROGRAM_ERROR_CODE,
        details="".join(traceback.format_exception(error)) if shows_traceback else "",
    )


def _find_cause(error: Exception) -> _Cause:
    message = describe_error(error)
    is_lost_peer = _is_lost_peer(error)
    if _is_out_of_memory(error, message):
        return _Cause(
            f"no memory left ({_quote_first_line(message)}): use cache_gradients=true, a smaller "
            "model.tokens_per_slice, more processes or a smaller sampler.batch_size",
            is_lost_peer=is_lost_peer,
        )
    if is_lost_peer:
        return _Cause(
            f"lost contact with another process of the run ({_quote_first_line(message)})",
            is_lost_peer=True,
        )
    if LOST_WORKER.search(message):
        return _Cause(_describe_lost_worker(message), code=PROGRAM_ERROR_CODE)
    if isinstance(error, RuntimeError) and message.startswith("Early stopping conditioned on"):
        monitor, _, names = message.partition(" which is not available.")
        known = names.rpartition(": ")[2]
        return _Cause(f"callbacks.early_stopping.monitor: {monitor}, there are {known}")
    if _is_wrong_trainer(error):
        cure = "; trainer=cpu trains without a GPU" if "gpu" in message else ""
        return _Cause(message + cure)
    return _Cause(message, is_known=isinstance(error, USER_ERRORS))


def _describe_lost_worker(message: str) -> str:
    """Says which data loader worker has ended, from what torch says of it."""
    worker = LOST_WORKER.search(message)
    name = f"a process that builds batches (data.num_workers, process {worker['pids']})"
    if "killed by signal: Killed" in message:
        ending = "was killed by signal 9 (SIGKILL), as the system does when memory runs out"
    elif "killed by signal" in message:
        ending = f"was killed by signal ({_quote_first_line(message.partition('signal: ')[2])})"
    else:
        ending = "ended, as when the system kills it because memory runs out (signal 9, SIGKILL)"
    return (
        f"{name} {ending}: use fewer with data.num_workers=, 0 builds batches in the training "
        "process; resume=auto goes on from the last checkpoint"
    )


def _is_lost_peer(error: Exception) -> bool:
    if "hybrid_ir.distributed" not in sys.modules:
        return False  # Not imported here, so that `hybrid-ir data import` ends without it.
    from hybrid_ir.distributed import is_lost_peer_error

    return is_lost_peer_error(error)


def _is_out_of_memory(error: Exception, message: str) -> bool:
    if isinstance(error, MemoryError):
        return True
    return "can't allocate memory" in message or "out of memory" in message


def _is_wrong_trainer(error: Exception) -> bool:
    """Returns whether Lightning refuses the keys of a trainer.

    Its class of errors is not imported, to save time.
    """
    classes = type(find_innermost_error(error)).__mro__
    return any(kind.__name__ == "MisconfigurationException" for kind in classes)


def _quote_first_line(message: str) -> str:
    return message.splitlines()[0][:QUOTED_CHARACTERS]


def find_error_line(output: str) -> str | None:
    """Returns the last error that a program has printed, None if there is none.

    Args:
        output: what the program printed, with errors as `report_errors_clearly` prints them.
    """
    for line in reversed(output.splitlines()):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    return None


def find_innermost_error(error: BaseException) -> BaseException:
    """Finds the error itself, without the wrapping of Hydra's instantiate."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def describe_error(error: BaseException) -> str:
    """Says in words for the user what an error is about.

    A key of the config is named, and a full disk gets its cure; any other message stays as it is.
    """
    if isinstance(error, ConfigCompositionException | MissingConfigException):
        # Raised by `hydra.main` alone: every other config is composed by `compose_config`.
        return describe_composition_error(
            error, lambda: list_keys("train", sys.argv[1:]), list_groups(), may_sweep=True
        )
    error = find_innermost_error(error)
    if isinstance(error, OmegaConfBaseException) and getattr(error, "full_key", None):
        is_unknown_key = isinstance(error, ConfigAttributeError | ConfigKeyError)
        cure = "; --help lists the keys" if is_unknown_key else ""
        return f"config key {error.full_key}: {str(error).splitlines()[0]}{cure}"
    if isinstance(error, OSError) and error.errno == ENOSPC:
        return (
            f"{error}: free some, or write to another disk with out=, to= and paths.cache_dir=. "
            "A file that has its name is whole, a result without metrics.json is not"
        )
    return str(error).strip() or type(error).__name__
