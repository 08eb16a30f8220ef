"""`hybrid-ir evaluate`: measure any bi-encoder on any benchmarks, with a card beside every number."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console

from hybrid_ir.cli.config import PLAIN_ENCODER_KEYS, parse_list, set_plain_texts, split_plain_texts
from hybrid_ir.evaluation.card import build_evaluation_card, hash_benchmark
from hybrid_ir.evaluation.evaluate import Evaluation, EvaluationSettings, evaluate_with_corrections
from hybrid_ir.evaluation.postprocess import require_corrections
from hybrid_ir.evaluation.report import write_report
from hybrid_ir.evaluation.trec_runs import write_trec_runs
from hybrid_ir.runs import encoders as models
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder, list_options, require_benchmarks
from hybrid_ir.runs.folder import lock_folder, require_no_results
from hybrid_ir.system.setup import prepare_process
from hybrid_ir.training.wandb_logging import log_results_to_wandb
from hybrid_ir.types import TextEncoder

TEXTS = (*PLAIN_ENCODER_KEYS, "checkpoint", "place")
LONG = ("truncate", "max_passage")


def main(arguments: list[str]) -> None:
    if set(arguments) & {"-h", "--help"}:
        for file in ("evaluate.yaml", "encoder/default.yaml"):
            print((Path(find_conf_folder()) / file).read_text())
        return
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        run(composed("evaluate", arguments))


def composed(config: str, arguments: list[str]) -> DictConfig:
    """The config with `benchmark=[a,b]` read as choices of the group benchmark, one key each: benchmark.a, benchmark.b.

    A benchmark that only estimates corrections is put under split, with the same keys.
    """
    chosen, renamed, on = [], [], None
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "benchmark":
            chosen = list(dict.fromkeys(parse_list(value)))
        else:  # model and logger are groups of conf/, and here a place and a switch
            renamed.append(
                {"model": "place", "logger": "track"}.get(key, key) + argument.removeprefix(key)
            )
            on = value if key == "postprocess_on" and value not in ("test", "null") else on
    if not chosen:
        raise ValueError(
            f"benchmark=[A,B,...] must name at least one of {', '.join(list_options('benchmark'))}"
        )
    require_benchmarks("benchmark", chosen)
    require_benchmarks("postprocess_on", [on] if on else [], but="test")
    groups = [f"+benchmark@benchmark.{name}={name}" for name in chosen] + (
        [f"+benchmark@split.{on}={on}"] if on and on not in chosen else []
    )
    rest, texts = split_plain_texts(renamed, TEXTS)
    return set_plain_texts(compose(config, overrides=[*groups, *rest]), texts)


def run(cfg: DictConfig) -> None:
    prepare_process(cfg.seed, cfg.threads)
    corrections = (
        [cfg.postprocess] if isinstance(cfg.postprocess, str) else list(cfg.postprocess or ())
    )
    require_corrections(corrections, cfg.postprocess_on)
    require_values(cfg)
    results = [
        f"{folder_name(name, fix)}/metrics.json" for name in cfg.benchmark for fix in corrections
    ]
    if cfg.out:
        require_no_results(Path(cfg.out), *results)
    encoder, parts = models.load_any_encoder(str(cfg.checkpoint or cfg.place), cfg)
    benchmarks = {name: build(config) for name, config in cfg.benchmark.items()}
    split = benchmarks.get(cfg.postprocess_on) or next(map(build, cfg.split.values()), None)
    choices = EvaluationSettings(
        corrections,
        split,
        cfg.postprocess_source,
        cfg.postprocess_components,
        cfg.window_overlap if cfg.long_passages == "max_passage" else None,
        cfg.run_depth,
        cfg.texts_per_chunk,
    )
    out = Path(
        cfg.out
        or Path(cfg.paths.output_dir)
        / "evaluate"
        / f"{encoder.name}_{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    )
    with lock_folder(out):
        require_no_results(out, *results)  # another process may have been there before this one
        for name, benchmark in benchmarks.items():
            digest = hash_benchmark(benchmark)
            kept = out / name / "embeddings" if cfg.save_embeddings else None
            itself = (
                replace(choices, postprocess_on=None) if benchmark is split else choices
            )  # then it is `test`, by its name
            for measured in evaluate_with_corrections(benchmark, encoder, itself, out, kept):
                write(
                    measured,
                    digest,
                    encoder,
                    parts,
                    cfg,
                    out / folder_name(name, measured.postprocess),
                )


def require_values(cfg: DictConfig) -> None:
    """ValueError naming every value that is of a wrong type or out of range."""
    wrong = [
        f"{key}={cfg[key]!r} must be a whole number from {least}"
        for key, least in (("run_depth", 0), ("texts_per_chunk", 1), ("postprocess_components", 1))
        if type(cfg[key]) is not int or cfg[key] < least
    ]
    wrong += [
        f"{key}={cfg[key]!r} must be true or false"
        for key in ("save_embeddings", "trust_remote_code")
        if not isinstance(cfg[key], bool)
    ]
    wrong += [
        f"{key}={value!r} must be one of {', '.join(known)}"
        for key, value, known in (
            ("long_passages", cfg.long_passages, LONG),
            ("logger", cfg.track, ("none", "wandb")),
        )
        if value not in known
    ]
    if type(cfg.window_overlap) not in (int, float) or not 0 <= cfg.window_overlap < 1:
        wrong.append(f"window_overlap={cfg.window_overlap!r} must be 0 or more and below 1")
    if (cfg.checkpoint is None) == (cfg.place is None):
        wrong.append(
            "say what to evaluate: checkpoint=RUN for a run of ours, or model=NAME for any other encoder, not both"
        )
    if wrong:
        raise ValueError("; ".join(wrong))


def folder_name(benchmark: str, correction: str) -> str:
    """Of the results of a benchmark under a correction."""
    return benchmark if correction == "none" else f"{benchmark}-{correction}"


def write(
    measured: Evaluation,
    digest: str | None,
    encoder: TextEncoder,
    parts: dict[str, Any],
    cfg: DictConfig,
    folder: Path,
) -> None:
    """One result folder: see docs/evaluation.md for its files."""
    windows = cfg.long_passages == "max_passage"
    card = build_evaluation_card(
        measured.results,
        digest,
        reading=encoder.reading(),
        texts_cut=measured.texts_cut,
        device=str(encoder.device),
        long_passages={
            "policy": cfg.long_passages,
            "window_overlap": cfg.window_overlap if windows else None,
            "windows": measured.windows,
        },
        postprocess={
            "name": measured.postprocess,
            "estimated_on": measured.estimated_on,
            "estimated_from": measured.estimated_from,
            "components": cfg.postprocess_components if measured.postprocess == "lir" else None,
            "source": cfg.postprocess_source if measured.postprocess == "shift" else None,
        },
        **parts,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_trec_runs(measured.runs, measured.results.benchmark, encoder.name, folder)
    write_report(measured.results, card, folder, Console())
    if cfg.track == "wandb":
        log_results_to_wandb(folder, f"{encoder.name}_{folder.name}")
