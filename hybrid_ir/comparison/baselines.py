"""Baselines: which system each system is tested against."""

from collections.abc import Sequence
from typing import Any

from hybrid_ir.comparison.identity import ALPHA_KEYS, SETTING, TRAINING, UNTRAINED
from hybrid_ir.comparison.systems import System

PLANS = {
    *ALPHA_KEYS,
    "training/level",
    "setting/sampler.level",
}  # differ between a system and its baseline by intention


def is_named(systems: Sequence[System], baseline: str | None) -> bool:
    """Whether the text is the label or the sampler of one of the systems."""
    return any(baseline in (system.label, system.long_label, system.sampler) for system in systems)


def require_named(groups: Sequence[Sequence[System]], baseline: str | None) -> None:
    """ValueError for a baseline that is in none of the groups."""
    if baseline is None or any(is_named(systems, baseline) for systems in groups):
        return
    everyone = [system for systems in groups for system in systems]
    labels, samplers = (
        dict.fromkeys(s.label for s in everyone),
        sorted({s.sampler for s in everyone}),
    )
    raise ValueError(
        f"baseline={baseline!r} is no system of these runs: choose a label ({'; '.join(labels)}) or a sampler "
        f"({', '.join(samplers)})"
    )


def baselines_of(
    systems: Sequence[System], baseline: str | None
) -> tuple[list[int | None], list[str]]:
    """For each system the one it is tested against: the system of that label, or of that sampler and its own model.

    Without a choice: x_x_mono where there is one, else the untrained encoder, else the first system; where several of a
    model would do, the most alike. And notes about choices that nobody made.

    Raises:
        ValueError: no system has that label or sampler, or several of a model do.
    """
    require_named([systems], baseline)
    labels, long_labels, samplers = (
        [getattr(s, kind) for s in systems] for kind in ("label", "long_label", "sampler")
    )
    name = (
        baseline
        if baseline is not None
        else next((one for one in ("x_x_mono", UNTRAINED) if one in samplers), labels[0])
    )
    only = next((i for i, s in enumerate(systems) if name in (s.label, s.long_label)), None)
    if only is not None:
        return [None if i == only else only for i in range(len(systems))], []
    chosen, told = [], []
    for i, system in enumerate(systems):
        theirs = [
            j
            for j, other in enumerate(systems)
            if other.model == system.model and other.sampler == name
        ]
        plain = [j for j in theirs if long_labels[j] == f"{name} / {system.model}"]
        mine = (plain or theirs or [None])[0]
        if len(theirs) > 1 and not plain:
            if baseline is not None:
                raise ValueError(
                    f"baseline={baseline!r} could be any of {'; '.join(labels[j] for j in theirs)}: give the whole "
                    "label, in quotes"
                )
            mine = most_alike(systems, i, theirs)
            told += [f"{system.label} is tested against {labels[mine]}"] if mine != i else []
        chosen.append(None if mine == i else mine)
    return chosen, [
        f"several systems could be the baseline and none was named: {'; '.join(told)}; baseline=LABEL names one"
    ] if told else []


def most_alike(systems: Sequence[System], system: int, candidates: Sequence[int]) -> int:
    """The candidate that equals the system in everything but its training, and there in the most; else the first.

    Candidates are tested against the first of them.
    """
    if system in candidates:
        return candidates[0]
    mine = systems[system].identity
    alike = [j for j in candidates if untrained_part(systems[j].identity) == untrained_part(mine)]
    return min(alike or candidates[:1], key=lambda j: other_training(systems[j].identity, mine))


def untrained_part(identity: dict[str, Any]) -> dict[str, Any]:
    """How a model is read and corrected; where a released one comes from, no trained one says."""
    return {
        key: value
        for key, value in identity.items()
        if not key.startswith((TRAINING, SETTING, "released/"))
    }


def other_training(mine: dict[str, Any], theirs: dict[str, Any]) -> int:
    """How many keys of the training differ, those of the sampler's plan excepted."""
    return sum(
        mine.get(key) != theirs.get(key)
        for key in {*mine, *theirs} - PLANS
        if key.startswith((TRAINING, SETTING))
    )
