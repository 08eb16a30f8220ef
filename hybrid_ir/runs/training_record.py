"""What the card of a run says of its training: from the run's resolved config and its batch card."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from hybrid_ir.data.sampler_names import name_sampler
from hybrid_ir.evaluation.card import build_evaluation_card, hash_benchmark
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.runs.folder import find_checkpoint
from hybrid_ir.system.experiment_keys import distinguishes_systems
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.training.retriever import Retriever

PRECISION_OF = {"32-true": "fp32", "bf16-mixed": "bf16"}  # Lightning's names
PARTS = ("loss", "sampler", "optimizer", "scheduler", "model", "corpus", "data", "trainer")


def describe_training(run: DictConfig, folder: Path) -> dict[str, Any]:
    """What a run trained on and how, for its card."""
    sampler = run.sampler
    card = read_batch_card(folder)
    return {
        "sampler": name_sampler(sampler.monolingual_share, sampler.level, sampler.languages),
        "monolingual_share": float(sampler.monolingual_share),
        "level": sampler.level,
        "seed": run.seed,
        "corpus": card["corpus"],
        "languages": list(sampler.languages or card["languages"]),
        "model": name_backbone(run.model),
        "batch_size": sampler.batch_size,
        "max_steps": run.trainer.max_steps,
        "temperature": run.loss.temperature,
        "learning_rate": run.optimizer.lr,
        "settings": {
            key: value
            for part in PARTS
            for key, value in flatten_settings(run.get(part), part).items()
        },
    }


def read_batch_card(folder: Path) -> dict[str, Any]:
    """ValueError where it is missing or damaged: it alone says what a run was trained on."""
    path = folder / "batch_card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return {key: card[key] for key in ("corpus", "languages")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is missing or damaged ({error}), and nothing else says what the run was trained on: copy the "
            "whole run folder"
        ) from error


def load_run_config(folder: Path) -> DictConfig:
    """The resolved config of a run; ValueError where it is damaged."""
    path = folder / "config.yaml"
    try:
        run = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no YAML ({' '.join(str(error).split())}): copy the whole run folder"
        ) from error
    missing = [
        key
        for key in ("seed", "corpus", "sampler", "loss", "optimizer", "model", "trainer")
        if key not in run
    ]
    if missing:
        raise ValueError(
            f"{path} lacks the keys {missing}: it is not the config of a run; copy the whole run folder"
        )
    return run


def flatten_settings(node: Any, name: str) -> dict[str, Any]:
    """Every plain value below a part of a config that defines the experiment, by its dotted key."""
    if not OmegaConf.is_dict(node):
        if (
            name == "model.backbone"
        ):  # the place of a folder differs between machines; its name is training.model
            return {}
        return {name: OmegaConf.to_container(node) if OmegaConf.is_list(node) else node}
    return {
        key: value
        for child in node
        if distinguishes_systems(child)
        for key, value in flatten_settings(node[child], f"{name}.{child}").items()
    }


def build_card_of_run(
    module: Retriever, data: RetrievalData, cfg: DictConfig, folder: Path
) -> dict[str, Any]:
    """The card of what a run measured at its end: of its own training, or of the run whose checkpoint it measured."""
    device, place, trained_by = str(module.device), folder, cfg
    if not cfg.fit and cfg.ckpt_path:
        place = Path(find_checkpoint(cfg.ckpt_path, cfg.test_checkpoint)).parent.parent
        trained_by = load_run_config(place) if (place / "config.yaml").is_file() else cfg
    precision = PRECISION_OF.get(cfg.trainer.precision, cfg.trainer.precision)
    reading = BiEncoderAdapter(module.encoder, folder.name, precision, device).reading()
    trained = (place / "batch_card.json").is_file()
    model = {
        "name": folder.name,
        "kind": "run",
        "path": str(folder),
        "step": module.global_step,
        "backbone": name_backbone(cfg.model),
    }
    return build_evaluation_card(
        module.results["test"],
        hash_benchmark(data.benchmarks["test"]),
        model,
        describe_training(trained_by, place) if trained else None,
        reading,
        data.texts_cut("test"),
        {"policy": "truncate", "window_overlap": None},
        {"name": "none", "estimated_on": None},
        device,
    )


def name_backbone(model: DictConfig) -> str:
    """The name of what an encoder starts from; runs of one backbone, trained or not, are compared under it."""
    return "tiny" if OmegaConf.is_dict(model.backbone) else Path(str(model.backbone)).name
