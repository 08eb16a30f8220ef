"""XQuAD-R: 1,190 questions and 13,014 sentences, parallel in 11 languages (LAReQA, 2004.05484)."""

from hybrid_ir.evaluation.benchmarks.lareqa import (
    Candidates,
    Counts,
    Queries,
    list_lareqa_files,
    load_lareqa,
)
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.types import Benchmark, Source

ORIGIN = (
    "https://github.com/google-research-datasets/lareqa (folder xquad-r; "
    "`hybrid-ir data fetch xquad_r` does it)"
)
SOURCE = Source(
    name="xquad_r",
    description=(
        "XQuAD-R: 1,190 questions and 13,014 candidate sentences in 11 languages, all parallel"
    ),
    licence="CC BY-SA 4.0",
    citation=(
        "Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, "
        "arXiv 2004.05484"
    ),
    revision="google-research-datasets/lareqa@354d67d xquad-r",
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
FILES = {  # size in bytes and sha256
    "LICENSE": (15058, "25ddafc153e4cfdafd70729574ef1b44348e1814709e57680d55347038d3f92c"),
    "ar.json": (2234875, "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d"),
    "de.json": (732156, "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949"),
    "el.json": (2810127, "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6"),
    "en.json": (628651, "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe"),
    "es.json": (746335, "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de"),
    "hi.json": (2408404, "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872"),
    "ru.json": (2764904, "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1"),
    "th.json": (2618544, "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4"),
    "tr.json": (827827, "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94"),
    "vi.json": (1132303, "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995"),
    "zh.json": (959291, "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed"),
}


def list_files(languages: str | list[str] | None = None) -> list[RemoteFile]:
    """Lists the licence and one file per language."""
    return list_lareqa_files("xquad-r", FILES, languages)


def load(
    folder: str,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads XQuAD-R.

    Args:
        folder: with a file `{language}.json` of each language.
        queries: `all` questions; `distinct_text` asks each question text of a language once.
        candidates: `sentence`, `sentence_context_pair` or `paragraph`.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language, the same in every language.

    Raises:
        ValueError: files are missing, broken or not the released ones.
    """
    return load_lareqa(
        folder, SOURCE, ORIGIN, EXPECTED, queries, candidates, languages, max_queries
    )
