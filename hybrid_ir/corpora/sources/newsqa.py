"""NewsQA: questions on news articles, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="newsqa",
    description="NewsQA in the form of MRQA 2019, training set: questions and the CNN articles "
    "that answer them, in English",
    licence="of Microsoft Research and CNN: for research only",
    citation="Trischler et al. 2017, NewsQA: A Machine Comprehension Dataset, arXiv 1611.09830",
    revision="728e52920b8e4ffcfaad93fa47556f26a1d82546",
)
TABLES = EnglishTables(
    source=SOURCE,
    repository="lucadiliello/newsqa",
    paths=["data/train-00000-of-00001-ec54fbe500fc3b5c.parquet"],
    columns=ColumnMap(query={"en": "question"}, passage={"en": "context"}),
    rows=74_160,
)
list_files = TABLES.list_files
load = TABLES.load
