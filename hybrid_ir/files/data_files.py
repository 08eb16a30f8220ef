"""Opens files of rows with the library `datasets`, by what their names end in."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hybrid_ir.files.datasets_library import quiet_datasets, read_blocks
from hybrid_ir.files.tables import TableRows, describe_first_line

if TYPE_CHECKING:
    from datasets import Features, IterableDataset

# How the library calls the format of a file, by what its name ends in, and its options.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".parquet": ("parquet", {}),
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".arrow": ("arrow", {}),
}
HEADER_ROWS = 1000  # rows of JSON lines by which their columns are told
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def open_data_file(
    address: str, path: str, options: Mapping[str, Any] | None = None
) -> "IterableDataset":
    """Opens a file to be read from its beginning, with the library's reader of its format.

    Args:
        address: where it is.
        path: its name, whose ending tells the format.
        options: for the library's reader.
    """
    from datasets import load_dataset

    form, format_options = FORMATS[get_ending(path)]
    all_options = {"data_files": [address], **format_options, **(options or {})}
    if form == "json":
        all_options["features"] = _find_json_columns(all_options)
    if form == "csv":
        # No column is taken for numbers, and no text but an empty one for a missing one.
        all_options["keep_default_na"] = False
        all_options["na_values"] = [""]
        all_options["features"] = _read_header(all_options)
    return load_dataset(form, split="train", streaming=True, **all_options)


def read_data_file(path: Path) -> TableRows:
    """Returns the rows of a file on this machine.

    Raises:
        ValueError: if it is not in its format, as far as its beginning tells.
    """
    with quiet_datasets():
        try:
            dataset = open_data_file(str(path), path.name)
        except Exception as error:  # of many libraries
            raise ValueError(
                f"{path} cannot be read as {get_format(path.name)} ({describe_first_line(error)})"
            ) from error
    return read_blocks(dataset, str(path))


def _read_header(options: Mapping[str, Any]) -> "Features":
    """Returns the columns of a file of separated values, all of them texts."""
    from datasets import Features, Value, load_dataset

    dataset = load_dataset("csv", split="train", streaming=True, **options)
    block = _read_first_rows(dataset, 1)
    return Features({name: Value("string") for name in block.schema.names})


def get_ending(path: str) -> str:
    """Returns what the name of a file ends in, without a compression."""
    name = PurePosixPath(path)
    if name.suffix in COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix


def _find_json_columns(options: Mapping[str, Any]) -> "Features":
    """Returns the columns of JSON lines, those that are null as far as one looks as texts.

    The library takes the types of a file from its beginning, and refuses a text further down in a
    language that the beginning does not have.
    """
    from datasets import Features, load_dataset

    dataset = load_dataset("json", split="train", streaming=True, **options)
    block = _read_first_rows(dataset, HEADER_ROWS)
    fields = [pa.field(field.name, _replace_null(field.type)) for field in block.schema]
    return Features.from_arrow_schema(pa.schema(fields))


def _read_first_rows(dataset: "IterableDataset", number: int) -> pa.Table:
    """Returns the first rows of a stream. Raises ValueError if it has none."""
    blocks = list(islice(dataset.with_format("arrow").iter(number), 1))
    if not blocks:
        raise ValueError("it has no rows")
    return blocks[0]


def _replace_null(kind: pa.DataType) -> pa.DataType:
    """Returns a type in which nothing is null alone."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_replace_null(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return pa.struct([(field.name, _replace_null(field.type)) for field in fields])
    return kind


def get_format(path: str) -> str:
    """Returns how the library calls the format of a file."""
    form, _ = FORMATS[get_ending(path)]
    return form
