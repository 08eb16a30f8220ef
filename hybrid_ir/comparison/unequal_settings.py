"""Unequal settings: what differs between trainings besides how their batches are planned."""

import json
from collections.abc import Sequence
from typing import Any

from hybrid_ir.comparison.identities import PLAN_KEYS, SETTING_PREFIX
from hybrid_ir.comparison.system_labels import shorten_value
from hybrid_ir.comparison.systems import System

_KEYS_NAMED = 5  # of those that differ
_LABELS_NAMED = 3  # of the systems that share a value
UNKNOWN = "unknown"


def describe_unequal_settings(systems: Sequence[System]) -> list[str]:
    """Returns a note about settings that differ between trained systems, none if all are equal.

    How batches are planned is what a comparison is about, and what stands on a label is told
    there. Whatever else differs may be the cause of a difference in the numbers.

    Args:
        systems: On one benchmark; untrained ones and cards without settings are left out.
    """
    trained = [system for system in systems if _list_settings(system)]
    told: set[str] = set(PLAN_KEYS)
    for system in trained:
        told.update(f"{SETTING_PREFIX}{key}" for key in system.differences)
    keys: dict[str, None] = {}
    for system in trained:
        keys.update(dict.fromkeys(_list_settings(system)))
    descriptions: dict[tuple[str, str], str] = {}
    for key in keys:
        labels_by_value = _group_by_value(trained, key)
        if key not in told and len(labels_by_value) > 1:
            # The scheduler repeats the steps of the trainer.
            same_setting = (key.rpartition(".")[2], json.dumps(labels_by_value))
            descriptions[same_setting] = _describe_key(key, labels_by_value)
    if not descriptions:
        return []
    named = list(descriptions.values())[:_KEYS_NAMED]
    if len(descriptions) > _KEYS_NAMED:
        named.append(f"{len(descriptions) - _KEYS_NAMED} more")
    return [
        "the trainings differ in more than the plan of their batches, which may be the cause of a "
        f"difference: {'; '.join(named)}"
    ]


def _list_settings(system: System) -> list[str]:
    """Returns the keys of an identity that are settings of its training."""
    return [key for key in system.identity if key.startswith(SETTING_PREFIX)]


def _group_by_value(systems: Sequence[System], key: str) -> dict[str, list[str]]:
    """Returns the labels of the systems that have each value of a key."""
    labels: dict[str, list[str]] = {}
    for system in systems:
        value: Any = system.identity.get(key)
        text = shorten_value(value) if key in system.identity else UNKNOWN
        exact = json.dumps([text, value], sort_keys=True, default=str)
        labels.setdefault(exact, []).append(system.label)
    return labels


def _describe_key(key: str, labels_by_value: dict[str, list[str]]) -> str:
    """Returns a key with its values and the systems that have them."""
    parts = []
    for exact, labels in labels_by_value.items():
        text = json.loads(exact)[0]
        named = ", ".join(labels[:_LABELS_NAMED])
        if len(labels) > _LABELS_NAMED:
            named += f" and {len(labels) - _LABELS_NAMED} more"
        parts.append(f"{text} ({named})")
    return f"{key.removeprefix(SETTING_PREFIX)} is {' or '.join(parts)}"
