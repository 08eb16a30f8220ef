"""MLDR: long documents in 13 languages, one relevant to each query (2402.03216); monolingual."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import check_option, choose_languages, record_choices
from hybrid_ir.evaluation.benchmarks.relevance import JudgementRules, UnknownPassages
from hybrid_ir.files.arrow_texts import PassageRow, load_or_convert_passages
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.judgements import Judgement
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY = "Shitao/MLDR"
REVISION = "d67138e705d963e346253a80e59676ddb418810a"
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
    description=(
        "MLDR: questions made by GPT-3.5 over long documents of their language, one relevant each, "
        "in up to 13 languages"
    ),
    licence="MIT",
    citation="Chen et al. 2024, M3-Embedding, arXiv 2402.03216",
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)


def list_files(
    languages: str | Sequence[str] | None = None, split: str = "test"
) -> list[RemoteFile]:
    """Lists queries and corpus of each language."""
    errors = check_option("split", split, SPLITS)
    files = []
    for language in choose_languages("mldr", languages, DOCUMENTS, None, errors):
        for part in (split, "corpus"):
            path = f"{_name_folder(language)}/{part}.jsonl.gz"
            files.append(describe_hub_file(REPOSITORY, REVISION, path))
    return files


def get_released_counts(language: str, split: str) -> tuple[int, int]:
    """Returns the numbers of queries and documents of a language."""
    is_large = split == "test" and language in ("en", "zh")
    queries = 800 if is_large else 200
    return queries, DOCUMENTS[language]


def load(
    folder: str,
    cache: str,
    split: str = "test",
    require_counts: bool = True,
    unknown_passages: UnknownPassages = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads MLDR from a folder that `hybrid-ir data fetch mldr` has filled.

    Documents are far longer than an encoder reads: how they are cut is a choice of the evaluation.

    Args:
        folder: with the files of `list_files`.
        cache: where the converted documents go.
        split: `dev` or `test`.
        require_counts: whether to refuse data of another size than the released.
        unknown_passages: what becomes of relevant documents that are not in the corpus, see
            `JudgementRules`.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language.
    """
    errors = check_option("split", split, SPLITS)
    rules = JudgementRules(unknown_passages)
    errors += rules.list_errors()
    chosen = choose_languages("mldr", languages, DOCUMENTS, max_queries, errors)
    source = record_choices(
        SOURCE, split=split, require_counts=require_counts, max_queries=max_queries
    )
    problems = Problems(f"{folder} (hybrid-ir data fetch mldr gets it)")
    builder = BenchmarkBuilder(source, problems)
    for language in chosen:
        place = Path(folder) / _name_folder(language)
        passages = load_or_convert_passages(
            [place / "corpus.jsonl.gz"],
            f"mldr {language}",
            partial(_read_documents, language=language),
            Path(cache),
            problems,
        )
        builder.add_stored_passages(passages)
        _add_queries(builder, place / f"{split}.jsonl.gz", language)
    if require_counts:
        builder.compare_with_release(
            {language: get_released_counts(language, split) for language in chosen}
        )
    return builder.build(chosen, max_queries, rules)


def _name_folder(language: str) -> str:
    return f"mldr-v1.0-{language}"


def _read_documents(path: Path, problems: Problems, language: str) -> Iterator[PassageRow]:
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name = get_text_field(row, "docid", where, problems)
        text = get_text_field(row, "text", where, problems, blank=True)
        if name is not None and text is not None:
            yield language, f"{language}:{name}", text, line


def _add_queries(builder: BenchmarkBuilder, path: Path, language: str) -> None:
    """Adds the queries of a file, each with its relevant documents."""
    problems = builder.problems
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name = get_text_field(row, "query_id", where, problems)
        text = get_text_field(row, "query", where, problems)
        documents = _read_relevant_documents(row, where, problems)
        if name is None or text is None or documents is None:
            continue
        query_id = f"{language}:{name}"
        builder.add_query(Query(language, query_id, text, query_id, where))
        builder.add_judgements(
            [
                Judgement(query_id, f"{language}:{document}", 1, where, language)
                for document in documents
            ]
        )


def _read_relevant_documents(row: dict, where: str, problems: Problems) -> list[str] | None:
    """Returns the ids of the relevant documents of a query; None after adding a problem."""
    positives = row.get("positive_passages")
    is_list_of_objects = isinstance(positives, list) and all(
        isinstance(positive, dict) for positive in positives
    )
    if not is_list_of_objects:
        problems.add(
            f"{where}: 'positive_passages' is {positives!r:.40}, need a list of objects with a "
            "docid"
        )
        return None
    documents = [get_text_field(positive, "docid", where, problems) for positive in positives]
    return None if None in documents else documents
