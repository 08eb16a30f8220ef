"""MLQA-R: the development questions of MLQA, each in 2 to 4 of 7 languages (LAReQA, 2004.05484)."""

from dataclasses import replace

from hybrid_ir.evaluation.benchmarks.lareqa import Candidates, Counts, Queries, load_lareqa
from hybrid_ir.formats.lareqa import MLQA_R, MLQA_R_ORIGIN
from hybrid_ir.types import Benchmark

DESCRIPTION = "MLQA-R: 4,199 questions and 20,534 candidate sentences in 7 languages, 2 to 4 of them parallel"
EXPECTED = {
    "ar": Counts(517, 517, 2545),
    "de": Counts(512, 512, 2362),
    "en": Counts(1148, 1148, 6264),
    "es": Counts(500, 500, 1787),
    "hi": Counts(507, 507, 2426),
    "vi": Counts(511, 511, 2828),
    "zh": Counts(504, 504, 2322),
}


def load(
    folder: str,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """MLQA-R from a folder of `{language}.json`; `distinct_text` asks each question text of a language once.

    ValueError when files are missing, broken or not the released ones.
    """
    source = replace(MLQA_R, description=DESCRIPTION)
    return load_lareqa(folder, source, MLQA_R_ORIGIN, EXPECTED, queries, candidates, languages, max_queries)
