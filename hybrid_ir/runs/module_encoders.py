"""Sentence-transformers models read by our own encoder: for graphs, or without that library."""

from pathlib import Path

from hybrid_ir.inference.graph_encoder import TORCH
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.module_files import read_module_files
from hybrid_ir.model.prompts import ChosenPrompts, choose_prompts
from hybrid_ir.runs.encoder_settings import READING, EncoderSettings


def load_module_encoder(
    place: str, settings: EncoderSettings, device: str
) -> tuple[BiEncoderAdapter, ChosenPrompts]:
    """Loads a sentence-transformers model as a BiEncoder, which a graph can be made of.

    Returns:
        The encoder, and which prompts it has from where.

    Raises:
        ValueError: the model has a module that only sentence-transformers runs.
    """
    settings.require_unset(f"the sentence-transformers model {place}", "backbone")
    try:
        files = read_module_files(place, settings.revision)
        similarity = settings.similarity or files.similarity or "cosine"
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"it compares by {similarity}, which is no inner product")
        bi_encoder = BiEncoder(
            place,
            normalize=similarity == "cosine" or files.normalizes,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            **settings.select(READING),
        )
    except ValueError as error:
        if settings.backend == TORCH:
            beginning = f"model={place!r}"
            cure = "pip install 'hybrid-ir[sentence-transformers]'"
        else:
            beginning = f"backend={settings.backend}: {place}"
            cure = f"use backend={TORCH}"
        raise ValueError(
            f"{beginning} cannot be read without sentence-transformers ({error}): {cure}"
        ) from error
    chosen = choose_prompts(settings.prompts, files.prompts, files.default_prompt_name)
    encoder = BiEncoderAdapter(
        bi_encoder,
        Path(place).name,
        settings.choose_precision(device),
        device,
        chosen.describe(),
    )
    return encoder, chosen
