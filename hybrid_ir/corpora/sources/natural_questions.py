"""Natural Questions as pairs of a question and the Wikipedia passage that answers it, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

TABLES = EnglishTables(
    Source(
        name="natural_questions",
        description="Natural Questions: questions asked of a search engine and Wikipedia passages that answer them, in English",
        licence="CC BY-SA 3.0",
        citation="Kwiatkowski et al. 2019, Natural Questions: a Benchmark for Question Answering Research, TACL 7",
        revision="f9e894e1081e206e577b4eaa9ee6de2b06ae6f17",
    ),
    "sentence-transformers/natural-questions",
    ["pair/train-00000-of-00001.parquet"],
    ColumnMap({"en": "query"}, {"en": "answer"}),
    100_231,
)
files, load = TABLES.files, TABLES.load
