"""Clear errors: a mistake of the user is one line, everything else keeps its traceback."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from errno import ENOSPC
from functools import wraps

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, Interrupted
from hybrid_ir.system.processes import Failure, RanksEnded, end_with_watcher, report_failure

USER_ERRORS = (ValueError, TypeError, OSError, HydraException, OmegaConfBaseException)


@contextmanager
def report_errors_clearly() -> Iterator[None]:
    """Print a user's mistake as one line and exit with 2, say that Ctrl-C was heard; anything else keeps its traceback."""
    end_with_watcher()
    try:
        yield
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print("stopped; what was written whole stays", file=sys.stderr)
        sys.exit(130)
    except RanksEnded as ended:
        if str(ended):
            print(ended, file=sys.stderr)
        sys.exit(ended.code)
    except Interrupted as request:
        if (
            get_process_rank()
        ):  # one rank asks for the requeue; a bad exit of another would have the cluster kill it
            sys.exit(0)
        print(request, file=sys.stderr)
        sys.exit(REQUEUE_EXIT_CODE)
    except Exception as error:
        failure = describe_failure(error)
        several = "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1
        if failure.code == 1 and not several:
            raise
        if not report_failure(failure):
            named = failure if several else failure.message
            print(
                f"{failure.details}error: {named}\n(HYBRID_IR_TRACEBACK=1 shows where)",
                file=sys.stderr,
            )
        sys.exit(failure.code)


def report_run_errors_clearly(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """The same inside of Hydra, which would print a line of its own; in a sweep its launcher wants to see the error itself."""

    @wraps(task)
    def run(cfg: DictConfig) -> None:
        with report_errors_clearly() if HydraConfig.get().mode == RunMode.RUN else nullcontext():
            task(cfg)

    return run


def get_process_rank() -> int:
    """Its number among the processes of a run, as a launcher of ours, torchrun or SLURM tells it; 0 where it is the only one."""
    named = next((os.environ[name] for name in ("RANK", "SLURM_PROCID") if name in os.environ), "0")
    return int(named)


def describe_failure(error: Exception) -> Failure:
    """What to say of an error: one line and code 2 for what users can mend, the traceback and code 1 for what they cannot."""
    others, known = False, isinstance(error, USER_ERRORS)
    if (
        "torch" in sys.modules
    ):  # else it is about nobody else, and `hybrid-ir data import` ends without loading it
        from hybrid_ir.distributed import is_lost_peer_error

        others = is_lost_peer_error(error)
    message = describe_error(error)
    if (
        "can't allocate memory" in message
        or "out of memory" in message
        or isinstance(error, MemoryError)
    ):
        known, message = (
            True,
            (
                f"no memory left ({message.splitlines()[0][:200]}): use cache_gradients=true, a smaller "
                "model.tokens_per_slice, more processes or a smaller sampler.batch_size"
            ),
        )
    elif others:
        known, message = (
            True,
            f"lost contact with another process of the run ({message.splitlines()[0][:200]})",
        )
    elif any(
        kind.__name__ == "MisconfigurationException"
        for kind in type(find_innermost_error(error)).__mro__
    ):  # Lightning's word for it
        known, message = (
            True,
            message + ("; trainer=cpu trains without a GPU" if "gpu" in message else ""),
        )
    shown = not known or os.environ.get("HYBRID_IR_TRACEBACK")
    return Failure(
        get_process_rank(),
        message if known else f"{type(error).__name__}: {message}",
        getattr(error, "step", None),
        others,
        2 if known else 1,
        "".join(traceback.format_exception(error)) if shown else "",
    )


def find_innermost_error(error: BaseException) -> BaseException:
    """The error itself, without the wrapping of Hydra's instantiate."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def describe_error(error: BaseException) -> str:
    """What our own code said."""
    error = find_innermost_error(error)
    if isinstance(error, OmegaConfBaseException) and getattr(error, "full_key", None):
        unknown = (
            "; --help lists the keys"
            if isinstance(error, ConfigAttributeError | ConfigKeyError)
            else ""
        )
        return f"config key {error.full_key}: {str(error).splitlines()[0]}{unknown}"
    if isinstance(error, OSError) and error.errno == ENOSPC:
        return (
            f"{error}: free some, or write to another disk with out=, to= and paths.cache_dir=. A file that has its name is "
            "whole, a result without metrics.json is not"
        )
    return str(error).strip() or type(error).__name__
