"""Training data from a data set of the Hugging Face hub, in any format that `datasets` reads."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hybrid_ir.corpora.checking import MAX_CHARACTERS, RecordRules
from hybrid_ir.corpora.own_data import OwnData
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.hub_repository import open_hub_repository
from hybrid_ir.files.hub_table import HubTable
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records
from hybrid_ir.files.tables import ColumnMap, parse_column_map, read_table_records
from hybrid_ir.types import Source

DEFAULT_SPLIT = "train"


def load(
    repository: str,
    revision: str,
    configuration: str | None = None,
    split: str | None = None,
    files: str | Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    streaming: bool = False,
    folder: str | None = None,
    *,
    cache: str,
    name: str | None = None,
    to: str | None = None,
    languages: str | Sequence[str] | None = None,
    twins: bool | None = None,
    max_characters: int = MAX_CHARACTERS,
    errors: str = "stop",
) -> ParallelCorpus:
    """Loads a corpus from Parquet, JSON lines, separated values or Arrow files of the hub.

    The files are kept in the cache of `huggingface_hub`, where HF_HOME says, once for all tools.

    Args:
        repository: owner and name of the data set.
        revision: its commit; of a branch or tag the commit of now is used, and put on the card.
        configuration: as its card names them; it may be left out if there is only one.
        split: of the configuration, train by default.
        files: paths in the data set, or patterns with *, instead of a configuration and split.
        columns: which columns are what (see `ColumnMap`); by default their names tell.
        streaming: whether to read the files from the hub instead of keeping a copy of them.
        folder: must be None; the files were kept there in earlier versions.
        cache, name, to, languages, twins, max_characters, errors: see `own.py`.
    """
    if folder is not None:
        raise ValueError(
            f"corpus.folder={folder}: the files of the hub are kept where HF_HOME says, as other "
            "tools keep them; leave folder out"
        )
    if files is not None and (configuration is not None or split is not None):
        raise ValueError(
            f"corpus.files={files} names the files, so that configuration={configuration} and "
            f"split={split} have nothing to choose: leave them or files out"
        )
    column_map = parse_column_map(columns)
    found = open_hub_repository(repository, revision)
    if files is not None:
        hub_files = found.find_files([files] if isinstance(files, str) else list(files))
    else:
        hub_files = found.find_split(configuration, split or DEFAULT_SPLIT)
    source = Source(
        name or repository.rpartition("/")[2],
        f"imported from {repository} of the Hugging Face hub",
        found.licence,
        f"huggingface.co/datasets/{repository}",
        f"{repository}@{found.commit}",
        _describe_choice(configuration, split, files),
    )

    def read_records(file: HubTable, problems: Problems) -> Iterator[Records]:
        # Where the corpus is in the cache, no file is needed.
        yield from read_hub_records(found.provide(file, streaming), column_map, problems)

    data = OwnData(
        name=source.name,
        files=[],
        parts=[partial(read_records, file) for file in hub_files],
        rules=RecordRules(max_characters, errors, bool(twins)),
        languages=languages,
        choices={
            "repository": repository,
            "revision": found.commit,
            "paths": [file.path for file in hub_files],
            "columns": columns,
        },
        source=source,
    )
    return data.load(cache, to)


def _describe_choice(
    configuration: str | None, split: str | None, files: str | Sequence[str] | None
) -> dict[str, str]:
    """Returns what of the data set was chosen, for the card."""
    if files is not None:
        return {"files": files if isinstance(files, str) else ", ".join(files)}
    choice = {"split": split or DEFAULT_SPLIT}
    if configuration is not None:
        choice["configuration"] = configuration
    return choice


def read_hub_records(file: HubTable, columns: ColumnMap, problems: Problems) -> Iterator[Records]:
    """Reads records from a file of the hub.

    Args:
        file: the file.
        columns: which columns hold what.
        problems: gets what is wrong with it.
    """
    try:
        rows = file.iterate_blocks()
    except ValueError as error:
        problems.add(str(error), file_unreadable=True)
        return
    yield from read_table_records(rows, columns, problems)
