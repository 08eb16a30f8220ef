"""Loads result folders: metrics.json, evaluation_card.json and the logged steps of a training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired

import yaml
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic accepts that of typing from Python 3.12 on

from hybrid_ir.data.language_choice import name_sampler
from hybrid_ir.evaluation.mteb_scores import MTEB_SCORES_FILE, read_mteb_scores
from hybrid_ir.files.json_lines import read_log_rows


class _BenchmarkForm(TypedDict):
    name: str
    languages: list[str]
    queries: int
    pool: dict[str, int]
    choices: NotRequired[dict[str, str] | None]


class _ViewsForm(TypedDict):
    mono: dict[str, float | None]
    cross: dict[str, float | None]
    multi: dict[str, float | None]


class _MetricsForm(TypedDict):
    """What a comparison needs of metrics.json."""

    benchmark: _BenchmarkForm
    macro_over_settings: _ViewsForm
    settings: list[dict[str, Any]]


class _ModelForm(TypedDict):
    name: str


class _TrainingForm(TypedDict, total=False):
    seed: int | None
    sampler: str
    monolingual_share: float
    languages: list[str] | None
    settings: dict[str, Any] | None


class _CardForm(TypedDict):
    """What a comparison needs of evaluation_card.json."""

    model: _ModelForm
    training: _TrainingForm | None
    benchmark: NotRequired[dict[str, Any] | None]
    postprocess: NotRequired[dict[str, Any] | None]
    long_passages: NotRequired[dict[str, Any] | None]
    reading: NotRequired[dict[str, Any] | None]


# Folders with results, or such folders by the names of systems, one or several for a name.
Runs = Sequence[str | Path] | Mapping[str, str | Path | Sequence[str | Path]]

_METRICS_ADAPTER = TypeAdapter(_MetricsForm)
_CARD_ADAPTER = TypeAdapter(_CardForm)


@dataclass(frozen=True)
class Result:
    """What was measured of one model on one benchmark.

    Attributes:
        folder: The folder that holds the files.
        metrics: The content of metrics.json.
        card: The content of evaluation_card.json, or the part of it that config.yaml contains.
        steps: The rows of metrics.jsonl, none where no training was logged.
        name: What the user calls the system, None where nobody named it.
    """

    folder: Path
    metrics: dict[str, Any]
    card: dict[str, Any]
    steps: list[dict[str, float]]
    name: str | None = None

    @property
    def benchmark(self) -> str:
        """The name of the benchmark."""
        return self.metrics["benchmark"]["name"]

    @property
    def benchmark_card(self) -> dict[str, Any]:
        """The card's record of the benchmark, empty where there is none."""
        return self.card.get("benchmark") or {}

    @property
    def choices(self) -> dict[str, str]:
        """The choices with which the benchmark was built, such as its split and pool."""
        return self.metrics["benchmark"].get("choices") or {}

    @property
    def training(self) -> dict[str, Any]:
        """The card's record of the training, empty for a model that this project did not train."""
        return self.card.get("training") or {}

    @property
    def seed(self) -> int | None:
        """The seed of the training."""
        return self.training.get("seed")


def load_results(runs: Runs) -> list[Result]:
    """Loads every result in some folders, each result once.

    Args:
        runs: Result folders, or folders that hold result folders at any depth; or such folders
            by the names of the systems that are in them.

    Raises:
        ValueError: A place holds no results, a folder has two names, or files are missing, damaged
            or not what an evaluation writes. The message names all of them.
    """
    problems = []
    folders: dict[Path, Path] = {}  # by their resolved paths, so that each is loaded once
    names: dict[Path, str | None] = {}
    for name, place in list_places(runs):
        result_folders = sorted(path.parent for path in place.rglob("metrics.json"))
        if not result_folders and not any(place.rglob(MTEB_SCORES_FILE)):
            reason = "holds no metrics.json at any depth" if place.exists() else "does not exist"
            problems.append(
                f"runs: {place} {reason}: give folders of finished runs, sweeps or evaluations"
            )
        for folder in result_folders:
            resolved = folder.resolve()
            first_name = names.setdefault(resolved, name)
            if first_name != name:
                problems.append(f"runs: {folder} is in {first_name} and in {name}: give it one")
            folders[resolved] = folder
    results = []
    for resolved, folder in folders.items():
        try:
            results.append(_load_result(folder, names[resolved]))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return results


def load_mteb_results(runs: Runs) -> list[Result]:
    """Loads the scores of mteb in some folders, each once; their settings are the scores.

    Args:
        runs: As in `load_results`, which says what is wrong with the places themselves.

    Raises:
        ValueError: A file is damaged.
    """
    folders: dict[Path, tuple[Path, str | None]] = {}
    for name, place in list_places(runs):
        for path in sorted(place.rglob(MTEB_SCORES_FILE)):
            folders.setdefault(path.parent.resolve(), (path.parent, name))
    results = []
    for folder, name in folders.values():
        record = read_mteb_scores(folder)
        settings = [asdict(score) for score in record.scores]
        metrics = {
            "benchmark": {"name": "mteb"},
            "version": record.version,
            "settings": settings,
        }
        results.append(Result(folder, metrics, _load_card(folder), [], name))
    return results


