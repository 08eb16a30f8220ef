"""`hybrid-ir evaluate`: measure any bi-encoder on any benchmarks, with a card beside every number."""

from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console

from hybrid_ir.commands import build, conf_folder, models, names, prepare
from hybrid_ir.commands.overrides import ENCODER_TEXTS, as_text, listed
from hybrid_ir.evaluation.card import evaluation_card
from hybrid_ir.evaluation.evaluate import Choices, Measured, evaluate
from hybrid_ir.evaluation.postprocess import require
from hybrid_ir.evaluation.report import report
from hybrid_ir.evaluation.runs import write_runs
from hybrid_ir.types import Benchmark, TextEncoder
from hybrid_ir.wandb_tables import log_results

TEXTS = (*ENCODER_TEXTS, "checkpoint", "place")
LONG = ("truncate", "max_passage")


def main(arguments: list[str]) -> None:
    if set(arguments) & {"-h", "--help"}:
        for file in ("evaluate.yaml", "encoder/default.yaml"):
            print((Path(conf_folder()) / file).read_text())
        return
    with initialize_config_dir(conf_folder(), version_base="1.3"):
        run(composed("evaluate", arguments))


def composed(config: str, arguments: list[str]) -> DictConfig:
    """The config with `benchmark=[a,b]` read as choices of the group benchmark, one key each: benchmark.a, benchmark.b."""
    chosen, rest = [], []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "benchmark":
            chosen = listed(value)
        else:  # model and logger are groups of conf/, and here a place and a switch
            renamed = {"model": "place", "logger": "track"}.get(key, key)
            rest.append(as_text(renamed + argument.removeprefix(key), TEXTS))
    unknown = [name for name in chosen if name not in names("benchmark")]
    if unknown or not chosen:
        raise ValueError(f"benchmark={chosen} must name at least one and only some of {', '.join(names('benchmark'))}")
    return compose(config, overrides=[*(f"+benchmark@benchmark.{name}={name}" for name in chosen), *rest])


def run(cfg: DictConfig) -> None:
    prepare(cfg.seed, cfg.threads)
    corrections = [cfg.postprocess] if isinstance(cfg.postprocess, str) else list(cfg.postprocess)
    require(corrections, cfg.postprocess_on)
    if cfg.long_passages not in LONG or cfg.run_depth < 0 or cfg.texts_per_chunk < 1:
        raise ValueError(f"long_passages={cfg.long_passages!r} must be one of {', '.join(LONG)}, run_depth={cfg.run_depth} at "
                         f"least 0 and texts_per_chunk={cfg.texts_per_chunk} at least 1")
    if cfg.track not in ("none", "wandb"):
        raise ValueError(f"logger={cfg.track!r} must be none or wandb")
    if (cfg.checkpoint is None) == (cfg.place is None):
        raise ValueError("say what to evaluate: checkpoint=RUN for a run of ours, or model=NAME for any other encoder, not both")
    encoder, parts = models.load(str(cfg.checkpoint or cfg.place), cfg)
    benchmarks = {name: build(config) for name, config in cfg.benchmark.items()}
    on = estimated_on(cfg, set(corrections))
    choices = Choices(
        corrections, on, cfg.postprocess_source, cfg.postprocess_components,
        cfg.window_overlap if cfg.long_passages == "max_passage" else None, cfg.run_depth, cfg.texts_per_chunk)
    out = Path(cfg.out or Path(cfg.paths.output_dir) / "evaluate" / f"{encoder.name}_{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    for name, benchmark in benchmarks.items():
        shards = out / name / "embeddings" if cfg.save_embeddings else None
        for measured in evaluate(benchmark, encoder, choices, shards):
            folder = out / (name if measured.postprocess == "none" else f"{name}-{measured.postprocess}")
            write(measured, encoder, parts, cfg, folder)


def estimated_on(cfg: DictConfig, corrections: set[str]) -> Benchmark | None:
    """The split of the corrections; None for the benchmark itself."""
    if cfg.postprocess_on in (None, "test") or corrections == {"none"}:
        return None
    if cfg.postprocess_on not in names("benchmark"):
        raise ValueError(f"postprocess_on={cfg.postprocess_on} must be test or one of {', '.join(names('benchmark'))}")
    overrides = [f"+benchmark={cfg.postprocess_on}", f"corpus.languages={cfg.corpus.languages}"]
    return build(compose("evaluate", overrides=overrides).benchmark)


def write(measured: Measured, encoder: TextEncoder, parts: dict[str, Any], cfg: DictConfig, folder: Path) -> None:
    """One result folder: see docs/evaluation.md for its files."""
    cut = {role: encoder.texts_cut[role] / max(1, encoder.texts_read[role]) for role in encoder.texts_read}
    windows = cfg.long_passages == "max_passage"
    card = evaluation_card(
        measured.results, reading=encoder.reading(), texts_cut=cut, device=str(encoder.device),
        long_passages={"policy": cfg.long_passages, "window_overlap": cfg.window_overlap if windows else None,
                       "windows": measured.windows},
        postprocess={"name": measured.postprocess, "estimated_on": measured.estimated_on,
                     "components": cfg.postprocess_components if measured.postprocess == "lir" else None,
                     "source": cfg.postprocess_source if measured.postprocess == "shift" else None}, **parts)
    report(measured.results, card, folder, Console())
    write_runs(measured.runs, measured.results.benchmark, encoder.name, folder)
    if cfg.track == "wandb":
        log_results(folder, f"{encoder.name}_{folder.name}")
