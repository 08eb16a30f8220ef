"""The texts that a correction is fitted on: of a benchmark, a corpus, or lines of JSON."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.evaluation.selection import choose_questions, select_queries
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.files.json_lines import read_objects
from hybrid_ir.files.languages import canonicalize_language, explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Role, Source

PAIR_SEED = 0  # of the pairs that are drawn from a corpus
EVERY_FOURTH_IS_HELD_OUT = 4


def read_text_lines(path: Path) -> Benchmark:
    """Reads texts of known languages as a benchmark.

    A line is an object with `text` and `language`; `role` is `query` or `passage` (without it a
    text counts as both), and texts with one `id` are translations of each other, or a query and
    its passages. Unless all lines have ids, there is nothing to measure, and no `shift`.

    Args:
        path: of a .jsonl file, also .jsonl.gz.

    Raises:
        ValueError: everything that is wrong, with the numbers of the lines.
    """
    problems = Problems(str(path))
    rows: dict[Role, list[tuple[str, str, str]]] = {"query": [], "passage": []}
    has_ids = True
    cure = ""
    for number, line in read_objects(path, problems):
        problem = _find_line_problem(line)
        if problem is not None:
            problems.add(f"{path}, line {number}: {problem}")
            if line.get("language") is None:
                cure = f"`hybrid-ir data identify path={path} to=NEW.jsonl` writes languages"
            continue
        language = canonicalize_language(line["language"])
        has_ids = has_ids and "id" in line
        group = str(line.get("id", number))
        for role in rows:
            if line.get("role", role) == role:
                rows[role].append((language, group, line["text"]))
    problems.raise_if_any(cure)
    source = Source(
        path.name, "Texts of known languages.", "unknown", str(path), compute_sha256(path)
    )
    benchmark = _join_texts(rows, source)
    if has_ids:
        return benchmark
    return replace(benchmark, relevant=[np.zeros(0, np.int64)] * len(benchmark.queries))


def _find_line_problem(line: dict[str, Any]) -> str | None:
    """Returns what is wrong with a line, None if nothing."""
    for key in ("text", "language"):
        if not isinstance(line.get(key), str) or not line[key].strip():
            return f"{key}={line.get(key)!r} must be a text that is not blank"
    if line.get("role", "query") not in ("query", "passage"):
        return f"role={line['role']!r} must be query or passage, or be left out for both"
    return explain_wrong_code(line["language"])


def _join_texts(rows: dict[Role, list[tuple[str, str, str]]], source: Source) -> Benchmark:
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


def _encode_languages(rows: list[tuple[str, str, str]], names: list[str]) -> np.ndarray:
    return np.array([names.index(language) for language, _, _ in rows], np.int64)


def draw_from_corpus(corpus: ParallelCorpus, pairs: int) -> Benchmark:
    """Draws pairs of a query and a passage from a corpus, in all their languages, as a benchmark.

    Args:
        corpus: to draw from.
        pairs: how many to draw at most; always the same ones.
    """
    order = np.random.default_rng(PAIR_SEED).permutation(len(corpus.pairs))[:pairs]
    rows: dict[Role, list[tuple[str, str, str]]] = {"query": [], "passage": []}
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
