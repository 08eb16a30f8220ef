"""Loads a sentence-transformers model by its own library, complete or not at all."""

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel

from hybrid_ir.model.backbone import quiet_transformers, require_no_revision_of_a_folder
from hybrid_ir.model.load_errors import explain_load_error
from hybrid_ir.model.vocabulary import ReadableTokenizer, require_vocabulary
from hybrid_ir.model.weights import LoadReport, record_loading, require_finite_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_sentence_transformer(
    path: str,
    device: str = "cpu",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> "SentenceTransformer":
    """Loads a sentence-transformers model in float32 and in evaluation mode.

    Args:
        path: folder or hub id.
        device: as torch names it.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.

    Raises:
        ValueError: sentence-transformers is not installed or cannot load the model, a weight is
            missing, of another shape or not finite, or the tokenizer is missing or of another
            model.
    """
    require_no_revision_of_a_folder("model", path, revision)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(
            f"{path!r} is a sentence-transformers model: pip install "
            "'hybrid-ir[sentence-transformers]', or choose a pooling, as pooling=mean, to read "
            "it as a plain Hugging Face encoder"
        ) from error
    name = f"model={path!r}"
    try:
        with quiet_transformers(), record_loading() as report:
            model = SentenceTransformer(
                path,
                device=device,
                revision=revision,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": torch.float32},
            ).eval()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes of three libraries
        raise ValueError(
            f"{name} could not be loaded: {explain_load_error(error, path)}"
        ) from error
    bases: dict[str, tuple[type, str | None]] = {}
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            for settings in getattr(module, "peft_config", {}).values():
                bases[settings.base_model_name_or_path] = (type(module), settings.revision)
    for base, (kind, base_revision) in bases.items():
        _require_complete_base(name, base, kind, base_revision, trust_remote_code)
    report.require_complete(name, is_pooler_used=_uses_pooler(model))
    require_finite_weights(name, model)
    for module in model.modules():
        tokenizer = _find_tokenizer(module)
        if tokenizer is not None:
            require_vocabulary(name, tokenizer, getattr(module, "model", module))
    return model


def _require_complete_base(
    name: str, base: str, kind: type, revision: str | None, trust_remote_code: bool
) -> None:
    """Raises ValueError if the model that an adapter belongs to lacks weights.

    It is loaded once more, as loading both reports on the adapter alone.

    Args:
        name: of the model with the adapter, for the message.
        base: folder or hub id of the other one.
        kind: its class.
        revision: of it.
        trust_remote_code: run code that it brings along.
    """
    described = f"{name}, an adapter of {base!r}, which"
    try:
        with quiet_transformers():
            _, loading_info = kind.from_pretrained(
                base,
                revision=revision or "main",
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{described} could not be loaded: {explain_load_error(error, base)}"
        ) from error
    report = LoadReport()
    report.add(loading_info)
    report.require_complete(described)


def _uses_pooler(model: nn.Module) -> bool:
    """Returns whether a transformer of the model gives what its pooler makes."""
    for module in model.modules():
        for settings in (getattr(module, "modality_config", None) or {}).values():
            if isinstance(settings, dict):
                output = settings.get("method_output_name")
                names = output if isinstance(output, list | tuple) else [output]
                if "pooler_output" in names or settings.get("method", "forward") != "forward":
                    return True
    return False


def _find_tokenizer(module: nn.Module) -> ReadableTokenizer | None:
    """Returns the tokenizer of a module that looks its ids up; None for any other module."""
    is_first_module = hasattr(module, "model") or hasattr(module, "embedding")
    tokenizer = getattr(module, "tokenizer", None) if is_first_module else None
    return tokenizer if isinstance(tokenizer, ReadableTokenizer) else None
