"""Training data that the library `datasets` saved with `save_to_disk`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ir.corpora.checking import MAX_CHARACTERS, RecordRules
from hybrid_ir.corpora.own_data import OwnData, name_after
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.datasets_library import (
    list_saved_files,
    load_saved_dataset,
    read_dataset_records,
)
from hybrid_ir.files.tables import parse_column_map


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
    """Loads a corpus from a folder that `save_to_disk` wrote; it is memory-mapped, not read whole.

    Args:
        path: the folder of a Dataset or DatasetDict.
        split: of a DatasetDict; it may be left out if there is only one.
        columns: which columns are what (see `ColumnMap`); by default their names tell, as in
            query_LL and passage_LL, or the fields of a column query.
        cache, name, to, languages, twins, max_characters, errors: see `own.py`.
    """
    column_map = parse_column_map(columns)
    dataset = load_saved_dataset(path, split)
    place = path if split is None else f"{path} ({split})"

    def read_all(problems):
        return read_dataset_records(dataset, place, column_map, problems)

    data = OwnData(
        name=name or name_after(path.rstrip("/")),
        files=list_saved_files(dataset),
        parts=[read_all],
        rules=RecordRules(max_characters, errors, bool(twins)),
        languages=languages,
        choices={"columns": columns, "split": split},
    )
    return data.load(cache, to)
