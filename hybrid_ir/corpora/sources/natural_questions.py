"""Natural Questions: pairs of a question and the Wikipedia passage that answers it, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="natural_questions",
    description="Natural Questions: questions asked of a search engine and Wikipedia passages that "
    "answer them, in English",
    licence="CC BY-SA 3.0",
    citation="Kwiatkowski et al. 2019, Natural Questions: a Benchmark for Question Answering "
    "Research, TACL 7",
    revision="f9e894e1081e206e577b4eaa9ee6de2b06ae6f17",
)
TABLES = EnglishTables(
    source=SOURCE,
    repository="sentence-transformers/natural-questions",
    paths=["pair/train-00000-of-00001.parquet"],
    columns=ColumnMap(query={"en": "query"}, passage={"en": "answer"}),
    rows=100_231,
)
list_files = TABLES.list_files
load = TABLES.load
