"""Writes the folder of a corpus, which `stored.py` describes."""

# P pairs, N ids of queries or passages, L languages, C bytes of a set of languages

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ir.corpora.text_columns import (
    TextColumnWriter,
    get_column_path,
    get_open_column_path,
    hash_text_column,
    read_text_column,
)
from hybrid_ir.data.availability import Availability, order_by_languages
from hybrid_ir.data.content_ids import assign_content_ids
from hybrid_ir.data.hard_negatives import HardNegatives, narrow_ids
from hybrid_ir.data.known_positives import POSITIVES, KnownPositives
from hybrid_ir.files.atomic import flush_to_disk, write_text_atomically
from hybrid_ir.files.checksums import compute_sha256, hash_values
from hybrid_ir.files.records import ROLES
from hybrid_ir.system.interruption import Interrupted
from hybrid_ir.system.progress import track_progress
from hybrid_ir.types import Source

VERSION = 2  # of the format of the folder
CARD = "corpus.json"
KEY = "build.key"
LARGE = 500_000  # texts from which a progress bar is worth its line
NEGATIVES_PER_BLOCK = 1 << 22  # places for hard negatives that are compared together


def hash_build_key(key: Mapping[str, Any]) -> str:
    """Hashes everything that decides what a build gives, to 16 hexadecimal digits."""
    return hash_values([VERSION, key])[:16]


