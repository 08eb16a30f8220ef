"""Labels of systems: short in tables and figures, with a legend where that leaves something out."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_ir.comparison.identities import SETTING_PREFIX, TRAINING_PREFIX, UNTRAINED
from hybrid_ir.data.language_choice import SAMPLER_NUMBERS

_LONGEST_VALUE = 24  # letters of a value on a label


@dataclass(frozen=True)
class NamelessSystem:
    """What the label of a system is made of.

    Attributes:
        identity: Everything that distinguishes it from other systems.
        is_released: Whether its model is known by its own name.
        name: What the user calls it, if anything.
    """

    identity: dict[str, Any]
    is_released: bool = False
    name: str | None = None


@dataclass(frozen=True)
class Label:
    """The label of a system.

    Attributes:
        text: As it stands in tables and figures.
        differences: The values in which the system differs from those that would have the same
            label, by key.
        legend: What the text leaves out, empty where it says everything.
    """

    text: str
    differences: dict[str, Any] = field(default_factory=dict)
    legend: str = ""


def build_labels(systems: Sequence[NamelessSystem], with_model: bool) -> list[Label]:
    """Returns a distinct label for each system.

    A name of the user is the label. Other labels that would be equal get as few values as tell
    their systems from each other.

    Args:
        systems: What is known of each system.
        with_model: Whether labels name the model.
    """
    short_texts = [_build_short_text(system, with_model) for system in systems]
    places_by_text = defaultdict(list)
    for place, text in enumerate(short_texts):
        places_by_text[text].append(place)
    described: dict[int, Label] = {}
    for text, places in places_by_text.items():
        identities = [systems[place].identity for place in places]
        for place, label in zip(places, _describe_equal_texts(text, identities), strict=True):
            described[place] = label
    labels = [described[place] for place in range(len(systems))]
    return _apply_names(labels, [system.name for system in systems])


def _apply_names(labels: Sequence[Label], names: Sequence[str | None]) -> list[Label]:
    """Puts the names of the user in place of labels, or before them where a name has several."""
    named = []
    for label, name in zip(labels, names, strict=True):
        if name is None:
            named.append(label)
        elif list(names).count(name) > 1:
            named.append(Label(f"{name} / {label.text}", label.differences, label.legend))
        else:
            legend = label.legend or label.text
            named.append(Label(name, label.differences, legend))
    return named


def _build_short_text(system: NamelessSystem, with_model: bool) -> str:
    """Returns sampler, model, correction, postprocess; the model alone if it is a released one.

    Alpha and level are named where they are not those that the sampler usually has.
    """
    identity = system.identity
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
    if system.is_released:
        parts = [str(identity["model"])]
    elif with_model:
        parts.append(str(identity["model"]))
    if "correction" in identity:
        parts.append(f"debias={identity['correction']}")
    if identity["postprocess"] != "none":
        parts.append(identity["postprocess"])
    return " / ".join(parts)


def _describe_equal_texts(text: str, identities: Sequence[dict[str, Any]]) -> list[Label]:
    """Returns distinct labels that begin with the same text."""
    differing_keys = _list_differing_keys(identities)
    label_keys = _choose_keys(differing_keys, identities)
    with_settings = any(_has_settings(identity) for identity in identities)
    labels = []
    texts: dict[str, int] = {}
    for identity in identities:
        parts = [text]
        for key in label_keys:
            if _knows(identity, key):
                parts.append(f"{_shorten_key(key, label_keys)}={shorten_value(identity.get(key))}")
        if with_settings and not _has_settings(identity):
            parts.append("settings unknown")
        label = " / ".join(parts)
        texts[label] = texts.get(label, 0) + 1
        if texts[label] > 1:  # Values that are equal in their first letters.
            label = f"{label} #{texts[label]}"
        differences = {}
        for key in differing_keys:
            if _knows(identity, key):
                differences[key.removeprefix(SETTING_PREFIX)] = identity.get(key)
        is_complete = len(label_keys) == len(differing_keys) and "…" not in label
        legend = "" if is_complete else f"{text}: {_write_differences(differences)}"
        labels.append(Label(label, differences, legend))
    return labels


def _write_differences(differences: dict[str, Any]) -> str:
    parts = []
    for key, value in differences.items():
        name = key.rpartition("/")[2]
        parts.append(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}")
    return ", ".join(parts)


def _list_differing_keys(identities: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the keys in which identities differ.

    A key of the training record that repeats a setting is left out. Cards of older versions hold no
    settings: theirs are unknown, not different, so there the setting that repeats is left out.
    """
    keys: dict[str, None] = {}
    for identity in identities:
        keys.update(dict.fromkeys(identity))
    with_settings = [identity for identity in identities if _has_settings(identity)]
    differing = []
    for key in keys:
        compared = with_settings if key.startswith(SETTING_PREFIX) else identities
        if len(set(_encode_values(key, compared))) > 1:
            differing.append(key)
    repeated = set()
    for key in differing:
        if not key.startswith(SETTING_PREFIX):
            continue
        twins = _find_repetitions(key, differing, with_settings)
        if twins and len(with_settings) < len(identities):
            repeated.add(key)
        else:
            repeated.update(twins)
    return [key for key in differing if key not in repeated]


def _find_repetitions(
    setting: str, keys: Sequence[str], identities: Sequence[dict[str, Any]]
) -> list[str]:
    """Returns the keys of the training record that have the values of a setting."""
    values = _encode_values(setting, identities)
    repetitions = []
    for key in keys:
        if key.startswith(TRAINING_PREFIX) and _encode_values(key, identities) == values:
            repetitions.append(key)
    return repetitions


def _choose_keys(keys: Sequence[str], identities: Sequence[dict[str, Any]]) -> list[str]:
    """Returns few of the differing keys, by which all identities can be told from each other."""
    for key in keys:
        if len(set(_encode_values(key, identities))) == len(identities):
            return [key]
    chosen: list[str] = []
    groups = 1
    for key in keys:
        columns = [_encode_values(other, identities) for other in (*chosen, key)]
        count = len(set(zip(*columns, strict=True)))
        if count > groups:
            chosen.append(key)
            groups = count
    return chosen


def _encode_values(key: str, identities: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the values of a key as texts that can be compared."""
    return [json.dumps(identity.get(key), default=str) for identity in identities]


def _has_settings(identity: dict[str, Any]) -> bool:
    return any(key.startswith(SETTING_PREFIX) for key in identity)


def _knows(identity: dict[str, Any], key: str) -> bool:
    """Returns whether a card says what the value of a key is: those of old versions know less."""
    return not key.startswith(SETTING_PREFIX) or _has_settings(identity)


def _shorten_key(key: str, keys: Sequence[str]) -> str:
    """Returns the last part of a key, or all of it where another key on the label ends alike."""
    ends = [other.rpartition("/")[2].rpartition(".")[2] for other in keys]
    end = key.rpartition("/")[2].rpartition(".")[2]
    return end if ends.count(end) == 1 else key.rpartition("/")[2]


def shorten_value(value: Any) -> str:
    """Returns a value as it stands on a label: in quotes where blanks matter, and not too long."""
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 1]}…"
    is_odd = isinstance(value, str) and (not text or text != text.strip())
    return f"'{text}'" if is_odd else text
