"""Your own training data: JSON lines, Parquet, tab-separated pairs, BEIR folders.

The loaders share these arguments, besides where the data is:

- cache: the cache folder, where the corpus is kept until the files change.
- name: the name of the corpus, by default that of the file or folder.
- to: a new folder to have the corpus in, instead of the cache.
- languages: the languages to use, all by default.
- twins: whether every id must be there in two languages or more.
- max_characters, errors: see `RecordRules`.

They raise ValueError with everything that is wrong with the data.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.checking import MAX_CHARACTERS, RecordRules
from hybrid_ir.corpora.own_data import OwnData, name_after
from hybrid_ir.corpora.sources import hub
from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.beir import (
    BeirFolder,
    find_language_folders,
    list_beir_files,
    name_folders_by_language,
)
from hybrid_ir.files.joining import join_languages, read_beir_pairs
from hybrid_ir.files.languages import (
    canonicalize_language,
    explain_wrong_code,
    find_canonical_code,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import (
    FILE_ENDINGS,
    Records,
    find_matching_files,
    read_json_line_records,
    read_tsv_records,
)
from hybrid_ir.files.tables import parse_column_map, read_parquet_records


def from_jsonl(
    path: str,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from JSON lines.

    Each line is `{"id": ..., "query": {"en": ...}, "passage": {"en": ...}, "negatives":
    [{"en": ...}]}`.

    Args:
        path: a file, a folder with .jsonl or .jsonl.gz files, or a pattern with *.
        cache, name, to, languages, twins, max_characters, errors: see the top of this file.
    """
    files = find_matching_files(path, FILE_ENDINGS["jsonl"])
    data = OwnData(
        name=name or name_after(path),
        files=files,
        parts=[partial(read_json_line_records, file) for file in files],
        rules=RecordRules(max_characters, errors, bool(twins)),
        languages=languages,
    )
    return data.load(cache, to)


def from_parquet(
    path: str,
    columns: Mapping[str, Any] | None = None,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from Parquet files.

    Args:
        path: a file, a folder with .parquet files, or a pattern with *.
        columns: which columns are what (see `ColumnMap`); by default their names tell, as in
            query_LL and passage_LL.
        cache, name, to, languages, twins, max_characters, errors: see the top of this file.
    """
    files = find_matching_files(path, FILE_ENDINGS["parquet"])
    column_map = parse_column_map(columns)
    data = OwnData(
        name=name or name_after(path),
        files=files,
        parts=[partial(read_parquet_records, file, column_map) for file in files],
        rules=RecordRules(max_characters, errors, bool(twins)),
        languages=languages,
        choices={"columns": columns},
    )
    return data.load(cache, to)


def from_tsv(
    path: str,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from a tab-separated file LL.tsv for each language, joined by their ids.

    Each line is `id <tab> query <tab> passage`.

    Args:
        path: the folder, a file, or a pattern with *.
        twins: by default true if there are several languages.
        cache, name, to, languages, max_characters, errors: see the top of this file.
    """
    files = _name_files_by_language(path)
    if twins is None:
        twins = len(files) > 1

    def read_all(problems: Problems) -> Iterable[Records]:
        readers = {}
        for language, file in files.items():
            readers[language] = partial(read_tsv_records, file, language, problems)
        return join_languages(readers, problems, Path(cache))

    data = OwnData(
        name=name or name_after(path),
        files=list(files.values()),
        parts=[read_all],
        rules=RecordRules(max_characters, errors, twins),
        languages=languages,
    )
    return data.load(cache, to)


def from_beir(
    path: str,
    language: str | None = None,
    split: str = "train",
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from a folder in the form of BEIR, or from one for each language.

    Args:
        path: the folder with corpus.jsonl, queries.jsonl and qrels, or a folder with such folders,
            which are named by their languages.
        language: the language of a single folder.
        split: which qrels to use.
        twins: by default true if there are several languages.
        cache, name, to, languages, max_characters, errors: see the top of this file.
    """
    folders = _find_beir_folders(path, language, split)
    files = list_beir_files(path, folders, split, language)
    if twins is None:
        twins = len(folders) > 1

    def read_all(problems: Problems) -> Iterable[Records]:
        readers = {}
        for code, folder in folders.items():
            readers[code] = partial(read_beir_pairs, folder, code, split, problems)
        if len(readers) == 1:
            [read] = readers.values()
            return read()
        return join_languages(readers, problems, Path(cache))

    data = OwnData(
        name=name or name_after(path),
        files=files,
        parts=[read_all],
        rules=RecordRules(max_characters, errors, twins),
        languages=languages,
        choices={"split": split, "languages": sorted(folders)},
    )
    return data.load(cache, to)


from_hub = hub.load  # as the configs of earlier runs call it


def from_folder(path: str, languages: str | Sequence[str] | None = None) -> ParallelCorpus:
    """Loads a corpus that `hybrid-ir data import` or `CorpusWriter` has written.

    Args:
        path: the folder of the corpus.
        languages: the languages to use, all by default.
    """
    return restrict_languages(load_corpus_folder(path), languages)


def _name_files_by_language(path: str) -> dict[str, Path]:
    """Returns the tab-separated files of a path by the languages that they are named by."""
    paths = find_matching_files(path, FILE_ENDINGS["tsv"])
    files: dict[str, Path] = {}
    problems = []
    for file in paths:
        name = file.name.partition(".")[0]
        problem = explain_wrong_code(name)
        if problem:
            problems.append(f"{file}: {problem}")
            continue
        language = find_canonical_code(name)
        if language in files:
            raise ValueError(
                f"corpus.path={path}: more than one file of the language {language}: "
                f"{files[language]} and {file}"
            )
        files[language] = file
    if problems:
        raise ValueError(
            f"corpus.path={path}: a file is called by its language, as en.tsv: "
            f"{'; '.join(problems)}"
        )
    return files


def _find_beir_folders(path: str, language: str | None, split: str) -> dict[str, BeirFolder]:
    """Returns the folders in the form of BEIR by their languages."""
    root = Path(path).expanduser()
    if root.is_dir() and language:
        return {canonicalize_language(language): BeirFolder(root)}
    folders = find_language_folders(root) if root.is_dir() else {}
    if not folders:
        raise ValueError(
            f"corpus.path={path} must be a folder with corpus.jsonl, queries.jsonl and "
            f"qrels/{split}.tsv and corpus.language its code, or hold such a folder for each "
            "language"
        )
    return name_folders_by_language(folders, f"corpus.path={path}")