def flatten_build_key(key: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a build key says, by dotted key, as values that JSON can hold."""
    choices = {}
    for name, value in json.loads(json.dumps(key, default=str)).items():
        if isinstance(value, dict):
            for inner_name, inner_value in value.items():
                choices[f"{name}.{inner_name}"] = inner_value
        else:
            choices[name] = value
    return choices


class CorpusWriter:
    """Writes a corpus to a folder beside its place, and moves it there when it is complete.

    Use it in a `with` statement: write the text columns, then call `finish`.

    With a `key`, a build that was stopped can be resumed: a later writer with the same key finds
    the complete columns (`has_column`) and everything else that the build left in `build_folder`.
    Any other error than a stop or one of the disk deletes everything.

    Args:
        folder: where the corpus shall be; it must not exist yet.
        key: the hash of what is built, as `hash_build_key` returns it; None if a stopped build
            shall not be resumed.
        choices: what was chosen for the build, by dotted key, for its card.

    Attributes:
        build_folder: the folder beside `folder` that is written.
        is_finished: whether an earlier build was stopped so late that entering the `with`
            statement completed it, and there is nothing left to do.
    """

    def __init__(
        self, folder: Path, key: str | None = None, choices: Mapping[str, Any] | None = None
    ):
        self.folder = folder
        self.build_folder = folder.with_name(f".{folder.name}.building")
        self.key = key
        self.choices = dict(choices or {})
        self.is_finished = False
        self._open_columns: dict[tuple[str, str], TextColumnWriter] = {}

    def __enter__(self) -> "CorpusWriter":
        if not self._can_resume():
            self._start_anew()
        self.is_finished = (self.build_folder / CARD).exists()
        if self.is_finished:
            self._move_into_place()
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            return
        is_stop = not issubclass(kind, Exception) or issubclass(kind, Interrupted | OSError)
        if not is_stop or self.key is None:
            shutil.rmtree(self.build_folder, ignore_errors=True)

    def _can_resume(self) -> bool:
        key_file = self.build_folder / KEY
        if self.key is None or not key_file.exists():
            return False
        return key_file.read_text(encoding="utf-8") == self.key

    def _start_anew(self) -> None:
        key_file = self.build_folder / KEY
        # The key goes first: if this is stopped, nobody shall resume with what is left.
        key_file.unlink(missing_ok=True)
        shutil.rmtree(self.build_folder, ignore_errors=True)
        self.build_folder.mkdir(parents=True, exist_ok=True)
        if self.key is not None:
            write_text_atomically(key_file, self.key, durable=True)

    def _column_path(self, role: str, language: str) -> Path:
        return get_column_path(self.build_folder, role, language)

    def has_column(self, role: str, language: str) -> bool:
        """Returns whether a column of texts is complete."""
        return self._column_path(role, language).exists()

    def open_column(
        self,
        role: str,
        language: str,
        with_origins: bool = False,
        resume_at: tuple[int, int] | None = None,
    ) -> TextColumnWriter:
        """Opens the column of a role and language to add texts to it; see `TextColumnWriter`."""
        if (role, language) in self._open_columns:
            return self._open_columns[role, language]
        path = get_open_column_path(self.build_folder, role, language)
        if resume_at is not None and not path.exists():
            # The build was stopped after everything was read, when this column was closed already.
            os.replace(self._column_path(role, language), path)
        column = TextColumnWriter(path, with_origins, resume_at)
        self._open_columns[role, language] = column
        return column

    def close_column(self, role: str, language: str) -> None:
        """Completes an open column."""
        column = self._open_columns.pop((role, language))
        column.close()
        os.replace(column.path, self._column_path(role, language))

    def write_column(
        self, role: str, language: str, texts: Iterable[Sequence[str | None] | pa.Array]
    ) -> None:
        """Writes a column from parts, unless an earlier start has completed it already."""
        if self.has_column(role, language):
            return
        column = self.open_column(role, language)
        for part in texts:
            column.add(part)
        self.close_column(role, language)

    def close_column_with_rows(self, role: str, language: str, is_kept: np.ndarray) -> int:
        """Completes an open column with a part of its rows.

        The column with all rows stays beside it until the end, for a build that is resumed.

        Args:
            role: `query` or `passage`.
            language: the language of the column.
            is_kept: whether to keep each row.

        Returns:
            How many texts the column has now.
        """
        column = self._open_columns.pop((role, language))
        column.flush()
        kept_column = TextColumnWriter(column.path.with_suffix(".kept"))
        start = 0
        text_count = 0
        for chunk in read_text_column(column.path).chunks:
            kept_chunk = chunk.filter(pa.array(is_kept[start : start + len(chunk)]))
            start += len(chunk)
            text_count += len(kept_chunk) - kept_chunk.null_count
            kept_column.add(kept_chunk)
        kept_column.close()
        os.replace(kept_column.path, self._column_path(role, language))
        return text_count

    def remove_language(self, language: str) -> None:
        """Deletes the completed columns of a language."""
        for role in ROLES:
            self._column_path(role, language).unlink()

    def finish(
        self,
        source: Source,
        pairs: np.ndarray,
        negatives: np.ndarray | HardNegatives | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes what follows from the texts, and moves the corpus to its place.

        Hard negatives that say the same as a passage of any pair of their query are left out, and
        counted in the report.

        Args:
            source: where the data comes from.
            pairs: ids of query and passage of each pair (P, 2).
            negatives: passage ids of the hard negatives of each pair (P, K), -1 for none.
            report: counts of what happened to the data, for the card.
        """
        for role, language in list(self._open_columns):
            self.close_column(role, language)
        languages = self._list_languages()
        query_sets_NC, query_content_N = self._index_texts("query", languages)
        passage_sets_NC, passage_content_N = self._index_texts("passage", languages)

        query_sets_PC = query_sets_NC[pairs[:, 0]]
        passage_sets_PC = passage_sets_NC[pairs[:, 1]]
        order_P = order_by_languages(query_sets_PC, passage_sets_PC)
        runs = Availability.from_bits(
            query_sets_PC[order_P], passage_sets_PC[order_P], len(languages)
        )
        run_sets = [np.packbits(runs.queries_RL, axis=1), np.packbits(runs.passages_RL, axis=1)]
        self._save_array("pairs", narrow_ids(pairs[order_P]))
        self._save_array("runs", runs.starts_R)
        self._save_array("run_languages", np.stack(run_sets, axis=1))
        self._save_array("query_languages", query_sets_NC)
        self._save_array("query_content", narrow_ids(query_content_N))
        self._save_array("passage_languages", passage_sets_NC)
        self._save_array("content", narrow_ids(passage_content_N))
        positives = KnownPositives(pairs, query_content_N, passage_content_N)
        np.save(self.build_folder / POSITIVES, positives.keys)
        if negatives is None:
            negatives = np.empty((len(pairs), 0), np.int64)
        hard_negatives, dropped = drop_positives(
            HardNegatives.from_array(negatives), pairs, positives
        )
        counts = dict(report or {})
        if dropped:
            counts["hard negatives left out that are a positive of their query"] = dropped
        if hard_negatives.shape[1]:
            self._save_negatives(hard_negatives, order_P, len(passage_content_N))

        files = self._list_files()
        card = {
            "version": VERSION,
            "key": self.key,
            "choices": self.choices,
            "languages": languages,
            "queries": len(query_content_N),
            "passages": len(passage_content_N),
            "pairs": len(pairs),
            "most_negatives": hard_negatives.shape[1],
            "source": asdict(source),
            "report": counts,
            "files": {name: (self.build_folder / name).stat().st_size for name in files},
            "sha256": {name: compute_sha256(self.build_folder / name) for name in files},
        }
        for name in files:
            flush_to_disk(self.build_folder / name)
        # With its card the corpus is complete.
        text = json.dumps(card, indent=1, ensure_ascii=False)
        write_text_atomically(self.build_folder / CARD, text, durable=True)
        self._move_into_place()

    def _list_languages(self) -> list[str]:
        columns = self.build_folder.glob("*-*.arrow")
        return sorted({path.stem.split("-", 1)[1] for path in columns})

    def _list_files(self) -> list[str]:
        endings = (".arrow", ".npy", ".parquet")
        return sorted(path.name for path in self.build_folder.iterdir() if path.suffix in endings)

    def _index_texts(self, role: str, languages: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the languages of each id as bits (N, C), and its content id (N)."""
        columns = {}
        for language in languages:
            columns[language] = read_text_column(self._column_path(role, language))
        sizes = {language: len(column) for language, column in columns.items()}
        size = max(sizes.values())
        assert set(sizes.values()) == {size}, f"{role} columns have {sizes} rows"
        sets_NC = np.zeros((size, (len(languages) + 7) // 8), np.uint8)

        def hash_languages() -> Iterator[np.ndarray]:
            """Yields the hashes of one language at a time, and notes which ids it has."""
            shown = track_progress(languages, f"compare {role} texts", size < LARGE)
            for number, language in enumerate(shown):
                is_there_N, hashes_N = hash_text_column(columns[language])
                sets_NC[:, number // 8] |= is_there_N.astype(np.uint8) << (7 - number % 8)
                yield hashes_N

        content_N = assign_content_ids(hash_languages())
        return sets_NC, content_N

    def _save_array(self, name: str, values: np.ndarray) -> None:
        np.save(self.build_folder / f"{name}.npy", values)

    def _save_negatives(self, negatives: HardNegatives, order_P: np.ndarray, passages: int) -> None:
        """Saves hard negatives in another order of the pairs, without holding all in memory."""
        counts_P = np.diff(negatives.starts)[order_P]
        self._save_array("negative_starts", np.concatenate([[0], np.cumsum(counts_P)]))
        id_type = np.int32 if passages < 1 << 31 else np.int64
        path = self.build_folder / "negative_ids.npy"
        file = np.lib.format.open_memmap(path, "w+", id_type, (len(negatives.ids),))
        start = 0
        for block in negatives.iterate_id_blocks(order_P):
            file[start : start + len(block)] = block
            start += len(block)
        file.flush()

    def _move_into_place(self) -> None:
        """Moves the complete folder to its place, without what only a resumed build needs."""
        card = json.loads((self.build_folder / CARD).read_text(encoding="utf-8"))
        needed = {*card["files"], CARD, KEY}
        for path in self.build_folder.iterdir():
            if path.name not in needed:
                path.unlink()
        os.rename(self.build_folder, self.folder)
        (self.folder / KEY).unlink(missing_ok=True)


def drop_positives(
    negatives: HardNegatives, pairs: np.ndarray, positives: KnownPositives
) -> tuple[HardNegatives, int]:
    """Leaves out hard negatives that are a known positive of the query of their pair.

    Args:
        negatives: of all pairs.
        pairs: ids of query and passage of each pair (P, 2).
        positives: of the corpus.

    Returns:
        The hard negatives that are left, and how many were left out.
    """
    size, most = negatives.shape
    rows_per_block = NEGATIVES_PER_BLOCK // max(1, most) + 1
    kept_ids = []
    counts_P = np.zeros(size, np.int64)
    for first in range(0, size, rows_per_block):
        block = slice(first, first + rows_per_block)
        ids_PK = negatives[block]
        is_kept_PK = (ids_PK >= 0) & ~positives.mark_positives(pairs[block], ids_PK)
        kept_ids.append(narrow_ids(ids_PK[is_kept_PK]))
        counts_P[block] = is_kept_PK.sum(1)
    dropped = len(negatives.ids) - int(counts_P.sum())
    if not dropped:
        return negatives, 0
    starts = np.concatenate([[0], np.cumsum(counts_P)])
    return HardNegatives(np.concatenate(kept_ids), starts), dropped
