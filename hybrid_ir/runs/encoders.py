"""From what a user calls a model (a run folder, a checkpoint, a name, a folder, a hub id) to a TextEncoder."""

from pathlib import Path
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from transformers.utils import cached_file

from hybrid_ir.model.adapters import PRECISIONS, BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import list_options
from hybrid_ir.runs.folder import find_checkpoint
from hybrid_ir.runs.training_record import describe_training, load_run_config, name_backbone
from hybrid_ir.training.checkpoints import read_checkpoint
from hybrid_ir.training.retriever import Retriever
from hybrid_ir.types import TextEncoder

READING = ("pooling", "query_prefix", "passage_prefix", "query_max_length", "passage_max_length")


def load_any_encoder(place: str, cfg: DictConfig) -> tuple[TextEncoder, dict[str, Any]]:
    """The encoder, and the `model` and `training` parts of its card; `cfg` has the keys of conf/encoder.

    Raises:
        ValueError: there is no such model, or it does not say how it is to be read.
    """
    wrong = (
        [f"precision={cfg.precision!r} must be one of {', '.join(PRECISIONS)}"]
        if cfg.precision not in PRECISIONS
        else []
    )
    if cfg.similarity not in (None, "cosine", "dot"):
        wrong.append(
            f"similarity={cfg.similarity!r} must be cosine or dot, or null for the model's own"
        )
    if wrong:
        raise ValueError("; ".join(wrong))
    if is_run(place):
        return load_run(place, cfg)
    if place in list_options("model") and not Path(place).exists():
        return load_named_model(place, cfg)
    if has_file(place, "modules.json", cfg.revision) and cfg.pooling is None:
        return load_sentence_transformers(place, cfg)
    return load_transformers(place, cfg)


def is_run(place: str) -> bool:
    path = Path(place)
    return path.suffix == ".ckpt" or (path / "checkpoints").is_dir()


def load_run(place: str, cfg: DictConfig) -> tuple[TextEncoder, dict[str, Any]]:
    """Our own checkpoint: encoder, corpus (of a tokenizer from scratch) and weights of its run."""
    file = Path(find_checkpoint(place, cfg.test_checkpoint))
    folder = file.parent.parent
    if not (folder / "config.yaml").is_file():
        raise ValueError(
            f"checkpoint={place!r}: its run's config.yaml is not at {folder / 'config.yaml'}, so nobody knows what "
            "encoder the weights are of. Keep a checkpoint in the checkpoints/ of its run folder"
        )
    refuse_keys(
        cfg,
        f"a run of ours ({place})",
        "pooling",
        "query_prefix",
        "passage_prefix",
        "similarity",
        "revision",
        "trust_remote_code",
    )
    run = load_run_config(folder)
    from_scratch = OmegaConf.is_dict(run.model.backbone)
    texts = build(run.corpus).texts() if from_scratch else ()
    override_keys(run.model, cfg, ("query_max_length", "passage_max_length"))
    if cfg.backbone:
        run.model.backbone = cfg.backbone
    module = Retriever(build(run.model)(texts=texts), build(run.loss), build(run.optimizer))
    checkpoint = read_checkpoint(file)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    encoder = BiEncoderAdapter(module.encoder, folder.name, cfg.precision, choose_device(cfg))
    return encoder, {
        "model": {
            "name": folder.name,
            "kind": "run",
            "path": str(file),
            "step": checkpoint["global_step"],
            "backbone": name_backbone(run.model),
        },
        "training": describe_training(run, folder),
    }


def load_named_model(name: str, cfg: DictConfig) -> tuple[TextEncoder, dict[str, Any]]:
    """A model of conf/model, as released."""
    refuse_keys(cfg, f"model={name}, whose vectors are compared by cosine", "similarity")
    model = compose("train", overrides=[f"model={name}"]).model
    if OmegaConf.is_dict(model.backbone):
        raise ValueError(
            f"model={name} is made from scratch when it is trained: give checkpoint=RUN"
        )
    override_keys(model, cfg, READING)
    for key in ("backbone", "revision"):
        model[key] = cfg[key] or model[key]
    model.trust_remote_code = cfg.trust_remote_code
    encoder = BiEncoderAdapter(build(model)(), name, cfg.precision, choose_device(cfg))
    return encoder, {
        "model": {
            "name": name,
            "kind": "transformers",
            "path": model.backbone,
            "revision": model.revision,
            "backbone": name_backbone(model),
        },
        "training": None,
    }


