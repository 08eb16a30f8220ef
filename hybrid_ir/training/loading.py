"""From the file of a checkpoint to its retriever, in Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.saved_encoder import DESCRIPTION_FILE, SavedEncoder
from hybrid_ir.training.checkpoints import read_checkpoint
from hybrid_ir.training.losses import InfoNCE

if TYPE_CHECKING:
    from hybrid_ir.training.retriever import Retriever

ENCODER_FOLDER = "encoder"  # of a run folder


def find_saved_encoder(run_folder: Path) -> Path | None:
    """Returns the folder of the encoder of a run; None for a run that kept none."""
    folder = run_folder / ENCODER_FOLDER
    return folder if (folder / DESCRIPTION_FILE).is_file() else None


def build_saved_encoder(folder: Path, **choices: Any) -> BiEncoder:
    """Builds the encoder of a run from its files; its weights mean nothing before they are loaded.

    Args:
        folder: of the encoder.
        choices: arguments of BiEncoder that replace those of the run.

    Raises:
        ValueError: a file is missing, damaged or another one.
    """
    saved = SavedEncoder.read(folder)
    return BiEncoder(saved, **{**saved.get_arguments(), **choices})


def load_retriever(
    file: Path, retriever_class: "type[Retriever]", choices: Mapping[str, Any]
) -> "Retriever":
    """Loads the retriever of a checkpoint; see `Retriever.load_from_checkpoint`.

    Args:
        file: in the folder `checkpoints` of a run.
        retriever_class: Retriever, or a class of its own that inherits from it.
        choices: arguments of the class.

    Raises:
        ValueError: the checkpoint or the run folder is damaged or incomplete.
    """
    checkpoint = read_checkpoint(file)
    arguments = dict(choices)
    if "encoder" not in arguments:
        arguments["encoder"] = _build_encoder(file)
    if "loss" not in arguments:
        arguments["loss"] = InfoNCE(**checkpoint.get("loss", {}))
    arguments.setdefault("optimizer", None)
    module = retriever_class(**arguments)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
    return module.eval()


def _build_encoder(file: Path) -> BiEncoder:
    folder = find_saved_encoder(file.absolute().parent.parent)
    if folder is None:
        raise ValueError(
            f"{file}: its run folder has no {ENCODER_FOLDER}/{DESCRIPTION_FILE}, as runs with "
            "LoRA or of an older version: give encoder=BiEncoder(...) of its config.yaml, or use "
            "hybrid_ir.load_encoder(RUN)"
        )
    return build_saved_encoder(folder)
