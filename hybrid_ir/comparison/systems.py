"""Systems: results that differ in nothing but the seed, under a label a reader recognises."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hybrid_ir.comparison.identity import UNTRAINED, distinct_labels, identity_of
from hybrid_ir.comparison.results import Result
from hybrid_ir.data.sampler_names import SAMPLER_NUMBERS


@dataclass(frozen=True, eq=False)
class System:
    """One way of training and reading a model; its results, one per seed."""

    label: str
    results: tuple[Result, ...]
    identity: dict[str, Any] = field(repr=False)
    long_label: str = (
        ""  # with the model, which the label leaves out where all systems have the same
    )

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


def group(results: Iterable[Result], one_model: bool = False) -> tuple[list[System], list[str]]:
    """Systems of one benchmark in the order of model, sampler and alpha; and notes about results counted once.

    With `one_model` their labels do not name the model.

    Raises:
        ValueError: two results of one system and seed with different numbers.
    """
    identities, members = {}, defaultdict(list)
    for result in results:
        identity = identity_of(result)
        key = json.dumps(identity, sort_keys=True, default=str)
        identities[key] = identity
        members[key].append(result)
    labels, long_labels = (
        distinct_labels(list(identities.values()), short) for short in (one_model, False)
    )
    systems, notes, wrong = [], [], []
    for label, long_label, (key, found) in zip(labels, long_labels, members.items(), strict=True):
        seeds: dict[int | None, Result] = {}
        for result in found:
            first = seeds.setdefault(result.seed, result)
            if first is not result:
                same = first.metrics["settings"] == result.metrics["settings"]
                (notes if same else wrong).append(
                    f"{first.folder} and {result.folder} are both {label}, seed {result.seed}, "
                    + (
                        "with the same numbers: counted once"
                        if same
                        else "with different numbers: leave one of them out"
                    )
                )
        ordered = sorted(seeds.values(), key=lambda result: (result.seed is None, result.seed or 0))
        systems.append(System(label, tuple(ordered), identities[key], long_label))
    if wrong:
        raise ValueError("; ".join(wrong))
    return sorted(systems, key=place_in_tables), notes


def place_in_tables(system: System) -> tuple:
    order = [UNTRAINED, *SAMPLER_NUMBERS]
    alpha = -1.0 if system.alpha is None else -system.alpha
    return (
        system.model,
        order.index(system.sampler) if system.sampler in order else len(order),
        alpha,
        system.label,
    )
