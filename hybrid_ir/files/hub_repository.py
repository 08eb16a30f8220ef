"""Data sets of the Hugging Face hub: which files a configuration and split, or patterns, name.

Which files there are, and getting them, is left to `huggingface_hub`, and reading them to
`datasets`. Asking `datasets` for a repository as a whole would not do: where the hub does not
answer, or has no such commit, it gives what it has in its cache of any other commit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hybrid_ir.files.data_files import COMPRESSIONS, FORMATS, get_ending
from hybrid_ir.files.hub import get_endpoint, require_undamaged
from hybrid_ir.files.hub_connection import go_offline_if_unreachable
from hybrid_ir.files.hub_table import HubTable, explain_hub_errors
from hybrid_ir.files.tables import describe_first_line

CARD_FILE = "README.md"
NO_LICENCE = "see its card"
# Parameters of a configuration: those that say how its files are read, and those that do not.
READING_OPTIONS = ("sep", "delimiter", "names", "header", "skiprows", "quoting", "field")
OTHER_PARAMETERS = ("data_files", "data_dir", "default", "description", "version")
SHOWN_NAMES = 20  # names that a message lists


@dataclass(frozen=True)
class HubRepository:
    """A data set of the hub at a commit.

    Args:
        name: owner and name.
        commit: 40 hexadecimal digits.
        paths: of all files in it.
        configurations: what its card says of each configuration, by name.
        default_configuration: the one that is used if none is named; None if there is none.
        licence: as its card has it.
        folder: where the files are on this machine.
    """

    name: str
    commit: str
    paths: Sequence[str]
    configurations: Mapping[str, Mapping[str, Any]]
    default_configuration: str | None
    licence: str
    folder: Path

    def find_files(self, patterns: Sequence[str]) -> list[HubTable]:
        """Returns the files that patterns with * match.

        Raises:
            ValueError: if there is none.
        """
        paths = []
        for path in self.paths:
            if any(fnmatch(path, pattern) for pattern in patterns):
                paths.append(path)
        if not paths:
            raise ValueError(
                f"files={list(patterns)}: {self.name} at {self.commit} has no such file, but "
                f"{_shorten(self.paths)}"
            )
        return self._describe_files(paths, {}, f"files={list(patterns)}")

    def find_split(self, configuration: str | None, split: str) -> list[HubTable]:
        """Returns the files of a split of a configuration, as the card of the data set names them.

        Where the card names none they are told by their names, as the library does it.

        Args:
            configuration: its name; it may be left out if there is only one, or a default one.
            split: such as train.

        Raises:
            ValueError: if there is no such configuration or split, or no file that can be read.
        """
        choice, parameters = self._choose_configuration(configuration)
        patterns = self._list_patterns(parameters)
        place = f"{self.name} at {self.commit}" + (f", configuration {choice}" if choice else "")
        if split not in patterns:
            raise ValueError(
                f"split={split}: {place} has the splits {', '.join(patterns) or 'none'}"
            )
        paths = self._match(patterns[split], parameters.get("data_dir"))
        if parameters.get("data_files") is None:
            # The library's patterns match pictures and notes as well.
            paths = [path for path in paths if get_ending(path) in FORMATS]
        if not paths:
            raise ValueError(
                f"split={split}: {place} has no file there that can be read; these end in "
                f"{', '.join(FORMATS)}"
            )
        options = _select_options(parameters, place)
        return self._describe_files(paths, options, f"split={split}")

    def list_splits(self, configuration: str | None) -> list[str]:
        """Returns the splits of a configuration."""
        return list(self._list_patterns(self._choose_configuration(configuration)[1]))

    def _choose_configuration(self, name: str | None) -> tuple[str, Mapping[str, Any]]:
        """Returns the name and the parameters of a configuration; "" where the card names none."""
        known = self.configurations
        if name is None and not known:
            return "", {}
        chosen = self.default_configuration if name is None else name
        if chosen in known:
            return chosen, known[chosen]
        shown = "" if name is None else f"configuration={name}: "
        if not known:
            raise ValueError(
                f"{shown}the card of {self.name} at {self.commit} names no configurations: leave "
                "it out, or name files= of it"
            )
        raise ValueError(
            f"{shown}{self.name} at {self.commit} has the configurations {_shorten(list(known))}: "
            "choose one with configuration="
        )

    def _list_patterns(self, parameters: Mapping[str, Any]) -> dict[str, list[str]]:
        """Returns the patterns of files by split."""
        from datasets.data_files import EmptyDatasetError, get_data_patterns, sanitize_patterns

        if parameters.get("data_files") is not None:
            return sanitize_patterns(parameters["data_files"])
        with self._lay_out_names() as root:
            try:
                return get_data_patterns(str(root / (parameters.get("data_dir") or "")))
            except (EmptyDatasetError, FileNotFoundError):
                return {}

    def _match(self, patterns: Sequence[str], folder: str | None) -> list[str]:
        """Returns the files that patterns of the library match, each once."""
        from datasets.data_files import resolve_pattern

        paths: dict[str, None] = {}
        with self._lay_out_names() as root:
            for pattern in patterns:
                try:
                    places = resolve_pattern(pattern, str(root / (folder or "")))
                except FileNotFoundError:
                    continue
                for place in places:
                    paths[Path(place).relative_to(root).as_posix()] = None
        return list(paths)

    @contextmanager
    def _lay_out_names(self) -> Iterator[Path]:
        """Makes a folder with an empty file for each file, for the library to match its patterns.

        So they are matched by its own rules, and without a network.
        """
        with TemporaryDirectory(prefix="hybrid-ir-") as folder:
            root = Path(folder).resolve()
            for path in self.paths:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
            yield root

    def _describe_files(
        self, paths: Sequence[str], options: Mapping[str, Any], choice: str
    ) -> list[HubTable]:
        unreadable = [path for path in paths if get_ending(path) not in FORMATS]
        if unreadable:
            raise ValueError(
                f"{choice}: {_shorten(unreadable)} of {self.name} cannot be read; files must end "
                f"in {', '.join(FORMATS)}, or in one of these and {', '.join(COMPRESSIONS)}"
            )
        return [HubTable(self.name, self.commit, path, options) for path in paths]

    def provide(self, file: HubTable, streaming: bool) -> HubTable:
        """Returns a file that can be read: a copy of it in the cache of `huggingface_hub`.

        Args:
            file: of this data set.
            streaming: whether it may be read from the hub instead, where there is no copy.

        Raises:
            ValueError: if it is not in the cache and cannot be fetched, or damaged.
        """
        from huggingface_hub import hf_hub_download

        local_path = self.folder / file.path
        if not streaming and not local_path.is_file():
            with explain_hub_errors(self.name, self.commit):
                hf_hub_download(
                    self.name,
                    file.path,
                    repo_type="dataset",
                    revision=self.commit,
                    endpoint=get_endpoint(),
                )
        if not local_path.is_file():
            return file
        require_undamaged(local_path, file.place)
        return replace(file, local_path=local_path)


def _select_options(parameters: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Returns how a configuration has its files read. Raises ValueError if that is not known."""
    options = {}
    for key, value in parameters.items():
        if key in READING_OPTIONS:
            options[key] = value
        elif key not in OTHER_PARAMETERS:
            raise ValueError(
                f"{place} has its files read with {key}={value!r}, which is not known here: name "
                "files= of it"
            )
    return options


