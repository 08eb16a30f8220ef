"""Systems: results that differ in nothing but the seed, under a label that readers recognise."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_ir.comparison.identities import UNTRAINED, build_identity, is_released_model
from hybrid_ir.comparison.load import Result
from hybrid_ir.comparison.system_labels import NamelessSystem, build_labels
from hybrid_ir.data.language_choice import SAMPLER_NUMBERS


@dataclass(frozen=True, eq=False)
class System:
    """One way of training and reading a model.

    Attributes:
        label: Its name in tables and figures.
        results: Its results on one benchmark, one for each seed.
        identity: Everything that distinguishes it from other systems.
        long_label: Its label with the name of the model, which `label` leaves out where all
            systems have the same model.
        differences: The values in which it differs from systems that are called alike, by key.
        legend: What the label leaves out of that, empty where it says everything.
        name: What the user calls it, None where its label is made from its identity.
    """

    label: str
    results: tuple[Result, ...]
    identity: dict[str, Any] = field(repr=False)
    long_label: str = ""
    differences: dict[str, Any] = field(default_factory=dict, repr=False)
    legend: str = ""
    name: str | None = None

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
        The systems in the order of their names, or of model, sampler and alpha; and notes about
        results that are there twice and were counted once, and about labels that leave something
        out.

    Raises:
        ValueError: Two results of one system and seed have different numbers.
    """
    members: dict[tuple[str | None, str], list[Result]] = defaultdict(list)
    for result in results:
        identity_text = json.dumps(build_identity(result), sort_keys=True, default=str)
        members[result.name, identity_text].append(result)
    nameless = []
    for (name, _), group in members.items():
        first = group[0]
        nameless.append(NamelessSystem(build_identity(first), is_released_model(first), name))
    labels = build_labels(nameless, with_model)
    long_labels = build_labels(nameless, with_model=True)
    systems = []
    notes: list[str] = []
    problems: list[str] = []
    for place, group in enumerate(members.values()):
        label = labels[place]
        system = System(
            label=label.text,
            results=tuple(_keep_one_result_per_seed(group, label.text, notes, problems)),
            identity=nameless[place].identity,
            long_label=long_labels[place].text,
            differences=label.differences,
            legend=label.legend,
            name=nameless[place].name,
        )
        systems.append(system)
    if problems:
        raise ValueError("; ".join(problems))
    names = list(dict.fromkeys(system.name for system in systems))
    systems.sort(key=_get_sort_key)
    systems.sort(key=lambda system: names.index(system.name))  # As the user lists them.
    for system in systems:
        if system.legend:
            notes.append(f"{system.label} is {system.legend}")
    return systems, notes


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
