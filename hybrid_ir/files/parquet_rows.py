"""Reads the rows of a Parquet file one by one, for data that is read by key and not by column."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.files.problems import Problems

ROWS_AT_ONCE = 8192


def read_parquet_rows(
    path: Path, problems: Problems, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields number (from 1) and columns of every row.

    Args:
        path: the file.
        problems: gets what is wrong with the file.
        columns: that the file must have.
    """
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in columns if name not in names]
            if missing:
                problems.add(f"{path} lacks the columns {missing}, it has {names}")
                return
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except FileNotFoundError:
        problems.add(f"{path} is missing")
    # A broken page is an OSError.
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        problems.add(
            f"{path}, after row {number}: not parquet, or broken ({reason}); fetch it again",
            file_unreadable=True,
        )
