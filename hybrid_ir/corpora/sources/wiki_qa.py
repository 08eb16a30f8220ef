"""WikiQA: questions and the Wikipedia sentences that answer them, in English."""

import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="wiki_qa",
    description="WikiQA, training set: questions and those candidate sentences of Wikipedia that "
    "answer them, in English",
    licence="Microsoft Research Data License: for research only",
    citation="Yang, Yih and Meek 2015, WikiQA: A Challenge Dataset for Open-Domain Question "
    "Answering, EMNLP",
    revision="3f104672b5de699878fe7907afc486f0de325eb5",
)


def _is_answer(table: pa.Table) -> pa.Array:
    """Returns whether the candidate of each row answers its question."""
    return pc.equal(table["label"], 1)


TABLES = EnglishTables(
    source=SOURCE,
    repository="microsoft/wiki_qa",
    paths=["data/train-00000-of-00001.parquet"],
    columns=ColumnMap(query={"en": "question"}, passage={"en": "answer"}),
    rows=20_360,
    is_pair=_is_answer,
)
list_files = TABLES.list_files
load = TABLES.load
