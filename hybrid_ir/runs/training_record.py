"""What a result says of the run that it belongs to, from its config and its batch card."""

import json
from collections.abc import Mapping
from pathlib import Path
from pydoc import locate
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from hybrid_ir.data.language_choice import name_sampler
from hybrid_ir.evaluation.card import build_evaluation_card, hash_benchmark
from hybrid_ir.evaluation.report import write_report
from hybrid_ir.files.json_lines import read_log_rows
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.runs.folder import find_checkpoint
from hybrid_ir.runs.tracking import ExperimentTracking
from hybrid_ir.system.experiment_keys import distinguishes_systems
from hybrid_ir.training.callbacks import BatchCardReport, TrainingReport
from hybrid_ir.training.checkpoints import BEST_FILE

# Lightning's names of precisions, and ours.
PRECISION_NAMES = {"32-true": "fp32", "bf16-mixed": "bf16"}
RUN_KEYS = ("seed", "corpus", "sampler", "loss", "optimizer", "model", "trainer")
# A best checkpoint of fewer validations is warned of.
FEWEST_VALIDATIONS = 3
PARTS = ("loss", "sampler", "optimizer", "scheduler", "model", "corpus", "data", "trainer")


def describe_training(run: DictConfig, folder: Path) -> dict[str, Any]:
    """Describes what a run was trained on and how, for its evaluation card.

    Args:
        run: the resolved config of the run.
        folder: of the run, with its batch card.

    Raises:
        ValueError: the batch card is missing or damaged.
    """
    sampler = run.sampler
    card = read_batch_card(folder)
    settings = {}
    for part in PARTS:
        settings.update(flatten_settings(run.get(part), part))
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
        "temperature": run.loss.get("temperature"),
        "learning_rate": run.optimizer.lr,
        "settings": settings,
    }


def read_batch_card(folder: Path) -> dict[str, Any]:
    """Reads the corpus and the languages of a run's batch card.

    Raises:
        ValueError: it is missing or damaged. It alone says what a run was trained on.
    """
    path = folder / "batch_card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return {"corpus": card["corpus"], "languages": card["languages"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is missing or damaged ({error}), and nothing else says what the run was "
            "trained on: copy the whole run folder"
        ) from error


def load_run_config(folder: Path) -> DictConfig:
    """Loads the resolved config of a run.

    Raises:
        ValueError: it is damaged, is none of a run, or was written by an older version.
    """
    path = folder / "config.yaml"
    try:
        run = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no YAML ({' '.join(str(error).split())}): copy the whole run folder"
        ) from error
    missing = [key for key in RUN_KEYS if key not in run]
    if missing:
        raise ValueError(
            f"{path} lacks the keys {missing}: it is not the config of a run; copy the whole run "
            "folder"
        )
    for part in ("model", "corpus"):
        target = run[part].get("_target_")
        if target is not None and locate(target) is None:
            raise ValueError(
                f"{path}: {part}._target_={target} does not exist in this version of hybrid-ir: "
                "the run is of another version (see its versions.json), or of a module that is "
                "not importable here"
            )
    return run


def flatten_settings(node: Any, name: str) -> dict[str, Any]:
    """Returns every value below a part of a config that makes the system, by dotted key."""
    if name == "model.backbone" and not OmegaConf.is_dict(node):
        return {}  # the place of a folder differs between machines; its name is training.model
    if OmegaConf.is_list(node):
        return {name: OmegaConf.to_container(node)}
    if not OmegaConf.is_dict(node):
        return {name: node}
    settings = {}
    for child in node:
        if distinguishes_systems(child):
            settings.update(flatten_settings(node[child], f"{name}.{child}"))
    return settings


def name_backbone(model: DictConfig) -> str:
    """Returns the name of what an encoder starts from; runs are compared under it."""
    if OmegaConf.is_dict(model.backbone):
        return "tiny"
    return Path(str(model.backbone)).name


def describe_choice(file: Path, run: DictConfig) -> dict[str, Any]:
    """Describes how a checkpoint of a run was chosen, for the card of its results.

    Args:
        file: in checkpoints/ of the run folder.
        run: the config of the run.
    """
    description = {"file": file.name, "max_steps": run.trainer.max_steps}
    best = (run.get("callbacks") or {}).get("checkpoint_best")
    if file.name == BEST_FILE and best is not None:
        description["monitor"] = best.monitor
        description["mode"] = best.mode
        log = file.parent.parent / "metrics.jsonl"
        description["validations"] = count_logged(log, best.monitor)
    return description


