"""mMARCO: the questions and passages of MS MARCO in 14 languages, joined by their ids, with hard negatives."""

# P pairs, K hard negatives

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from rich.progress import track

from hybrid_ir.corpora.sources.released import (
    choose_languages,
    describe_files,
    find_files,
    require_counts_of_release,
)
from hybrid_ir.corpora.stored import build_cached_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.arrow_texts import take_rows
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.types import Source

SOURCE = Source(
    name="mmarco",
    description="mMARCO (Google's translation): questions and passages of MS MARCO in 14 languages, with hard negatives",
    licence="of MS MARCO: for research only",
    citation="Bonifacio et al. 2021, mMARCO: A Multilingual Version of the MS MARCO Passage Ranking Dataset, arXiv 2108.13897",
    revision="6d039c4638c0ba3e46a9cb7b498b145e7edc6230",
)
NAMES = {
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
Rows = Literal["pairs", "triples"]


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """The triples of ids, and questions and passages of each language."""
    names = [NAMES[code] for code in choose_languages("mmarco", languages, NAMES)]
    paths = [
        TRIPLES,
        *(f"data/google/queries/train/{name}_queries.train.tsv" for name in names),
        *(f"data/google/collections/{name}_collection.tsv" for name in names),
    ]
    return [hub_file("unicamp-dl/mmarco", SOURCE.revision, path) for path in paths]


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    rows: Rows = "pairs",
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """mMARCO from a folder that `hybrid-ir data fetch` has filled; the passages of one language are held in memory at a time.

    Args:
        rows: `pairs`, each once with its first so many negatives, or `triples`, a row with one negative for each, as the
            39,780,811 that arXiv 2408.10536 counts.
        negatives: of a pair; a triple has one.
        require_counts: refuse another number of triples, questions or passages than released.
    """
    chosen, count = (
        choose_languages("mmarco", languages, NAMES),
        1 if rows == "triples" else negatives,
    )
    if rows not in ("pairs", "triples") or negatives < 0:
        raise ValueError(
            f"rows={rows!r} must be pairs or triples, and negatives={negatives} 0 or more"
        )
    triples, *texts = find_files("mmarco", files(chosen), folder)
    sides = {"query": texts[: len(chosen)], "passage": texts[len(chosen) :]}

    def build(writer: CorpusWriter) -> None:
        pairs, wrong = pairs_of(triples, rows, count, require_counts)
        ids = {
            "query": np.unique(pairs[:, 0]),
            "passage": np.unique(np.concatenate([pairs[:, 1], wrong[wrong >= 0]])),
        }
        for role, places in sides.items():
            for code, place in track(
                list(zip(chosen, places, strict=True)), f"{role} texts of mmarco", transient=True
            ):
                if not writer.has(role, code):
                    writer.write(
                        role,
                        code,
                        texts_of(place, ids[role], COUNTS[role] if require_counts else None),
                    )
        at = np.stack(
            [
                np.searchsorted(ids["query"], pairs[:, 0]),
                np.searchsorted(ids["passage"], pairs[:, 1]),
            ],
            axis=1,
        )
        writer.finish(SOURCE, at, np.where(wrong < 0, -1, np.searchsorted(ids["passage"], wrong)))

    key = {
        "files": describe_files([triples, *texts]),
        "rows": rows,
        "negatives": count,
        "revision": SOURCE.revision,
        "counts": require_counts,
    }
    return restrict_languages(build_cached_corpus(cache, "mmarco", key, build), languages)


def pairs_of(
    triples: Path, rows: Rows, negatives: int, require_counts: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of question and passage (P, 2), and of negatives (P, K), -1 where a pair has fewer."""
    names = ["query", "passage", "negative"]
    try:
        table = csv.read_csv(
            triples,
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter="\t"),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64())),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{triples}: need three ids between tabs on each line ({error}): fetch it again"
        ) from error
    if require_counts:
        require_counts_of_release("mmarco", {"triples": len(table)}, {"triples": COUNTS["triples"]})
    query, passage, negative = (column.to_numpy() for column in table.columns)
    if rows == "triples":
        return np.stack([query, passage], axis=1), negative[:, None]
    key = query << 32 | passage
    order = np.argsort(
        key, kind="stable"
    )  # so that the negatives of a pair stay in the order of the file
    _, first, counts = np.unique(key[order], return_index=True, return_counts=True)
    places = np.arange(negatives)
    taken = order[np.minimum(first[:, None] + places, len(order) - 1)]
    return np.stack([query, passage], axis=1)[order[first]], np.where(
        places < counts[:, None], negative[taken], -1
    )


def texts_of(place: Path, ids: np.ndarray, count: int | None) -> list[pa.Array]:
    """The texts of the ids (sorted), in parts; null where the file, of so many lines, has none or an empty one."""
    wanted, found_ids, found, lines = pa.array(ids), [], [], 0
    for numbers, texts in rows_of(place):
        lines += len(numbers)
        kept = pc.and_(
            pc.is_in(numbers, wanted), pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
        )
        found_ids.append(numbers.filter(kept))
        found.append(texts.filter(kept))
    if count is not None:
        require_counts_of_release("mmarco", {place.name: lines}, {place.name: count})
    if len(ids) and not sum(map(len, found)):
        raise ValueError(
            f"{place} has none of the {len(ids):,} texts that the triples name: is it the right file?"
        )
    known = pa.chunked_array(found_ids, pa.int64()).combine_chunks()
    texts = pa.chunked_array(found, pa.large_string())
    return [take_rows(texts, part) for part in slices(pc.index_in(wanted, value_set=known))]


def rows_of(place: Path) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Ids and texts of a file with both between tabs on each line, which ends in a newline alone; some at a time."""
    ids: list[int] = []
    texts: list[str] = []
    with open(place, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            name, tab, text = line.removesuffix("\n").removesuffix("\r").partition("\t")
            if not tab or not name.isdecimal():
                raise ValueError(
                    f"{place}, line {number}: {line:.60!r} is no id and text between a tab: fetch it again"
                )
            ids.append(int(name))
            texts.append(text)
            if len(ids) == 1 << 16:
                yield pa.array(ids, pa.int64()), pa.array(texts, pa.large_string())
                ids, texts = [], []
    if ids:
        yield pa.array(ids, pa.int64()), pa.array(texts, pa.large_string())


def slices(rows: pa.Array, size: int = 1 << 16) -> list[pa.Array]:
    return [rows.slice(start, size) for start in range(0, len(rows), size)]
