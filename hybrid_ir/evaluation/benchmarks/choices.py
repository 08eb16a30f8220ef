"""The choices that benchmarks have in common: options, languages, and their record on the card."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_ir.files.languages import describe_spellings, match_languages
from hybrid_ir.types import Benchmark, Source, parse_languages

UNNAMED = "und"  # the code of texts that name no language
# Keys of a card that say what was left out of the texts, or counts in another way.
REMARKS = (
    "answers",
    "unknown_passages",
    "empty_passages",
    "unjudged_queries",
    "ids",
    "ignore_identical_ids",
)


def check_option(key: str, value: str, allowed: Sequence[str]) -> list[str]:
    """Returns an error message if the value of a key is not allowed, and no message otherwise."""
    if value in allowed:
        return []
    return [f"{key}={value} must be one of {', '.join(allowed)}"]


def check_max_queries(max_queries: int | None) -> list[str]:
    """Returns an error message if no query would be kept, and no message otherwise."""
    if max_queries is None or max_queries >= 1:
        return []
    return [f"max_queries={max_queries} must be at least 1, or null for all"]


def raise_errors(name: str, errors: Sequence[str]) -> None:
    """Raises a ValueError with all messages about the choices of a benchmark, if there are any."""
    if errors:
        raise ValueError(f"{name}: " + "; ".join(errors))


def choose_languages(
    name: str,
    languages: str | Iterable[str] | None,
    known: Iterable[str],
    max_queries: int | None = None,
    other_errors: Sequence[str] = (),
) -> tuple[str, ...]:
    """Returns the languages to load, sorted, after a check of the choices of a benchmark.

    Args:
        name: of the benchmark, for the error message.
        languages: codes to choose, in any spelling; None for all that are known.
        known: the languages that the benchmark has.
        max_queries: queries to keep of each language; None for all.
        other_errors: messages about other choices, which are raised together.

    Raises:
        ValueError: a language is unknown, none is chosen, max_queries is below 1, or there are
            other errors.
    """
    known = sorted(known)
    codes = known if languages is None else parse_languages(languages)
    chosen, unknown = match_languages(codes, known)
    errors = list(other_errors)
    if unknown or not chosen:
        missing = f" (not there: {', '.join(map(repr, unknown))})" if unknown else ""
        errors.append(
            f"languages={sorted(codes)} must be at least one and only some of {known}{missing}"
        )
    errors += check_max_queries(max_queries)
    raise_errors(name, errors)
    return tuple(sorted(chosen))


def require_named_languages(benchmark: Benchmark) -> None:
    """Raises ValueError, with the cure, for passages of which none says in what language it is."""
    codes = np.unique(benchmark.passage_languages)
    if [benchmark.languages[code] for code in codes] == [UNNAMED]:
        raise ValueError(
            f"{benchmark.name}: the passages name no language: `hybrid-ir data identify "
            "path=FOLDER to=NEW languages=[A,B]` writes a copy in which each names the likeliest "
            "of the languages A and B (pip install 'hybrid-ir[translation]')"
        )


def record_choices(source: Source, **choices: Any) -> Source:
    """Returns the source with the values of these keys on its card; None is written as `all`."""
    recorded = dict(source.choices)
    for key, value in choices.items():
        recorded[key] = "all" if value is None else str(value)
    return replace(source, choices=recorded)


def list_remarks(benchmark: Benchmark) -> list[str]:
    """Returns what a reader of the numbers should know of how the texts were read.

    These are the sentences that the loaders also print as warnings: what was left out or counts in
    another way, and languages that come under several codes.
    """
    remarks = []
    for key in REMARKS:
        note = benchmark.source.choices.get(key)
        if note is not None:
            remarks.append(f"{key}: {note}.")
    for warning in describe_spellings(benchmark.languages):
        remarks.append(f"{warning}.")
    return remarks
