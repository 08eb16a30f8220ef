"""Loads the vectors of an index into a LanceDB table on disk, and searches there.

pip install lancedb
python examples/lancedb_local.py INDEX_FOLDER TABLE_FOLDER "Who won Super Bowl 50?" [LANGUAGE]
"""

import sys
from collections.abc import Iterator

import lancedb
import pyarrow as pa

from hybrid_ir import load_index

NAME = "passages"


def copy_to_lancedb(index, folder: str) -> lancedb.table.Table:
    """Copies all vectors of an index, with id, language and text, into a table."""
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float32(), index.card["width"])),
        ]
    )

    def iterate_batches() -> Iterator[pa.RecordBatch]:
        for start, vectors in index.vectors.iterate_blocks():
            rows = range(start, start + len(vectors))
            columns = [
                pa.array([index.passages.ids[row] for row in rows]),
                pa.array([index.passages.get_language(row) for row in rows]),
                pa.array([index.passages.texts[row] for row in rows]),
                pa.array(vectors.tolist(), schema.field("vector").type),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return lancedb.connect(folder).create_table(NAME, iterate_batches(), schema=schema)


def search_lancedb(index, table, question: str, k: int = 5, language=None) -> list[dict]:
    """Returns the best rows for a question, in one language if it is named."""
    vector = index.encode_queries([question])[0].tolist()
    search = table.search(vector).distance_type(index.card["similarity"]).limit(k)
    if language is not None:
        search = search.where(f"language = '{language}'", prefilter=True)
    return search.to_list()  # `_distance` is 1 - cosine, or 1 - the inner product


if __name__ == "__main__":
    opened = load_index(sys.argv[1])
    copied = copy_to_lancedb(opened, sys.argv[2])
    chosen = (sys.argv[4:] or [None])[0]
    for row in search_lancedb(opened, copied, sys.argv[3], language=chosen):
        print(f"{1 - row['_distance']:.4f}", row["language"], row["text"], sep="\t")
