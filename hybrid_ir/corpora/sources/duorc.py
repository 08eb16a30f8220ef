"""DuoRC: questions on plots of films, in English."""

import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source


def answered(table: pa.Table) -> pa.Array:
    """Whether the plot has an answer."""
    return pc.invert(table["no_answer"])


TABLES = EnglishTables(
    Source(
        name="duorc",
        description="DuoRC, SelfRC training set: questions and the plots of films that answer them, in English",
        licence="MIT",
        citation="Saha et al. 2018, DuoRC: Towards Complex Language Understanding with Paraphrased Reading Comprehension, "
        "arXiv 1804.07927",
        revision="2de12436b8945030c283bf4af83925d60efe10c6",
    ),
    "ibm-research/duorc",
    ["SelfRC/train-00000-of-00001.parquet"],
    ColumnMap({"en": "question"}, {"en": "plot"}),
    60_721,
    answered,
)
files, load = TABLES.files, TABLES.load
