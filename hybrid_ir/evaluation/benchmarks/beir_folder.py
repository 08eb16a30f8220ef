"""A benchmark of one's own: a folder in the format of BEIR (2104.08663), in any languages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query, UnknownPassages
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    check_option,
    choose_languages,
    raise_errors,
    record_choices,
)
from hybrid_ir.files.arrow_texts import PassageRow, load_or_convert_passages
from hybrid_ir.files.json_lines import get_text_field, read_judgements, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

FORMAT = (
    "corpus.jsonl with _id, text and optional title and language; queries.jsonl with _id, text and "
    "optional language and question_id; qrels.tsv or qrels/SPLIT.tsv with query-id, corpus-id, "
    "score; or a folder with these for each language"
)


def load(
    folder: str,
    cache: str,
    split: str = "test",
    language: str = "und",
    title: bool = True,
    unknown_passages: UnknownPassages = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads the benchmark in a folder, or in one subfolder per language, named by its code.

    Args:
        folder: with corpus.jsonl, queries.jsonl and qrels, or with folders of these.
        cache: where the converted passages go.
        split: of the qrels, if there are several.
        language: of texts that name none.
        title: whether to put the title of a passage in front of its text.
        unknown_passages: `drop` leaves out, and counts, judgements of passages that are not in
            the corpus.
        languages: codes to choose; None for all. Judgements across languages are kept if both are
            chosen.
        max_queries: questions to keep of each language, the same in every language by their
            `question_id`.
    """
    root = Path(folder)
    language_folders = _find_language_folders(folder)
    errors = check_option("unknown_passages", unknown_passages, ("error", "drop"))
    source = Source(root.name, f"{root.name}, a folder in the form of BEIR", "yours", "yours")
    source = record_choices(source, split=split, title=title, max_queries=max_queries)
    builder = BenchmarkBuilder(source, Problems(folder))
    if language_folders:
        chosen = choose_languages(root.name, languages, language_folders, max_queries, errors)
        for code in chosen:
            reader = _FolderReader(language_folders[code], code, f"{code}:", title)
            reader.add_to(builder, split, Path(cache))
    else:
        raise_errors(root.name, errors + check_max_queries(max_queries))
        reader = _FolderReader(root, language, "", title)
        reader.add_to(builder, split, Path(cache))
        builder.require_converted_passages()
        chosen = choose_languages(root.name, languages, builder.languages, max_queries)
    return builder.build(chosen, max_queries, unknown_passages)


def _find_language_folders(folder: str) -> dict[str, Path]:
    """Returns the subfolders that hold a language each; none if the folder itself has a corpus.

    Raises:
        ValueError: there is no corpus, or one in the folder and others below it.
    """
    root = Path(folder)
    place = f"benchmark.folder={folder}"
    if not root.is_dir():
        raise ValueError(f"{place}: there is no such folder. It needs {FORMAT}.")
    folders = {}
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        for path in root.glob(f"*/{name}"):
            folders[path.parent.name] = path.parent
    corpus = _find_plain_or_gzipped(root, "corpus.jsonl")
    if corpus.exists() and folders:
        names = ", ".join(sorted(folders))
        raise ValueError(f"{place}: both {corpus.name} and folders {names}. It needs {FORMAT}.")
    if not corpus.exists() and not folders:
        raise ValueError(f"{place}: no corpus.jsonl in it or below it. It needs {FORMAT}.")
    return folders


def _find_plain_or_gzipped(folder: Path, name: str) -> Path:
    """Returns the gzipped file if only that one is there, and the plain one otherwise."""
    plain = folder / name
    gzipped = folder / f"{name}.gz"
    return gzipped if gzipped.exists() and not plain.exists() else plain


