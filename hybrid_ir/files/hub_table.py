"""A file of a data set of the Hugging Face hub, read by the library `datasets`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hybrid_ir.files.data_files import get_format, open_data_file
from hybrid_ir.files.datasets_library import quiet_datasets, read_blocks
from hybrid_ir.files.tables import TableRows, describe_first_line

if TYPE_CHECKING:
    from datasets import IterableDataset


@dataclass(frozen=True)
class HubTable:
    """A file of rows in a data set of the hub.

    Args:
        repository: owner and name.
        commit: 40 hexadecimal digits.
        path: in the repository.
        options: of its configuration, for the library.
        local_path: where it is on this machine, None if it is read from the hub.
    """

    repository: str
    commit: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    local_path: Path | None = None

    @property
    def place(self) -> str:
        """Returns what messages call the file."""
        return f"{self.repository}/{self.path}"

    def __str__(self) -> str:
        return self.place

    def open(self) -> "IterableDataset":
        """Opens the file to be read from its beginning.

        Raises:
            ValueError: if it is not in its format, as far as its beginning tells.
        """
        address = f"hf://datasets/{self.repository}@{self.commit}/{self.path}"
        if self.local_path is not None:
            address = str(self.local_path)
        with quiet_datasets(), explain_hub_errors(self.repository, self.commit):
            try:
                return open_data_file(address, self.path, self.options)
            except Exception as error:  # of many libraries
                if _is_of_the_hub(error):
                    raise
                raise ValueError(
                    f"{self.place} cannot be read as {get_format(self.path)} "
                    f"({describe_first_line(error)})"
                ) from error

    def iterate_blocks(self) -> TableRows:
        """Opens the file, and returns its rows.

        Raises:
            ValueError: if it is not in its format.
            ConnectionError: while it is read, if the hub does not answer any more.
        """
        rows = read_blocks(self.open(), self.place)
        return replace(rows, batches=_watch_connection(rows.batches, self.place))


def _watch_connection(batches: Iterator[pa.Table], place: str) -> Iterator[pa.Table]:
    """Yields blocks, and makes errors of the network those that an import survives."""
    try:
        yield from batches
    except Exception as error:
        if not _is_of_the_hub(error):
            raise
        raise ConnectionError(
            f"{place}: the hub does not answer any more ({describe_first_line(error)}); the same "
            "command goes on from here"
        ) from error


def _is_of_the_hub(error: Exception) -> bool:
    """Returns whether an error is of the connection to the hub, and not of what a file holds."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    # The errors of the HTTP client are no part of the interface of `huggingface_hub`.
    is_of_client = type(error).__module__.startswith("httpx")
    return is_of_client or isinstance(error, ConnectionError | EntryNotFoundError | HfHubHTTPError)


@contextmanager
def explain_hub_errors(name: str, revision: str) -> Iterator[None]:
    """Turns an error of `huggingface_hub` into a ValueError that says what to change.

    Args:
        name: owner and name of the data set.
        revision: of it.
    """
    from huggingface_hub import errors

    place = f"the data set {name} of the Hugging Face hub"
    try:
        yield
    except errors.HFValidationError as error:
        raise ValueError(
            f"repository={name!r} must be owner/name of a data set ({describe_first_line(error)})"
        ) from error
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{place} is gated: ask for access on its page, and set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"repository={name}: {place} is not there, or it is private and HF_TOKEN is not set to "
            "a token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"revision={revision}: {place} has no such commit, branch or tag"
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise ValueError(
            f"{place} at {revision} is not in the cache and cannot be fetched "
            f"({describe_first_line(error)}): load it once with a network and without "
            "HF_HUB_OFFLINE, or set HF_HOME to where it is"
        ) from error
    except Exception as error:
        if isinstance(error, ValueError) or not _is_of_the_hub(error):
            raise
        raise ConnectionError(
            f"{place} cannot be reached ({describe_first_line(error)}): the same command tries it "
            "again"
        ) from error
