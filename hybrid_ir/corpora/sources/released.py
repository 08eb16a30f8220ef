"""What the loaders of released data sets share: their files, and a corpus that is built once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.corpora.checking import RecordRules
from hybrid_ir.corpora.importing import Importer, PartReader, import_records
from hybrid_ir.corpora.stored import build_cached_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.checksums import list_file_states
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.languages import match_languages
from hybrid_ir.files.tables import ColumnMap, RowFilter, read_parquet_records
from hybrid_ir.types import Source, parse_languages

MAX_CHARACTERS = 1_000_000  # characters of a text; the plots of whole films have fewer


def choose_training_languages(
    name: str, languages: str | Sequence[str] | None, known: Iterable[str]
) -> list[str]:
    """Returns the chosen languages of a data set in alphabetical order, all by default.

    Raises ValueError for a language that the data set does not have.
    """
    known = sorted(known)
    chosen, unknown = match_languages(parse_languages(languages) or known, known)
    if unknown:
        raise ValueError(f"languages={sorted(unknown)} of {name}: it has {known}")
    return sorted(chosen)


def require_files(name: str, files: Sequence[RemoteFile], folder: str) -> list[Path]:
    """Returns where the files of a data set are on this machine.

    Raises ValueError that says how to get them, if files are missing.
    """
    paths = [Path(folder) / file.path for file in files]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(missing[:2])
        if len(missing) > 2:
            shown += f" and {len(missing) - 2} more"
        raise ValueError(
            f"{len(missing)} of {len(paths)} files of {name} are missing: {shown}. "
            f"`hybrid-ir data fetch {name}` gets them, with the same corpus.* choices after the "
            "name (of a whole experiment: with its name)"
        )
    return paths


def require_release_counts(
    name: str, counts: Mapping[str, int], expected: Mapping[str, int] | None
) -> None:
    """Raises ValueError if a data set has other counts than its release; None expects nothing.

    Args:
        name: the name of the data set.
        counts: what was counted, for example records by language.
        expected: the counts of the release.
    """
    differences = []
    for key, number in (expected or {}).items():
        counted = counts.get(key, 0)
        if counted != number:
            differences.append(f"{counted:,} in '{key}' instead of {number:,}")
    if differences:
        raise ValueError(
            f"{name} has {', '.join(differences)} records of its release: is it whole? "
            "require_counts=false takes it as it is"
        )


def build_released_corpus(
    source: Source,
    files: Sequence[RemoteFile],
    folder: str,
    cache: str,
    parts: Sequence[PartReader],
    counts: Mapping[str, int] | None = None,
    key: Mapping[str, Any] | None = None,
    languages: str | Sequence[str] | None = None,
) -> ParallelCorpus:
    """Loads the corpus of a release from the cache, where it is built once.

    Wrong records are left out, counted, and listed in a file beside the corpus in the cache.

    Args:
        source: where the data comes from.
        files: the files of the release.
        folder: where the files are.
        cache: the cache folder.
        parts: readers of the files.
        counts: how many queries the release has in each language; None takes any number.
        key: further choices that decide what is built.
        languages: the languages to use of the corpus, all by default.

    Raises:
        ValueError: if files are missing or the counts differ.
    """
    paths = require_files(source.name, files, folder)

    def require_counts(importer: Importer) -> None:
        require_release_counts(source.name, importer.state.queries, counts)

    def build(writer: CorpusWriter) -> None:
        rules = RecordRules(MAX_CHARACTERS, "skip")
        import_records(writer, parts, rules, source, source.name, require_counts)

    build_key = {
        "files": list_file_states(paths),
        "revision": source.revision,
        "counts": counts,
        **(key or {}),
    }
    corpus = build_cached_corpus(cache, source.name, build_key, build)
    return restrict_languages(corpus, languages)


@dataclass(frozen=True)
class EnglishTables:
    """A data set of Parquet files on the Hugging Face hub that is in English.

    Its pairs are in one language, so it serves monolingual batches alone.

    Args:
        source: where the data comes from.
        repository: owner and name on the hub.
        paths: the Parquet files in the repository.
        columns: which columns are what.
        rows: how many rows the release has, before any is left out.
        is_pair: tells which rows of a table are pairs; all by default.
    """

    source: Source
    repository: str
    paths: Sequence[str]
    columns: ColumnMap
    rows: int
    is_pair: RowFilter | None = None

    def list_files(self) -> list[RemoteFile]:
        """Lists the files on the hub."""
        return [
            describe_hub_file(self.repository, self.source.revision, path) for path in self.paths
        ]

    def load(
        self,
        folder: str,
        cache: str,
        languages: str | Sequence[str] | None = None,
        require_counts: bool = True,
    ) -> ParallelCorpus:
        """Loads the corpus, which is built once.

        Args:
            folder: where `hybrid-ir data fetch` has put the files.
            cache: the cache folder.
            languages: the languages to use; English is all there is.
            require_counts: whether to refuse another number of rows than released.
        """
        paths = require_files(self.source.name, self.list_files(), folder)
        if require_counts:
            rows = sum(_count_rows(path) for path in paths)
            require_release_counts(self.source.name, {"en": rows}, {"en": self.rows})
        parts = [
            partial(read_parquet_records, path, self.columns, keep=self.is_pair) for path in paths
        ]
        return build_released_corpus(
            self.source, self.list_files(), folder, cache, parts, languages=languages
        )


def _count_rows(path: Path) -> int:
    try:
        return pq.ParquetFile(path).metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is not a Parquet file that can be read: delete it, then fetch it again"
        ) from error
