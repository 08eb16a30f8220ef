"""The passages that go into an index: of a benchmark, a training corpus, or files in BEIR's form.

Shapes: N passages, L languages.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.evaluation.benchmarks.beir_folder import LanguageReader
from hybrid_ir.files.arrow_texts import (
    ConvertedPassages,
    PassageRow,
    StoredPassages,
    concatenate_passages,
    load_or_convert_passages,
)
from hybrid_ir.files.beir import (
    ROW_ENDINGS,
    BeirFolder,
    find_language_folders,
    name_folders_by_language,
    read_beir_texts,
)
from hybrid_ir.files.languages import canonicalize_language
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source, Text

PASSAGES_PER_BLOCK = 8192
FORMS = (
    "a folder with corpus.jsonl, or with such a folder for each language, or a file of JSON lines "
    "with id, text and optional title and language"
)


@dataclass(frozen=True)
class PassagesToIndex:
    """The passages of an index, row by row.

    Args:
        source: where they come from.
        languages: L codes.
        codes_N: the language of each passage, an index into the languages.
        ids: N ids, each of them once.
        texts: N texts, which may be read from disk when they are asked for.
        left_out: how many had no text and are not among them.
    """

    source: Source
    languages: tuple[str, ...]
    codes_N: np.ndarray
    ids: Sequence[str]
    texts: Sequence[Text]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def count_languages(self) -> dict[str, int]:
        """Returns how many passages each language has, without languages that have none."""
        counts = {}
        for code, language in enumerate(self.languages):
            count = int((self.codes_N == code).sum())
            if count:
                counts[language] = count
        return counts

    def iterate_blocks(self) -> Iterator[tuple[int, list[str], Sequence[Text]]]:
        """Yields the first row, the ids and the texts of one block of rows after another."""
        for start in range(0, len(self), PASSAGES_PER_BLOCK):
            stop = min(len(self), start + PASSAGES_PER_BLOCK)
            yield start, list(self.ids[start:stop]), self.texts[start:stop]

    def compute_fingerprint(self) -> str:
        """Returns 32 hex digits that change whenever an id, a language or a text changes."""
        digest = hashlib.sha256()
        for start, ids, texts in self.iterate_blocks():
            codes = self.codes_N[start : start + len(ids)].tolist()
            for code, passage_id, text in zip(codes, ids, texts, strict=True):
                digest.update(f"{self.languages[code]} {passage_id!r} {text!r}".encode())
        return digest.hexdigest()[:32]

    def find_first_rows(self) -> np.ndarray:
        """Finds for each passage the first one with the very same text (N).

        Texts are compared by 128 bits of a checksum.
        """
        hashes = np.empty(len(self), "V16")
        for start, ids, texts in self.iterate_blocks():
            for place in range(len(ids)):
                digest = hashlib.md5(repr(texts[place]).encode(), usedforsecurity=False)
                hashes[start + place] = digest.digest()
        pairs_N2 = hashes.view(np.int64).reshape(-1, 2)
        order_N = np.lexsort((np.arange(len(self)), pairs_N2[:, 1], pairs_N2[:, 0]))
        sorted_N2 = pairs_N2[order_N]
        is_first_N = np.ones(len(self), bool)
        is_first_N[1:] = (sorted_N2[1:] != sorted_N2[:-1]).any(1)
        group_start_N = np.maximum.accumulate(np.where(is_first_N, np.arange(len(self)), 0))
        first_N = np.empty(len(self), np.int64)
        first_N[order_N] = order_N[group_start_N]
        return first_N


def take_benchmark_passages(benchmark: Benchmark) -> PassagesToIndex:
    """Returns the passages of a benchmark, in its order."""
    return PassagesToIndex(
        source=benchmark.source,
        languages=tuple(benchmark.languages),
        codes_N=np.asarray(benchmark.passage_languages),
        ids=benchmark.passage_ids,
        texts=benchmark.passages,
    )


def take_corpus_passages(corpus: ParallelCorpus) -> PassagesToIndex:
    """Returns the passages of a training corpus in all its languages, one language after another.

    The id of a passage is its language and its number in the corpus, as in `en:17`.

    Raises:
        ValueError: the corpus is a mixture, whose parts number their passages on their own.
    """
    if len(corpus.parts) > 1:
        raise ValueError("a mixture has no ids of its own: index its corpora one by one")
    sets = corpus.index.passage_languages
    every_id = np.arange(len(sets))
    columns = []
    ids_by_language = []
    for code, language in enumerate(corpus.languages):
        columns.append(corpus.passages[language])
        ids_by_language.append(np.flatnonzero(sets.has(every_id, code)))
    sizes = [len(ids) for ids in ids_by_language]
    rows = _CorpusRows(
        columns=columns,
        codes_N=np.repeat(np.arange(len(sizes)), sizes),
        passage_ids_N=np.concatenate([np.zeros(0, np.int64), *ids_by_language]),
    )
    return PassagesToIndex(
        source=corpus.source,
        languages=tuple(corpus.languages),
        codes_N=rows.codes_N,
        ids=_CorpusIds(rows, corpus.languages),
        texts=rows,
    )


@dataclass(frozen=True)
class _CorpusRows(Sequence):
    """The texts of all languages of a corpus as one sequence."""

    columns: Sequence[Sequence[str | None]]
    codes_N: np.ndarray
    passage_ids_N: np.ndarray

    def __len__(self) -> int:
        return len(self.codes_N)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return [self[row] for row in range(*key.indices(len(self)))]
        return self.columns[self.codes_N[key]][int(self.passage_ids_N[key])]


@dataclass(frozen=True)
class _CorpusIds(Sequence):
    """The ids of all languages of a corpus as one sequence."""

    rows: _CorpusRows
    languages: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return [self[row] for row in range(*key.indices(len(self)))]
        return f"{self.languages[self.rows.codes_N[key]]}:{self.rows.passage_ids_N[key]}"


def read_passage_files(
    path: str | Path, cache: Path, language: str = "und", title: bool = True
) -> PassagesToIndex:
    """Reads passages by the rules of a benchmark in BEIR's form; those without a text are left out.

    Args:
        path: a folder with corpus.jsonl (gzipped or as Parquet, too), a folder with such a folder
            for each language, or a file of JSON lines with id, text and optional title, language.
        cache: where the converted passages are kept.
        language: of texts that name none.
        title: whether to put the title of a passage in front of its text.

    Raises:
        ValueError: with everything that is wrong with the path and the lines.
    """
    place = Path(path).expanduser()
    problems = Problems(str(path))
    readers = _find_files(place, canonicalize_language(language), title)
    parts: dict[str, list[StoredPassages]] = {}
    left_out = 0
    for reader in readers:
        converted = reader.convert(cache, problems)
        if converted is None:
            continue
        left_out += converted.empty
        for code, passages in converted.languages.items():
            parts.setdefault(code, []).append(passages)
    problems.raise_if_any()
    if not parts:
        raise ValueError(f"path={path}: there is no passage with a text")
    languages = tuple(sorted(parts))
    joined = [concatenate_passages(parts[code]) for code in languages]
    passages = concatenate_passages(joined)
    source = Source(place.name, f"{place.name}, passages in the form of BEIR", "yours", "yours")
    return PassagesToIndex(
        source=source,
        languages=languages,
        codes_N=np.repeat(np.arange(len(languages)), [len(part) for part in joined]),
        ids=passages.ids,
        texts=passages.texts,
        left_out=left_out,
    )


@dataclass(frozen=True)
class _PassageFiles:
    """Files of passages that are read together.

    Args:
        files: the files.
        language: of texts that name none.
        prefix: put in front of all ids, to keep those of several folders distinct.
        title: whether to put the title of a passage in front of its text.
    """

    files: Sequence[Path]
    language: str
    prefix: str
    title: bool

    def convert(self, cache: Path, problems: Problems) -> ConvertedPassages | None:
        """Returns the passages by language; None after adding problems."""
        # The form is that of benchmarks, so that a folder is converted once for both.
        form = f"beir {self.language} {self.prefix} {self.title}"
        return load_or_convert_passages(self.files, form, self._read, cache, problems)

    def _read(self, path: Path, problems: Problems) -> Iterator[PassageRow]:
        languages = LanguageReader(path, self.language, problems, self.prefix != "")
        for passage in read_beir_texts(path, problems):
            text = passage.text
            if self.title:
                text = f"{passage.title} {text}".strip()
            yield languages.read(passage), self.prefix + passage.id, text, passage.line
        languages.report_mixture()


def _find_files(place: Path, language: str, title: bool) -> list[_PassageFiles]:
    """Returns the files of a path, one entry for each folder of a language."""
    if place.is_file():
        if not place.name.endswith(ROW_ENDINGS):
            raise ValueError(
                f"path={place} must end in {', '.join(ROW_ENDINGS)}: {FORMS} is needed"
            )
        return [_PassageFiles([place], language, "", title)]
    if not place.is_dir():
        raise ValueError(f"path={place} does not exist: {FORMS} is needed")
    if BeirFolder(place).has_corpus():
        return [_PassageFiles(BeirFolder(place).list_corpus_files(), language, "", title)]
    folders = name_folders_by_language(find_language_folders(place), f"path={place}")
    if not folders:
        hint = ""
        if (place / "corpus.json").is_file():
            hint = "; this is a corpus of `data import`: corpus=folder corpus.path=FOLDER"
        raise ValueError(f"path={place} has no corpus.jsonl: {FORMS} is needed{hint}")
    readers = []
    for code, folder in folders.items():
        readers.append(_PassageFiles(folder.list_corpus_files(), code, f"{code}:", title))
    return readers
