"""Names of runs on trackers, which say in what a run differs from others."""

from collections.abc import Sequence
from pathlib import PurePath

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.checksums import hash_values
from hybrid_ir.runs.identity import HASH_DIGITS
from hybrid_ir.system.experiment_keys import distinguishes_runs

# W&B takes no longer names.
LONGEST_NAME = 128
# What these groups set comes last in a name, in this order.
LAST_GROUPS = ("trainer", "callbacks", "benchmark", "validation")
# What the name begins or ends with, or what the group of the run says.
NAMED_KEYS = ("model", "sampler", "seed", "corpus", "sampler.monolingual_share")


def register_name_resolvers() -> None:
    """Registers the resolvers `run_name` and `run_group` of conf/logger."""
    OmegaConf.register_new_resolver("run_name", _resolve_run_name, replace=True)
    OmegaConf.register_new_resolver("run_group", _resolve_run_group, replace=True)


# OmegaConf passes the whole config to a resolver by the name _root_.
def _resolve_run_name(_root_: DictConfig) -> str:
    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    share = OmegaConf.select(_root_, "sampler.monolingual_share")
    return build_run_name(
        str(choices.get("model", "model")),
        str(choices.get("sampler", "sampler")),
        share,
        OmegaConf.select(_root_, "seed"),
        list(hydra.overrides.task),
    )


def _resolve_run_group() -> str:
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        return PurePath(str(hydra.sweep.dir)).name
    return str(hydra.runtime.choices.get("corpus", "train"))


def build_run_name(
    model: str, sampler: str, share: float | None, seed: int, overrides: Sequence[str]
) -> str:
    """Builds the name of a run: model, sampler, alpha, what else was typed, and the seed.

    Keys that make no other run, such as the place of its folder, are left out. A key is called by
    its last part, or in full where two would be called the same.

    Args:
        model: the option of conf/model.
        sampler: the option of conf/sampler.
        share: of monolingual batches; it is named where it is neither 0 nor 1.
        seed: of the run.
        overrides: what was typed, in Hydra's grammar.
    """
    parts = [model, sampler]
    if share is not None and 0 < share < 1:
        parts.append(f"alpha={share:g}")
    parts += describe_overrides(overrides)
    end = f"seed{seed}"
    name = "_".join([*parts, end])
    if len(name) <= LONGEST_NAME:
        return name
    # Whole parts are left out, and a hash tells such names from each other.
    end = f"{hash_values(name)[:HASH_DIGITS]}_{end}"
    while len(parts) > 1 and len("_".join([*parts, end])) > LONGEST_NAME:
        parts.pop()
    return "_".join([*parts, end])[-LONGEST_NAME:]


def describe_overrides(overrides: Sequence[str]) -> list[str]:
    """Returns KEY=VALUE for each override that makes another run and is not in its name anyway.

    What is trained comes before how long, and that before what is measured.
    """
    values: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        is_removed = override.startswith("~")
        if key in NAMED_KEYS or not _makes_another_run(key):
            continue
        values[key] = value if equals and not is_removed else "none"
    values = dict(sorted(values.items(), key=_get_place_in_name))
    last_parts = [key.rpartition(".")[2] for key in values]
    descriptions = []
    for key, value in values.items():
        last_part = key.rpartition(".")[2]
        name = last_part if last_parts.count(last_part) == 1 else key
        descriptions.append(f"{name}={_shorten_value(value)}")
    return descriptions


def _get_place_in_name(item: tuple[str, str]) -> int:
    """Returns the place of a key's group, with which keys are sorted for a name."""
    group = item[0].split(".")[0]
    return LAST_GROUPS.index(group) + 1 if group in LAST_GROUPS else 0


def _makes_another_run(key: str) -> bool:
    parts = key.partition("@")[0].split(".")
    return all(distinguishes_runs(part) for part in parts)


def _shorten_value(value: str) -> str:
    """Returns the last part of a path, any other value as it was typed without quotes."""
    text = value.strip("'\"")
    is_path = "/" in text and text[:1] not in "[{"
    return PurePath(text).name if is_path else text
