"""`hybrid-ir evaluate`: measures any bi-encoder on any benchmarks, a card beside every number."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli.config import RESULT_LOGGERS, choose_output_folder
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_choice_problems,
    find_number_problems,
    find_split_problems,
)
from hybrid_ir.debias.folder import describe_unfair_test
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.evaluate import (
    Evaluation,
    EvaluationSettings,
    evaluate_with_corrections,
)
from hybrid_ir.evaluation.mteb_scores import MTEB_SCORES_FILE
from hybrid_ir.evaluation.postprocess import require_corrections
from hybrid_ir.evaluation.remembering_encoder import RememberingEncoder
from hybrid_ir.evaluation.report import write_report
from hybrid_ir.evaluation.top_k import write_trec_runs
from hybrid_ir.mteb_tasks.evaluation import evaluate_with_mteb, print_mteb_scores
from hybrid_ir.mteb_tasks.tasks import MtebTasks
from hybrid_ir.runs import encoders
from hybrid_ir.runs.building import build, build_own_benchmark, is_of_mteb
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.folder import lock_folder, require_checkpoint_choice, require_no_results
from hybrid_ir.runs.shipped_files import list_options
from hybrid_ir.runs.training_record import describe_checkpoint
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Benchmark

LONG_PASSAGE_POLICIES = ("truncate", "max_passage")
SEED = 1  # of conf/encoder
WINDOW_OVERLAP = 0.5  # of conf/evaluate.yaml


def run(cfg: DictConfig) -> None:
    """Measures the encoder of a config on its benchmarks, one after the other."""
    if not cfg.benchmark:
        known = ", ".join(list_options("benchmark"))
        raise ValueError(f"benchmark=[A,B,...] must name at least one of {known}")
    prepare_process(cfg.seed, cfg.threads)
    corrections = list_corrections(cfg)
    require_corrections(corrections, cfg.postprocess_on)
    require_valid_evaluation(cfg)
    results = list_result_files(cfg, corrections)
    if cfg.out:
        require_no_results(Path(cfg.out).expanduser(), *results)
    # Misspelt tasks are refused before a model is loaded.
    mteb_tasks = {name: build(config) for name, config in select_mteb(cfg).items()}
    settings = encoders.EncoderSettings.from_config(cfg)
    loaded = encoders.load_any_encoder(str(cfg.checkpoint or cfg.model), settings)
    if "checkpoint" in loaded.model:
        print(describe_checkpoint(loaded.model))
    benchmarks = {}
    for name, config in cfg.benchmark.items():
        benchmarks[name] = mteb_tasks[name] if name in mteb_tasks else build(config)
    split = find_split(cfg, benchmarks)
    encoder = loaded.encoder
    if len(benchmarks) > 1:
        encoder = RememberingEncoder(encoder)
    out = choose_output_folder(cfg, "evaluate", prefix=f"{loaded.encoder.name}_")
    with lock_folder(out):
        require_no_results(out, *results)  # another process may have been there before this one
        for name, benchmark in benchmarks.items():
            if isinstance(benchmark, MtebTasks):
                measure_with_mteb(benchmark, loaded, cfg, out / name)
                continue
            # None stands for the benchmark that is measured, whose name cards call `test`.
            other_split = None if split is benchmark else split
            evaluation_settings = read_evaluation_settings(cfg, corrections, other_split)
            embeddings = out / name / "embeddings" if cfg.save_embeddings else None
            evaluations = evaluate_with_corrections(
                benchmark, encoder, evaluation_settings, out, embeddings
            )
            digest = hash_benchmark(benchmark)
            note = describe_unfair_test(loaded.model.get("correction"), benchmark.name, digest)
            if note is not None:
                print(note, file=sys.stderr)
            for evaluation in evaluations:
                folder = out / name_result_folder(name, evaluation.postprocess)
                write_result(evaluation, digest, loaded, cfg, folder)


def list_result_files(cfg: DictConfig, corrections: Sequence[str]) -> list[str]:
    """Returns the file of each result that makes it complete, relative to the output folder."""
    mteb_names = select_mteb(cfg)
    files = []
    for name in cfg.benchmark:
        if name in mteb_names:
            files.append(f"{name}/{MTEB_SCORES_FILE}")
            continue
        for correction in corrections:
            files.append(f"{name_result_folder(name, correction)}/metrics.json")
    return files


def select_mteb(cfg: DictConfig) -> dict[str, DictConfig]:
    """Returns the configs of those benchmarks whose tasks mteb evaluates itself, by name."""
    return {name: config for name, config in cfg.benchmark.items() if is_of_mteb(config)}


def list_corrections(cfg: DictConfig) -> list[str]:
    """Returns the names of the corrections; one may be given without brackets."""
    if isinstance(cfg.postprocess, str):
        return [cfg.postprocess]
    return list(cfg.postprocess or ())


def require_valid_evaluation(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_number_problems(
        cfg, {"run_depth": 0, "texts_per_chunk": 1, "postprocess_components": 1}
    )
    problems += find_boolean_problems(cfg, "save_embeddings", "trust_remote_code")
    problems += find_choice_problems(cfg, "long_passages", LONG_PASSAGE_POLICIES)
    problems += find_choice_problems(cfg, "logger", RESULT_LOGGERS)
    if type(cfg.window_overlap) not in (int, float) or not 0 <= cfg.window_overlap < 1:
        problems.append(f"window_overlap={cfg.window_overlap!r} must be 0 or more and below 1")
    if bool(cfg.checkpoint) == bool(cfg.model):
        problems.append(
            "say what to evaluate: checkpoint=RUN for a run of ours, or model=NAME for any other "
            "encoder, not both"
        )
    if cfg.seed != SEED:
        problems.append(
            f"seed={cfg.seed} changes nothing: nothing of an evaluation is drawn by chance"
        )
    if cfg.long_passages == "truncate" and cfg.window_overlap != WINDOW_OVERLAP:
        problems.append(
            f"window_overlap={cfg.window_overlap} changes nothing where long passages are cut: say "
            "long_passages=max_passage"
        )
    problems += find_mteb_problems(cfg)
    corrections = list_corrections(cfg)
    if cfg.postprocess_on is not None and set(corrections) <= {"none"}:
        problems.append(
            f"postprocess_on={cfg.postprocess_on} changes nothing without a correction: say "
            "postprocess=center, lir or shift"
        )
    if cfg.postprocess_components != 1 and "lir" not in corrections:
        problems.append(
            f"postprocess_components={cfg.postprocess_components} is for postprocess=lir alone"
        )
    problems += find_split_problems(cfg, "postprocess_on")
    if problems:
        raise ValueError("; ".join(problems))
    require_checkpoint_choice(cfg.test_checkpoint)


def find_mteb_problems(cfg: DictConfig) -> list[str]:
    """Returns which keys mteb's evaluation could not honour."""
    mteb_names = select_mteb(cfg)
    if not mteb_names:
        return []
    problems = []
    if cfg.long_passages != "truncate":
        problems.append(
            f"long_passages={cfg.long_passages} is not for {', '.join(mteb_names)}: mteb cuts long "
            "passages; measure the other benchmarks by a command of their own"
        )
    if "none" not in list_corrections(cfg):
        problems.append(
            f"postprocess={cfg.postprocess} is not for {', '.join(mteb_names)}: mteb measures the "
            "encoder as it is; add none, as in postprocess=[none,center]"
        )
    if cfg.postprocess_on in mteb_names:
        problems.append(
            f"postprocess_on={cfg.postprocess_on}: mteb's tasks cannot estimate a correction, name "
            "another benchmark"
        )
    if len(mteb_names) == len(cfg.benchmark):
        for key, usual in (("run_depth", 0), ("save_embeddings", False), ("texts_per_chunk", 4096)):
            if cfg[key] != usual:
                problems.append(f"{key}={cfg[key]} changes nothing in mteb's evaluation")
    return problems


