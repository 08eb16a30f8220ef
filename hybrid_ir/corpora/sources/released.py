"""What the loaders of released data sets share: files that must be there, a corpus built once, counts of the release."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.corpora.checking import Rules
from hybrid_ir.corpora.importing import Importer, Part
from hybrid_ir.corpora.stored import build_cached_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.tables import ColumnMap, RowFilter, read_parquet_records
from hybrid_ir.types import Source, parse_languages

MAX_CHARACTERS = 1_000_000  # characters; whole film plots are shorter


def choose_languages(
    name: str, languages: str | Sequence[str] | None, known: Iterable[str]
) -> list[str]:
    """The chosen languages of a data set, all by default; ValueError for one that it has not."""
    known = sorted(known)
    chosen = parse_languages(languages) or known
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"languages={unknown} of {name}: it has {known}")
    return sorted(chosen)


def find_files(name: str, files: Sequence[RemoteFile], folder: str) -> list[Path]:
    """Where the files are; ValueError with how to get those that are missing."""
    places = [Path(folder) / file.path for file in files]
    if missing := [place for place in places if not place.is_file()]:
        shown = ", ".join(map(str, missing[:2])) + f" and {len(missing) - 2} more" * (
            len(missing) > 2
        )
        raise ValueError(
            f"{len(missing)} of {len(places)} files of {name} are missing: {shown}. `hybrid-ir data fetch {name}` "
            "gets them, with the same corpus.* choices after the name (of a whole experiment: with its name)"
        )
    return places


def describe_files(places: Iterable[Path]) -> list[tuple[str, int, int]]:
    """What changes when a file does."""
    return [
        (str(place.resolve()), place.stat().st_size, place.stat().st_mtime_ns) for place in places
    ]


def build_released_corpus(
    source: Source,
    files: Sequence[RemoteFile],
    folder: str,
    cache: str,
    parts: Sequence[Part],
    counts: Mapping[str, int] | None = None,
    key: Mapping[str, Any] | None = None,
    languages: str | Sequence[str] | None = None,
) -> ParallelCorpus:
    """The corpus of a release, built once; records that are wrong are left out, counted and listed in the folder of the cache.

    `counts` are the records that it must have in each language. ValueError for missing files and other counts.
    """
    places = find_files(source.name, files, folder)

    def build(writer: CorpusWriter) -> None:
        problems = Problems(source.name, Path(f"{writer.folder}.problems.txt"))
        importer = Importer(writer, parts, Rules(MAX_CHARACTERS, "skip"), problems)
        importer.run(
            source, lambda: require_counts_of_release(source.name, importer.state.queries, counts)
        )
        if problems.number:
            print(problems.tell())

    decides = {
        "files": describe_files(places),
        "revision": source.revision,
        "counts": counts,
        **(key or {}),
    }
    corpus = build_cached_corpus(cache, source.name, decides, build)
    return restrict_languages(corpus, languages)


def require_counts_of_release(
    name: str, found: Mapping[str, int], counts: Mapping[str, int] | None
) -> None:
    wrong = {
        language: (found.get(language, 0), count)
        for language, count in (counts or {}).items()
        if found.get(language, 0) != count
    }
    if wrong:
        told = ", ".join(
            f"{number:,} in '{language}' instead of {count:,}"
            for language, (number, count) in wrong.items()
        )
        raise ValueError(
            f"{name} has {told} records of its release: is it whole? require_counts=false takes it as it is"
        )


@dataclass(frozen=True)
class EnglishTables:
    """A data set that is Parquet files of the hub, in English, so that it serves monolingual batches alone.

    `rows` are those of the release, before any is left out; `keep` says of a table which of its rows are pairs.
    """

    source: Source
    repository: str
    paths: Sequence[str]
    columns: ColumnMap
    rows: int
    keep: RowFilter | None = None

    def files(self) -> list[RemoteFile]:
        """Its files on the hub."""
        return [hub_file(self.repository, self.source.revision, path) for path in self.paths]

    def load(
        self,
        folder: str,
        cache: str,
        languages: str | Sequence[str] | None = None,
        require_counts: bool = True,
    ) -> ParallelCorpus:
        """The corpus, from files that `hybrid-ir data fetch` has put in a folder; built once."""
        places = find_files(self.source.name, self.files(), folder)
        if require_counts:
            require_counts_of_release(
                self.source.name, {"en": sum(map(count_rows, places))}, {"en": self.rows}
            )
        parts = [
            partial(read_parquet_records, place, self.columns, keep=self.keep) for place in places
        ]
        return build_released_corpus(
            self.source, self.files(), folder, cache, parts, languages=languages
        )


def count_rows(place: Path) -> int:
    try:
        return pq.ParquetFile(place).metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{place} is not a Parquet file that can be read: delete it, then fetch it again"
        ) from error
