"""From what a user calls a model (a run, a name, a folder, a hub id) to an encoder of texts."""

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.debias.folder import read_correction
from hybrid_ir.inference.graph_encoder import TORCH, build_graph_encoder
from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.backbone import require_no_revision_of_a_folder
from hybrid_ir.model.distinct_vectors import find_indistinct_vectors
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.load_errors import require_no_bare_adapter
from hybrid_ir.model.module_files import (
    IncompleteModelError,
    read_module_files,
)
from hybrid_ir.model.prompts import (
    FROM_KEYS,
    ChosenPrompts,
    choose_prompts,
    describe_missing_prompts,
    describe_misspelt_prompts,
    describe_unused_prompts,
    recognise_family,
)
from hybrid_ir.model.weights import require_finite_weights
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.encoder_settings import (
    FIXED_BY_TRAINING,
    LENGTHS,
    PREFIXES,
    READING,
    EncoderSettings,
)
from hybrid_ir.runs.folder import describe_other_versions, find_checkpoint
from hybrid_ir.runs.hub_models import describe_revision, find_cached_file, has_file
from hybrid_ir.runs.model_places import (
    expand_home,
    is_named_model,
    is_run,
    require_no_folder_of_models,
)
from hybrid_ir.runs.module_encoders import load_module_encoder
from hybrid_ir.runs.shipped_files import list_options
from hybrid_ir.runs.training_record import (
    describe_choice,
    describe_training,
    load_run_config,
    name_backbone,
)
from hybrid_ir.training.checkpoints import read_checkpoint
from hybrid_ir.training.loading import build_saved_encoder, find_saved_encoder
from hybrid_ir.training.retriever import Retriever
from hybrid_ir.types import Role, TextEncoder


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder, and what its evaluation card says of the model and of its training."""

    encoder: TextEncoder
    model: dict[str, Any]
    training: dict[str, Any] | None

    def describe(self) -> dict[str, Any]:
        """Returns the parts `model` and `training` of an evaluation card."""
        return {"model": self.model, "training": self.training}


def load_encoder(model: str | Path, **settings: Any) -> TextEncoder:
    """Loads any bi-encoder, as texts in and vectors out.

    Args:
        model: a run folder, a .ckpt file, a name in conf/model, or the folder or hub id of a
            sentence-transformers or Hugging Face model.
        settings: see `EncoderSettings`.

    Returns:
        An encoder with `encode_queries(texts)` and `encode_passages(texts)`; see `TextEncoder`.

    Raises:
        ValueError: there is no such model, or it does not say how it is to be read.

    Example:
        >>> encoder = load_encoder(run_folder)
        >>> len(encoder.encode_queries(["Where is Kabul?", "Wo liegt Kabul?"]))
        2
    """
    return load_any_encoder(str(model), EncoderSettings(**settings)).encoder


def load_any_encoder(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads an encoder together with what a card says of it; see `load_encoder`."""
    if place in ("", "None", "null"):  # as the command line hands an empty key on
        raise ValueError(
            "model=null names no model: give a run folder, a .ckpt file, a name in conf/model "
            f"({', '.join(list_options('model', settings.config_folders))}), or the folder or hub "
            "id of a model"
        )
    place = expand_home(place)
    if settings.backend == TORCH:
        return _load_and_probe(place, settings)
    if settings.device is None:
        settings = replace(settings, device="cpu")  # what graphs are for
    loaded = _load_and_probe(place, settings)
    exported = None
    if loaded.model["kind"] == "sentence_transformers" and Path(place).is_dir():
        exported = Path(place)
    encoder = build_graph_encoder(
        loaded.encoder, settings.backend, settings.choose_cache(), exported
    )
    return LoadedEncoder(encoder, loaded.model, loaded.training)


