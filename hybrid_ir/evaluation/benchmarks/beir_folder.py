"""Your own benchmark: a folder in the form of BEIR (2104.08663), in one language or many."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.judged import (
    Query,
    Unknown,
    assemble,
    chosen_languages,
    gathered,
    option,
)
from hybrid_ir.files.arrow_texts import ConvertedPassages, PassageRow, load_or_convert_passages
from hybrid_ir.files.json_lines import Judgement, get_text_field, read_judgements, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

FORM = (
    "corpus.jsonl with _id, text and optional title and language; queries.jsonl with _id, text and optional language and "
    "question_id; qrels.tsv or qrels/SPLIT.tsv with query-id, corpus-id, score; or a folder with these for each language"
)


def load(
    folder: str,
    cache: str,
    split: str = "test",
    language: str = "und",
    title: bool = True,
    unknown_passages: Unknown = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """The benchmark in the folder, or in one subfolder per language, named by its code.

    Args:
        cache: where the converted passages go.
        language: of texts that name none.
        title: put it in front of the text of a passage.
        unknown_passages: `drop` leaves out, and counts, judgements of passages that are not in the corpus.
        languages: only these; judgements across languages are kept where both are among them.
        max_queries: so many a language, the same questions in every language by their `question_id`.
    """
    root, parts = Path(folder), folders_by_language(folder)
    wrong = option("unknown_passages", unknown_passages, ("error", "drop"))
    problems = Problems(folder)
    if parts:
        chosen = chosen_languages(root.name, languages, parts, max_queries, wrong)
        read = [
            _read(parts[name], name, f"{name}:", split, title, Path(cache), problems)
            for name in chosen
        ]
    else:
        chosen_languages(
            root.name, None, [language], max_queries, wrong
        )  # before anything long begins
        read = [_read(root, language, "", split, title, Path(cache), problems)]
    passages, queries = (
        gathered([part for part, _, _ in read], problems),
        [query for _, part, _ in read for query in part],
    )
    if not parts:
        known = {*passages.languages, *(query.language for query in queries)}
        chosen = chosen_languages(root.name, languages, known, max_queries)
    source = Source(
        root.name,
        f"{root.name}, a folder in the form of BEIR",
        "yours",
        "yours",
        choices={"split": split, "title": str(title)},
    )
    return assemble(
        source,
        chosen,
        queries,
        passages,
        (judgement for *_, part in read for judgement in part),
        problems,
        max_queries,
        unknown_passages,
    )


def folders_by_language(folder: str) -> dict[str, Path]:
    """The subfolders that are a language each, none where the folder itself holds everything; ValueError where it is neither."""
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"benchmark.folder={folder}: there is no such folder. It needs {FORM}.")
    parts = {
        path.parent.name: path.parent
        for name in ("corpus.jsonl", "corpus.jsonl.gz")
        for path in root.glob(f"*/{name}")
    }
    if (file := either(root, "corpus.jsonl")).exists() == bool(parts):
        found = (
            f"both {file.name} and folders {', '.join(sorted(parts))}"
            if parts
            else "no corpus.jsonl in it or below it"
        )
        raise ValueError(f"benchmark.folder={folder}: {found}. It needs {FORM}.")
    return parts


def either(folder: Path, name: str) -> Path:
    """The file or its gzipped form, whichever is there."""
    return (
        folder / name
        if (folder / name).exists() or not (folder / f"{name}.gz").exists()
        else folder / f"{name}.gz"
    )


def _read(
    folder: Path,
    language: str,
    prefix: str,
    split: str,
    title: bool,
    cache: Path,
    problems: Problems,
) -> tuple[ConvertedPassages | None, list[Query], list[Judgement]]:
    """Passages, queries and judgements of one folder; the prefix makes ids of several folders distinct."""
    read = partial(_passages, language=language, prefix=prefix, title=title)
    passages = load_or_convert_passages(
        [either(folder, "corpus.jsonl")], f"beir {language} {prefix} {title}", read, cache, problems
    )
    queries = list(_queries(either(folder, "queries.jsonl"), language, prefix, problems))
    split_file = folder / "qrels" / f"{split}.tsv"
    qrels = split_file if split_file.parent.is_dir() else folder / "qrels.tsv"
    if qrels != split_file and split != "test":
        problems.add(
            f"split={split} must be in {split_file}, and there is no folder qrels: without one there is a single split, "
            "qrels.tsv; leave split out"
        )
    if not qrels.exists() and qrels == split_file:
        there = ", ".join(sorted(path.stem for path in split_file.parent.glob("*.tsv"))) or "none"
        problems.add(f"{split_file} is missing: split={split} must be one of those there: {there}")
        return passages, queries, []
    return (
        passages,
        queries,
        [
            Judgement(prefix + one.query_id, prefix + one.passage_id, one.score, one.where)
            for one in read_judgements(qrels, False, problems)
        ],
    )


def _passages(
    path: Path, problems: Problems, language: str, prefix: str, title: bool
) -> Iterator[PassageRow]:
    firsts: dict[bool, int] = {}
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name, text = (
            get_text_field(row, "_id", where, problems),
            get_text_field(row, "text", where, problems, blank=True),
        )
        headline = get_text_field(row, "title", where, problems, default="", blank=True)
        code = _language(row, language, where, problems, firsts, line)
        if None not in (name, text, headline, code):
            yield code, prefix + name, f"{headline} {text}".strip() if title else text, line
    _all_or_none(path, firsts, problems)


def _queries(path: Path, language: str, prefix: str, problems: Problems) -> Iterator[Query]:
    firsts: dict[bool, int] = {}
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name, text = (
            get_text_field(row, "_id", where, problems),
            get_text_field(row, "text", where, problems),
        )
        code = _language(row, language, where, problems, firsts, line)
        question = (
            get_text_field(row, "question_id", where, problems)
            if "question_id" in row
            else f"{code}:{name}"
        )
        if None not in (name, text, code, question):
            yield Query(code, prefix + name, text, question, where)
    _all_or_none(path, firsts, problems)


def _language(
    row: dict, language: str, where: str, problems: Problems, firsts: dict[bool, int], line: int
) -> str | None:
    firsts.setdefault("language" in row, line)
    return get_text_field(row, "language", where, problems) if "language" in row else language


def _all_or_none(path: Path, firsts: dict[bool, int], problems: Problems) -> None:
    if len(firsts) == 2:
        problems.add(
            f"{path}: line {firsts[True]} has a language, line {firsts[False]} has none; give every line one, or none"
        )