def count_logged(log: Path, name: str) -> int | None:
    """Counts the rows of a log that have a value, None if there is no log."""
    if not log.is_file():
        return None
    return sum(name in row for row in read_log_rows(log))


def describe_checkpoint(model: Mapping[str, Any]) -> str:
    """Says in one line which weights were measured, and warns of a choice among very few.

    Args:
        model: of an evaluation card, with its `step` and its `checkpoint`.
    """
    checkpoint = model["checkpoint"]
    if checkpoint["file"] is None:
        return "measured: the model as it was built, untrained"
    name = Path(checkpoint["file"]).stem
    line = f"measured: {name}, step {model['step']:,} of {checkpoint['max_steps']:,}"
    validations = checkpoint.get("validations")
    if "monitor" in checkpoint:
        line += f", by {checkpoint['monitor']} ({checkpoint['mode']})"
    if validations is not None:
        line += f" of {validations} validations"
        if validations < FEWEST_VALIDATIONS:
            line += (
                ". Warning: that is hardly a choice, lower trainer.val_check_interval or take "
                "test_checkpoint=last"
            )
    return line


class ResultReport(Callback):
    """Writes and prints what a run has measured, when its test has ended.

    The card beside the numbers is of the run's own training, or of the run whose checkpoint it
    measured.

    Args:
        cfg: the config of the run.
        folder: of the run.

    Raises:
        ValueError: the run whose checkpoint shall be measured is of another version. It is said
            here, before anything is measured.
    """

    def __init__(self, cfg: DictConfig, folder: Path):
        self.cfg = cfg
        self.folder = folder
        self.trained_run, self.trained_folder = self._find_trained_run()

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Writes the result files on the first rank, when the progress bar has gone."""
        if stage == "test" and trainer.is_global_zero:
            card = self._build_card(trainer, module)
            print(describe_checkpoint(card["model"]))
            write_report(module.results["test"], card, self.folder)

    def _build_card(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        data = trainer.datamodule
        device = str(module.device)
        precision = PRECISION_NAMES.get(self.cfg.trainer.precision, self.cfg.trainer.precision)
        adapter = BiEncoderAdapter(module.encoder, self.folder.name, precision, device)
        model = {
            "name": self.folder.name,
            "kind": "run",
            "path": str(self.folder),
            "step": module.loaded_step,
            "backbone": name_backbone(self.cfg.model),
            "checkpoint": self._describe_checkpoint(),
        }
        return build_evaluation_card(
            module.results["test"],
            hash_benchmark(data.benchmarks["test"]),
            model=model,
            training=self._describe_training(),
            reading=adapter.reading(),
            texts_cut=data.texts_cut("test"),
            long_passages={"policy": "truncate", "window_overlap": None},
            postprocess={"name": "none", "estimated_on": None},
            device=device,
        )

    def _describe_checkpoint(self) -> dict[str, Any]:
        """Describes which checkpoint was measured: its file, and what chose it."""
        place = self.folder if self.cfg.fit else self.cfg.ckpt_path
        if place is None:
            return {"file": None}
        file = Path(find_checkpoint(place, self.cfg.test_checkpoint))
        return describe_choice(file, self.trained_run)

    def _describe_training(self) -> dict[str, Any] | None:
        """Describes the training of the measured weights, None where nothing was trained."""
        if not (self.trained_folder / "batch_card.json").is_file():
            return None
        return describe_training(self.trained_run, self.trained_folder)

    def _find_trained_run(self) -> tuple[DictConfig, Path]:
        """Finds the config and the folder of the run that trained the measured weights."""
        if self.cfg.fit or not self.cfg.ckpt_path:
            return self.cfg, self.folder
        checkpoint = find_checkpoint(self.cfg.ckpt_path, self.cfg.test_checkpoint)
        folder = Path(checkpoint).parent.parent
        if not (folder / "config.yaml").is_file():
            return self.cfg, folder
        return load_run_config(folder), folder


def build_reports(cfg: DictConfig, folder: Path) -> list[Callback]:
    """Builds the callbacks that report a run: before its training, after it, and after its test."""
    reports = [
        BatchCardReport(folder),
        TrainingReport(folder, objective=cfg.objective),
        ResultReport(cfg, folder),
    ]
    config = OmegaConf.to_container(cfg, resolve=True)
    return [*reports, ExperimentTracking(config, folder)]
