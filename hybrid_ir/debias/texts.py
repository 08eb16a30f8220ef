"""The texts that a correction is fitted on: of a benchmark, a corpus, or lines of JSON."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.evaluation.benchmarks.choices import record_choices
from hybrid_ir.evaluation.selection import choose_questions, select_queries
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.languages import (
    canonicalize_language,
    describe_spellings,
    explain_wrong_code,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank
from hybrid_ir.types import Benchmark, Role, Source

log = logging.getLogger(__name__)

PAIR_SEED = 0  # of the pairs that are drawn from a corpus
EVERY_FOURTH_IS_HELD_OUT = 4
TextRow = tuple[str, str, str]  # language, id of the group, text


def read_text_lines(path: Path) -> Benchmark:
    """Reads texts of known languages as a benchmark.

    A line is an object with `text` and `language`; `role` is `query` or `passage` (without it a
    text counts as both), and texts with one `id` are translations of each other, or a query and
    its passages. An id is a text or a whole number, and 1 and "1" are the same. Without ids there
    is nothing to measure, and no `shift`.

    Args:
        path: of a .jsonl file, also .jsonl.gz.

    Raises:
        ValueError: everything that is wrong, with the numbers of the lines; some lines have an id
            and others have none, or there are no lines.
    """
    problems = Problems(str(path))
    rows: dict[Role, list[TextRow]] = {"query": [], "passage": []}
    lines_with_id: list[int] = []
    lines_without_id: list[int] = []
    cure = ""
    for number, line in read_objects(path, problems):
        place = f"{path}, line {number}"
        group: str | None = str(number)
        if "id" in line:
            lines_with_id.append(number)
            group = get_text_field(line, "id", place, problems)
        else:
            lines_without_id.append(number)
        problem = _find_line_problem(line)
        if problem is not None:
            problems.add(f"{place}: {problem}")
            if line.get("language") is None:
                cure = f"`hybrid-ir data identify path={path} to=NEW.jsonl` writes languages"
            continue
        if group is None:
            continue
        language = canonicalize_language(line["language"])
        for role in rows:
            if line.get("role", role) == role:
                rows[role].append((language, group, line["text"]))
    if lines_with_id and lines_without_id:
        problems.add(_describe_mixture(path, lines_with_id, lines_without_id))
    if not lines_with_id and not lines_without_id and not problems.number:
        problems.add(f"{path} has no lines: each is a JSON object with text and language")
    problems.raise_if_any(cure)
    source = Source(
        path.name, "Texts of known languages.", "unknown", str(path), compute_sha256(path)
    )
    benchmark = _join_texts(rows, source)
    for warning in describe_spellings(benchmark.languages):
        log.warning("%s: %s", benchmark.name, warning)
    if lines_without_id:
        return replace(benchmark, relevant=[np.zeros(0, np.int64)] * len(benchmark.queries))
    return replace(benchmark, source=_record_ids(benchmark, rows, problems))


def _describe_mixture(path: Path, with_id: Sequence[int], without_id: Sequence[int]) -> str:
    """Says that some lines have an id and others have none, by the first of the fewer ones."""
    if len(without_id) <= len(with_id):
        place = f"line {without_id[0]} has no id, and others have one (line {with_id[0]})"
    else:
        place = f"line {with_id[0]} has an id, and others have none (line {without_id[0]})"
    return f"{path}: {place}; {len(with_id):,} have one, {len(without_id):,} none: give it to all"


def _record_ids(
    benchmark: Benchmark, rows: Mapping[Role, Sequence[TextRow]], problems: Problems
) -> Source:
    """Returns the source of texts with ids with what is to be minded on its card, and warns of it.

    Args:
        benchmark: with answers wherever a query has the id of a passage.
        rows: its texts.
        problems: has counted the ids that are not in their normal form.
    """
    remarks = {}
    has_answers = any(len(passages) for passages in benchmark.relevant)
    if rows["query"] and rows["passage"] and not has_answers:
        _, query_id, _ = rows["query"][0]
        _, passage_id, _ = rows["passage"][0]
        remarks["answers"] = (
            f"none is known, as no query has the id of a passage (the first query has the id "
            f"{query_id!r:.40}, the first passage {passage_id!r:.40}): give a query and the "
            "passages that answer it one id"
        )
    changed_ids = problems.describe_changed_ids()
    if changed_ids:
        remarks["ids"] = changed_ids
    for key, remark in remarks.items():
        log.warning("%s: %s %s", benchmark.name, key, remark)
    return record_choices(benchmark.source, **remarks)


def _find_line_problem(line: dict[str, Any]) -> str | None:
    """Returns what is wrong with a line, None if nothing."""
    for key in ("text", "language"):
        if not isinstance(line.get(key), str) or is_blank(line[key]):
            return f"{key}={line.get(key)!r} must be a text that is not blank"
        if "\0" in line[key]:
            return f"a NUL character in {key!r}, {line[key]!r:.40}"
    if line.get("role", "query") not in ("query", "passage"):
        return f"role={line['role']!r} must be query or passage, or be left out for both"
    return explain_wrong_code(line["language"])


def _join_texts(rows: dict[Role, list[TextRow]], source: Source) -> Benchmark:
    """Returns texts as a benchmark in which passages are relevant to the queries of their group."""
    languages = set()
    for role_rows in rows.values():
        languages.update(language for language, _, _ in role_rows)
    names = sorted(languages)
    passages_of_group = defaultdict(list)
    for row, (_, group, _) in enumerate(rows["passage"]):
        passages_of_group[group].append(row)
    relevant = []
    for _, group, _ in rows["query"]:
        relevant.append(np.array(passages_of_group[group], np.int64))
    return Benchmark(
        languages=tuple(names),
        queries=[text for _, _, text in rows["query"]],
        query_languages=_encode_languages(rows["query"], names),
        question_ids=[group for _, group, _ in rows["query"]],
        passages=[text for _, _, text in rows["passage"]],
        passage_languages=_encode_languages(rows["passage"], names),
        passage_ids=[str(row) for row in range(len(rows["passage"]))],
        relevant=relevant,
        source=source,
    )


def _encode_languages(rows: list[TextRow], names: list[str]) -> np.ndarray:
    return np.array([names.index(language) for language, _, _ in rows], np.int64)


def draw_from_corpus(corpus: ParallelCorpus, pairs: int) -> Benchmark:
    """Draws pairs of a query and a passage from a corpus, in all their languages, as a benchmark.

    Args:
        corpus: to draw from.
        pairs: how many to draw at most; always the same ones.
    """
    order = np.random.default_rng(PAIR_SEED).permutation(len(corpus.pairs))[:pairs]
    rows: dict[Role, list[TextRow]] = {"query": [], "passage": []}
    for pair in np.sort(order).tolist():
        query, passage = corpus.pairs[pair]
        for language in corpus.languages:
            for role, texts, row in (
                ("query", corpus.queries, query),
                ("passage", corpus.passages, passage),
            ):
                text = texts[language][int(row)] if language in texts else None
                if text is not None:
                    rows[role].append((language, str(pair), text))
    return _join_texts(rows, corpus.source)


def split_questions(benchmark: Benchmark, questions: int) -> tuple[Benchmark, Benchmark | None]:
    """Splits questions into those that a correction is fitted on, and a third as many to measure.

    The choice depends on the ids of the questions alone. A question has all its translations.

    Args:
        benchmark: to choose from.
        questions: to fit on, at most.

    Returns:
        Both parts. Where nothing is relevant to a query, all texts and None: nothing to measure.
    """
    if not any(len(rows) for rows in benchmark.relevant):
        return benchmark, None
    chosen = sorted(choose_questions(benchmark.question_ids, questions * 4 // 3))
    kept = choose_questions(chosen, len(chosen) - len(chosen) // EVERY_FOURTH_IS_HELD_OUT)
    fitted_rows = []
    held_out_rows = []
    for row, question in enumerate(benchmark.question_ids):
        if question in kept:
            fitted_rows.append(row)
        elif question in chosen:
            held_out_rows.append(row)
    return select_queries(benchmark, fitted_rows), select_queries(benchmark, held_out_rows)