def _load_and_probe(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads an encoder that tells texts apart; of a run that does not, it says so."""
    loaded = _load_with_torch(place, settings)
    problem = find_indistinct_vectors(loaded.encoder)
    if problem is None:
        return loaded
    if loaded.model["kind"] != "run":
        raise ValueError(
            f"model={place!r}: {problem}, so nothing could be found by it. Its weights, its "
            "tokenizer or a length are broken: copy the whole model again"
        )
    # What a training has come to is measured, whatever it is.
    print(f"warning: {place}: {problem}: its training has collapsed", file=sys.stderr)
    return loaded


def _load_with_torch(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads an encoder; one that a graph will be made of is always a BiEncoder."""
    if is_run(place):
        return _load_run(place, settings)
    if is_named_model(place, settings.config_folders):
        return _load_named_model(place, settings)
    if has_file(place, "modules.json", settings.revision) and settings.pooling is None:
        # Our own encoder reads the usual modules as well, which helps where the library is missing.
        if settings.backend != TORCH or find_spec("sentence_transformers") is None:
            return _load_modules(place, settings)
        return _load_sentence_transformers(place, settings)
    return _load_transformers(place, settings)


def choose_device(name: str | None) -> str:
    """Returns the device of a name, or a GPU if there is one.

    Raises:
        ValueError: this machine, or this torch, has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={name!r} cannot be used here ({str(error).splitlines()[0]:.160}): say cpu, "
            "cuda, cuda:1 or mps, or leave it out, which takes a GPU if there is one"
        ) from error
    return name


def _load_run(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads a checkpoint of ours: encoder, weights, and the corpus of a tokenizer from scratch."""
    if Path(place).suffix == ".ckpt" and settings.test_checkpoint != "best":
        raise ValueError(
            f"test_checkpoint={settings.test_checkpoint} chooses in a run folder, and {place} is "
            "one checkpoint: leave it out, or give the folder"
        )
    file = Path(find_checkpoint(place, settings.test_checkpoint))
    folder = file.parent.parent
    if not (folder / "config.yaml").is_file():
        raise ValueError(
            f"checkpoint={place!r}: its run's config.yaml is not at {folder / 'config.yaml'}, so "
            "nobody knows what encoder the weights are of. Keep a checkpoint in the checkpoints/ "
            "of its run folder"
        )
    settings.require_unset(f"a run of ours ({place})", *FIXED_BY_TRAINING)
    run = load_run_config(folder)
    module = Retriever(
        encoder=_build_encoder_of_run(folder, run, settings),
        loss=build(run.loss),
        optimizer=build(run.optimizer),
    )
    checkpoint = read_checkpoint(file)
    try:
        module.on_load_checkpoint(checkpoint)
    except ValueError as error:
        raise ValueError(f"{file}: {error}{describe_other_versions(folder)}") from error
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
    require_finite_weights(str(file), module.encoder)
    module.encoder.merge_lora()
    device = choose_device(settings.device)
    precision = settings.choose_precision(device)
    encoder = BiEncoderAdapter(module.encoder, folder.name, precision, device)
    model = {
        "name": folder.name,
        "kind": "run",
        "path": str(file),
        "step": checkpoint["global_step"],
        "backbone": name_backbone(run.model),
        "checkpoint": describe_choice(file, run),
    }
    return LoadedEncoder(encoder, model, describe_training(run, folder))


def _build_encoder_of_run(folder: Path, run: DictConfig, settings: EncoderSettings) -> BiEncoder:
    """Builds the encoder of a run: from its folder, else from the backbone that it started from."""
    saved = find_saved_encoder(folder)
    if saved is not None and settings.backbone is None:
        return build_saved_encoder(
            saved,
            attention=run.model.get("attention"),
            packing=run.model.get("packing", "auto"),
            tokens_per_slice=run.model.tokens_per_slice,
            **settings.select(LENGTHS),
        )
    is_from_scratch = OmegaConf.is_dict(run.model.backbone)
    texts = build(run.corpus).texts() if is_from_scratch else ()
    run.model.update(settings.select(LENGTHS))
    if settings.backbone:
        run.model.backbone = settings.backbone
    return build(run.model)(texts=texts)


def _load_named_model(name: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads a model of conf/model, as released."""
    settings.require_unset(f"model={name}, whose vectors are compared by cosine", "similarity")
    config = compose_config("train", [f"model={name}"], settings.config_folders).model
    if OmegaConf.is_dict(config.backbone):
        raise ValueError(
            f"model={name} is made from scratch when it is trained: give checkpoint=RUN"
        )
    config.update(settings.select(READING))
    config.update(settings.select(("backbone", "revision")))
    config.trust_remote_code = settings.trust_remote_code
    device = choose_device(settings.device)
    encoder = BiEncoderAdapter(
        build(config)(),
        name,
        settings.choose_precision(device),
        device,
        prompt_origins=_describe_origins_beside_keys(settings, f"from conf/model/{name}.yaml"),
    )
    model = {
        "name": name,
        "kind": "transformers",
        "path": config.backbone,
        **describe_revision(config.backbone, config.revision),
        "backbone": name_backbone(config),
    }
    return LoadedEncoder(encoder, model, None)


def _load_sentence_transformers(place: str, settings: EncoderSettings) -> LoadedEncoder:
    settings.require_unset(f"the sentence-transformers model {place}", "backbone")
    lengths = set(settings.select(LENGTHS).values())
    if len(lengths) > 1:
        raise ValueError(
            f"query_max_length={settings.query_max_length} and passage_max_length="
            f"{settings.passage_max_length}: a sentence-transformers model has one maximum length, "
            "give both the same"
        )
    require_no_revision_of_a_folder("model", place, settings.revision)
    _require_complete_modules(place, settings.revision)
    device = choose_device(settings.device)
    encoder = SentenceTransformerAdapter(
        place,
        prompts=settings.prompts,
        max_length=lengths.pop() if lengths else None,
        similarity=settings.similarity,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        precision=settings.choose_precision(device),
        device=device,
    )
    _report_prompts(place, encoder.chosen_prompts, settings)
    model = {
        "name": encoder.name,
        "kind": "sentence_transformers",
        "path": place,
        **describe_revision(place, settings.revision),
    }
    correction = read_correction(place)
    if correction is not None:
        model["correction"] = correction
    return LoadedEncoder(encoder, model, None)


def _load_modules(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads a sentence-transformers model by our own encoder, which has no other modules."""
    encoder, chosen = load_module_encoder(place, settings, choose_device(settings.device))
    _report_prompts(place, chosen, settings)
    model = {
        "name": encoder.name,
        "kind": "sentence_transformers",
        "path": place,
        **describe_revision(place, settings.revision),
    }
    return LoadedEncoder(encoder, model, None)


def _require_complete_modules(place: str, revision: str | None) -> None:
    """Raises ValueError if the files of a sentence-transformers model do not say how it pools."""
    try:
        read_module_files(place, revision)
    except IncompleteModelError:
        raise
    except ValueError:
        return  # Modules that sentence-transformers runs, if nobody else.


def _load_transformers(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads a plain Hugging Face encoder, with no prefixes but those that are asked for."""
    require_no_bare_adapter(place)
    require_no_folder_of_models(place)
    if settings.pooling is None:
        raise ValueError(
            f"model={place!r} is no run folder, no name in conf/model "
            f"({', '.join(list_options('model'))}) and no sentence-transformers model (it has no "
            "modules.json). If it is a plain Hugging Face encoder, say how its vectors are pooled: "
            "pooling=mean or pooling=cls"
        )
    kind = f"the plain encoder {place}, whose vectors are compared by cosine"
    settings.require_unset(kind, "similarity", "backbone")
    reading = {"query_prefix": "", "passage_prefix": ""}
    reading.update(settings.select(READING))
    bi_encoder = BiEncoder(
        place,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        **reading,
    )
    name = Path(place).name
    device = choose_device(settings.device)
    chosen = choose_prompts(settings.prompts, prompts={})
    _report_prompts(place, chosen, settings)
    encoder = BiEncoderAdapter(
        bi_encoder,
        name,
        settings.choose_precision(device),
        device,
        prompt_origins=chosen.describe(),
    )
    model = {
        "name": name,
        "kind": "transformers",
        "path": place,
        **describe_revision(place, settings.revision),
    }
    return LoadedEncoder(encoder, model, None)


def _describe_origins_beside_keys(settings: EncoderSettings, origin: str) -> str:
    """Says where prefixes come from if those that no key sets have one origin."""
    origins: dict[Role, str] = {}
    for role, prefix in settings.prompts.items():
        origins[role] = origin if prefix is None else FROM_KEYS
    return ChosenPrompts({}, origins, ()).describe()


@rank_zero_only
def _report_prompts(place: str, chosen: ChosenPrompts, settings: EncoderSettings) -> None:
    """Says in a line each that a known model lacks its prompts, or that it has others as well."""
    line = describe_unused_prompts(place, chosen)
    if line is not None:
        print(line, file=sys.stderr)
    has_prompts = any(chosen.texts.values())
    if settings.select(PREFIXES) and not has_prompts:
        return  # the user wants none
    readme = None
    if not Path(place).is_dir():
        readme = find_cached_file(place, "README.md", settings.revision)
    recognition = recognise_family(place, readme)
    if has_prompts:
        line = describe_misspelt_prompts(place, recognition, chosen.texts)
    else:
        line = describe_missing_prompts(place, recognition)
    if line is not None:
        print(line, file=sys.stderr)
