"""What users type as KEY=VALUE: texts are taken as they stand, as Hydra's grammar would strip blanks and split paths."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.conf import find_conf_folder

PLAIN_ENCODER_KEYS = (
    "backbone",
    "query_prefix",
    "passage_prefix",
    "revision",
    "device",
    "out",
    "paths.data_dir",
    "paths.cache_dir",
    "paths.output_dir",
)  # keys whose values are plain texts, in every command that reads conf/encoder
PATH = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*))\s*(?:,|$)""")


def split_plain_texts(
    arguments: Sequence[str], keys: Iterable[str]
) -> tuple[list[str], dict[str, str | None]]:
    """The overrides for Hydra, and the values of `keys` (and of any `*.folder`) as they stand; `null` is None."""
    rest, texts, keys = [], {}, set(keys)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and (key in keys or key.endswith(".folder")):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            texts[key] = value[1:-1] if quoted else None if value == "null" else value
        else:
            rest.append(argument)
    return rest, texts


def compose_config(name: str, arguments: Sequence[str], keys: Iterable[str]) -> DictConfig | None:
    """The config of a command that users complete by KEY=VALUE; None after printing it, where that is what they want."""
    if set(arguments) & {"-h", "--help"} or not arguments:
        print((Path(find_conf_folder()) / f"{name}.yaml").read_text(encoding="utf-8"), end="")
        return None
    rest, texts = split_plain_texts(arguments, keys)
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        return set_plain_texts(compose(name, overrides=rest), texts)


def set_plain_texts(cfg: DictConfig, texts: dict[str, str | None]) -> DictConfig:
    """Put the texts into a composed config; ValueError for a key that it does not have."""
    for key, value in texts.items():
        above, _, last = key.rpartition(".")
        parent = OmegaConf.select(cfg, above) if above else cfg
        if not OmegaConf.is_dict(parent) or last not in parent.keys():  # noqa: SIM118  `in` is False for a key that is ???
            raise ValueError(f"{key}: the config has no such key")
        OmegaConf.update(cfg, key, value if value is None else value.replace("${", r"\${"))
    return cfg


def parse_paths(value: str) -> list[str]:
    """The items of `[a,b]`, or of `a` alone; a comma inside quotes is part of a path."""
    inside = value.strip()
    if inside.startswith("[") and inside.endswith("]"):
        inside = inside[1:-1]
    found = (max(match.groups(""), key=len).strip() for match in PATH.finditer(inside))
    return [path for path in found if path]


def parse_list(value: str) -> list[str]:
    """The items of `[a,b]`, or of `a` alone, as they stand."""
    return [
        item.strip().strip("'\"")
        for item in value.strip().removeprefix("[").removesuffix("]").split(",")
        if item.strip()
    ]
