"""conf/: the keys that its groups have, and configs that are composed from it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hybrid_ir.runs.identity import register_resolvers
from hybrid_ir.runs.run_names import register_name_resolvers
from hybrid_ir.runs.shipped_files import find_shipped_file, list_options
from hybrid_ir.runs.suggestions import ask_if_meant, describe_composition_error, suggest
from hybrid_ir.system.environment import prepare_libraries


def prepare_hydra() -> str:
    """Registers what conf/ needs and returns its absolute path, for `hydra.main`."""
    prepare_libraries()
    register_resolvers()
    register_name_resolvers()
    OmegaConf.register_new_resolver("by_backbone", _choose_by_backbone, replace=True)
    # Errors reach `report_errors_clearly`, which says them better than Hydra, also in a sweep.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    return str(find_shipped_file("conf"))


def _choose_by_backbone(from_scratch: Any, pretrained: Any, _root_: DictConfig) -> Any:
    """Returns the value for random weights or for pretrained ones, whichever the model starts from.

    `${by_backbone:A,B}` is A where `model.backbone` is built from scratch, and B where it is the
    place of a pretrained encoder. So a rate for random weights can never destroy pretrained ones.
    """
    backbone = OmegaConf.select(_root_, "model.backbone", default=None)
    return from_scratch if OmegaConf.is_dict(backbone) else pretrained


def get_output_folder() -> Path:
    """Returns the folder that Hydra has given to this run."""
    return Path(HydraConfig.get().runtime.output_dir)


def require_options(
    key: str,
    group: str,
    names: Iterable[str],
    config_folders: Sequence[str | Path] = (),
    also: Sequence[str] = (),
) -> None:
    """Raises a ValueError for names that are no options of a group.

    Args:
        key: what the user typed, for the message.
        group: a folder of conf/.
        names: what the user chose.
        config_folders: folders of the user that have groups of the same names.
        also: values besides the options that are allowed.
    """
    known = [*also, *list_options(group, config_folders)]
    unknown = [name for name in names if name not in known]
    if unknown:
        meant = suggest(unknown[0], known)
        raise ValueError(
            f"{key}={', '.join(unknown)} must be one of {', '.join(known)}"
            + (f"; did you mean {meant}?" if meant else "")
        )


def compose_config(
    name: str, overrides: Sequence[str] = (), config_folders: Sequence[str | Path] = ()
) -> DictConfig:
    """Composes conf/NAME.yaml with overrides in Hydra's grammar, also while Hydra is running.

    Args:
        name: of a file in conf/, without .yaml.
        overrides: as on Hydra's command line.
        config_folders: folders of the user, searched before conf/.

    Raises:
        ValueError: an override names a key, a group or an option that does not exist; with the
            nearest one that does.
    """
    _require_folders(config_folders)
    searched = [f"file://{Path(folder).absolute()}" for folder in config_folders]
    extra = [f"hydra.searchpath=[{','.join(searched)}]"] if searched else []
    try:
        return _compose(name, [*extra, *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        message = describe_composition_error(
            error, lambda: list_keys(name, overrides), list_groups()
        )
        raise ValueError(message) from error


def _require_folders(config_folders: Sequence[str | Path]) -> None:
    if isinstance(config_folders, str | Path):
        folder = str(config_folders)
        raise ValueError(f"config_folders={folder!r} must be a list of folders: [{folder!r}]")
    for folder in config_folders:
        if not Path(folder).is_dir():
            raise ValueError(f"config_folders: {folder} is no folder")


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """Composes a config; what a run of `hydra.main` around it has set is there again afterwards."""
    surrounding = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(prepare_hydra(), version_base="1.3"):
            return compose(name, overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = surrounding


def list_keys(name: str, overrides: Sequence[str] = ()) -> list[str]:
    """Returns every dotted key of a composed config, under the overrides that choose options."""
    choices = []
    for override in overrides:
        target, _, option = override.partition("=")
        group = target.removeprefix("+").partition("@")[0]
        if option in list_options(group):
            choices.append(override)
    cfg = _compose(name, choices)
    return list_keys_of(OmegaConf.to_container(cfg, resolve=False))


def list_keys_of(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns the dotted keys of nested dictionaries, those of inner ones after their own."""
    keys = []
    for key, value in node.items():
        keys.append(prefix + str(key))
        if isinstance(value, Mapping):
            keys += list_keys_of(value, f"{prefix}{key}.")
    return keys


def list_groups() -> list[str]:
    """Returns the groups of conf/, as they are named on the command line."""
    conf = find_shipped_file("conf")
    return sorted(str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_dir())


def set_values(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Puts values under dotted keys of a composed config, without Hydra's grammar.

    Raises:
        ValueError: the config has no such key; with the nearest one that it has.
    """
    for key, value in values.items():
        above, _, last = key.rpartition(".")
        parent = OmegaConf.select(cfg, above) if above else cfg
        # `in` is False for a key that is still missing (???)
        if not OmegaConf.is_dict(parent) or last not in list(parent.keys()):
            known = list_keys_of(OmegaConf.to_container(cfg, resolve=False))
            hint = ask_if_meant(key, known, otherwise=";")
            raise ValueError(
                f"{key}: the config has no such key{hint or ';'} --help lists the keys"
            )
        if isinstance(value, str):
            value = value.replace("${", r"\${")
        # Not merged, as a list may become a dictionary.
        OmegaConf.update(cfg, key, value, merge=False, force_add=False)
    return cfg
