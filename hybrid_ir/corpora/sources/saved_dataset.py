"""Training data through the library `datasets`: what it has saved, and files that it reads."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.checking import MAX_CHARACTERS, RecordRules
from hybrid_ir.corpora.own_data import OwnData, name_after
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.data_files import COMPRESSIONS, FORMATS, get_ending, read_data_file
from hybrid_ir.files.datasets_library import (
    list_saved_files,
    load_saved_dataset,
    read_dataset_records,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records
from hybrid_ir.files.tables import ColumnMap, parse_column_map, read_table_records

# One of these is in every folder that the library saved.
FILES_OF_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")


def load(
    path: str,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from what the library saved, or from files of rows; neither is read whole.

    Args:
        path: the folder of a Dataset or DatasetDict that `save_to_disk` wrote; or a file of JSON
            lines, CSV, TSV, Parquet or Arrow, packed or not, a folder of such files, or a pattern
            with *.
        split: of a DatasetDict; it may be left out if there is only one.
        columns: which columns are what (see `ColumnMap`); by default their names tell, as in
            query_LL and passage_LL, or the fields of a column query.
        cache, name, to, languages, twins, max_characters, errors: see `own.py`.
    """
    column_map = parse_column_map(columns)
    files = _find_data_files(path)
    parts: list[partial]
    if files:
        if split is not None:
            raise ValueError(
                f"corpus.split={split}: files have no splits, corpus.path={path} says which to read"
            )
        parts = [partial(_read_records, file, column_map) for file in files]
    else:
        dataset = load_saved_dataset(path, split)
        place = path if split is None else f"{path} ({split})"
        files = list_saved_files(dataset)
        parts = [partial(read_dataset_records, dataset, place, column_map)]
    data = OwnData(
        name=name or name_after(path.rstrip("/")),
        files=files,
        parts=parts,
        rules=RecordRules(max_characters, errors, bool(twins)),
        languages=languages,
        choices={"columns": columns, "split": split},
    )
    return data.load(cache, to)


def _find_data_files(path: str) -> list[Path]:
    """Returns the files of rows of a path; none if it is a folder that the library saved.

    Raises:
        ValueError: there is nothing that can be read.
    """
    place = Path(path).expanduser()
    if any((place / name).is_file() for name in FILES_OF_SAVED):
        return []
    if place.is_dir():
        files = [file for file in sorted(place.iterdir()) if get_ending(file.name) in FORMATS]
    elif glob.has_magic(str(place)) and not place.exists():
        files = sorted(Path(file) for file in glob.glob(str(place)))
    else:
        files = [place]
    unreadable = [file for file in files if get_ending(file.name) not in FORMATS]
    if not files or unreadable or not all(file.is_file() for file in files):
        shown = f", not {unreadable[0].name}" if unreadable else ""
        raise ValueError(
            f"corpus.path={path} must be a folder that `save_to_disk` of a Dataset or DatasetDict "
            f"has written, or files that end in {', '.join(FORMATS)}, or in one of these and "
            f"{', '.join(COMPRESSIONS)}{shown}"
        )
    return files


def _read_records(file: Path, columns: ColumnMap, problems: Problems) -> Iterator[Records]:
    try:
        rows = read_data_file(file)
    except ValueError as error:
        problems.add(str(error), file_unreadable=True)
        return
    yield from read_table_records(rows, columns, problems)
