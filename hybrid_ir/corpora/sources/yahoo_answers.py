"""Yahoo Answers: titles of questions and their best answers, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

SOURCE = Source(
    name="yahoo_answers",
    description="Yahoo Answers: the title of a question and its best answer, in English",
    licence="of Yahoo Webscope: not for commercial use",
    citation="Zhang, Zhao and LeCun 2015, Character-level Convolutional Networks for Text "
    "Classification, NeurIPS",
    revision="93b3605c508cf93e3666c9d3e34640b5fe62b507",
)
TABLES = EnglishTables(
    source=SOURCE,
    repository="sentence-transformers/yahoo-answers",
    paths=[
        "title-answer-pair/train-00000-of-00002.parquet",
        "title-answer-pair/train-00001-of-00002.parquet",
    ],
    columns=ColumnMap(query={"en": "title"}, passage={"en": "answer"}),
    rows=1_198_260,
)
list_files = TABLES.list_files
load = TABLES.load
