"""Your own training data with lists of positives and negatives: FlagEmbedding's and tevatron's."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hybrid_ir.corpora.checking import MAX_CHARACTERS, MAX_NEGATIVES, RecordRules
from hybrid_ir.corpora.own_data import OwnData, name_after
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.languages import (
    canonicalize_language,
    explain_wrong_code,
    find_canonical_code,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import FILE_ENDINGS, Records, find_matching_files
from hybrid_ir.files.training_formats import read_flagembedding_records, read_tevatron_records

# Reads a file in a language, with so many negatives of each line.
ReadFile = Callable[[Path, str, int, Problems], Iterator[Records]]


def from_flagembedding(
    path: str,
    language: str | None = None,
    negatives: int = MAX_NEGATIVES,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from the JSON lines of FlagEmbedding: query, pos and neg.

    Every positive makes a pair with its query. The texts of a line are in one language, so the
    pairs serve monolingual batches alone.

    Args:
        path: a file, a folder with .jsonl or .jsonl.gz files, or a pattern with *.
        language: of all texts; by default each file is named by its language, as in en.jsonl.
        negatives: how many of the negatives of a query to use, the first ones.
        cache, name, to, languages, max_characters, errors: see `hybrid_ir.corpora.sources.own`.

    Raises:
        ValueError: with everything that is wrong with the data.
    """
    rules = RecordRules(max_characters, errors)
    read = read_flagembedding_records
    data = _describe_data(path, language, negatives, read, name, languages, rules)
    return data.load(cache, to)


def from_tevatron(
    path: str,
    language: str | None = None,
    negatives: int = MAX_NEGATIVES,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from the JSON lines of tevatron: positive_passages and negative_passages.

    Args:
        path, language, negatives: see `from_flagembedding`.
        cache, name, to, languages, max_characters, errors: see `hybrid_ir.corpora.sources.own`.

    Raises:
        ValueError: with everything that is wrong with the data.
    """
    rules = RecordRules(max_characters, errors)
    read = read_tevatron_records
    data = _describe_data(path, language, negatives, read, name, languages, rules)
    return data.load(cache, to)


def _describe_data(
    path: str,
    language: str | None,
    negatives: int,
    read: ReadFile,
    name: str | None,
    languages: str | Sequence[str] | None,
    rules: RecordRules,
) -> OwnData:
    """Describes the files of a path, each with its reader."""
    if not 0 <= negatives <= MAX_NEGATIVES:
        raise ValueError(f"corpus.negatives={negatives} must be a number from 0 to {MAX_NEGATIVES}")
    files = find_matching_files(path, FILE_ENDINGS["jsonl"])
    codes = [_find_language(path, file, language) for file in files]
    parts = []
    for file, code in zip(files, codes, strict=True):
        parts.append(partial(read, file, code, negatives))
    return OwnData(
        name=name or name_after(path),
        files=files,
        parts=parts,
        rules=rules,
        languages=languages,
        choices={"form": read.__name__, "languages of files": codes, "negatives": negatives},
    )


def _find_language(path: str, file: Path, language: str | None) -> str:
    """Returns the language of a file: the one that is said, or the one that it is called by."""
    if language is not None:
        return canonicalize_language(language)
    name = file.name.partition(".")[0]
    code = find_canonical_code(name)
    if code is None:
        raise ValueError(
            f"corpus.path={path}: {file} is not named by a language, as in en.jsonl "
            f"({explain_wrong_code(name)}): say which one it is in, as in language=en"
        )
    return code
