"""mMARCO: the questions and passages of MS MARCO in 14 languages, with hard negatives."""

# P pairs, K hard negatives, T triples

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from hybrid_ir.corpora.sources.released import (
    choose_training_languages,
    require_files,
    require_release_counts,
)
from hybrid_ir.corpora.stored import build_cached_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.arrow_texts import take_rows
from hybrid_ir.files.checksums import list_file_states
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.system.progress import track_progress
from hybrid_ir.types import Source

SOURCE = Source(
    name="mmarco",
    description="mMARCO (Google's translation): questions and passages of MS MARCO in 14 "
    "languages, with hard negatives",
    licence="of MS MARCO: for research only",
    citation="Bonifacio et al. 2021, mMARCO: A Multilingual Version of the MS MARCO Passage "
    "Ranking Dataset, arXiv 2108.13897",
    revision="6d039c4638c0ba3e46a9cb7b498b145e7edc6230",
)
NAMES = {  # of a language in the names of the files
    "ar": "arabic",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "hi": "hindi",
    "id": "indonesian",
    "it": "italian",
    "ja": "japanese",
    "nl": "dutch",
    "pt": "portuguese",
    "ru": "russian",
    "vi": "vietnamese",
    "zh": "chinese",
}
TRIPLES = "data/triples.train.ids.small.tsv"
COUNTS = {"triples": 39_780_811, "query": 808_731, "passage": 8_841_823}  # texts of each language
BLOCK = 1 << 16  # texts that are read, or written, together
Rows = Literal["pairs", "triples"]


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists the triples of ids, then the queries of each language, then the passages of each."""
    names = [NAMES[code] for code in choose_training_languages("mmarco", languages, NAMES)]
    paths = [TRIPLES]
    paths += [f"data/google/queries/train/{name}_queries.train.tsv" for name in names]
    paths += [f"data/google/collections/{name}_collection.tsv" for name in names]
    return [describe_hub_file("unicamp-dl/mmarco", SOURCE.revision, path) for path in paths]


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    rows: Rows = "pairs",
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the corpus; while it is built, the passages of one language at a time are in memory.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        languages: the languages to use, all by default.
        rows: `pairs`, each once with its first negatives, or `triples`, a row with one negative
            for each of the 39,780,811 triples that arXiv 2408.10536 counts.
        negatives: how many hard negatives a pair may have; a triple has one.
        require_counts: whether to refuse another number of triples or texts than released.
    """
    chosen = choose_training_languages("mmarco", languages, NAMES)
    if rows not in ("pairs", "triples") or negatives < 0:
        raise ValueError(
            f"rows={rows!r} must be pairs or triples, and negatives={negatives} 0 or more"
        )
    if rows == "triples":
        negatives = 1
    paths = require_files("mmarco", list_files(chosen), folder)
    triples_path = paths[0]
    query_paths = dict(zip(chosen, paths[1 : 1 + len(chosen)], strict=True))
    passage_paths = dict(zip(chosen, paths[1 + len(chosen) :], strict=True))

    def build(writer: CorpusWriter) -> None:
        triples = _read_triples(triples_path, require_counts)
        if rows == "triples":
            pairs_P2 = triples[:, :2]
            negatives_PK = triples[:, 2:]
        else:
            pairs_P2, negatives_PK = _group_triples(triples, negatives)
        query_ids = np.unique(pairs_P2[:, 0])
        known_negatives = negatives_PK[negatives_PK >= 0]
        passage_ids = np.unique(np.concatenate([pairs_P2[:, 1], known_negatives]))
        _write_texts(writer, "query", query_paths, query_ids, require_counts)
        _write_texts(writer, "passage", passage_paths, passage_ids, require_counts)
        query_rows = np.searchsorted(query_ids, pairs_P2[:, 0])
        passage_rows = np.searchsorted(passage_ids, pairs_P2[:, 1])
        negative_rows = np.searchsorted(passage_ids, negatives_PK)
        writer.finish(
            SOURCE,
            np.stack([query_rows, passage_rows], axis=1),
            np.where(negatives_PK < 0, -1, negative_rows),
        )

    key = {
        "files": list_file_states(paths),
        "rows": rows,
        "negatives": negatives,
        "revision": SOURCE.revision,
        "counts": require_counts,
    }
    return restrict_languages(build_cached_corpus(cache, "mmarco", key, build), languages)


