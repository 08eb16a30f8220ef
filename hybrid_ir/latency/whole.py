"""Files of bytes that no reader meets half written; run_folder.write_whole does the same for text."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, moved there when the block ends well and removed when it does not."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
