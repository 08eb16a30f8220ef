"""SQuAD 1.1: questions on Wikipedia paragraphs, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="squad",
    description="SQuAD 1.1, training set: questions and the Wikipedia paragraphs that they were "
    "asked of, in English",
    licence="CC BY-SA 4.0",
    citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text, "
    "arXiv 1606.05250",
    revision="7b6d24c440a36b6815f21b70d25016731768db1f",
)
TABLES = EnglishTables(
    source=SOURCE,
    repository="rajpurkar/squad",
    paths=["plain_text/train-00000-of-00001.parquet"],
    columns=ColumnMap(query={"en": "question"}, passage={"en": "context"}),
    rows=87_599,
)
list_files = TABLES.list_files
load = TABLES.load
