"""MIRACL: questions and Wikipedia passages in 18 languages, judged by native speakers (2210.09984); monolingual."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from hybrid_ir.evaluation.benchmarks.judged import (
    Query,
    Unknown,
    assemble,
    chosen_languages,
    gathered,
    option,
    require_released,
)
from hybrid_ir.evaluation.benchmarks.miracl_parquet import (
    read_passages,
    read_queries_and_judgements,
)
from hybrid_ir.files.arrow_texts import ConvertedPassages, PassageRow, load_or_convert_passages
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.json_lines import (
    Judgement,
    get_text_field,
    read_columns,
    read_judgements,
    read_objects,
)
from hybrid_ir.files.miracl import (
    MIRACL_CORPUS,
    MIRACL_SHARDS,
    MIRACL_TOPICS,
    list_passage_files,
    list_topic_files,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

Pool = Literal["full", "hard_negatives"]
HARD_NEGATIVES = ("mteb/MIRACLRetrievalHardNegatives", "d7d94fa4b946cec4a27c84653aa0cf6b33f74a3c")
RELEASED = {  # queries and passages, dev
    "full": {
        "ar": (2896, 2061414),
        "bn": (411, 297265),
        "de": (305, 15866222),
        "en": (799, 32893221),
        "es": (648, 10373953),
        "fa": (632, 2207172),
        "fi": (1271, 1883509),
        "fr": (343, 14636953),
        "hi": (350, 506264),
        "id": (960, 1446315),
        "ja": (860, 6953614),
        "ko": (213, 1486752),
        "ru": (1252, 9543918),
        "sw": (482, 131924),
        "te": (828, 518079),
        "th": (733, 542166),
        "yo": (119, 49043),
        "zh": (393, 4934368),
    },
    "hard_negatives": {
        "ar": (1000, 192103),
        "bn": (411, 297265),
        "de": (305, 71277),
        "en": (799, 178768),
        "es": (648, 146750),
        "fa": (632, 133596),
        "fi": (1000, 194415),
        "fr": (343, 75357),
        "hi": (350, 63066),
        "id": (960, 168173),
        "ja": (860, 185319),
        "ko": (213, 43293),
        "ru": (1000, 219114),
        "sw": (482, 131924),
        "te": (828, 101961),
        "th": (733, 116649),
        "yo": (119, 49043),
        "zh": (393, 81309),
    },
}
SOURCE = Source(
    name="miracl",
    description="MIRACL: questions of native speakers over Wikipedia passages of their language, in up to 18 languages",
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation="Zhang et al. 2023, MIRACL: A Multilingual Retrieval Dataset Covering 18 Diverse Languages, arXiv 2210.09984",
)
REVISIONS = {
    "full": f"{MIRACL_TOPICS[0]}@{MIRACL_TOPICS[1][:7]}, {MIRACL_CORPUS[0]}@{MIRACL_CORPUS[1][:7]}",
    "hard_negatives": f"{HARD_NEGATIVES[0]}@{HARD_NEGATIVES[1][:7]}",
}


def files(
    languages: str | Sequence[str] | None = None, split: str = "dev", pool: Pool = "full"
) -> list[RemoteFile]:
    """Topics, judgements and corpus of each language; in the parquet of the hard negatives each is one file."""
    found = []
    for name in chosen_languages("miracl", languages, MIRACL_SHARDS, None, _wrong(pool, split)):
        if pool == "full":
            found += [hub_file(*MIRACL_TOPICS, path) for path in list_topic_files(name, split)]
            found += [hub_file(*MIRACL_CORPUS, path) for path in list_passage_files(name)]
        else:
            found += [
                hub_file(*HARD_NEGATIVES, f"{name}-{part}/dev-00000-of-00001.parquet")
                for part in ("corpus", "queries", "qrels")
            ]
    return found


def load(
    folder: str,
    cache: str,
    split: str = "dev",
    pool: Pool = "full",
    title: bool = True,
    require_counts: bool = True,
    unknown_passages: Unknown = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """MIRACL from a folder that `hybrid-ir data fetch` has filled.

    Args:
        cache: where the converted passages go, about as large as the corpus unpacked.
        split: `dev`, or of the full pool also `train`, which de and yo lack.
        pool: `full`, or `hard_negatives`: the passages near the queries, whose numbers are not comparable with the full pool's.
        title: passages are title + " " + text, as usual; false for the text alone.
        require_counts: refuse a dev set whose numbers of queries and passages are not the released ones.
        unknown_passages: `drop` leaves out, and counts, judgements of passages that are not in the corpus.
        languages: only these.
        max_queries: so many a language.
    """
    wrong = _wrong(pool, split) + option("unknown_passages", unknown_passages, ("error", "drop"))
    chosen = chosen_languages("miracl", languages, MIRACL_SHARDS, max_queries, wrong)
    name = "miracl" if pool == "full" else "miracl_hard_negatives"
    problems = Problems(f"{folder} (hybrid-ir data fetch {name} gets it)")
    read = _read_full if pool == "full" else _read_hard_negatives
    parts = [read(Path(folder), code, split, title, Path(cache), problems) for code in chosen]
    passages, queries = (
        gathered([part for part, _, _ in parts], problems),
        [query for _, part, _ in parts for query in part],
    )
    source = replace(
        SOURCE,
        name=name,
        revision=REVISIONS[pool],
        choices={
            "pool": pool,
            "split": split,
            "title": str(title),
            "require_counts": str(require_counts),
        },
    )
    if require_counts and split == "dev":
        require_released(
            source, {code: RELEASED[pool][code] for code in chosen}, queries, passages, problems
        )
    return assemble(
        source,
        chosen,
        queries,
        passages,
        [one for *_, part in parts for one in part],
        problems,
        max_queries,
        unknown_passages,
    )


def _wrong(pool: str, split: str) -> list[str]:
    """What is wrong with these two choices."""
    splits = ("dev",) if pool == "hard_negatives" else ("dev", "train")
    return option("pool", pool, tuple(RELEASED)) + option("split", split, splits)


def _read_full(
    folder: Path, language: str, split: str, title: bool, cache: Path, problems: Problems
) -> tuple[ConvertedPassages | None, list[Query], list[Judgement]]:
    read = partial(_passages, language=language, title=title)
    passages = load_or_convert_passages(
        [folder / path for path in list_passage_files(language)],
        f"miracl {language} {title}",
        read,
        cache,
        problems,
    )
    asked, qrels = (folder / path for path in list_topic_files(language, split))
    queries = [
        Query(language, f"{language}:{name}", text, f"{language}:{name}", where)
        for where, (name, text) in read_columns(asked, 2, problems)
    ]
    return (
        passages,
        queries,
        [
            replace(
                one,
                query_id=f"{language}:{one.query_id}",
                passage_id=f"{language}:{one.passage_id}",
            )
            for one in read_judgements(qrels, True, problems)
        ],
    )


def _passages(path: Path, problems: Problems, language: str, title: bool) -> Iterator[PassageRow]:
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name, headline, text = (
            get_text_field(row, "docid", where, problems),
            "",
            get_text_field(row, "text", where, problems, blank=True),
        )
        if title:
            headline = get_text_field(row, "title", where, problems, blank=True)
        if None not in (name, headline, text):
            yield language, f"{language}:{name}", f"{headline} {text}".strip(), line


def _read_hard_negatives(
    folder: Path, language: str, split: str, title: bool, cache: Path, problems: Problems
) -> tuple[ConvertedPassages | None, list[Query], list[Judgement]]:
    read = partial(read_passages, language=language, title=title)
    corpus = folder / f"{language}-corpus" / f"{split}-00000-of-00001.parquet"
    passages = load_or_convert_passages(
        [corpus], f"miracl parquet {language} {title}", read, cache, problems
    )
    return passages, *read_queries_and_judgements(folder, language, split, problems)