def load_sentence_transformers(place: str, cfg: DictConfig) -> tuple[TextEncoder, dict[str, Any]]:
    refuse_keys(cfg, f"the sentence-transformers model {place}", "backbone")
    lengths = {cfg.query_max_length, cfg.passage_max_length} - {None}
    if len(lengths) > 1:
        raise ValueError(
            f"query_max_length={cfg.query_max_length} and passage_max_length={cfg.passage_max_length}: a "
            "sentence-transformers model has one maximum length, give both the same"
        )
    encoder = SentenceTransformerAdapter(
        place,
        {"query": cfg.query_prefix, "passage": cfg.passage_prefix},
        next(iter(lengths), None),
        cfg.similarity,
        cfg.revision,
        cfg.trust_remote_code,
        cfg.precision,
        choose_device(cfg),
    )
    return encoder, {
        "model": {
            "name": encoder.name,
            "kind": "sentence_transformers",
            "path": place,
            "revision": cfg.revision,
        },
        "training": None,
    }


def load_transformers(place: str, cfg: DictConfig) -> tuple[TextEncoder, dict[str, Any]]:
    if cfg.pooling is None:
        raise ValueError(
            f"model={place!r} is no run folder, no name in conf/model ({', '.join(list_options('model'))}) and no "
            "sentence-transformers model (it has no modules.json). If it is a plain Hugging Face encoder, say "
            "how its vectors are pooled: pooling=mean or pooling=cls"
        )
    refuse_keys(
        cfg,
        f"the plain encoder {place}, whose vectors are compared by cosine",
        "similarity",
        "backbone",
    )
    choices = {key: cfg[key] for key in READING if cfg[key] is not None}
    prefixes = {"query_prefix": "", "passage_prefix": ""}  # none but those that are asked for
    encoder = BiEncoder(
        place,
        revision=cfg.revision,
        trust_remote_code=cfg.trust_remote_code,
        **{**prefixes, **choices},
    )
    name = Path(place).name
    return BiEncoderAdapter(encoder, name, cfg.precision, choose_device(cfg)), {
        "model": {"name": name, "kind": "transformers", "path": place, "revision": cfg.revision},
        "training": None,
    }


def refuse_keys(cfg: DictConfig, kind: str, *keys: str) -> None:
    """ValueError for keys that were given and would change nothing."""
    given = [
        f"{key}={cfg[key]!r}"
        for key in keys
        if cfg[key] not in (None, False) and not (key == "similarity" and cfg[key] == "cosine")
    ]
    if given:
        raise ValueError(
            f"{', '.join(given)}: not for {kind}, which cannot be read so; leave them out"
        )


def override_keys(model: DictConfig, cfg: DictConfig, keys: tuple[str, ...]) -> None:
    for key in keys:
        if cfg[key] is not None:
            model[key] = cfg[key]


def has_file(place: str, file: str, revision: str | None) -> bool:
    """Whether a folder, or a model of the hub, has a file; ValueError where there is no such folder or model to be had."""
    if Path(place).is_dir():
        return (Path(place) / file).is_file()
    if place.startswith(("/", ".", "~")) or place.count("/") > 1:
        raise ValueError(
            f"{place!r} does not exist: give the path of a run folder, a .ckpt file or a model's folder, a name in "
            f"conf/model ({', '.join(list_options('model'))}), or a hub id like owner/name"
        )
    try:
        cached_file(place, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model={place!r} is no run folder, no name in conf/model ({', '.join(list_options('model'))}), no folder, and "
            f"the hub did not deliver it: check the name and the network. ({str(error).splitlines()[0]})"
        ) from error
    return (
        cached_file(
            place,
            file,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
        is not None
    )


def choose_device(cfg: DictConfig) -> str:
    """ValueError for one that this machine, or this torch, has not."""
    name = cfg.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={name!r} cannot be used here ({str(error).splitlines()[0]:.160}): say cpu, cuda, cuda:1 or "
            "mps, or leave it out, which takes a GPU if there is one"
        ) from error
    return name
