"""Reader of MTEB's parquet layout: folders {language}-corpus, {language}-queries and {language}-qrels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.evaluation.benchmarks.judged import Query
from hybrid_ir.files.arrow_texts import PassageRow
from hybrid_ir.files.json_lines import Judgement, get_text_field
from hybrid_ir.files.problems import Problems


def rows(
    path: Path, needed: tuple[str, ...], problems: Problems
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Place, number (from 1) and columns of every row of a parquet file, read batch by batch."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in needed if name not in file.schema_arrow.names]
            if lacking:
                problems.add(
                    f"{path} lacks the columns {lacking}, it has {file.schema_arrow.names}"
                )
                return
            for batch in file.iter_batches(8192):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", number, row
    except FileNotFoundError:
        problems.add(f"{path} is missing")
    except (pa.ArrowInvalid, OSError) as error:  # a broken page is an OSError
        problems.add(
            f"{path}, after row {number}: not parquet, or broken ({str(error).splitlines()[0]}); fetch it again"
        )


def read_passages(
    path: Path, problems: Problems, language: str, title: bool
) -> Iterator[PassageRow]:
    for where, number, row in rows(path, ("_id", "text"), problems):
        name, text = (
            get_text_field(row, "_id", where, problems),
            get_text_field(row, "text", where, problems, blank=True),
        )
        headline = (
            get_text_field(row, "title", where, problems, default="", blank=True) if title else ""
        )
        if None not in (name, text, headline):
            yield language, f"{language}:{name}", f"{headline} {text}".strip(), number


def read_queries_and_judgements(
    folder: Path, language: str, split: str, problems: Problems
) -> tuple[list[Query], list[Judgement]]:
    name = f"{split}-00000-of-00001.parquet"
    queries, found = [], []
    for where, _, row in rows(folder / f"{language}-queries" / name, ("_id", "text"), problems):
        query_id, text = (
            get_text_field(row, "_id", where, problems),
            get_text_field(row, "text", where, problems),
        )
        if query_id is not None and text is not None:
            queries.append(
                Query(language, f"{language}:{query_id}", text, f"{language}:{query_id}", where)
            )
    for where, _, row in rows(
        folder / f"{language}-qrels" / name, ("query-id", "corpus-id", "score"), problems
    ):
        query_id, passage_id = (
            get_text_field(row, "query-id", where, problems),
            get_text_field(row, "corpus-id", where, problems),
        )
        if not isinstance(row["score"], int | float):
            problems.add(f"{where}: the score {row['score']!r} is not a number")
        elif query_id is not None and passage_id is not None:
            found.append(
                Judgement(f"{language}:{query_id}", f"{language}:{passage_id}", row["score"], where)
            )
    return queries, found
