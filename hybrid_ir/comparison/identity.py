"""Everything on a card that makes a system another one, the seed excepted, and the label by which readers know it."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybrid_ir.comparison.results import Result
from hybrid_ir.data.sampler_names import SAMPLER_NUMBERS

UNTRAINED = "untrained"
TRAINING, SETTING = (
    "training/",
    "setting/",
)  # what identity keys of a training, and of its whole configuration, begin with
READING = (
    "pooling",
    "query_prefix",
    "passage_prefix",
    "query_max_length",
    "passage_max_length",
    "similarity",
)
# of a card's training record: where and when, not what; its settings are spread
NOT_IDENTITY = {
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
# what may vary along the share of monolingual batches
ALPHA_KEYS = ("training/sampler", "training/monolingual_share", "setting/sampler.monolingual_share")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def identity_of(result: Result) -> dict[str, Any]:
    card = result.card
    training = {
        f"{TRAINING}{key}": value
        for key, value in result.training.items()
        if key not in NOT_IDENTITY
    }
    settings = {
        f"{SETTING}{key}": value
        for key, value in (result.training.get("settings") or {}).items()
        if key.rpartition(".")[2] != "seed"
    }
    post, long = card.get("postprocess") or {"name": "none"}, card.get("long_passages") or {}
    reading = {
        f"reading/{key}": value
        for key, value in (card.get("reading") or {}).items()
        if key in READING
    }
    model = card["model"]
    return {
        "model": result.training.get("model") or model.get("backbone") or model["name"],
        **released(result),
        **training,
        **settings,
        "postprocess": post["name"],
        "estimated_on": post.get("estimated_on"),
        "postprocess/components": post.get("components"),
        "postprocess/source": post.get("source"),
        "precision": card.get("precision"),
        **reading,
        "long_passages": long.get("policy"),
        "window_overlap": long.get("window_overlap"),
    }


def released(result: Result) -> dict[str, Any]:
    """The hub's id and revision of an untrained model: two owners may use one name. A folder is only where a copy lies."""
    model = result.card["model"]
    path = str(model.get("path") or "")
    if (
        result.training
        or model.get("kind") == "run"
        or not HUB_ID.fullmatch(path)
        or Path(path).exists()
    ):
        return {}
    return {"released/path": path, "released/revision": model.get("revision")}


def label_of(identity: dict[str, Any], one_model: bool = False) -> str:
    """Sampler, alpha and level where they are not the sampler's own, model where there are several, postprocess."""
    name = identity.get("training/sampler", UNTRAINED)
    share, level = identity.get("training/monolingual_share"), identity.get("training/level")
    own_share, own_level = SAMPLER_NUMBERS.get(name, (None, None))
    parts = [name]
    if share is not None and share != own_share:
        parts.append(f"alpha={share:g}")
    if level is not None and level != own_level:
        parts.append(f"level={level}")
    post = identity["postprocess"]
    model = [] if one_model else [str(identity["model"])]
    return " / ".join([" ".join(parts), *model, *([post] if post != "none" else [])])


def distinct_labels(identities: Sequence[dict[str, Any]], one_model: bool = False) -> list[str]:
    """Labels; those that are equal get the values that tell the systems apart."""
    labels = [label_of(identity, one_model) for identity in identities]
    twins = defaultdict(list)
    for label, identity in zip(labels, identities, strict=True):
        twins[label].append(identity)
    return [
        " / ".join([label, *differences(identity, twins[label])])
        for label, identity in zip(labels, identities, strict=True)
    ]


def differences(identity: dict[str, Any], twins: Sequence[dict[str, Any]]) -> list[str]:
    """KEY=VALUE wherever the twins differ; a key of the training record that repeats a setting is left out.

    Cards of older versions hold no settings: theirs are unknown, not different.
    """
    told = [twin for twin in twins if has_settings(twin)]

    def values(key: str, among: Sequence[dict[str, Any]]) -> list[str]:
        return [json.dumps(twin.get(key), default=str) for twin in among]

    differing = [
        key
        for key in dict.fromkeys(key for twin in twins for key in twin)
        if len(set(values(key, told if key.startswith(SETTING) else twins))) > 1
    ]
    settings = [values(key, told) for key in differing if key.startswith(SETTING)]
    if has_settings(identity):
        differing = [
            key
            for key in differing
            if not (key.startswith(TRAINING) and values(key, told) in settings)
        ]
        unknown = []
    else:
        differing = [key for key in differing if not key.startswith(SETTING)]
        unknown = ["settings unknown"] if told else []
    return [f"{key.rpartition('/')[2]}={short(identity.get(key))}" for key in differing] + unknown


def has_settings(identity: dict[str, Any]) -> bool:
    return any(key.startswith(SETTING) for key in identity)


def short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