def open_hub_repository(name: str, revision: str) -> HubRepository:
    """Finds a data set of the hub at a revision: its commit, its files and what its card says.

    Without a network that is what the cache of `huggingface_hub` knows.

    Args:
        name: owner and name.
        revision: a commit, or a branch or tag, which is resolved to its commit.

    Raises:
        ValueError: if it is not there, or cannot be reached.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    if not isinstance(revision, str) or not revision:
        raise ValueError(f"revision={revision!r} must name a commit, a branch or a tag")
    go_offline_if_unreachable(get_endpoint())
    with explain_hub_errors(name, revision), _without_bars():
        folder = Path(
            snapshot_download(
                name,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[CARD_FILE],
                endpoint=get_endpoint(),
            )
        )
        try:
            files = get_cached_repo_tree(name, repo_type="dataset", revision=folder.name)
        except CachedRepoTreeNotFoundError as error:
            raise ValueError(
                f"{name} at {revision}: the cache has not all that the data set is made of; load "
                "it once without HF_HUB_OFFLINE"
            ) from error
    paths = sorted(file.path for file in files)
    configurations, default, licence = _read_card(folder / CARD_FILE, name)
    return HubRepository(name, folder.name, paths, configurations, default, licence, folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keeps the bars of `huggingface_hub` off for a file that is small."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _read_card(card: Path, name: str) -> tuple[Mapping[str, Mapping[str, Any]], str | None, str]:
    """Returns the configurations of a data set, the default one, and its licence."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    if not card.is_file():
        return {}, None, NO_LICENCE
    try:
        data = DatasetCard.load(card, ignore_metadata_errors=True).data
        configurations = MetadataConfigs.from_dataset_card_data(data)
        default = configurations.get_default_config_name()
    except Exception as error:  # of YAML's many
        raise ValueError(
            f"{name}/{CARD_FILE} does not say which files the configurations have "
            f"({describe_first_line(error)}): name files= of it, at a revision with a right card"
        ) from error
    return configurations, default, str(data.get("license") or NO_LICENCE)


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    if len(names) > SHOWN_NAMES:
        shown += " ..."
    return shown or "none"
