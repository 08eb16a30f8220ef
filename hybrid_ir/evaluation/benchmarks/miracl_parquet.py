"""Reads MTEB's parquet layout: folders {language}-corpus, {language}-queries, {language}-qrels."""

from collections.abc import Iterator
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.builder import Query
from hybrid_ir.files.arrow_texts import PassageRow
from hybrid_ir.files.json_lines import get_text_field
from hybrid_ir.files.judgements import Judgement
from hybrid_ir.files.parquet_rows import read_parquet_rows
from hybrid_ir.files.problems import Problems


def list_parquet_files(language: str, split: str) -> list[str]:
    """Lists the paths of the corpus, the queries and the qrels of a language."""
    parts = ("corpus", "queries", "qrels")
    return [f"{language}-{part}/{split}-00000-of-00001.parquet" for part in parts]


def read_passages(
    path: Path, problems: Problems, language: str, title: bool
) -> Iterator[PassageRow]:
    """Yields the passages of a corpus; a title is put in front of the text if asked for."""
    for number, row in read_parquet_rows(path, problems, ("_id", "text")):
        where = f"{path}, row {number}"
        name = get_text_field(row, "_id", where, problems)
        text = get_text_field(row, "text", where, problems, blank=True)
        headline = ""
        if title:
            headline = get_text_field(row, "title", where, problems, default="", blank=True)
        if name is not None and text is not None and headline is not None:
            yield language, f"{language}:{name}", f"{headline} {text}".strip(), number


def read_queries(path: Path, language: str, problems: Problems) -> Iterator[Query]:
    """Yields the queries of a language, whose ids get the language in front."""
    for number, row in read_parquet_rows(path, problems, ("_id", "text")):
        where = f"{path}, row {number}"
        name = get_text_field(row, "_id", where, problems)
        text = get_text_field(row, "text", where, problems)
        if name is not None and text is not None:
            query_id = f"{language}:{name}"
            yield Query(language, query_id, text, query_id, where)


def read_qrels(path: Path, language: str, problems: Problems) -> Iterator[Judgement]:
    """Yields the judgements of a language, whose ids get the language in front."""
    for number, row in read_parquet_rows(path, problems, ("query-id", "corpus-id", "score")):
        where = f"{path}, row {number}"
        query = get_text_field(row, "query-id", where, problems)
        passage = get_text_field(row, "corpus-id", where, problems)
        score = row["score"]
        if not isinstance(score, int | float):
            problems.add(f"{where}: the score {score!r} is not a number")
        elif query is not None and passage is not None:
            yield Judgement(f"{language}:{query}", f"{language}:{passage}", score, where, language)
