"""What the loaders of released data sets share: files that must be there, a corpus built once, counts of the release."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.corpora.checking import Rules
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.corpora.importing import Importer, Part
from hybrid_ir.corpora.stored import built
from hybrid_ir.data.language_view import in_languages
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.files.fetching import RemoteFile, on_hub
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.tables import ColumnMap, Keep, parquet
from hybrid_ir.types import Source, codes

HUGE = 1_000_000  # characters; whole film plots are shorter


def some_of(name: str, languages: str | Sequence[str] | None, known: Iterable[str]) -> list[str]:
    """The chosen languages of a data set, all by default; ValueError for one that it has not."""
    known = sorted(known)
    chosen = codes(languages) or known
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"languages={unknown} of {name}: it has {known}")
    return sorted(chosen)


def paths_of(name: str, files: Sequence[RemoteFile], folder: str) -> list[Path]:
    """Where the files are; ValueError with how to get those that are missing."""
    places = [Path(folder) / file.path for file in files]
    if missing := [place for place in places if not place.is_file()]:
        shown = ", ".join(map(str, missing[:2])) + f" and {len(missing) - 2} more" * (len(missing) > 2)
        raise ValueError(f"{len(missing)} of {len(places)} files of {name} are missing: {shown}. `hybrid-ir data fetch {name}` "
                         "gets them, with the same corpus.* choices after the name (of a whole experiment: with its name)")
    return places


def states(places: Iterable[Path]) -> list[tuple[str, int, int]]:
    """What changes when a file does."""
    return [(str(place.resolve()), place.stat().st_size, place.stat().st_mtime_ns) for place in places]


def released(source: Source, files: Sequence[RemoteFile], folder: str, cache: str,
             parts: Sequence[Part], counts: Mapping[str, int] | None = None,
             key: Mapping[str, Any] | None = None, languages: str | Sequence[str] | None = None) -> ParallelCorpus:
    """The corpus of a release, built once; records that are wrong are left out, counted and listed in the folder of the cache.

    `counts` are the records that it must have in each language. ValueError for missing files and other counts.
    """
    places = paths_of(source.name, files, folder)

    def build(writer: CorpusWriter) -> None:
        problems = Problems(source.name, Path(f"{writer.folder}.problems.txt"))
        importer = Importer(writer, parts, Rules(HUGE, "skip"), problems)
        importer.run(source, lambda: require(source.name, importer.state.queries, counts))
        if problems.number:
            print(problems.tell())
    decides = {"files": states(places), "revision": source.revision, "counts": counts, **(key or {})}
    corpus = built(cache, source.name, decides, build)
    return in_languages(corpus, languages)


def require(name: str, found: Mapping[str, int], counts: Mapping[str, int] | None) -> None:
    wrong = {language: (found.get(language, 0), count) for language, count in (counts or {}).items()
             if found.get(language, 0) != count}
    if wrong:
        told = ", ".join(f"{number:,} in '{language}' instead of {count:,}" for language, (number, count) in wrong.items())
        raise ValueError(f"{name} has {told} records of its release: is it whole? require_counts=false takes it as it is")


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
    keep: Keep | None = None

    def files(self) -> list[RemoteFile]:
        """Its files on the hub."""
        return [on_hub(self.repository, self.source.revision, path) for path in self.paths]

    def load(self, folder: str, cache: str, languages: str | Sequence[str] | None = None,
             require_counts: bool = True) -> ParallelCorpus:
        """The corpus, from files that `hybrid-ir data fetch` has put in a folder; built once."""
        places = paths_of(self.source.name, self.files(), folder)
        if require_counts:
            require(self.source.name, {"en": sum(map(rows_of, places))}, {"en": self.rows})
        parts = [partial(parquet, place, self.columns, keep=self.keep) for place in places]
        return released(self.source, self.files(), folder, cache, parts, languages=languages)


def rows_of(place: Path) -> int:
    try:
        return pq.ParquetFile(place).metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{place} is not a Parquet file that can be read: delete it, then fetch it again") from error
