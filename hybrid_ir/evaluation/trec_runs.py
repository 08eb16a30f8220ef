"""TREC run files: the top of the rankings, for any other tool of the field."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np

from hybrid_ir.evaluation.top_k import TopK
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.types import Benchmark


def write_trec_runs(runs: Mapping[str, TopK], benchmark: Benchmark, tag: str, folder: Path) -> None:
    """`run.{view}.trec` with lines `query Q0 passage rank score tag`, and that view's judgements as `qrels.{view}.trec`.

    A query's id is `{language}:{question}:{row}`: one question is asked in many languages, and may be asked twice in one.
    """
    if not runs:
        return
    ids = [
        f"{benchmark.languages[language]}:{quote_blanks(question)}:{row}"
        for row, (language, question) in enumerate(
            zip(benchmark.query_languages.tolist(), benchmark.question_ids, strict=True)
        )
    ]
    languages_N = np.asarray(benchmark.passage_languages)
    for view, top in runs.items():
        with (
            write_atomically(folder / f"run.{view}.trec") as path,
            open(path, "w", encoding="utf-8") as file,
        ):
            for name, rows_K, scores_K in zip(ids, top.rows_QK, top.scores_QK, strict=True):
                for rank, (row, score) in enumerate(
                    zip(rows_K.tolist(), scores_K.tolist(), strict=True), 1
                ):
                    if row >= 0:
                        file.write(
                            f"{name} Q0 {quote_blanks(benchmark.passage_ids[row])} {rank} {score:.12f} {quote_blanks(tag)}\n"
                        )
        with (
            write_atomically(folder / f"qrels.{view}.trec") as path,
            open(path, "w", encoding="utf-8") as file,
        ):
            grades = benchmark.grades or [np.ones(len(rows)) for rows in benchmark.relevant]
            for name, asked, rows, graded in zip(
                ids, benchmark.query_languages, benchmark.relevant, grades, strict=True
            ):
                for row, grade in zip(rows.tolist(), graded.tolist(), strict=True):
                    if view == "multi" or languages_N[row] == asked:
                        file.write(
                            f"{name} 0 {quote_blanks(benchmark.passage_ids[row])} {grade:g}\n"
                        )


def quote_blanks(text: str) -> str:
    """Without blanks, which end a field: they become %20 and so on, so that different ids stay different."""
    return re.sub(r"[\s%]", lambda found: quote(found[0]), str(text))