def find_split(cfg: DictConfig, benchmarks: dict[str, Benchmark]) -> Benchmark | None:
    """Returns the benchmark that estimates corrections; None for the one that is measured."""
    name = cfg.postprocess_on
    if name in benchmarks:
        _require_no_split_keys(cfg, name)
        return benchmarks[name]
    for config in cfg.split.values():
        return build_own_benchmark(config)
    return None


def _require_no_split_keys(cfg: DictConfig, name: str) -> None:
    """Refuses keys of the split where it is a benchmark that is measured, with its own keys."""
    option = [f"+benchmark@split.{name}={name}"]
    unchanged = compose_config("evaluate", option, cfg.config_folders).split[name]
    split = OmegaConf.to_container(cfg.split[name], resolve=False)
    if split != OmegaConf.to_container(unchanged, resolve=False):
        raise ValueError(
            f"split.{name}.KEY changes nothing, since {name} is measured as well: its keys are "
            f"benchmark.{name}.KEY"
        )


def read_evaluation_settings(
    cfg: DictConfig, corrections: Sequence[str], split: Benchmark | None
) -> EvaluationSettings:
    """Returns how a benchmark is measured, from the keys of conf/evaluate.yaml."""
    settings = EvaluationSettings(
        postprocess=corrections,
        postprocess_on=split,
        postprocess_source=cfg.postprocess_source,
        postprocess_components=cfg.postprocess_components,
        run_depth=cfg.run_depth,
        texts_per_chunk=cfg.texts_per_chunk,
    )
    if cfg.long_passages == "max_passage":
        settings = replace(settings, window_overlap=cfg.window_overlap)
    return settings


def measure_with_mteb(
    tasks: MtebTasks, loaded: encoders.LoadedEncoder, cfg: DictConfig, folder: Path
) -> None:
    """Has mteb evaluate its tasks, writes the results, and prints its scores."""
    record = evaluate_with_mteb(
        loaded.encoder, tasks, folder, model=loaded.model, training=loaded.training
    )
    print_mteb_scores(record, folder, Console())
    if cfg.logger == "wandb":
        from hybrid_ir.training.wandb_logging import log_results_to_wandb  # It loads wandb.

        config = OmegaConf.to_container(cfg, resolve=True)
        name = loaded.encoder.name
        log_results_to_wandb(folder, f"{name}_{folder.name}", config, group=name)


def name_result_folder(benchmark: str, correction: str) -> str:
    """Returns the name of the folder with the results of a benchmark under a correction."""
    return benchmark if correction == "none" else f"{benchmark}-{correction}"


def write_result(
    evaluation: Evaluation,
    digest: str | None,
    loaded: encoders.LoadedEncoder,
    cfg: DictConfig,
    folder: Path,
) -> None:
    """Writes one result folder and prints its tables; docs/evaluation.md lists the files."""
    card = evaluation.build_card(model=loaded.model, training=loaded.training, digest=digest)
    folder.mkdir(parents=True, exist_ok=True)
    name = loaded.encoder.name
    write_trec_runs(evaluation.runs, evaluation.results.benchmark, name, folder)
    write_report(evaluation.results, card, folder, Console())
    if cfg.logger == "wandb":
        from hybrid_ir.training.wandb_logging import log_results_to_wandb  # It loads wandb.

        config = OmegaConf.to_container(cfg, resolve=True)
        config["evaluation_card"] = card
        log_results_to_wandb(folder, f"{name}_{folder.name}", config, group=name)
