"""Models of the Hugging Face hub: their files, and which commit of them was read."""

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers.utils import cached_file

from hybrid_ir.files.hub_connection import go_offline_if_unreachable
from hybrid_ir.model.module_files import find_model_file
from hybrid_ir.runs.shipped_files import list_options

# A model on the hub has one of these; one of sentence-transformers without a transformer, such as a
# table of word vectors, has the second alone.
FILES_OF_ANY_MODEL = ("config.json", "modules.json")


def describe_revision(place: str, revision: str | None) -> dict[str, str | None]:
    """Returns the revision that was asked for and, of a model of the hub, the commit that was read.

    A branch such as `main` moves, and the commit says which numbers are of which weights.
    """
    described = {"revision": revision}
    if Path(place).exists():
        return described
    for file in FILES_OF_ANY_MODEL:
        path = find_cached_file(place, file, revision)
        if path is not None:
            # The cache of the hub is .../snapshots/COMMIT/FILE.
            described["commit"] = path.parent.name
            break
    return described


def find_cached_file(place: str, file: str, revision: str | None) -> Path | None:
    """Returns a file of a model of the hub if it lies on this machine; nothing is fetched."""
    path = try_to_load_from_cache(place, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def has_file(place: str, file: str, revision: str | None) -> bool:
    """Returns whether a folder, or a model of the hub, has a file.

    Raises:
        ValueError: there is no such folder, and the hub has no such model or cannot be reached.
    """
    if Path(place).is_dir():
        return (Path(place) / file).is_file()
    if Path(place).is_file():
        folder = str(Path(place).parent)
        raise ValueError(
            f"model={place!r} is a file: give the folder that it lies in, {folder!r} (a file that "
            "is a model by itself ends in .ckpt)"
        )
    names = ", ".join(list_options("model"))
    if place.startswith(("/", ".", "~")) or place.count("/") > 1:
        raise ValueError(
            f"{place!r} does not exist: give the path of a run folder, a .ckpt file or a model's "
            f"folder, a name in conf/model ({names}), or a hub id like owner/name"
        )
    go_offline_if_unreachable()
    problems = []
    for known in FILES_OF_ANY_MODEL:
        try:
            cached_file(place, known, revision=revision)
            break
        except (OSError, ValueError) as error:
            problems.append(error)
    if len(problems) == len(FILES_OF_ANY_MODEL):
        raise ValueError(
            f"model={place!r} is no run folder, no name in conf/model ({names}), no folder in "
            f"{Path.cwd()}, and the hub did not deliver it: check the name and the network. "
            f"({str(problems[0]).splitlines()[0]})"
        ) from problems[0]
    return find_model_file(place, file, revision) is not None
