"""The texts of the queries that were measured, from benchmarks that are built again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hybrid_ir.comparison.section import Section
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.types import Benchmark


def attach_texts(sections: Sequence[Section], benchmarks: Mapping[str, Benchmark]) -> list[Section]:
    """The sections, those measured on one of the benchmarks with its queries; `benchmarks` by the names of their configs.

    Raises:
        ValueError: a benchmark on which nothing was measured, or not in this form; all of them.
    """
    found, wrong = list(sections), []
    for key, benchmark in benchmarks.items():
        places = [i for i, section in enumerate(sections) if section.benchmark == benchmark.name]
        digest = hash_benchmark(benchmark) if any(sections[i].sha256 for i in places) else None
        reasons = {i: unlike(sections[i], benchmark, digest) for i in places}
        for i in places:
            if not reasons[i]:
                found[i] = replace(sections[i], texts=benchmark.queries)
        if not places:
            is_called = "" if key == benchmark.name else f", which is called {benchmark.name}"
            wrong.append(
                f"benchmark={key}{is_called}: none of these runs was measured on it, only on "
                f"{', '.join(section.name for section in sections)}"
            )
        elif all(reasons.values()):
            told = "; ".join(", ".join(reason) for reason in reasons.values())
            wrong.append(
                f"benchmark={key}: {told}: give the keys that the results were measured with, such as "
                f"benchmark.{key}.max_queries"
            )
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def unlike(section: Section, benchmark: Benchmark, digest: str | None) -> list[str]:
    """Why a benchmark is not the one that was measured; equal content is enough where both hashes are known."""
    if digest is not None and digest == section.sha256:
        return []
    said = section.first.metrics["benchmark"]
    mine = {
        "choices": benchmark.source.choices,
        "queries": len(benchmark.queries),
        "languages": list(benchmark.languages),
    }
    wrong = [
        f"{key} is {value} here but {said[key]} in the results"
        for key, value in mine.items()
        if value != said[key]
    ]
    if not wrong and digest is not None and section.sha256 is not None:
        wrong = [f"the sha256 of its content is {digest} here but {section.sha256} in the results"]
    return wrong
