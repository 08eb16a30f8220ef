"""What is wrong with the values of a config, each in words that name the key and the cure."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf


def find_number_problems(cfg: DictConfig, least: Mapping[str, int]) -> list[str]:
    """Returns what is wrong with values that must be whole numbers, each from its least one on."""
    problems = []
    for key, smallest in least.items():
        if type(cfg[key]) is not int or cfg[key] < smallest:
            problems.append(f"{key}={cfg[key]!r} must be a whole number from {smallest}")
    return problems


def find_boolean_problems(cfg: DictConfig, *keys: str) -> list[str]:
    """Returns what is wrong with values that must be true or false."""
    problems = []
    for key in keys:
        if not isinstance(cfg[key], bool):
            problems.append(f"{key}={cfg[key]!r} must be true or false")
    return problems


def find_choice_problems(cfg: DictConfig, key: str, known: Sequence[Any]) -> list[str]:
    """Returns what is wrong with a value that must be one of the known ones."""
    if cfg[key] in known:
        return []
    return [f"{key}={cfg[key]!r} must be one of {', '.join(map(str, known))}"]


def find_split_problems(cfg: DictConfig, naming_key: str) -> list[str]:
    """Returns what is wrong with `split`, which only the benchmark of another key fills.

    Args:
        cfg: the config of the command.
        naming_key: the key that names this benchmark.
    """
    if OmegaConf.is_dict(cfg.split):
        return []
    return [
        f"split={cfg.split} is no key of its own: name the benchmark by {naming_key}=NAME, and set "
        "its keys by split.NAME.KEY=VALUE"
    ]


def require_values(cfg: DictConfig, command: str, *keys: str) -> None:
    """Raises a ValueError that names the keys which have no default and were not given."""
    missing = [key for key in keys if OmegaConf.is_missing(cfg, key)]
    if missing:
        raise ValueError(
            f"{', '.join(missing)}: not given; hybrid-ir {command} --help lists the keys"
        )
