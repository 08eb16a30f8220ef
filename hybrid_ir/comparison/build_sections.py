"""Builds one section for each benchmark: groups its results into systems and aligns their rows."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybrid_ir.comparison.baselines import (
    choose_baselines,
    is_baseline_name,
    require_known_baseline,
)
from hybrid_ir.comparison.identities import build_identity
from hybrid_ir.comparison.load import Result
from hybrid_ir.comparison.section import Rows, Section, read_rows
from hybrid_ir.comparison.systems import System, group_into_systems
from hybrid_ir.comparison.unequal_settings import describe_unequal_settings
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.types import Benchmark

# Metrics of every comparison. Others are checked when they are asked for.
_CHECKED_METRICS = ("map", "rank_distance")
_LONGEST_STEM = 80  # letters


@dataclass(frozen=True)
class _BenchmarkResults:
    """The results that may stand in one table, and what their section is called."""

    name: str
    stem: str
    results: list[Result]


def build_sections(results: Sequence[Result], baseline: str | None = None) -> list[Section]:
    """Builds one section for each benchmark and its choices, in the order in which they come.

    Args:
        results: Results on any benchmarks.
        baseline: A label or a sampler, or None for the usual baseline. Where no system of a
            section has that name, the section's baseline is chosen as if none was named.

    Raises:
        ValueError: Results cannot stand in one table or cannot be paired, or the baseline is in no
            section.
    """
    benchmarks = _group_by_benchmark(results)
    models = {build_identity(result)["model"] for result in results}
    groups = []
    for benchmark in benchmarks:
        groups.append(group_into_systems(benchmark.results, with_model=len(models) > 1))
    require_known_baseline([systems for systems, _ in groups], baseline)
    sections = []
    for benchmark, (systems, notes) in zip(benchmarks, groups, strict=True):
        sections.append(_build_section(benchmark, systems, notes, baseline))
    return sections


def _build_section(
    benchmark: _BenchmarkResults,
    systems: Sequence[System],
    grouping_notes: Sequence[str],
    baseline: str | None,
) -> Section:
    rows = _read_aligned_rows(systems)
    notes = list(grouping_notes)
    without_hash = []
    for result in benchmark.results:
        if not result.benchmark_card.get("sha256"):
            without_hash.append(str(result.folder))
    if without_hash and len(benchmark.results) > 1:
        notes.append(
            f"nobody wrote down a hash of the data of {', '.join(without_hash)}: only choices and "
            "pool sizes were compared"
        )
    if baseline is not None and not is_baseline_name(systems, baseline):
        notes.append(
            f"{benchmark.name}: baseline={baseline} is no system here, so the baseline is chosen "
            "as if none was named"
        )
        baseline = None
    baselines, baseline_notes = choose_baselines(systems, baseline)
    unequal = describe_unequal_settings(systems)
    notes += [f"{benchmark.name}: {note}" for note in [*baseline_notes, *unequal]]
    first_folder = systems[0].results[0].folder
    section = Section(
        name=benchmark.name,
        stem=benchmark.stem,
        systems=tuple(systems),
        baselines=tuple(baselines),
        rows=rows[first_folder],
        orders={folder: folder_rows.order_V for folder, folder_rows in rows.items()},
        notes=tuple(notes),
    )
    for metric in _CHECKED_METRICS:
        section.load_metric(metric)
    return section


def _read_aligned_rows(systems: Sequence[System]) -> dict[Path, Rows]:
    """Reads the rows of all results by their folders.

    Raises ValueError naming every result whose rows are not about the same queries as the first's.
    """
    rows = {}
    for system in systems:
        for result in system.results:
            rows[result.folder] = read_rows(result.folder / "per_query.parquet")
    first_folder = systems[0].results[0].folder
    problems = []
    for folder, folder_rows in rows.items():
        if not rows[first_folder].equals(folder_rows):
            problems.append(
                f"{folder} and {first_folder} do not hold the same queries, questions and pools: "
                "measure both the same way"
            )
    if problems:
        raise ValueError("; ".join(problems))
    return rows


def _group_by_benchmark(results: Sequence[Result]) -> list[_BenchmarkResults]:
    """Groups results by benchmark and its choices, in the order in which they come.

    A benchmark with several choices is named with those that differ. Raises ValueError naming all
    results of one benchmark and the same choices with other data or pools.
    """
    # The name of a benchmark, then its choices as text.
    variants: dict[str, dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        key = json.dumps(result.choices, sort_keys=True, default=str)
        variants[result.benchmark].setdefault(key, []).append(result)
    results_by_name = {}
    for benchmark, results_by_choices in variants.items():
        groups = list(results_by_choices.values())
        differing_keys = _list_differing_keys([group[0].choices for group in groups])
        for group in groups:
            choices = group[0].choices
            described = ", ".join(f"{key}={choices.get(key, 'none')}" for key in differing_keys)
            name = f"{benchmark} ({described})" if described else benchmark
            results_by_name[name] = group
    problems = []
    for group in results_by_name.values():
        problems += _find_other_data(group)
    if problems:
        raise ValueError("; ".join(problems))
    benchmarks = []
    stems = build_file_stems(results_by_name)
    for (name, group), stem in zip(results_by_name.items(), stems, strict=True):
        benchmarks.append(_BenchmarkResults(name, stem, group))
    return benchmarks


def _list_differing_keys(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the keys whose values are not the same in all variants."""
    keys: dict[str, None] = {}
    for choices in variants:
        keys.update(dict.fromkeys(choices))
    differing = []
    for key in keys:
        values = {json.dumps(choices.get(key), default=str) for choices in variants}
        if len(values) > 1:
            differing.append(key)
    return differing


