"""Rows of a per_query.parquet, in one order whatever the order in the file.

Shapes: V rows (a query in one pool) in the order of view, pool and query, C questions, S settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEYS = ("view", "query", "question_id", "query_language", "passage_language")


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


KIND = dict.fromkeys(KEYS, is_text) | {"query": pa.types.is_integer}


@dataclass(frozen=True, eq=False)
class Rows:
    """What the rows of a per_query.parquet are about; `order_V` sorts its columns into the rows' order."""

    order_V: np.ndarray
    query_V: np.ndarray
    cluster_V: np.ndarray  # index into questions
    setting_V: np.ndarray  # index into settings
    questions: np.ndarray  # C ids
    settings: tuple[tuple[str, str, str], ...]  # S: view, query language, passage language or "all"

    def same(self, other: "Rows") -> bool:
        names = ("query_V", "cluster_V", "setting_V", "questions")
        return self.settings == other.settings and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )


def read_columns(path: Path, keys: Sequence[str]) -> pa.Table:
    """ValueError for a file that is cut or damaged, lacks columns or holds something else in them."""
    try:
        schema = pq.read_schema(path)
        missing = [key for key in (*KEYS, "map") if key not in schema.names]
        if missing:
            raise ValueError(f"{path} lacks the columns {missing}: measure the model again")
        table = pq.read_table(path, columns=list(keys))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is cut or damaged ({str(error).splitlines()[0]}): measure the model again"
        ) from error
    odd = [
        name
        for name in keys
        if table[name].null_count or not KIND.get(name, pa.types.is_floating)(table[name].type)
    ]
    if odd:
        raise ValueError(
            f"{path}: the columns {odd} hold nothing in some rows, or not what an evaluation writes: measure the "
            "model again"
        )
    return table


def read_rows(path: Path) -> Rows:
    """ValueError when columns of the contract are missing or a row comes twice."""
    table = read_columns(path, KEYS)
    names, codes = {}, {}
    for key in ("view", "question_id", "query_language", "passage_language"):
        column = pc.dictionary_encode(table[key].combine_chunks())
        names[key], place = np.unique(
            column.dictionary.to_numpy(zero_copy_only=False).astype(str), return_inverse=True
        )
        codes[key] = place[column.indices.to_numpy()]
    query_V = table["query"].to_numpy()
    order_V = np.lexsort((query_V, codes["passage_language"], codes["view"]))
    view_V, asked_V, pool_V = (
        codes[key][order_V] for key in ("view", "query_language", "passage_language")
    )
    query_V = query_V[order_V]
    twice = (np.diff(query_V) == 0) & (np.diff(view_V) == 0) & (np.diff(pool_V) == 0)
    if twice.any():
        raise ValueError(
            f"{path}: query {query_V[:-1][twice][0]} comes twice in one view and pool: measure the model again"
        )
    sizes = [len(names[key]) for key in ("view", "query_language", "passage_language")]
    found, setting_V = np.unique(
        np.ravel_multi_index((view_V, asked_V, pool_V), sizes), return_inverse=True
    )
    places = zip(*np.unravel_index(found, sizes), strict=True)
    settings = tuple(
        (str(names["view"][v]), str(names["query_language"][q]), str(names["passage_language"][p]))
        for v, q, p in places
    )
    return Rows(
        order_V, query_V, codes["question_id"][order_V], setting_V, names["question_id"], settings
    )
