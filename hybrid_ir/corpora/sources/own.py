"""Your own training data: JSON lines, Parquet, tab-separated pairs, a BEIR folder, files of the Hugging Face hub."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.checking import MAX_CHARACTERS, Rules
from hybrid_ir.corpora.importing import Importer, Part
from hybrid_ir.corpora.stored import build_cached_corpus, load_corpus_folder, write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.fetching import fetch_files, hub_file, list_hub_files
from hybrid_ir.files.joining import join_languages, read_beir_pairs
from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import (
    FILE_ENDINGS,
    Records,
    find_matching_files,
    read_json_line_records,
    read_tsv_records,
)
from hybrid_ir.files.tables import parse_column_map, read_parquet_records
from hybrid_ir.types import Source, parse_languages


@dataclass(frozen=True)
class Options:
    """What all loaders here take besides where the data is.

    Args:
        cache: where the corpus is kept, until the files change.
        name: of the corpus, by default that of the file or folder.
        to: a new folder to have the corpus in, instead of the cache.
        languages: codes to use of it, all by default.
        twins: whether every id must be there in two languages or more; None for the loader's choice.
        max_characters, errors: see Rules.
    """

    cache: str
    name: str | None = None
    to: str | None = None
    languages: str | Sequence[str] | None = None
    twins: bool | None = None
    max_characters: int = MAX_CHARACTERS
    errors: str = "stop"

    def imported(
        self,
        path: str,
        files: Sequence[Path],
        parts: Sequence[Part],
        key: Mapping[str, Any] | None = None,
        twins: bool = False,
    ) -> ParallelCorpus:
        """The corpus of these records, in the cache or in the folder `to`; ValueError with everything that is wrong."""
        rules = Rules(self.max_characters, self.errors, twins if self.twins is None else self.twins)
        name = self.name or Path(path).name.partition(".")[0].replace("*", "") or "own"
        states = [
            (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files
        ]
        named = ", ".join(file.name for file in files[:5]) + " ..." * (len(files) > 5)

        if told := [
            told
            for language in parse_languages(self.languages) or ()
            if (told := explain_wrong_code(language))
        ]:
            raise ValueError(f"corpus.languages: {'; '.join(told)}")

        def build(writer: CorpusWriter) -> None:
            problems = Problems(
                f"the data of corpus '{name}'", Path(f"{writer.folder}.problems.txt")
            )
            importer = Importer(writer, parts, rules, problems)
            importer.run(
                Source(name, f"imported from {named}", "yours", "yours"),
                lambda: self._require_languages(importer),
            )
            if problems.number:
                print(problems.tell())

        decides = {"files": states, "rules": vars(rules), **(key or {})}
        corpus = (
            write_corpus(self.to, build, decides)
            if self.to
            else build_cached_corpus(self.cache, name, decides, build)
        )
        return restrict_languages(corpus, self.languages)

    def _require_languages(self, importer: Importer) -> None:
        found = {language for _, language in importer.columns}
        if unknown := sorted(set(parse_languages(self.languages) or ()) - found):
            raise ValueError(f"languages={unknown}: the data has {sorted(found)}")


def from_jsonl(path: str, **options: Any) -> ParallelCorpus:
    """`{"id": ..., "query": {"en": ...}, "passage": {"en": ...}, "negatives": [{"en": ...}]}` on each line.

    The path is a file, a folder with .jsonl or .jsonl.gz files, or a pattern with *.
    """
    files = find_matching_files(path, FILE_ENDINGS["jsonl"])
    return Options(**options).imported(
        path, files, [partial(read_json_line_records, file) for file in files]
    )


def from_parquet(
    path: str, columns: Mapping[str, Any] | None = None, **options: Any
) -> ParallelCorpus:
    """Rows of Parquet files; `columns` says which are what (see ColumnMap), or they are named query_LL and passage_LL."""
    files, chosen = find_matching_files(path, FILE_ENDINGS["parquet"]), parse_column_map(columns)
    return Options(**options).imported(
        path,
        files,
        [partial(read_parquet_records, file, chosen) for file in files],
        {"columns": columns},
    )


def from_tsv(path: str, **options: Any) -> ParallelCorpus:
    """`id <tab> query <tab> passage` on each line of LL.tsv, a file for each language; the ids join them."""
    found = find_matching_files(path, FILE_ENDINGS["tsv"])
    files = {file.name.partition(".")[0]: file for file in found}
    if len(files) < len(found):
        raise ValueError(
            f"corpus.path={path}: more than one file of a language among {', '.join(map(str, found))}"
        )
    if told := [
        f"{file}: {told}"
        for language, file in files.items()
        if (told := explain_wrong_code(language))
    ]:
        raise ValueError(
            f"corpus.path={path}: a file is called by its language, as en.tsv: {'; '.join(told)}"
        )

    def read(problems: Problems) -> Iterable[Records]:
        parts = {
            language: partial(read_tsv_records, file, language, problems)
            for language, file in files.items()
        }
        return join_languages(parts, problems, Path(chosen.cache))

    chosen = Options(**options)
    return chosen.imported(path, list(files.values()), [read], twins=len(files) > 1)


def from_beir(
    path: str, language: str | None = None, split: str = "train", **options: Any
) -> ParallelCorpus:
    """A folder in the form of BEIR in one language, or with such a folder for each language, named by its code."""
    root = Path(path).expanduser()
    folders = (
        {language: root}
        if language
        else {
            place.name: place
            for place in sorted(root.iterdir() if root.is_dir() else ())
            if (place / "corpus.jsonl").is_file()
        }
    )
    if not folders or not root.is_dir():
        raise ValueError(
            f"corpus.path={path} must be a folder with corpus.jsonl, queries.jsonl and qrels/{split}.tsv and "
            "corpus.language its code, or hold such a folder for each language"
        )
    files = [
        folder / file
        for folder in folders.values()
        for file in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
    ]
    if missing := [str(file) for file in files if not file.is_file()]:
        inside = any(root.glob("*/corpus.jsonl"))
        raise ValueError(
            f"corpus.path={path}: {', '.join(missing)} is missing"
            f"{', but there are such folders inside: leave language= out' if inside and language else ''}"
        )

    def read(problems: Problems) -> Iterable[Records]:
        parts = {
            code: partial(read_beir_pairs, folder, code, split, problems)
            for code, folder in folders.items()
        }
        return (
            join_languages(parts, problems, Path(chosen.cache))
            if len(parts) > 1
            else next(iter(parts.values()))()
        )

    chosen = Options(**options)
    return chosen.imported(
        path, files, [read], {"split": split, "languages": sorted(folders)}, twins=len(folders) > 1
    )


def from_hub(
    repository: str,
    files: str | Sequence[str],
    columns: Mapping[str, Any] | None,
    revision: str,
    folder: str,
    **options: Any,
) -> ParallelCorpus:
    """Parquet files of a data set of the Hugging Face hub, by their paths there or patterns with *; fetched once to a folder."""
    wanted = [files] if isinstance(files, str) else list(files)
    paths = wanted
    if any("*" in path for path in wanted):
        listing = list_hub_files(repository, revision)
        paths = [path for path in listing if any(fnmatch(path, pattern) for pattern in wanted)]
        if not paths:
            raise ValueError(
                f"corpus.files={wanted}: {repository} at {revision} has no such file, but "
                f"{', '.join(listing[:20])}{' ...' * (len(listing) > 20)}"
            )
    place = Path(folder) / repository.replace("/", "--") / revision.replace("/", "--")
    fetch_files([hub_file(repository, revision.replace("/", "%2F"), path) for path in paths], place)
    here, chosen = [place / path for path in paths], parse_column_map(columns)
    return Options(**options).imported(
        repository,
        here,
        [partial(read_parquet_records, file, chosen) for file in here],
        {"columns": columns},
    )


def from_folder(path: str, languages: str | Sequence[str] | None = None) -> ParallelCorpus:
    """A corpus that `hybrid-ir data import` or CorpusWriter has written."""
    return restrict_languages(load_corpus_folder(path), languages)