@dataclass(frozen=True)
class _FolderReader:
    """Reads passages, queries and judgements of one folder.

    Args:
        folder: with the files.
        language: of texts that name none.
        prefix: put in front of all ids, to keep those of several folders distinct.
        title: whether to put the title of a passage in front of its text.
    """

    folder: Path
    language: str
    prefix: str
    title: bool

    def add_to(self, builder: BenchmarkBuilder, split: str, cache: Path) -> None:
        """Adds everything to a builder."""
        problems = builder.problems
        passages = load_or_convert_passages(
            [_find_plain_or_gzipped(self.folder, "corpus.jsonl")],
            f"beir {self.language} {self.prefix} {self.title}",
            self._read_passages,
            cache,
            problems,
        )
        builder.add_stored_passages(passages)
        queries_file = _find_plain_or_gzipped(self.folder, "queries.jsonl")
        for query in self._read_queries(queries_file, problems):
            builder.add_query(query)
        qrels_file = self._find_qrels(split, problems)
        if qrels_file is None:
            return
        for judgement in read_judgements(qrels_file, False, problems):
            query_id = self.prefix + judgement.query_id
            passage_id = self.prefix + judgement.passage_id
            builder.add_judgements([replace(judgement, query_id=query_id, passage_id=passage_id)])

    def _find_qrels(self, split: str, problems: Problems) -> Path | None:
        """Returns the file of a split; None after adding a problem if there are only others."""
        split_file = self.folder / "qrels" / f"{split}.tsv"
        if not split_file.parent.is_dir():
            if split != "test":
                problems.add(
                    f"split={split} must be in {split_file}, and there is no folder qrels: without "
                    "one there is a single split, qrels.tsv; leave split out"
                )
            return self.folder / "qrels.tsv"
        if not split_file.exists():
            splits = sorted(path.stem for path in split_file.parent.glob("*.tsv"))
            problems.add(
                f"{split_file} is missing: split={split} must be one of those there: "
                f"{', '.join(splits) or 'none'}"
            )
            return None
        return split_file

    def _read_passages(self, path: Path, problems: Problems) -> Iterator[PassageRow]:
        languages = _LanguageReader(path, self.language, problems)
        for line, row in read_objects(path, problems):
            where = f"{path}, line {line}"
            name = get_text_field(row, "_id", where, problems)
            text = get_text_field(row, "text", where, problems, blank=True)
            headline = get_text_field(row, "title", where, problems, default="", blank=True)
            language = languages.read(row, line, where)
            if None in (name, text, headline, language):
                continue
            if self.title:
                text = f"{headline} {text}".strip()
            yield language, self.prefix + name, text, line
        languages.report_mixture()

    def _read_queries(self, path: Path, problems: Problems) -> Iterator[Query]:
        languages = _LanguageReader(path, self.language, problems)
        for line, row in read_objects(path, problems):
            where = f"{path}, line {line}"
            name = get_text_field(row, "_id", where, problems)
            text = get_text_field(row, "text", where, problems)
            language = languages.read(row, line, where)
            question_id = f"{language}:{name}"
            if "question_id" in row:
                question_id = get_text_field(row, "question_id", where, problems)
            if None not in (name, text, language, question_id):
                yield Query(language, self.prefix + name, text, question_id, where)
        languages.report_mixture()


class _LanguageReader:
    """Reads the language of every line of a file: all lines must name one, or none of them."""

    def __init__(self, path: Path, default: str, problems: Problems):
        self.path = path
        self.default = default
        self.problems = problems
        self.first_line_with: int | None = None
        self.first_line_without: int | None = None

    def read(self, row: dict, line: int, where: str) -> str | None:
        """Returns the language of a line; None after adding a problem."""
        if "language" in row:
            if self.first_line_with is None:
                self.first_line_with = line
            return get_text_field(row, "language", where, self.problems)
        if self.first_line_without is None:
            self.first_line_without = line
        return self.default

    def report_mixture(self) -> None:
        """Adds a problem if some lines name a language and others do not."""
        if self.first_line_with is not None and self.first_line_without is not None:
            self.problems.add(
                f"{self.path}: line {self.first_line_with} has a language, line "
                f"{self.first_line_without} has none; give every line one, or none"
            )