def _read_triples(path: Path, require_counts: bool) -> np.ndarray:
    """Returns the ids of query, passage and negative of each triple (T, 3)."""
    names = ["query", "passage", "negative"]
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter="\t"),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64())),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: need three ids between tabs on each line ({error}): fetch it again"
        ) from error
    if require_counts:
        require_release_counts("mmarco", {"triples": len(table)}, {"triples": COUNTS["triples"]})
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _group_triples(triples_T3: np.ndarray, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups triples by pair.

    Args:
        triples_T3: ids of query, passage and negative.
        negatives: how many negatives a pair may have.

    Returns:
        The ids of query and passage of each pair (P, 2), and its first negatives in the order of
        the file (P, K), -1 where it has fewer.
    """
    pair_keys_T = triples_T3[:, 0] << 32 | triples_T3[:, 1]
    order_T = np.argsort(pair_keys_T, kind="stable")  # keeps the order of the file in a pair
    _, first_P, counts_P = np.unique(pair_keys_T[order_T], return_index=True, return_counts=True)
    places_K = np.arange(negatives)
    places_PK = np.minimum(first_P[:, None] + places_K, len(order_T) - 1)
    negatives_PK = triples_T3[:, 2][order_T[places_PK]]
    has_negative_PK = places_K < counts_P[:, None]
    return triples_T3[order_T[first_P], :2], np.where(has_negative_PK, negatives_PK, -1)


def _write_texts(
    writer: CorpusWriter,
    role: str,
    paths: dict[str, Path],
    ids: np.ndarray,
    require_counts: bool,
) -> None:
    """Writes the texts of the ids (sorted) in every language that is not written yet."""
    for language in track_progress(list(paths), f"{role} texts of mmarco"):
        if not writer.has_column(role, language):
            count = COUNTS[role] if require_counts else None
            writer.write_column(role, language, _read_texts(paths[language], ids, count))


def _read_texts(path: Path, ids: np.ndarray, count: int | None) -> list[pa.Array]:
    """Returns the texts of the ids (sorted) in parts, null where the file has none or a blank one.

    Raises ValueError if the file does not have `count` lines, or none of the texts.
    """
    wanted = pa.array(ids)
    known_ids = []
    known_texts = []
    lines = 0
    for line_ids, texts in _read_lines(path):
        lines += len(line_ids)
        has_text = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
        is_kept = pc.and_(pc.is_in(line_ids, wanted), has_text)
        known_ids.append(line_ids.filter(is_kept))
        known_texts.append(texts.filter(is_kept))
    if count is not None:
        require_release_counts("mmarco", {path.name: lines}, {path.name: count})
    texts = pa.chunked_array(known_texts, pa.large_string())
    if len(ids) and not len(texts):
        raise ValueError(
            f"{path} has none of the {len(ids):,} texts that the triples name: is it the right "
            "file?"
        )
    rows = pc.index_in(wanted, value_set=pa.chunked_array(known_ids, pa.int64()).combine_chunks())
    parts = [rows.slice(start, BLOCK) for start in range(0, len(rows), BLOCK)]
    return [take_rows(texts, part) for part in parts]


def _read_lines(path: Path) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yields ids and texts of a file that has both between a tab on each line, a block at a time.

    Only a newline ends a line: the texts have other characters that Python takes for line ends.
    """
    ids: list[int] = []
    texts: list[str] = []
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            name, tab, text = line.removesuffix("\n").removesuffix("\r").partition("\t")
            if not tab or not name.isdecimal():
                raise ValueError(
                    f"{path}, line {number}: {line:.60!r} is no id and text between a tab: fetch "
                    "it again"
                )
            ids.append(int(name))
            texts.append(text)
            if len(ids) == BLOCK:
                yield pa.array(ids, pa.int64()), pa.array(texts, pa.large_string())
                ids = []
                texts = []
    if ids:
        yield pa.array(ids, pa.int64()), pa.array(texts, pa.large_string())
