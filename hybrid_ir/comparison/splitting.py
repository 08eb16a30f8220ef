"""Which results may stand in one table: one benchmark, measured with the same choices on the same data."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hybrid_ir.comparison.results import Result

LONGEST = 80  # letters of a file's stem


@dataclass(frozen=True)
class Measurements:
    """The results of one table; `stem` begins the names of its files."""

    name: str
    stem: str
    results: list[Result]


def split(results: Sequence[Result]) -> list[Measurements]:
    """By benchmark and its choices, in the order met; a benchmark with several choices is named with what differs.

    Raises:
        ValueError: results of one benchmark and the same choices with other data or pools; all of them.
    """
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        key = json.dumps(choices_of(result), sort_keys=True, default=str)
        found.setdefault(result.benchmark, {}).setdefault(key, []).append(result)
    named = {}
    for benchmark, variants in found.items():
        chosen = [choices_of(theirs[0]) for theirs in variants.values()]
        differing = [
            key
            for key in dict.fromkeys(key for one in chosen for key in one)
            if len({json.dumps(one.get(key), default=str) for one in chosen}) > 1
        ]
        for one, theirs in zip(chosen, variants.values(), strict=True):
            told = ", ".join(f"{key}={one.get(key, 'none')}" for key in differing)
            named[f"{benchmark} ({told})" if told else benchmark] = theirs
    wrong = [line for theirs in named.values() for line in differences(theirs)]
    if wrong:
        raise ValueError("; ".join(wrong))
    return [
        Measurements(name, stem, theirs)
        for (name, theirs), stem in zip(named.items(), stems(named), strict=True)
    ]


def choices_of(result: Result) -> dict[str, Any]:
    return result.metrics["benchmark"].get("choices") or {}


def stems(names: Iterable[str]) -> list[str]:
    """Names as the beginnings of file names, no two alike in letters and digits alone, as anchors of a page are."""
    found, taken = [], set()
    for name in names:
        whole = re.sub(r"[^\w.-]+", "_", name).strip("_.")[:LONGEST] or "benchmark"
        stem, number = whole, 1
        while (key := re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")) in taken or not key:
            number += 1
            stem = f"{whole}_{number}"
        taken.add(key)
        found.append(stem)
    return found


def differences(results: Sequence[Result]) -> list[str]:
    """Why results are not comparable with the first; what nobody wrote down is not compared."""

    def facts(result: Result) -> dict:
        card, measured = result.card.get("benchmark") or {}, result.metrics["benchmark"]
        return {
            "sha256": card.get("sha256"),
            "pool": measured["pool"],
            "queries": measured["queries"],
        }

    wrong, known = [], {}
    for result in results:
        for key, value in facts(result).items():
            if value is None:
                continue
            first, where = known.setdefault(key, (value, result.folder))
            if first != value:
                wrong.append(
                    f"{result.benchmark}: {key} is {value} in {result.folder} but {first} in {where}: these numbers "
                    "cannot stand in one table, measure both the same way or compare them apart"
                )
                break
    return wrong
