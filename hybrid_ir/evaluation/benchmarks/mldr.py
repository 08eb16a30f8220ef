"""MLDR: long documents in 13 languages, each query with one relevant document (2402.03216); monolingual."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.judged import (
    Query,
    Unknown,
    assemble,
    chosen_languages,
    gathered,
    option,
    require_released,
)
from hybrid_ir.files.arrow_texts import PassageRow, load_or_convert_passages
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.json_lines import Judgement, get_text_field, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY, REVISION = "Shitao/MLDR", "d67138e705d963e346253a80e59676ddb418810a"
SPLITS = ("dev", "test")
DOCUMENTS = {
    "ar": 7607,
    "de": 10000,
    "en": 200000,
    "es": 9551,
    "fr": 10000,
    "hi": 3806,
    "it": 10000,
    "ja": 10000,
    "ko": 6176,
    "pt": 6569,
    "ru": 10000,
    "th": 10000,
    "zh": 200000,
}
SOURCE = Source(
    name="mldr",
    description="MLDR: questions made by GPT-3.5 over long documents of their language, one relevant each, in up to 13 languages",
    licence="MIT",
    citation="Chen et al. 2024, M3-Embedding, arXiv 2402.03216",
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)


def files(languages: str | Sequence[str] | None = None, split: str = "test") -> list[RemoteFile]:
    """Queries and corpus of each language."""
    chosen = chosen_languages("mldr", languages, DOCUMENTS, None, option("split", split, SPLITS))
    return [
        hub_file(REPOSITORY, REVISION, f"mldr-v1.0-{name}/{part}.jsonl.gz")
        for name in chosen
        for part in (split, "corpus")
    ]


def released(language: str, split: str) -> tuple[int, int]:
    """Queries and documents of a language."""
    return 800 if split == "test" and language in ("en", "zh") else 200, DOCUMENTS[language]


def load(
    folder: str,
    cache: str,
    split: str = "test",
    require_counts: bool = True,
    unknown_passages: Unknown = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """MLDR from a folder that `hybrid-ir data fetch mldr` has filled; `split` is `dev` or `test`.

    Documents are far longer than an encoder reads: how they are cut is a choice of the evaluation.
    """
    wrong = option("split", split, SPLITS) + option(
        "unknown_passages", unknown_passages, ("error", "drop")
    )
    chosen = chosen_languages("mldr", languages, DOCUMENTS, max_queries, wrong)
    problems = Problems(f"{folder} (hybrid-ir data fetch mldr gets it)")
    folders = {name: Path(folder) / f"mldr-v1.0-{name}" for name in chosen}
    passages = gathered(
        [
            load_or_convert_passages(
                [path / "corpus.jsonl.gz"],
                f"mldr {name}",
                partial(_passages, language=name),
                Path(cache),
                problems,
            )
            for name, path in folders.items()
        ],
        problems,
    )
    queries, judgements = [], []
    for name, path in folders.items():
        for query, relevant in _queries(path / f"{split}.jsonl.gz", name, problems):
            queries.append(query)
            judgements += relevant
    source = replace(SOURCE, choices={"split": split, "require_counts": str(require_counts)})
    if require_counts:
        require_released(
            source, {name: released(name, split) for name in chosen}, queries, passages, problems
        )
    return assemble(
        source, chosen, queries, passages, judgements, problems, max_queries, unknown_passages
    )


def _passages(path: Path, problems: Problems, language: str) -> Iterator[PassageRow]:
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name, text = (
            get_text_field(row, "docid", where, problems),
            get_text_field(row, "text", where, problems, blank=True),
        )
        if None not in (name, text):
            yield language, f"{language}:{name}", text, line


def _queries(
    path: Path, language: str, problems: Problems
) -> Iterator[tuple[Query, list[Judgement]]]:
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name, text = (
            get_text_field(row, "query_id", where, problems),
            get_text_field(row, "query", where, problems),
        )
        positives = row.get("positive_passages")
        if not isinstance(positives, list) or not all(isinstance(one, dict) for one in positives):
            problems.add(
                f"{where}: 'positive_passages' is {positives!r:.40}, need a list of objects with a docid"
            )
            continue
        ids = [get_text_field(one, "docid", where, problems) for one in positives]
        if None not in (name, text, *ids):
            query_id = f"{language}:{name}"
            yield (
                Query(language, query_id, text, query_id, where),
                [Judgement(query_id, f"{language}:{passage_id}", 1, where) for passage_id in ids],
            )
