"""Identities: everything on a card that distinguishes a system from others."""

import re
from pathlib import Path
from typing import Any

from hybrid_ir.comparison.load import Result

# The sampler of a model that this project did not train, and its label if nobody released it.
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
    identity.update(_identify_correction(model.get("correction")))
    identity["precision"] = card.get("precision")
    for key, value in (card.get("reading") or {}).items():
        if key in READING_KEYS:
            identity[f"reading/{key}"] = value
    backend = (card.get("reading") or {}).get("backend")
    if backend is not None:
        identity["reading/backend"] = backend["name"]
    identity["long_passages"] = long_passages.get("policy")
    identity["window_overlap"] = long_passages.get("window_overlap")
    return identity


def is_released_model(result: Result) -> bool:
    """Returns whether a result is about a model as it was released, which is known by its name.

    A run that trained nothing measured one as well, unless its weights were random.
    """
    model = result.card["model"]
    if result.training:
        return False
    return model.get("kind") != "run" or model.get("backbone", "tiny") != "tiny"


def _identify_correction(correction: dict[str, Any] | None) -> dict[str, Any]:
    """Returns what distinguishes the correction that is part of a model, nothing if there is none.

    Which model was corrected is left to its own name.
    """
    if correction is None:
        return {}
    identity = {"correction": correction["method"]}
    for key in ("passages_only", "components", "source", "fitted_on", "fitted_on_sha256"):
        identity[f"correction/{key}"] = correction[key]
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
        # The commit that was read, where the card has it: a branch moves.
        f"{RELEASED_PREFIX}revision": model.get("commit") or model.get("revision"),
    }