def list_places(runs: Runs) -> list[tuple[str | None, Path]]:
    """Returns every folder with its name, which is None where folders are not named."""
    if not isinstance(runs, Mapping):
        return [(None, Path(place)) for place in runs]
    places: list[tuple[str | None, Path]] = []
    for name, folders in runs.items():
        if isinstance(folders, str | Path):
            folders = [folders]
        for folder in folders:
            places.append((str(name), Path(folder)))
    return places


def list_unfinished_jobs(runs: Runs) -> list[str]:
    """Returns a note for each run folder in some places that has no results.

    Such a job has failed or is still running.
    """
    folders = set()
    for _, place in list_places(runs):
        for path in place.rglob("versions.json"):
            folders.add(path.parent)
    notes = []
    for folder in sorted(folders):
        if not any(folder.rglob("metrics.json")):
            notes.append(f"{folder} has no results: it failed, or is not done")
    return notes


def _load_result(folder: Path, name: str | None) -> Result:
    """Loads one result folder. Raises ValueError naming the file that is missing or damaged."""
    if not (folder / "per_query.parquet").is_file():
        raise ValueError(
            f"{folder} has metrics.json but no per_query.parquet, without which nothing can be "
            "tested: measure the model again with `hybrid-ir evaluate`"
        )
    metrics = _read_json(folder / "metrics.json")
    _require_form(_METRICS_ADAPTER, metrics, folder / "metrics.json")
    card = _load_card(folder)
    return Result(folder, metrics, card, read_log_rows(_find_steps_file(folder, card)), name)


def _load_card(folder: Path) -> dict[str, Any]:
    """Loads evaluation_card.json, or builds its main part from config.yaml where there is none."""
    card_path = folder / "evaluation_card.json"
    config_path = folder / "config.yaml"
    if card_path.is_file():
        card = _read_json(card_path)
        _require_form(_CARD_ADAPTER, card, card_path)
        is_untrained_run = not card["training"] and card["model"].get("kind") == "run"
        if is_untrained_run and config_path.is_file():
            config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
            _require_own_training(config, folder)
            # The card of a run names the model by its folder.
            card["model"]["name"] = _name_encoder(config)
        return card
    if config_path.is_file():
        config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
        return _build_card_from_config(config, config_path)
    raise ValueError(
        f"{folder} has neither evaluation_card.json nor config.yaml, so nobody knows which model "
        "it is about: measure the model again with `hybrid-ir evaluate`"
    )


def _find_steps_file(folder: Path, card: dict[str, Any]) -> Path:
    """Returns where the logged steps of the measured model would be.

    They are in the result folder or, where a checkpoint was evaluated without a correction, in the
    folder of the run that wrote the checkpoint.
    """
    own_file = folder / "metrics.jsonl"
    checkpoint = card["model"].get("path")
    postprocess = (card.get("postprocess") or {}).get("name", "none")
    if own_file.is_file() or not checkpoint:
        return own_file
    if card["model"].get("kind") != "run" or postprocess != "none":
        return own_file
    return Path(checkpoint).parent.parent / "metrics.jsonl"


def _read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises ValueError if the file holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is not JSON ({error}): measure the model again") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, not an object: measure the model again"
        )
    return content


def _refuse_constant(name: str) -> None:
    """Refuses NaN and infinity, which Python would read.

    JSON does not know them, no evaluation writes them, and no mean may rest on them.
    """
    raise ValueError(f"{name} is no number")


def _require_form(adapter: TypeAdapter, content: dict[str, Any], path: Path) -> None:
    """Raises ValueError naming every key that is missing or of the wrong type."""
    try:
        adapter.validate_python(content)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            key = ".".join(map(str, detail["loc"]))
            if detail["type"] == "missing":
                problems.append(f"no key {key}")
            else:
                problems.append(f"{key} is {detail['input']!r:.60}: {detail['msg']}")
        raise ValueError(
            f"{path} is not as an evaluation writes it ({'; '.join(problems)}): measure the model "
            "again"
        ) from error


def _build_card_from_config(config: Any, path: Path) -> dict[str, Any]:
    """Builds the part of a card that the resolved config of an old run folder contains.

    The name of the sampler is derived from its values. Raises ValueError if a key is missing.
    """
    try:
        sampler = config["sampler"]
        model = _name_encoder(config)
        share = float(sampler["monolingual_share"])
        level = sampler["level"]
        languages = sampler.get("languages")
        sampler_name = name_sampler(share, level, languages)
        _require_own_training(config, path.parent)
        training = {
            "sampler": sampler_name,
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
            f"{path} lacks {error} and there is no evaluation_card.json beside it: measure the "
            "model again with `hybrid-ir evaluate`"
        ) from error


def _name_encoder(config: Any) -> str:
    """Returns the name of the encoder in a run's resolved config."""
    backbone = config["model"]["backbone"]
    return Path(backbone).name if isinstance(backbone, str) else "tiny"


def _require_own_training(config: Any, folder: Path) -> None:
    """Raises ValueError for a run that only measured the checkpoint of another run.

    Its config does not describe how that checkpoint was trained.
    """
    if not config.get("fit", True) and config.get("ckpt_path"):
        raise ValueError(
            f"{folder} measured {config['ckpt_path']} without training, and does not say how that "
            "was trained: measure it with `hybrid-ir evaluate checkpoint=...`, or leave this "
            "folder out"
        )
