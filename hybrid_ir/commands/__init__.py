"""The `hybrid-ir` commands, one file each, and what they share with train.py: building from config, clear errors."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from inspect import Parameter, signature
from pathlib import Path
from pydoc import locate
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from hybrid_ir.commands.run_names import register
from hybrid_ir.processes import REQUEUE, Failure, RanksEnded, report_failure

PACKAGE = Path(__file__).parents[1]
USER_ERRORS = (ValueError, TypeError, OSError, HydraException, OmegaConfBaseException)


def shipped(name: str) -> Path:
    """`conf` or `train.py`: inside an installed package, or beside it in a clone."""
    return PACKAGE / name if (PACKAGE / name).exists() else PACKAGE.parent / name


def conf_folder() -> str:
    """Absolute path of conf/, for hydra.main."""
    quieten()
    register()
    # a sweep must not hide what a failing job said, and one_clear_error prints it better than Hydra does
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    return str(shipped("conf"))


def names(group: str) -> list[str]:
    """The options of a group of conf/."""
    return sorted(path.stem for path in (shipped("conf") / group).glob("*.yaml") if path.stem != "none")


def require_benchmarks(key: str, chosen: Iterable[str], but: str | None = None) -> None:
    """ValueError for names that are not in conf/benchmark; `but` may stand there too."""
    known = names("benchmark")
    if unknown := [name for name in chosen if name not in (but, *known)]:
        raise ValueError(f"{key}={', '.join(unknown)} must be one of {', '.join([*([but] if but else []), *known])}")


def quieten() -> None:
    """Lightning's advice about hardware, services and loops that we set up on purpose."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (".*LeafSpec.*", ".*does not have many workers.*", ".*smaller than the logging interval.*",
                    ".*Total length of .* is zero.*", ".*Checkpoint directory .* exists.*",
                    ".*callbacks used to create the checkpoint.*", ".*The dirpath has changed.*",
                    ".*your dataloader is not resumable.*"):
        warnings.filterwarnings("ignore", message)


def build(config: Any) -> Any:
    """The object that a config describes, from plain lists and dicts; None for an empty config."""
    if config and "_target_" not in config:
        raise ValueError(f"config with keys {list(config)} has no _target_, so nothing can be built from them: choose an option "
                         "of its group other than none, or leave these keys out")
    if config:
        check_types(config)
    return instantiate(config, _convert_="all") if config else None


def check_types(config: DictConfig) -> None:
    """ValueError naming every value that is not of the type in the signature of what the config builds."""
    wrong, target = [], locate(config._target_)
    if target is None or getattr(target, "__module__", "") == "datetime":  # instantiate says so; a built-in has no signature
        return
    for name, parameter in signature(target).parameters.items():
        if name in config and isinstance(value := config[name], DictConfig) and "_target_" in value:
            check_types(value)
        elif name in config and config._target_.startswith("hybrid_ir.") and parameter.annotation is not Parameter.empty:
            plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            try:
                TypeAdapter(parameter.annotation, config=ConfigDict(strict=True)).validate_python(plain)
            except ValidationError:
                kind = getattr(parameter.annotation, "__name__", str(parameter.annotation))
                wrong.append(f"{config._get_full_key(name)}={value!r} must be of type {kind.replace('collections.abc.', '')}")
            except PydanticSchemaGenerationError:  # a type of ours or of a library: nothing that a YAML file could hold
                continue
    if wrong:
        raise ValueError("; ".join(wrong))


def prepare(seed: int, threads: int) -> None:
    """Seed every generator, and set the threads of torch on a CPU."""
    wrong = [f"{name}={value!r} must be a whole number from {least} to {most}" for name, value, least, most in
             (("seed", seed, 0, 2**32 - 1), ("threads", threads, 1, max(64, os.cpu_count() or 1)))
             if type(value) is not int or not least <= value <= most]
    if wrong:
        raise ValueError("; ".join(wrong))
    import torch  # here, so that `hybrid-ir data fetch` starts in a second
    from lightning import seed_everything
    torch.set_num_threads(threads)
    seed_everything(seed, workers=True, verbose=False)


def parts(config: Any) -> list[Any]:
    """The objects of a group of named parts, without those set to null."""
    return [build(part) for part in (config or {}).values() if part is not None]


@contextmanager
def one_clear_error() -> Iterator[None]:
    """Print a user's mistake as one line and exit with 2, say that Ctrl-C was heard; anything else keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; what was written whole stays", file=sys.stderr)
        sys.exit(130)
    except RanksEnded as ended:
        if str(ended):
            print(ended, file=sys.stderr)
        sys.exit(ended.code)
    except Exception as error:
        from hybrid_ir.interruption import Interrupted
        if isinstance(error, Interrupted):
            print(error, file=sys.stderr)
            sys.exit(REQUEUE)
        known = isinstance(error, USER_ERRORS)
        if known and os.environ.get("HYBRID_IR_TRACEBACK"):
            traceback.print_exc()
        if report_failure(failure_of(error, known)):
            sys.exit(2 if known else 1)
        if not known:
            raise
        print(f"error: {message_of(error)}\n(HYBRID_IR_TRACEBACK=1 shows where)", file=sys.stderr)
        sys.exit(2)


def failure_of(error: Exception, known: bool) -> Failure:
    """What a rank has to say of its end to the process that watches it."""
    from hybrid_ir.distributed import is_about_others
    message = message_of(error) if known else "".join(traceback.format_exception(error)).strip()
    return Failure(int(os.environ.get("RANK", 0)), message, getattr(error, "step", None), is_about_others(error),
                   2 if known else 1)


def message_of(error: BaseException) -> str:
    """What our own code said, without the wrapping of Hydra's instantiate."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OmegaConfBaseException) and getattr(error, "full_key", None):
        unknown = "; --help lists the keys" if isinstance(error, ConfigAttributeError | ConfigKeyError) else ""
        return f"config key {error.full_key}: {str(error).splitlines()[0]}{unknown}"
    if isinstance(error, OSError) and error.errno == ENOSPC:
        return (f"{error}: free some, or write to another disk with out= and paths.cache_dir=. A file that has its name is "
                "whole, a result without metrics.json is not")
    return str(error).strip() or type(error).__name__
