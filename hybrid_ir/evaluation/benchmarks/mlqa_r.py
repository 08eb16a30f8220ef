"""MLQA-R: the dev questions of MLQA, each in 2 to 4 of 7 languages (LAReQA, 2004.05484)."""

from dataclasses import replace

from hybrid_ir.evaluation.benchmarks.lareqa import (
    Candidates,
    Counts,
    Queries,
    list_lareqa_files,
    load_lareqa,
)
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.lareqa import MLQA_R_ORIGIN, MLQA_R_SOURCE
from hybrid_ir.types import Benchmark

DESCRIPTION = (
    "MLQA-R: 4,199 questions and 20,534 candidate sentences in 7 languages, 2 to 4 of them parallel"
)
EXPECTED = {
    "ar": Counts(517, 517, 2545),
    "de": Counts(512, 512, 2362),
    "en": Counts(1148, 1148, 6264),
    "es": Counts(500, 500, 1787),
    "hi": Counts(507, 507, 2426),
    "vi": Counts(511, 511, 2828),
    "zh": Counts(504, 504, 2322),
}
FILES = {  # size in bytes and sha256
    "LICENSE": (19333, "336255dc30193e8e15d689d9481bb05673d89055718f3a96923a7ffb99adbbaf"),
    "ar.json": (3329081, "2132fbc03208535c0fe01f2e2c5121d06f9c2aa799af93b0a719dbc105bdf137"),
    "de.json": (887185, "ce9454dc5aa6f2d85c23cd6e49cb367fbb7c4c6e62d7f71e355c6b5dae4d0886"),
    "en.json": (2251129, "fedd9a5cc0848dda80caf84aa36f482adaae230526a3f6e9e86926a93ef3b1e4"),
    "es.json": (819818, "70ecba276b8c96a692b120693a595d076ce94ad21d4b28311538a9fcbfe0f9d7"),
    "hi.json": (3179023, "4dd0fb3c06f737a5481d705bc1dcac7876712a5815c9265908fbb3a0696cb654"),
    "vi.json": (1807239, "9d3baff6ba03e6793b25594217265ea59a136b9733833dca8a9582a84a78ff85"),
    "zh.json": (1360698, "57f01d2fff50cf3392805635b01445339f225ad5bf28ba8443b12f8dbd1e69dc"),
}


def list_files(languages: str | list[str] | None = None) -> list[RemoteFile]:
    """Lists the licence and one file per language."""
    return list_lareqa_files("mlqa-r", FILES, languages)


def load(
    folder: str,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads MLQA-R.

    Args:
        folder: with a file `{language}.json` of each language.
        queries: `all` questions; `distinct_text` asks each question text of a language once.
        candidates: `sentence`, `sentence_context_pair` or `paragraph`.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language, the same in every language.

    Raises:
        ValueError: files are missing, broken or not the released ones.
    """
    source = replace(MLQA_R_SOURCE, description=DESCRIPTION)
    return load_lareqa(
        folder, source, MLQA_R_ORIGIN, EXPECTED, queries, candidates, languages, max_queries
    )
