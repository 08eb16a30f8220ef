"""Systems: results that differ in nothing but the seed, under a label that readers recognise."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybrid_ir.comparison.load import Result
from hybrid_ir.data.language_choice import SAMPLER_NUMBERS

# The label of a model that this project did not train.
UNTRAINED = "untrained"

# An identity is a flat dictionary. These begin its keys for values from the card's record of the
# training, and from the whole configuration of the training.
TRAINING_PREFIX = "training/"
SETTING_PREFIX = "setting/"
RELEASED_PREFIX = "released/"

# ---------------------------------------------------------------------------------------------
# Keys that make no other experiment. Results whose identities are equal are seeds of one system.
# (hybrid_ir/system/experiment_keys.py has the keys that were left out of a card's settings before.)

# Keys of the card's record of a training that say where and when it ran, not what was trained.
# The settings are no value of their own: each of them is a key of the identity.
KEYS_WITHOUT_IDENTITY = {
    "seed",
    "path",
    "folder",
    "run",
    "checkpoint",
    "started_at",
    "finished_at",
    "seconds",
    "step",
    "steps",
    "git",
    "settings",
}
# Keys of the card's record of how texts are read that do make another system. All others do not.
READING_KEYS = (
    "pooling",
    "query_prefix",
    "passage_prefix",
    "query_max_length",
    "passage_max_length",
    "similarity",
)
# Keys of an identity that vary along the share of monolingual batches.
ALPHA_KEYS = ("training/sampler", "training/monolingual_share", "setting/sampler.monolingual_share")
# Keys of an identity that differ between a system and its baseline by intention.
PLAN_KEYS = {*ALPHA_KEYS, "training/level", "setting/sampler.level"}
# ---------------------------------------------------------------------------------------------

# What may be the id of a model on the Hugging Face hub.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, eq=False)
class System:
    """One way of training and reading a model.

    Attributes:
        label: Its name in tables and figures.
        results: Its results on one benchmark, one for each seed.
        identity: Everything that distinguishes it from other systems.
        long_label: Its label with the name of the model, which `label` leaves out where all
            systems have the same model.
    """

    label: str
    results: tuple[Result, ...]
    identity: dict[str, Any] = field(repr=False)
    long_label: str = ""

    @property
    def sampler(self) -> str:
        """The name of the sampler that planned its batches."""
        return self.identity.get("training/sampler", UNTRAINED)

    @property
    def model(self) -> str:
        """The name of the pretrained model."""
        return self.identity["model"]

    @property
    def alpha(self) -> float | None:
        """The share of monolingual batches or examples."""
        return self.identity.get("training/monolingual_share")

    @property
    def languages(self) -> frozenset[str]:
        """The languages it was trained on, none where it was not trained or they are unknown."""
        return frozenset(self.identity.get("training/languages") or ())

    @property
    def seeds(self) -> list[int | None]:
        """The seeds of its results."""
        return [result.seed for result in self.results]


def group_into_systems(
    results: Iterable[Result], with_model: bool = True
) -> tuple[list[System], list[str]]:
    """Groups the results on one benchmark into systems.

    Args:
        results: Results on one benchmark.
        with_model: Whether the labels name the model.

    Returns:
        The systems in the order of model, sampler and alpha, and notes about results that are
        there twice and were counted once.

    Raises:
        ValueError: Two results of one system and seed have different numbers.
    """
    identities = {}
    members = defaultdict(list)
    for result in results:
        identity = build_identity(result)
        key = json.dumps(identity, sort_keys=True, default=str)
        identities[key] = identity
        members[key].append(result)
    labels = _build_labels(list(identities.values()), with_model)
    long_labels = _build_labels(list(identities.values()), with_model=True)
    systems = []
    notes: list[str] = []
    problems: list[str] = []
    for label, long_label, key in zip(labels, long_labels, identities, strict=True):
        ordered_results = _keep_one_result_per_seed(members[key], label, notes, problems)
        systems.append(System(label, tuple(ordered_results), identities[key], long_label))
    if problems:
        raise ValueError("; ".join(problems))
    return sorted(systems, key=_get_sort_key), notes


def _keep_one_result_per_seed(
    results: Sequence[Result], label: str, notes: list[str], problems: list[str]
) -> list[Result]:
    """Returns the first result of each seed in the order of seeds.

    A repeated result adds a line to the notes, or to the problems if its numbers are different.
    """
    result_by_seed: dict[int | None, Result] = {}
    for result in results:
        if result.seed not in result_by_seed:
            result_by_seed[result.seed] = result
            continue
        first = result_by_seed[result.seed]
        both = f"{first.folder} and {result.folder} are both {label}, seed {result.seed}, "
        if first.metrics["settings"] == result.metrics["settings"]:
            notes.append(both + "with the same numbers: counted once")
        else:
            problems.append(both + "with different numbers: leave one of them out")
    return sorted(
        result_by_seed.values(), key=lambda result: (result.seed is None, result.seed or 0)
    )


def _get_sort_key(system: System) -> tuple:
    """Sorts by model, sampler in the order of the paper, falling alpha and label."""
    samplers = [UNTRAINED, *SAMPLER_NUMBERS]
    place = samplers.index(system.sampler) if system.sampler in samplers else len(samplers)
    falling_alpha = -1.0 if system.alpha is None else -system.alpha
    return (system.model, place, falling_alpha, system.label)


def build_identity(result: Result) -> dict[str, Any]:
    """Returns everything on a card that makes another system, so not the seed."""
    card = result.card
    model = card["model"]
    postprocess = card.get("postprocess") or {"name": "none"}
    long_passages = card.get("long_passages") or {}
    identity = {"model": result.training.get("model") or model.get("backbone") or model["name"]}
    identity.update(_identify_released_model(result))
    for key, value in result.training.items():
        if key not in KEYS_WITHOUT_IDENTITY:
            identity[f"{TRAINING_PREFIX}{key}"] = value
    for key, value in (result.training.get("settings") or {}).items():
        if key.rpartition(".")[2] != "seed":
            identity[f"{SETTING_PREFIX}{key}"] = value
    identity["postprocess"] = postprocess["name"]
    identity["estimated_on"] = postprocess.get("estimated_on")
    identity["postprocess/components"] = postprocess.get("components")
    identity["postprocess/source"] = postprocess.get("source")
    identity["precision"] = card.get("precision")
    for key, value in (card.get("reading") or {}).items():
        if key in READING_KEYS:
            identity[f"reading/{key}"] = value
    identity["long_passages"] = long_passages.get("policy")
    identity["window_overlap"] = long_passages.get("window_overlap")
    return identity


def _identify_released_model(result: Result) -> dict[str, Any]:
    """Returns the hub's id and revision of an untrained model, since two owners may use one name.

    The path of a local folder is only where a copy of a model lies, and is left out.
    """
    model = result.card["model"]
    path = str(model.get("path") or "")
    if result.training or model.get("kind") == "run":
        return {}
    if not _HUB_ID.fullmatch(path) or Path(path).exists():
        return {}
    return {
        f"{RELEASED_PREFIX}path": path,
        f"{RELEASED_PREFIX}revision": model.get("revision"),
    }


def _build_labels(identities: Sequence[dict[str, Any]], with_model: bool) -> list[str]:
    """Returns a distinct label for each identity.

    Labels that would be equal get the values in which their systems differ.
    """
    short_labels = [_build_short_label(identity, with_model) for identity in identities]
    identities_by_label = defaultdict(list)
    for label, identity in zip(short_labels, identities, strict=True):
        identities_by_label[label].append(identity)
    labels = []
    for label, identity in zip(short_labels, identities, strict=True):
        differences = _describe_differences(identity, identities_by_label[label])
        labels.append(" / ".join([label, *differences]))
    return labels


def _build_short_label(identity: dict[str, Any], with_model: bool) -> str:
    """Returns sampler, model and postprocess.

    Alpha and level are named where they are not those that the sampler usually has.
    """
    sampler = identity.get("training/sampler", UNTRAINED)
    share = identity.get("training/monolingual_share")
    level = identity.get("training/level")
    usual_share, usual_level = SAMPLER_NUMBERS.get(sampler, (None, None))
    plan = sampler
    if share is not None and share != usual_share:
        plan += f" alpha={share:g}"
    if level is not None and level != usual_level:
        plan += f" level={level}"
    parts = [plan]
    if with_model:
        parts.append(str(identity["model"]))
    if identity["postprocess"] != "none":
        parts.append(identity["postprocess"])
    return " / ".join(parts)


def _describe_differences(
    identity: dict[str, Any], same_label: Sequence[dict[str, Any]]
) -> list[str]:
    """Returns KEY=VALUE for every key in which the identities of one label differ.

    A key of the training record that repeats a setting is left out. Cards of older versions hold no
    settings: theirs are unknown, not different.
    """
    with_settings = [other for other in same_label if _has_settings(other)]
    differing_keys = []
    for key in _list_keys(same_label):
        compared = with_settings if key.startswith(SETTING_PREFIX) else same_label
        if len(set(_encode_values(key, compared))) > 1:
            differing_keys.append(key)
    setting_values = []
    for key in differing_keys:
        if key.startswith(SETTING_PREFIX):
            setting_values.append(_encode_values(key, with_settings))
    descriptions = []
    for key in differing_keys:
        if _has_settings(identity):
            is_training_key = key.startswith(TRAINING_PREFIX)
            if is_training_key and _encode_values(key, with_settings) in setting_values:
                continue
        elif key.startswith(SETTING_PREFIX):
            continue
        descriptions.append(f"{key.rpartition('/')[2]}={_shorten_value(identity.get(key))}")
    if with_settings and not _has_settings(identity):
        descriptions.append("settings unknown")
    return descriptions


def _list_keys(identities: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the keys of all identities, each once, in the order in which they first come."""
    keys: dict[str, None] = {}
    for identity in identities:
        keys.update(dict.fromkeys(identity))
    return list(keys)


def _encode_values(key: str, identities: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the values of a key as texts that can be compared."""
    return [json.dumps(identity.get(key), default=str) for identity in identities]


def _has_settings(identity: dict[str, Any]) -> bool:
    return any(key.startswith(SETTING_PREFIX) for key in identity)


def _shorten_value(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value)
