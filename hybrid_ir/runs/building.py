"""Objects from config: builds what a `_target_` names, and names every value that does not fit."""

from inspect import Parameter, signature
from pydoc import locate
from typing import Any, Literal, get_args, get_origin

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from hybrid_ir.mteb_tasks.tasks import MtebTasks
from hybrid_ir.runs.errors import describe_error, find_innermost_error
from hybrid_ir.runs.suggestions import ask_if_meant
from hybrid_ir.system.interruption import Interrupted


def build(config: Any) -> Any:
    """Builds the object that a config describes, from plain lists and dictionaries.

    Args:
        config: a config with a `_target_`; with `_partial_: true` a function is returned that takes
            the arguments that are left. None or an empty config gives None.

    Raises:
        ValueError: a key is no argument of what shall be built, a value has the wrong type, or
            there is no `_target_`.
    """
    if not config:
        return None
    if isinstance(config, str):
        raise ValueError(
            f"{config!r} is a word where a group of keys is wanted: choose an option of the group, "
            "as in benchmark=NAME, callbacks=NAME or benchmark@validation=NAME"
        )
    if "_target_" not in config:
        raise ValueError(
            f"config with keys {list(config)} has no _target_, so nothing can be built from them: "
            "choose an option of its group other than none, or leave these keys out"
        )
    require_fitting_arguments(config)
    if "parts" in config:
        return _build_from_parts(config)
    try:
        return instantiate(config, _convert_="all")
    except HydraException as error:
        innermost = find_innermost_error(error)
        if isinstance(innermost, Interrupted):  # no mistake in the config
            raise innermost from None
        raise


def build_own_benchmark(config: Any) -> Any:
    """Builds the benchmark that a config describes, or what chooses one by the corpus.

    Raises:
        ValueError: As in `build` and `require_own_benchmark`.
    """
    require_own_benchmark(config)
    return build(config)


def require_own_benchmark(config: Any) -> None:
    """Raises a ValueError for tasks that mteb evaluates itself: no queries or passages are known.

    Args:
        config: of a benchmark; None or an empty one is no benchmark, and is right.
    """
    if is_of_mteb(config):
        raise ValueError(
            "benchmark=mteb: its tasks are evaluated by mteb itself, so that only `hybrid-ir "
            "evaluate ... benchmark=[mteb]` takes them: choose another benchmark here, or measure "
            "the finished run (benchmark=hub reads the data sets of many of these tasks)"
        )


def is_of_mteb(config: Any) -> bool:
    """Returns whether a config describes tasks that mteb evaluates itself."""
    return bool(config) and "_target_" in config and locate(config._target_) is MtebTasks


def build_all(config: Any) -> list[Any]:
    """Builds the objects of a group of named parts, without those that are set to null."""
    if not config:
        return []
    return [build(part) for part in config.values() if part is not None]


def build_named_parts(config: DictConfig) -> dict[str, Any]:
    """Builds the object of each named config.

    Raises:
        ValueError: with what is wrong with any of them.
    """
    parts = {}
    problems = []
    for name, part in config.items():
        try:
            parts[name] = build(part)
        except (ValueError, HydraException) as error:
            if not isinstance(find_innermost_error(error), ValueError):
                raise
            problems.append(f"{name}: {describe_error(error)}")
    if problems:
        raise ValueError("\n  ".join([f"{len(problems)} of {len(config)} parts:", *problems]))
    return parts


def _build_from_parts(config: DictConfig) -> Any:
    """Builds an object that is made of named objects, as a mixture is of corpora.

    The parts are built first, so that everything wrong with them is reported together.
    """
    rest = {}
    for key, value in config.items():
        if key != "parts":
            rest[key] = _to_plain(value)
    make = instantiate(rest, _convert_="all", _partial_=True)
    return make(parts=build_named_parts(config.parts))


def require_fitting_arguments(config: DictConfig) -> None:
    """Compares the keys and values of a config with the signature of what it builds, at any depth.

    Raises:
        ValueError: names every key that is no argument, and every value of another type than the
            signature's annotation.
    """
    target = locate(config._target_)
    # Without a target `instantiate` says what is wrong; a class of datetime has no signature.
    if target is None or getattr(target, "__module__", "") == "datetime":
        return
    parameters = signature(target).parameters
    problems = _find_unknown_keys(config, parameters)
    if config.get("_partial_"):  # for all others OmegaConf says the same
        for key in config:
            if OmegaConf.is_missing(config, key):
                problems.append(f"{config._get_full_key(key)}: not given, {key}=??? in conf/")
    for name, parameter in parameters.items():
        if name not in config:
            continue
        value = config[name]
        if isinstance(value, DictConfig) and "_target_" in value:
            require_fitting_arguments(value)
        elif config._target_.startswith("hybrid_ir.") and not _fits(value, parameter):
            kind = _describe_annotation(parameter.annotation)
            problems.append(f"{config._get_full_key(name)}={value!r} must be {kind}")
    if problems:
        raise ValueError("; ".join(problems))


def _describe_annotation(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    name = getattr(annotation, "__name__", str(annotation))
    return f"of type {name.replace('collections.abc.', '')}"


def _find_unknown_keys(config: DictConfig, parameters: dict[str, Parameter]) -> list[str]:
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    problems = []
    for key in config:
        if str(key).startswith("_") or key in parameters:
            continue
        hint = ask_if_meant(str(key), list(parameters))
        problems.append(f"{config._get_full_key(key)}: {config._target_} takes no {key}{hint}")
    return problems


def _fits(value: Any, parameter: Parameter) -> bool:
    """Returns whether a value is of the type that a parameter is annotated with."""
    if parameter.annotation is Parameter.empty:
        return True
    try:
        adapter = TypeAdapter(parameter.annotation, config=ConfigDict(strict=True))
    except PydanticSchemaGenerationError:
        return True  # a type of a library: nothing that a YAML file could hold
    try:
        adapter.validate_python(_to_plain(value, resolve=False))
    except ValidationError:
        return False
    return True


def _to_plain(value: Any, resolve: bool = True) -> Any:
    """Returns a config as plain lists and dictionaries, any other value as it is."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=resolve)
    return value
