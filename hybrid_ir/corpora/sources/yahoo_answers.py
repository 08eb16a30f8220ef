"""Yahoo Answers: titles of questions and their best answers, in English."""

from hybrid_ir.corpora.sources.released import EnglishTables
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.types import Source

TABLES = EnglishTables(
    Source(
        name="yahoo_answers",
        description="Yahoo Answers: the title of a question and its best answer, in English",
        licence="of Yahoo Webscope: not for commercial use",
        citation="Zhang, Zhao and LeCun 2015, Character-level Convolutional Networks for Text Classification, NeurIPS",
        revision="93b3605c508cf93e3666c9d3e34640b5fe62b507",
    ),
    "sentence-transformers/yahoo-answers",
    [f"title-answer-pair/train-0000{shard}-of-00002.parquet" for shard in range(2)],
    ColumnMap({"en": "title"}, {"en": "answer"}),
    1_198_260,
)
files, load = TABLES.files, TABLES.load
