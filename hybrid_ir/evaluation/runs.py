"""TREC run files: the top of the rankings, for any other tool of the field."""

import os
from collections.abc import Mapping
from pathlib import Path

from hybrid_ir.evaluation.top import Top
from hybrid_ir.types import Benchmark


def write_runs(runs: Mapping[str, Top], benchmark: Benchmark, tag: str, folder: Path) -> None:
    """`run.{view}.trec` with lines `query Q0 passage rank score tag`, and the judgements as `qrels.trec`.

    A query's id is `{language}:{question}:{row}`: one question is asked in many languages, and may be asked twice in one.
    """
    if not runs:
        return
    ids = [f"{benchmark.languages[language]}:{question}:{row}".replace(" ", "_") for row, (language, question) in
           enumerate(zip(benchmark.query_languages.tolist(), benchmark.question_ids, strict=True))]
    for view, top in runs.items():
        beside = folder / f".run.{view}.trec.writing"
        with open(beside, "w", encoding="utf-8") as file:
            for name, rows, scores in zip(ids, top.rows_QK.tolist(), top.scores_QK.tolist(), strict=True):
                for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1):
                    if row >= 0:
                        file.write(f"{name} Q0 {word(benchmark.passage_ids[row])} {rank} {score:.12f} {word(tag)}\n")
        os.replace(beside, folder / f"run.{view}.trec")
    with open(folder / "qrels.trec", "w", encoding="utf-8") as file:
        for name, rows in zip(ids, benchmark.relevant, strict=True):
            file.writelines(f"{name} 0 {word(benchmark.passage_ids[int(row)])} 1\n" for row in rows)


def word(text: str) -> str:
    """Without blanks, which end a field."""
    return "_".join(str(text).split())
