"""Objects from config, with every value of the wrong type named."""

from inspect import Parameter, signature
from pydoc import locate
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from hybrid_ir.runs.errors import describe_error, find_innermost_error
from hybrid_ir.system.interruption import Interrupted


def build(config: Any) -> Any:
    """The object that a config describes, from plain lists and dicts; None for an empty config."""
    if config and "_target_" not in config:
        raise ValueError(
            f"config with keys {list(config)} has no _target_, so nothing can be built from them: choose an option "
            "of its group other than none, or leave these keys out"
        )
    if not config:
        return None
    check_types(config)
    if (
        "parts" in config
    ):  # named objects that it is made of: first, so that all that is wrong with them is told together
        rest = {
            key: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for key, value in config.items()
            if key != "parts"
        }
        return instantiate(rest, _convert_="all", _partial_=True)(
            parts=build_named_parts(config.parts)
        )
    try:
        return instantiate(config, _convert_="all")
    except HydraException as error:
        if isinstance(find_innermost_error(error), Interrupted):  # no mistake in the config
            raise find_innermost_error(error) from None
        raise


def build_named_parts(config: DictConfig) -> dict[str, Any]:
    """The object of each named config; ValueError with what is wrong with any of them."""
    found, wrong = {}, []
    for name, own in config.items():
        try:
            found[name] = build(own)
        except (ValueError, HydraException) as error:
            if not isinstance(find_innermost_error(error), ValueError):
                raise
            wrong.append(f"{name}: {describe_error(error)}")
    if wrong:
        raise ValueError("\n  ".join([f"{len(wrong)} of {len(config)} parts:", *wrong]))
    return found


def check_types(config: DictConfig) -> None:
    """ValueError naming every value that is not of the type in the signature of what the config builds."""
    wrong, target = [], locate(config._target_)
    if (
        target is None or getattr(target, "__module__", "") == "datetime"
    ):  # instantiate says so; a built-in has no signature
        return
    for name, parameter in signature(target).parameters.items():
        if name in config and isinstance(value := config[name], DictConfig) and "_target_" in value:
            check_types(value)
        elif (
            name in config
            and config._target_.startswith("hybrid_ir.")
            and parameter.annotation is not Parameter.empty
        ):
            plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            try:
                TypeAdapter(parameter.annotation, config=ConfigDict(strict=True)).validate_python(
                    plain
                )
            except ValidationError:
                kind = getattr(parameter.annotation, "__name__", str(parameter.annotation))
                wrong.append(
                    f"{config._get_full_key(name)}={value!r} must be of type {kind.replace('collections.abc.', '')}"
                )
            except (
                PydanticSchemaGenerationError
            ):  # a type of ours or of a library: nothing that a YAML file could hold
                continue
    if wrong:
        raise ValueError("; ".join(wrong))


def build_all(config: Any) -> list[Any]:
    """The objects of a group of named parts, without those set to null."""
    return [build(part) for part in (config or {}).values() if part is not None]