def _find_other_data(results: Sequence[Result]) -> list[str]:
    """Returns why results are not comparable with the first ones of their benchmark.

    Facts that a result does not record are not compared.
    """
    problems = []
    known: dict[str, tuple[Any, Any]] = {}  # the first value of a fact, and its folder
    for result in results:
        facts = {
            "sha256": result.benchmark_card.get("sha256"),
            "pool": result.metrics["benchmark"]["pool"],
            "queries": result.metrics["benchmark"]["queries"],
        }
        for key, value in facts.items():
            if value is None:
                continue
            first_value, first_folder = known.setdefault(key, (value, result.folder))
            if first_value != value:
                problems.append(
                    f"{result.benchmark}: {key} is {value} in {result.folder} but {first_value} in "
                    f"{first_folder}: these numbers cannot stand in one table, measure both the "
                    "same way or compare them apart"
                )
                break
    return problems


def build_file_stems(names: Iterable[str]) -> list[str]:
    """Returns the beginning of a file name for each name.

    No two of them have the same anchor in the report's page.
    """
    stems = []
    anchors = set()
    for name in names:
        base = re.sub(r"[^\w.-]+", "_", name).strip("_.")[:_LONGEST_STEM] or "benchmark"
        stem = base
        number = 1
        anchor = build_anchor(stem)
        while anchor in anchors or not anchor:
            number += 1
            stem = f"{base}_{number}"
            anchor = build_anchor(stem)
        anchors.add(anchor)
        stems.append(stem)
    return stems


def build_anchor(text: str) -> str:
    """Returns the letters and digits of a text, which name a place in the report's page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def attach_query_texts(
    sections: Sequence[Section], benchmarks: Mapping[str, Benchmark]
) -> list[Section]:
    """Returns the sections, those measured on one of the benchmarks with the texts of its queries.

    Args:
        sections: The sections of a comparison.
        benchmarks: Loaded benchmarks by the names of their configs, which error messages use.

    Raises:
        ValueError: Nothing was measured on a benchmark, or not with the choices it was loaded with.
            The message names all of them.
    """
    attached = list(sections)
    problems = []
    for config_name, benchmark in benchmarks.items():
        places = []
        for place, section in enumerate(sections):
            if section.benchmark == benchmark.name:
                places.append(place)
        has_hash = any(sections[place].sha256 for place in places)
        digest = hash_benchmark(benchmark) if has_hash else None
        mismatches = []
        for place in places:
            differences = _find_benchmark_differences(sections[place], benchmark, digest)
            if differences:
                mismatches.append(", ".join(differences))
            else:
                attached[place] = replace(sections[place], query_texts=benchmark.queries)
        if not places:
            called = ""
            if config_name != benchmark.name:
                called = f", which is called {benchmark.name}"
            measured = ", ".join(section.name for section in sections)
            problems.append(
                f"benchmark={config_name}{called}: none of these runs was measured on it, only on "
                f"{measured}"
            )
        elif len(mismatches) == len(places):
            problems.append(
                f"benchmark={config_name}: {'; '.join(mismatches)}: give the keys that the results "
                f"were measured with, such as benchmark.{config_name}.max_queries"
            )
    if problems:
        raise ValueError("; ".join(problems))
    return attached


def _find_benchmark_differences(
    section: Section, benchmark: Benchmark, digest: str | None
) -> list[str]:
    """Returns why a loaded benchmark is not the one that was measured.

    Equal hashes of the content are enough where both are known.
    """
    if digest is not None and digest == section.sha256:
        return []
    recorded = section.benchmark_metrics
    loaded = {
        "choices": benchmark.source.choices,
        "queries": len(benchmark.queries),
        "languages": list(benchmark.languages),
    }
    differences = []
    for key, value in loaded.items():
        if value != recorded[key]:
            differences.append(f"{key} is {value} here but {recorded[key]} in the results")
    if not differences and digest is not None and section.sha256 is not None:
        differences.append(
            f"the sha256 of its content is {digest} here but {section.sha256} in the results"
        )
    return differences
