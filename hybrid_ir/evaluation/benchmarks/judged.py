"""What the benchmarks with qrels share: from queries, passages on disk and judgements to a Benchmark."""

# Q queries, N passages

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hybrid_ir.files.arrow_texts import ConvertedPassages, StoredPassages, concatenate_passages
from hybrid_ir.files.json_lines import Judgement
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source, parse_languages

Unknown = Literal["error", "drop"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """One text to ask; `question_id` is shared with its translations."""

    language: str
    id: str
    text: str
    question_id: str
    where: str


def chosen_languages(
    name: str,
    languages: str | Iterable[str] | None,
    known: Iterable[str],
    max_queries: int | None,
    wrong: Sequence[str] = (),
) -> tuple[str, ...]:
    """The languages to load, sorted; ValueError for these two choices of every benchmark, and what else is `wrong`."""
    known, wrong = sorted(known), list(wrong)
    chosen = tuple(known if languages is None else sorted(set(parse_languages(languages))))
    if not chosen or not set(chosen) <= set(known):
        wrong.append(f"languages={list(chosen)} must be at least one and only some of {known}")
    if max_queries is not None and max_queries < 1:
        wrong.append(f"max_queries={max_queries} must be at least 1, or null for all")
    if wrong:
        raise ValueError(f"{name}: " + "; ".join(wrong))
    return chosen


def option(key: str, value: str, allowed: Sequence[str]) -> list[str]:
    """What is wrong with the value of a key, if anything."""
    return [] if value in allowed else [f"{key}={value} must be one of {', '.join(allowed)}"]


def some(queries: Sequence[Query], max_queries: int | None) -> list[Query]:
    """So many queries a language, by a hash of the question id: the same questions in every language that has them."""
    kept: dict[str, set[str]] = {}
    for language in dict.fromkeys(query.language for query in queries):
        ids = {query.question_id for query in queries if query.language == language}
        kept[language] = set(
            sorted(ids, key=lambda name: (zlib.crc32(name.encode()), name))[:max_queries]
        )
    return [query for query in queries if query.question_id in kept[query.language]]


def assemble(
    source: Source,
    languages: Sequence[str],
    queries: Sequence[Query],
    passages: ConvertedPassages,
    judgements: Iterable[Judgement],
    problems: Problems,
    max_queries: int | None = None,
    unknown_passages: Unknown = "error",
) -> Benchmark:
    """Join by the ids in the judgements, language by language; only `languages` come into the Benchmark.

    Raises everything in `problems`, and: ids of queries that come twice, judgements of what is not there, a language
    without queries or passages, and nothing relevant at all.
    """
    by_id = unique(queries, problems)
    lacking(languages, by_id, passages, problems)
    if not by_id:
        problems.stop()  # of judgements without any query there is nothing to say
    pools = [
        passages.languages[language] for language in languages if language in passages.languages
    ]
    firsts = dict(
        zip(
            (language for language in languages if language in passages.languages),
            np.cumsum([0, *map(len, pools)]).tolist(),
            strict=False,
        )
    )
    judgements = list(judgements)
    rows = {
        passage_id: firsts[language] + row
        if language in firsts
        else None  # None: in a language that is not chosen
        for language, pool in passages.languages.items()
        for passage_id, row in pool.rows(judgement.passage_id for judgement in judgements).items()
    }
    relevant, dropped = judged(judgements, by_id, rows, unknown_passages, passages.empty, problems)
    if not problems.number and not any(
        relevant.get(name) for name, query in by_id.items() if query.language in languages
    ):
        problems.add(
            "no query has a relevant passage: are these the judgements (qrels) of this data, with scores above 0?"
        )
    problems.stop()
    asked = [
        query
        for language in languages
        for query in some([q for q in queries if q.language == language], max_queries)
    ]
    everything, found = (
        concatenate_passages(pools),
        [sorted(relevant.get(query.id, {}).items()) for query in asked],
    )
    graded = len({grade for pairs in found for _, grade in pairs}) > 1
    choices = counted(max_queries, dropped, passages.empty, source.name) | (
        {"relevance": "graded"} if graded else {}
    )
    return Benchmark(
        languages=tuple(languages),
        queries=[query.text for query in asked],
        query_languages=np.array(
            [languages.index(query.language) for query in asked], dtype=np.int64
        ),
        question_ids=[query.question_id for query in asked],
        passages=everything.texts,
        passage_languages=np.repeat(
            np.arange(len(languages), dtype=np.int16), [len(pool) for pool in pools]
        ),
        passage_ids=everything.ids,
        relevant=[np.array([row for row, _ in pairs], dtype=np.int64) for pairs in found],
        source=replace(source, choices=source.choices | choices),
        grades=[np.array([grade for _, grade in pairs]) for pairs in found] if graded else None,
    )


def unique(queries: Sequence[Query], problems: Problems) -> dict[str, Query]:
    by_id: dict[str, Query] = {}
    for query in queries:
        if query.id in by_id:
            problems.add(f"{query.where}: the id {query.id!r} is also in {by_id[query.id].where}")
        by_id.setdefault(query.id, query)
    return by_id


def lacking(
    languages: Sequence[str],
    queries: Mapping[str, Query],
    passages: ConvertedPassages,
    problems: Problems,
) -> None:
    asked = {query.language for query in queries.values()}
    for language in languages:
        if language not in asked:
            problems.add(f"language {language} has no queries")
        if language not in passages.languages:
            problems.add(f"language {language} has no passages")


def judged(
    judgements: Iterable[Judgement],
    queries: Mapping[str, Query],
    rows: Mapping[str, int | None],
    unknown_passages: Unknown,
    empty: int,
    problems: Problems,
) -> tuple[dict[str, dict[int, float]], int]:
    """Grades of the relevant rows by query id, and the number of judgements that were dropped."""
    relevant: dict[str, dict[int, float]] = {}
    seen: dict[tuple[str, str], Judgement] = {}
    dropped = 0
    for judgement in judgements:
        first = seen.setdefault((judgement.query_id, judgement.passage_id), judgement)
        if first.score != judgement.score and max(first.score, judgement.score) > 0:
            problems.add(
                f"{judgement.where}: passage {judgement.passage_id!r} is judged otherwise in {first.where}"
            )
        if judgement.query_id not in queries:
            problems.add(f"{judgement.where}: there is no query {judgement.query_id!r}")
        elif judgement.passage_id not in rows:
            dropped += 1
            if unknown_passages == "error":
                hint = f" ({empty} without text were left out)" if empty else ""
                problems.add(
                    f"{judgement.where}: there is no passage {judgement.passage_id!r}{hint}; "
                    "unknown_passages=drop leaves such judgements out"
                )
        elif judgement.score > 0 and rows[judgement.passage_id] is not None:
            relevant.setdefault(judgement.query_id, {})[rows[judgement.passage_id]] = (
                judgement.score
            )
    return relevant, dropped


def counted(max_queries: int | None, dropped: int, empty: int, name: str) -> dict[str, str]:
    """What was left out, for the card; exclusions are also said at once."""
    choices = {"max_queries": str(max_queries or "all")}
    if dropped:
        choices["unknown_passages"] = f"dropped, {dropped:,} judgements"
    if empty:
        choices["empty_passages"] = f"left out, {empty:,} passages"
    for key in ("unknown_passages", "empty_passages"):
        if key in choices:
            log.warning("%s: %s %s", name, key, choices[key])
    return choices


def gathered(parts: Sequence[ConvertedPassages | None], problems: Problems) -> ConvertedPassages:
    """The passages of several conversions, a language in one of them; raises `problems` where one could not be made."""
    if None in parts:
        problems.stop()
    merged: dict[str, StoredPassages] = {}
    for part in parts:
        merged |= part.languages
    return ConvertedPassages(merged, sum(part.empty for part in parts))


def require_released(
    source: Source,
    expected: Mapping[str, tuple[int, int]],
    queries: Sequence[Query],
    passages: ConvertedPassages,
    problems: Problems,
) -> None:
    """A problem for every language whose numbers of queries and passages are not the released ones."""
    for language, released in expected.items():
        found = (
            sum(query.language == language for query in queries),
            len(passages.languages.get(language, ())),
        )
        if found != released:
            problems.add(
                f"{language} has {found[0]:,} queries and {found[1]:,} passages, released are {released[0]:,} and "
                f"{released[1]:,}: fetch {source.name} again, or set require_counts=false to measure on a part of it"
            )
