"""Result folders: metrics.json, per_query.parquet and evaluation_card.json, and the steps of the training where it ran."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hybrid_ir.comparison.forms import CARD, METRICS, require_form
from hybrid_ir.data.sampler_names import name_sampler


@dataclass(frozen=True)
class Result:
    """One benchmark of one model."""

    folder: Path
    metrics: dict[str, Any]
    card: dict[str, Any]  # as in evaluation_card.json; without one, as much as config.yaml tells
    steps: list[dict[str, float]]  # rows of metrics.jsonl, none where no training ran

    @property
    def benchmark(self) -> str:
        return self.metrics["benchmark"]["name"]

    @property
    def training(self) -> dict[str, Any]:
        """Empty for a model that was not trained by us."""
        return self.card.get("training") or {}

    @property
    def seed(self) -> int | None:
        return self.training.get("seed")


def read_results(places: Sequence[str | Path]) -> list[Result]:
    """Every result in the places: result folders, or folders that hold some at any depth.

    Raises:
        ValueError: a place without results, or files that are missing, broken or of something else; all of them.
    """
    folders, wrong = [], []
    for place in map(Path, places):
        found = sorted(path.parent for path in place.rglob("metrics.json"))
        if not found:
            missing = (
                "does not exist" if not place.exists() else "holds no metrics.json at any depth"
            )
            wrong.append(
                f"runs: {place} {missing}: give folders of finished runs, sweeps or evaluations"
            )
        folders += found
    results = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        try:
            results.append(read_result(folder))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return results


def list_unfinished_jobs(places: Sequence[str | Path]) -> list[str]:
    """A note for each run folder in the places that has no results: a job that failed, or that is still going."""
    folders = sorted(
        {path.parent for place in places for path in Path(place).rglob("versions.json")}
    )
    return [
        f"{folder} has no results: it failed, or is not done"
        for folder in folders
        if next(folder.rglob("metrics.json"), None) is None
    ]


def read_result(folder: Path) -> Result:
    """ValueError naming the file that is missing or broken."""
    if not (folder / "per_query.parquet").is_file():
        raise ValueError(
            f"{folder} has metrics.json but no per_query.parquet, without which nothing can be tested: "
            "measure the model again with `hybrid-ir evaluate`"
        )
    metrics = read_json(folder / "metrics.json")
    require_form(METRICS, metrics, folder / "metrics.json")
    card, config = folder / "evaluation_card.json", folder / "config.yaml"
    if card.is_file():
        known = read_json(card)
        require_form(CARD, known, card)
        if not known["training"] and known["model"].get("kind") == "run" and config.is_file():
            run = yaml.safe_load(config.read_text(encoding="utf-8"))
            require_own_training(run, folder)
            known["model"]["name"] = model_of(run)  # it is its folder's name
    elif config.is_file():
        known = card_of_config(yaml.safe_load(config.read_text(encoding="utf-8")), config)
    else:
        raise ValueError(
            f"{folder} has neither evaluation_card.json nor config.yaml, so nobody knows which model it is about: "
            "measure the model again with `hybrid-ir evaluate`"
        )
    return Result(folder, metrics, known, read_steps(steps_of(folder, known)))


def steps_of(folder: Path, card: dict[str, Any]) -> Path:
    """metrics.jsonl of a run: in its folder, or, for an evaluation of its checkpoint as it is, where that still lies."""
    file, plain = (
        card["model"].get("path"),
        (card.get("postprocess") or {}).get("name", "none") == "none",
    )
    if (
        (folder / "metrics.jsonl").is_file()
        or card["model"].get("kind") != "run"
        or not file
        or not plain
    ):
        return folder / "metrics.jsonl"
    return Path(file).parent.parent / "metrics.jsonl"


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_number)
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is not JSON ({error}): measure the model again") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} holds a {type(found).__name__}, not an object: measure the model again"
        )
    return found


def no_number(name: str) -> None:
    """Python reads NaN and infinity, which JSON does not know and no evaluation writes; no mean may rest on them."""
    raise ValueError(f"{name} is no number")


def read_steps(path: Path) -> list[dict[str, float]]:
    """Logged steps; a last line that a killed process left half written is dropped."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}, is not JSON ({error}): delete the line"
                ) from error
    return rows


def card_of_config(config: Any, path: Path) -> dict[str, Any]:
    """The part of a card that the resolved config of an old run folder tells; names are guessed from values."""
    try:
        sampler, model = config["sampler"], model_of(config)
        share, level = float(sampler["monolingual_share"]), sampler["level"]
        languages, name = (
            sampler.get("languages"),
            name_sampler(share, level, sampler.get("languages")),
        )
        require_own_training(config, path.parent)
        training = {
            "sampler": name,
            "monolingual_share": share,
            "level": level,
            "seed": config["seed"],
            "corpus": config["corpus"]["_target_"].split(".")[-2],
            "model": model,
            "max_steps": config["trainer"]["max_steps"],
            "batch_size": sampler["batch_size"],
            "languages": languages,
        }
        return {
            "model": {"name": model, "kind": "run", "path": str(path.parent)},
            "training": training if config["fit"] else None,
            "postprocess": {
                "name": "center" if config.get("center") else "none",
                "estimated_on": None,
            },
            "precision": config["trainer"]["precision"],
            "benchmark": {},
        }
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path} lacks {error} and there is no evaluation_card.json beside it: measure the model again with "
            "`hybrid-ir evaluate`"
        ) from error


def model_of(config: Any) -> str:
    """The name of the encoder in a run's resolved config."""
    backbone = config["model"]["backbone"]
    return Path(backbone).name if isinstance(backbone, str) else "tiny"


def require_own_training(config: Any, folder: Path) -> None:
    """ValueError for a run that only measured the checkpoint of another: its config says nothing of that one's training."""
    if not config.get("fit", True) and config.get("ckpt_path"):
        raise ValueError(
            f"{folder} measured {config['ckpt_path']} without training, and does not say how that was trained: "
            "measure it with `hybrid-ir evaluate checkpoint=...`, or leave this folder out"
        )
