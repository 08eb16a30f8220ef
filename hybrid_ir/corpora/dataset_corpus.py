"""A corpus from a data set of the library `datasets` in memory, and a data set from a corpus."""

# P pairs, K hard negatives

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hybrid_ir.corpora.checking import MAX_CHARACTERS, RecordRules
from hybrid_ir.corpora.importing import import_records
from hybrid_ir.corpora.stored import write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.arrow_texts import DiskTexts, take_rows
from hybrid_ir.files.datasets_library import choose_split, read_dataset_records
from hybrid_ir.files.tables import parse_column_map
from hybrid_ir.types import Source

if TYPE_CHECKING:
    from datasets import Dataset

PAIRS_PER_BLOCK = 8192  # rows of a data set that are built together


def import_dataset(
    dataset: Any,
    columns: Mapping[str, Any] | None = None,
    *,
    split: str | None = None,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool = False,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Imports a data set as a corpus; see `ParallelCorpus.from_dataset`."""
    chosen = choose_split(dataset, split, "dataset")
    column_map = parse_column_map(columns)
    rules = RecordRules(max_characters, errors, twins)
    source = _describe_source(chosen, name or "dataset")

    def read_all(problems):
        return read_dataset_records(chosen, "dataset", column_map, problems)

    def build(writer: CorpusWriter) -> None:
        data_name = f"the data of corpus '{source.name}'"
        import_records(writer, [read_all], rules, source, data_name, has_log=to is not None)

    if to is not None:
        return restrict_languages(write_corpus(to, build), languages)
    with TemporaryDirectory(prefix="hybrid-ir-") as folder:
        corpus = write_corpus(str(Path(folder) / "corpus"), build)
        # The files stay memory-mapped without their names, until the corpus is gone; this one is
        # mapped when it is first needed.
        corpus.index.positives.map_keys()
    return restrict_languages(corpus, languages)


def _describe_source(dataset: Any, name: str) -> Source:
    """Returns what a data set says of itself."""
    info = dataset.info
    return Source(
        name,
        info.description or "imported from a Dataset in memory",
        info.license or "yours",
        info.citation or "yours",
    )


def export_dataset(corpus: ParallelCorpus) -> "Dataset":
    """Returns a corpus as a data set; see `ParallelCorpus.to_dataset`."""
    from datasets import Dataset, DatasetInfo

    if len(corpus.parts) != 1:
        names = ", ".join(part.source.name for part in corpus.parts)
        raise ValueError(f"a mixture is no table: take each of its parts ({names}) by itself")
    info = DatasetInfo(
        description=corpus.source.description,
        license=corpus.source.licence,
        citation=corpus.source.citation,
    )
    exporter = _Exporter(corpus)
    table = pa.Table.from_batches(exporter.build_blocks(), exporter.schema)
    return Dataset(table, info=info)


class _Exporter:
    """Builds the rows of a data set from the pairs of a corpus.

    Args:
        corpus: the corpus, which is no mixture.
    """

    def __init__(self, corpus: ParallelCorpus):
        self.corpus = corpus
        self.has_negatives = corpus.negatives.shape[1] > 0
        fields = [pa.field("id", pa.string())]
        for side in ("query", "passage"):
            for language in corpus.languages:
                fields.append(pa.field(f"{side}_{language}", pa.string()))
        if self.has_negatives:
            for language in corpus.languages:
                fields.append(pa.field(f"negatives_{language}", pa.list_(pa.string())))
        self.schema = pa.schema(fields)

    def build_blocks(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows of all pairs that batches may take, in the order of the corpus."""
        rows = self.corpus.find_usable_pairs()
        for start in range(0, len(rows), PAIRS_PER_BLOCK):
            places = np.arange(start, min(start + PAIRS_PER_BLOCK, len(rows)))
            yield self._build_block(rows[places])

    def _build_block(self, rows: np.ndarray) -> pa.RecordBatch:
        pairs_P2 = np.asarray(self.corpus.pairs[rows])
        columns = [pa.array([str(row) for row in rows.tolist()], pa.string())]
        for language in self.corpus.languages:
            columns.append(_take_texts(self.corpus.queries[language], pairs_P2[:, 0]))
        for language in self.corpus.languages:
            columns.append(_take_texts(self.corpus.passages[language], pairs_P2[:, 1]))
        if self.has_negatives:
            columns += self._collect_negatives(rows)
        return pa.record_batch(columns, schema=self.schema)

    def _collect_negatives(self, rows: np.ndarray) -> list[pa.Array]:
        """Returns the lists of negatives of each language, which are equally long in all."""
        ids_PK = np.asarray(self.corpus.negatives[rows])
        is_kept_PK = ids_PK >= 0
        is_kept_PK &= self._is_there(ids_PK)
        starts_P = np.concatenate([[0], np.cumsum(is_kept_PK.sum(1))])
        ids = ids_PK[is_kept_PK]
        lists = []
        for language in self.corpus.languages:
            texts = _take_texts(self.corpus.passages[language], ids)
            lists.append(pa.ListArray.from_arrays(pa.array(starts_P, pa.int32()), texts))
        return lists

    def _is_there(self, ids_PK: np.ndarray) -> np.ndarray:
        """Returns whether each passage has a text, and is not held out as a hard negative."""
        sets = self.corpus.index.passage_languages
        is_there_PK = np.zeros(ids_PK.shape, bool)
        for number in range(len(self.corpus.languages)):
            is_there_PK |= sets.has(ids_PK, np.array(number))
        return is_there_PK


def _take_texts(texts: Sequence[str | None], ids: np.ndarray) -> pa.Array:
    """Returns the texts of ids in one language."""
    if isinstance(texts, DiskTexts):
        return take_rows(texts.column, pa.array(ids))
    return pa.array([texts[row] for row in ids.tolist()], pa.string())
