"""XQuAD-R: 1,190 parallel questions and their paragraphs, cut into sentences, in 11 languages (LAReQA, 2004.05484)."""

from hybrid_ir.evaluation.benchmarks.lareqa import Candidates, Counts, Queries, load_lareqa
from hybrid_ir.types import Benchmark, Source

ORIGIN = "https://github.com/google-research-datasets/lareqa (folder xquad-r)"
SOURCE = Source(
    name="xquad_r",
    description="XQuAD-R: 1,190 questions and 13,014 candidate sentences in 11 languages, all parallel",
    licence="CC BY-SA 4.0",
    citation="Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, arXiv 2004.05484",
    revision="google-research-datasets/lareqa xquad-r",
)
EXPECTED = {
    "ar": Counts(1190, 1187, 1222),
    "de": Counts(1190, 1182, 1276),
    "el": Counts(1190, 1184, 1234),
    "en": Counts(1190, 1187, 1180),
    "es": Counts(1190, 1185, 1215),
    "hi": Counts(1190, 1183, 1244),
    "ru": Counts(1190, 1186, 1219),
    "th": Counts(1190, 1183, 852),
    "tr": Counts(1190, 1184, 1167),
    "vi": Counts(1190, 1182, 1209),
    "zh": Counts(1190, 1181, 1196),
}


def load(
    folder: str,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """XQuAD-R from a folder of `{language}.json`; `distinct_text` asks each question text of a language once.

    ValueError when files are missing, broken or not the released ones.
    """
    return load_lareqa(folder, SOURCE, ORIGIN, EXPECTED, queries, candidates, languages, max_queries)
