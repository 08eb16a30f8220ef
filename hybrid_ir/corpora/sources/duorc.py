"""DuoRC: questions on plots of films, in English."""

import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="duorc",
    description="DuoRC, SelfRC training set: questions and the plots of films that answer them, "
    "in English",
    licence="MIT",
    citation="Saha et al. 2018, DuoRC: Towards Complex Language Understanding with Paraphrased "
    "Reading Comprehension, arXiv 1804.07927",
    revision="2de12436b8945030c283bf4af83925d60efe10c6",
)


def _has_answer(table: pa.Table) -> pa.Array:
    """Returns whether the plot of each row answers its question."""
    return pc.invert(table["no_answer"])


TABLES = EnglishTables(
    source=SOURCE,
    repository="ibm-research/duorc",
    paths=["SelfRC/train-00000-of-00001.parquet"],
    columns=ColumnMap(query={"en": "question"}, passage={"en": "plot"}),
    rows=60_721,
    is_pair=_has_answer,
)
list_files = TABLES.list_files
load = TABLES.load
