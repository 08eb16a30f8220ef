"""Whether a model is where a user says that it is, before anything of it is loaded."""

from collections.abc import Sequence
from pathlib import Path

from hybrid_ir.model.load_errors import require_no_bare_adapter
from hybrid_ir.runs.folder import find_checkpoint
from hybrid_ir.runs.hub_models import has_file
from hybrid_ir.runs.shipped_files import list_options

MODELS_NAMED = 5  # of those in a folder that is none itself


def expand_home(place: str) -> str:
    """Returns a place with the folder of the user for a `~` at its start.

    A shell does so itself, but not in a list.
    """
    return str(Path(place).expanduser()) if place.startswith("~") else place


def is_run(place: str) -> bool:
    """Returns whether a model is a run folder or a checkpoint of ours."""
    path = Path(place)
    return path.suffix == ".ckpt" or (path / "checkpoints").is_dir()


def is_named_model(place: str, config_folders: Sequence[str | Path] = ()) -> bool:
    """Returns whether a model is a name in conf/model; a folder of the same name comes first."""
    return place in list_options("model", config_folders) and not Path(place).exists()


def require_model(
    place: str, revision: str | None = None, config_folders: Sequence[str | Path] = ()
) -> None:
    """Checks that there is a model, without loading it; of one of the hub, its config is fetched.

    Args:
        place: a run folder, a .ckpt file, a name in conf/model, or a folder or hub id.
        revision: of a model of the hub.
        config_folders: folders of the user with names of models.

    Raises:
        ValueError: there is no model at this place.
    """
    place = expand_home(place)
    if is_run(place):
        find_checkpoint(place)
    elif not is_named_model(place, config_folders) and not has_file(
        place, "modules.json", revision
    ):
        require_no_bare_adapter(place)
        require_no_folder_of_models(place)


def require_no_folder_of_models(place: str) -> None:
    """Raises ValueError for a folder that is no model, and names the models that lie in it."""
    folder = Path(place)
    if not folder.is_dir() or (folder / "config.json").exists():
        return
    models = sorted(path.parent.name for path in folder.glob("*/config.json"))
    below = f", but models are in it: {', '.join(models[:MODELS_NAMED])}" if models else ""
    raise ValueError(f"model={place!r} is no model, as it has no config.json{below}")
