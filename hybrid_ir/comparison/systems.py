"""Systems: results that differ in nothing but the seed, under a label a reader recognises."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_ir.comparison.results import SAMPLERS, Result

UNTRAINED = "untrained"
READING = ("pooling", "query_prefix", "passage_prefix", "query_max_length", "passage_max_length", "similarity")
# of a card's training record: where and when, not what
NOT_IDENTITY = {"seed", "path", "folder", "run", "checkpoint", "started_at", "finished_at", "seconds", "step", "steps", "git"}


@dataclass(frozen=True, eq=False)
class System:
    """One way of training and reading a model; its results, one per seed."""

    label: str
    results: tuple[Result, ...]
    identity: dict[str, Any] = field(repr=False)

    @property
    def sampler(self) -> str:
        return self.identity.get("training/sampler", UNTRAINED)

    @property
    def model(self) -> str:
        return self.identity["model"]

    @property
    def alpha(self) -> float | None:
        return self.identity.get("training/monolingual_share")

    @property
    def languages(self) -> frozenset[str]:
        """Languages it was trained on; empty where it was not, or where nobody wrote it down."""
        return frozenset(self.identity.get("training/languages") or ())

    @property
    def seeds(self) -> list[int | None]:
        return [result.seed for result in self.results]


def identity_of(result: Result) -> dict[str, Any]:
    training = {f"training/{key}": value for key, value in result.training.items() if key not in NOT_IDENTITY}
    post = result.card.get("postprocess") or {"name": "none"}
    reading = {f"reading/{key}": value for key, value in (result.card.get("reading") or {}).items() if key in READING}
    model = result.card["model"]
    return {"model": result.training.get("model") or model.get("backbone") or model["name"], **training,
            "postprocess": post["name"], "estimated_on": post.get("estimated_on"),
            "precision": result.card.get("precision"), **reading,
            "long_passages": (result.card.get("long_passages") or {}).get("policy")}


def label_of(identity: dict[str, Any]) -> str:
    """Sampler, alpha and level where they are not the sampler's own, model, postprocess."""
    name = identity.get("training/sampler", UNTRAINED)
    share, level = identity.get("training/monolingual_share"), identity.get("training/level")
    own_share, own_level = SAMPLERS.get(name, (None, None))
    parts = [name]
    if share is not None and share != own_share:
        parts.append(f"alpha={share:g}")
    if level is not None and level != own_level:
        parts.append(f"level={level}")
    post = identity["postprocess"]
    return " / ".join([" ".join(parts), str(identity["model"]), *([post] if post != "none" else [])])


def group(results: Iterable[Result]) -> tuple[list[System], list[str]]:
    """Systems of one benchmark in the order of model, sampler and alpha; and notes about results counted once.

    Raises:
        ValueError: two results of one system and seed with different numbers.
    """
    identities, members = {}, defaultdict(list)
    for result in results:
        identity = identity_of(result)
        key = json.dumps(identity, sort_keys=True, default=str)
        identities[key] = identity
        members[key].append(result)
    labels = distinct_labels(list(identities.values()))
    systems, notes, wrong = [], [], []
    for label, (key, found) in zip(labels, members.items(), strict=True):
        seeds: dict[int | None, Result] = {}
        for result in found:
            first = seeds.setdefault(result.seed, result)
            if first is not result:
                same = first.metrics["settings"] == result.metrics["settings"]
                (notes if same else wrong).append(
                    f"{first.folder} and {result.folder} are both {label}, seed {result.seed}, "
                    + ("with the same numbers: counted once" if same else "with different numbers: leave one of them out"))
        ordered = sorted(seeds.values(), key=lambda result: (result.seed is None, result.seed or 0))
        systems.append(System(label, tuple(ordered), identities[key]))
    if wrong:
        raise ValueError("; ".join(wrong))
    return sorted(systems, key=place_in_tables), notes


def distinct_labels(identities: Sequence[dict[str, Any]]) -> list[str]:
    """Labels; those that are equal get the values that tell the systems apart."""
    labels = [label_of(identity) for identity in identities]
    found = []
    for label, identity in zip(labels, identities, strict=True):
        twins = [other for name, other in zip(labels, identities, strict=True) if name == label]
        differing = [key for key in dict.fromkeys(key for twin in twins for key in twin)
                     if len({json.dumps(twin.get(key), default=str) for twin in twins}) > 1]
        more = [f"{key.rpartition('/')[2]}={short(identity.get(key))}" for key in differing]
        found.append(" / ".join([label, *more]))
    return found


def short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def place_in_tables(system: System) -> tuple:
    order = [UNTRAINED, *SAMPLERS]
    alpha = -1.0 if system.alpha is None else -system.alpha
    return (system.model, order.index(system.sampler) if system.sampler in order else len(order), alpha, system.label)


def baselines_of(systems: Sequence[System], baseline: str | None) -> list[int | None]:
    """For each system the one it is tested against: the system of that label, or of that sampler and its own model.

    Without a choice: x_x_mono where there is one, else the untrained encoder, else the first system.

    Raises:
        ValueError: no system has that label or sampler, or several of a model do.
    """
    labels, samplers = [s.label for s in systems], [s.sampler for s in systems]
    if baseline is None:
        baseline = next((name for name in ("x_x_mono", UNTRAINED) if name in samplers), labels[0])
    if baseline in labels:
        only = labels.index(baseline)
        return [None if i == only else only for i in range(len(systems))]
    if baseline not in samplers:
        raise ValueError(f"baseline={baseline!r} is no system of these runs: choose a label ({'; '.join(labels)}) or a sampler "
                         f"({', '.join(sorted(set(samplers)))})")
    chosen = []
    for i, system in enumerate(systems):
        theirs = [j for j, other in enumerate(systems) if other.model == system.model and other.sampler == baseline]
        plain = [j for j in theirs if labels[j] == f"{baseline} / {system.model}"]
        if len(theirs) > 1 and len(plain) != 1:
            raise ValueError(f"baseline={baseline!r} could be any of {'; '.join(labels[j] for j in theirs)}: give the whole "
                             "label, in quotes")
        mine = (plain or theirs or [None])[0]
        chosen.append(None if mine == i else mine)
    return chosen
