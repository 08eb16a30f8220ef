"""Reads tables through the library `datasets`: those that it saved, and those in memory.

The library takes a second to load, so that it is imported where it is used.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import RECORDS_PER_BLOCK, Records
from hybrid_ir.files.tables import ColumnMap, TableRows, describe_first_line, read_table_records

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    AnyDataset = Dataset | IterableDataset


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Keeps the bars and messages of the library off: imports have their own.

    What the library logs of an error is in the error as well.
    """
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from datasets.utils import logging

    had_bars = not are_progress_bars_disabled()
    verbosity = logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()


def load_saved_dataset(path: str, split: str | None = None) -> "Dataset":
    """Memory-maps a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Args:
        path: the folder.
        split: of a `DatasetDict`; it may be left out if there is only one.

    Raises:
        ValueError: if there is no such folder or split, or the folder is damaged.
    """
    from datasets import load_from_disk

    place = Path(path).expanduser()
    try:
        with quiet_datasets():
            dataset = load_from_disk(str(place), keep_in_memory=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"corpus.path={path} must be a folder that `save_to_disk` of a Dataset or DatasetDict "
            f"has written ({describe_first_line(error)})"
        ) from error
    return choose_split(dataset, split, f"corpus.path={path}")


def choose_split(dataset: Any, split: str | None, place: str) -> "AnyDataset":
    """Returns a data set itself, or one of a dictionary of them by split.

    Args:
        dataset: of the library, or a dictionary.
        split: of a dictionary; it may be left out if there is only one.
        place: the data set in messages.

    Raises:
        ValueError: if there is no such split, or several and none is chosen.
        TypeError: if it is no data set.
    """
    from datasets import Dataset, IterableDataset

    chosen = dataset
    if isinstance(dataset, Mapping):
        known = ", ".join(dataset)
        if split is None and len(dataset) != 1:
            raise ValueError(f"{place} has the splits {known or 'none'}: choose one with split=")
        if split is not None and split not in dataset:
            raise ValueError(f"split={split}: {place} has the splits {known or 'none'}")
        chosen = dataset[split or known]
    elif split is not None:
        raise ValueError(f"split={split}: {place} is a single Dataset; leave split out")
    if not isinstance(chosen, Dataset | IterableDataset):
        raise TypeError(
            f"{place} is {type(chosen).__name__}, need a Dataset or IterableDataset of the library "
            "datasets, or a dictionary of them by split"
        )
    return chosen


def list_saved_files(dataset: "Dataset") -> list[Path]:
    """Returns the files that a data set is memory-mapped from."""
    return sorted(Path(file["filename"]) for file in dataset.cache_files)


def read_dataset_records(
    dataset: "AnyDataset", place: str, columns: ColumnMap, problems: Problems
) -> Iterator[Records]:
    """Reads records from a data set, some thousand rows at a time.

    Args:
        dataset: of the library.
        place: what messages call it.
        columns: which columns hold what.
        problems: gets what is wrong with it.
    """
    yield from read_table_records(read_blocks(dataset, place), columns, problems)


def read_blocks(dataset: "AnyDataset", place: str) -> TableRows:
    """Returns the rows of a data set, with labels by name and translations by language.

    Args:
        dataset: of the library.
        place: what messages call it.
    """
    from datasets import Dataset

    count = None
    if isinstance(dataset, Dataset):
        if dataset.format["type"] == "custom":
            raise ValueError(
                f"{place} has a transform (set_transform), which is no part of its rows and would "
                "not be applied: apply it with map(), or take it off with reset_format()"
            )
        count = len(dataset)
    schema = None
    if dataset.features is not None:
        empty = dataset.features.arrow_schema.empty_table()
        schema = _spell_out(empty, dataset.features).schema
    return TableRows(place, _iterate_blocks(dataset), schema, count)


def _iterate_blocks(dataset: "AnyDataset") -> Iterator[pa.Table]:
    features = dataset.features
    with quiet_datasets():
        blocks = _start_blocks(dataset)
    while True:
        # The library is quiet while it reads, and not while the block is used.
        with quiet_datasets():
            block = next(blocks, None)
        if block is None:
            return
        yield _spell_out(block, features)


def _start_blocks(dataset: "AnyDataset") -> Iterator[pa.Table]:
    """Yields blocks of rows as the library has them, or built from what its functions return.

    The rows of a mapped or filtered stream are no Arrow data, and the library gives each of them
    the types of its own values, so that a missing text is of another type than a text.
    """
    blocks = 0
    try:
        for block in dataset.with_format("arrow").iter(RECORDS_PER_BLOCK):
            yield block
            blocks += 1
        return
    except pa.ArrowInvalid as error:
        if "Schema at index" not in str(error):
            raise
    for columns in islice(dataset.with_format(None).iter(RECORDS_PER_BLOCK), blocks, None):
        yield pa.table(columns)


def _spell_out(table: pa.Table, features: "Features | None") -> pa.Table:
    """Replaces the numbers of labels by their names, and lists of translations by structs.

    Args:
        table: some rows.
        features: the types that the library knows the columns by.
    """
    from datasets import ClassLabel, TranslationVariableLanguages

    for name, feature in (features or {}).items():
        column = None
        if isinstance(feature, ClassLabel):
            column = _name_labels(table[name], feature.names)
        elif isinstance(feature, TranslationVariableLanguages):
            column = _group_by_language(name, table[name], feature.languages or ())
        if column is not None:
            table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _name_labels(numbers: pa.ChunkedArray, names: list[str]) -> pa.Array:
    """Returns the names of labels; a label of -1 is missing."""
    known = pc.if_else(pc.greater_equal(numbers, 0), numbers, None).combine_chunks()
    return pa.array(names, pa.string()).take(known)


def _group_by_language(name: str, column: pa.ChunkedArray, languages: list[str]) -> pa.Array:
    """Returns translations that are listed with their languages as a struct of texts by language.

    Raises:
        ValueError: if a row has two texts in a language.
    """
    rows = []
    known = dict.fromkeys(languages)
    for row in column.to_pylist():
        texts: dict[str, str] = {}
        listed = row or {"language": [], "translation": []}
        for language, text in zip(listed["language"], listed["translation"], strict=True):
            if language in texts:
                raise ValueError(
                    f"column {name!r} has two texts in {language!r} in a row, one of which is "
                    f"{text!r:.60}; a text may have one"
                )
            texts[language] = text
        known.update(dict.fromkeys(texts))
        rows.append(texts)
    return pa.array(rows, pa.struct([(language, pa.string()) for language in known]))
