"""Baselines: which system each system is tested against."""

from collections.abc import Sequence
from typing import Any

from hybrid_ir.comparison.identities import (
    PLAN_KEYS,
    RELEASED_PREFIX,
    SETTING_PREFIX,
    TRAINING_PREFIX,
    UNTRAINED,
)
from hybrid_ir.comparison.systems import System

# Samplers that are the baseline where none is named, the first that there is.
_PREFERRED = ("x_x_mono", UNTRAINED)


def is_baseline_name(systems: Sequence[System], baseline: str) -> bool:
    """Returns whether a text is the label or the sampler of one of the systems."""
    names = set()
    for system in systems:
        names.update((system.label, system.long_label, system.sampler))
    return baseline in names


def require_known_baseline(groups: Sequence[Sequence[System]], baseline: str | None) -> None:
    """Raises ValueError for a named baseline that is in none of the groups of systems."""
    if baseline is None or any(is_baseline_name(systems, baseline) for systems in groups):
        return
    labels = []
    samplers = set()
    for systems in groups:
        labels += [system.label for system in systems]
        samplers.update(system.sampler for system in systems)
    raise ValueError(
        f"baseline={baseline!r} is no system of these runs: choose a label "
        f"({'; '.join(dict.fromkeys(labels))}) or a sampler ({', '.join(sorted(samplers))})"
    )


def choose_baselines(
    systems: Sequence[System], baseline: str | None
) -> tuple[list[int | None], list[str]]:
    """Chooses the system that each system is tested against.

    It is the system with the named label, or the one with the named sampler and the system's own
    model. Where no baseline is named it is the first system with a name, or x_x_mono, or the
    untrained encoder where there is no x_x_mono, or the first system. If several systems of a
    model could be the baseline and none was named, the most similar one is.

    Returns:
        For each system the place of its baseline, None where it has none; and notes about choices
        that nobody made.

    Raises:
        ValueError: No system has that label or sampler, or several of a model do.
    """
    require_known_baseline([systems], baseline)
    name = baseline if baseline is not None else _choose_name(systems)
    labelled = _find_label(systems, name)
    if labelled is not None:
        return [_omit_itself(place, labelled) for place in range(len(systems))], []
    baselines = []
    choices = []
    for place, system in enumerate(systems):
        candidates = _find_candidates(systems, system.model, name)
        # The plain one differs from others of the model and sampler in no setting; a released
        # model has no sampler on its label.
        plain_labels = (f"{name} / {system.model}", system.model)
        plain = [other for other in candidates if systems[other].long_label in plain_labels]
        if plain:
            chosen = plain[0]
        elif not candidates:
            chosen = None
        elif len(candidates) == 1:
            chosen = candidates[0]
        elif baseline is not None:
            labels = "; ".join(systems[other].label for other in candidates)
            raise ValueError(
                f"baseline={baseline!r} could be any of {labels}: give the whole label, in quotes"
            )
        else:
            chosen = _choose_most_similar(systems, place, candidates)
            if chosen != place:
                choices.append(f"{system.label} is tested against {systems[chosen].label}")
        baselines.append(_omit_itself(place, chosen))
    if not choices:
        return baselines, []
    note = (
        "several systems could be the baseline and none was named: "
        f"{'; '.join(choices)}; baseline=LABEL names one"
    )
    return baselines, [note]


def _choose_name(systems: Sequence[System]) -> str:
    """Returns the sampler or the label of the baseline where none is named.

    It is the first of the systems that the user has named.
    """
    if systems[0].name is not None:
        return systems[0].label
    samplers = [system.sampler for system in systems]
    for sampler in _PREFERRED:
        if sampler in samplers:
            return sampler
    return systems[0].label


def _find_label(systems: Sequence[System], name: str) -> int | None:
    """Returns the place of the first system with a label."""
    for place, system in enumerate(systems):
        if name in (system.label, system.long_label):
            return place
    return None


def _find_candidates(systems: Sequence[System], model: str, sampler: str) -> list[int]:
    """Returns the places of the systems of a model and a sampler."""
    candidates = []
    for place, system in enumerate(systems):
        if system.model == model and system.sampler == sampler:
            candidates.append(place)
    return candidates


def _omit_itself(place: int, baseline: int | None) -> int | None:
    """Returns the baseline of the system at a place: no system is its own."""
    return None if baseline == place else baseline


def _choose_most_similar(systems: Sequence[System], place: int, candidates: Sequence[int]) -> int:
    """Returns the candidate whose training differs from the system's in the fewest keys.

    Candidates that are read and corrected like the system come before all others; where there is
    none, the first candidate is chosen. A system that is a candidate itself is tested against the
    first of them.
    """
    if place in candidates:
        return candidates[0]
    identity = systems[place].identity
    same_reading = []
    for candidate in candidates:
        other_identity = systems[candidate].identity
        if _select_reading(other_identity) == _select_reading(identity):
            same_reading.append(candidate)
    if not same_reading:
        return candidates[0]
    return min(
        same_reading,
        key=lambda candidate: _count_training_differences(systems[candidate].identity, identity),
    )


def _select_reading(identity: dict[str, Any]) -> dict[str, Any]:
    """Returns how a model is read and corrected.

    Where a released model comes from is left out, since no trained model names it.
    """
    selected = {}
    for key, value in identity.items():
        if not key.startswith((TRAINING_PREFIX, SETTING_PREFIX, RELEASED_PREFIX)):
            selected[key] = value
    return selected


def _count_training_differences(identity: dict[str, Any], other: dict[str, Any]) -> int:
    """Returns in how many keys two trainings differ, those of the sampler's plan excepted."""
    differences = 0
    for key in {*identity, *other} - PLAN_KEYS:
        is_training_key = key.startswith((TRAINING_PREFIX, SETTING_PREFIX))
        if is_training_key and identity.get(key) != other.get(key):
            differences += 1
    return differences
