"""`hybrid-ir latency checkpoints=[A,B]`: what a query costs, and whether checkpoints differ in it."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli.config import PLAIN_ENCODER_KEYS, parse_paths, set_plain_texts, split_plain_texts
from hybrid_ir.latency.report import build_latency_card, write_latency_report
from hybrid_ir.latency.session import run_latency_session
from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.runs import encoders as models
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder, require_benchmarks
from hybrid_ir.runs.folder import require_no_results
from hybrid_ir.system.setup import prepare_process
from hybrid_ir.types import Benchmark, TextEncoder, parse_languages

LISTS, VALUES = (
    ("batch_sizes", "pools", "backends", "search"),
    ("top_k", "margin", "rounds", "warmup", "pool_dtype", "pool_vectors", "pool_passages", "seed"),
)


def main(arguments: list[str]) -> None:
    helping = {"-h", "--help"} & set(arguments)
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        asked = [
            value
            for key, _, value in (argument.partition("=") for argument in arguments)
            if key == "benchmark"
        ]
        require_benchmarks("benchmark", asked, but="none")
        rest, texts = split_plain_texts(
            [] if helping else arguments, (*PLAIN_ENCODER_KEYS, "checkpoints")
        )
        places = texts.pop("checkpoints", None)
        cfg = set_plain_texts(compose("latency", overrides=rest), texts)
        cfg.checkpoints = parse_paths(places or "")
        if helping:
            print(OmegaConf.to_yaml(cfg), end="")
            return
        prepare_process(cfg.seed, cfg.threads)
        threads_of_tokenizers(cfg.threads)
        settings, out = settings_of(cfg), folder_of(cfg)
        require_no_results(out, "latency.json", "latency.parquet")
        benchmark = benchmark_of(cfg)
        loaded = loaded_of(cfg)
    console = Console()
    study, pools, left_out = run_latency_session(
        {label: encoder for label, (encoder, _) in loaded.items()}, benchmark, settings, console
    )
    card = build_latency_card(settings, benchmark, loaded, pools, left_out)
    write_latency_report(study, card, settings.margin, settings.seed, out, console)


def threads_of_tokenizers(threads: int) -> None:
    """As many as torch has: a batch is tokenised on all cores otherwise, whatever `threads` says."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # read once, before the first text


def settings_of(cfg: DictConfig) -> LatencySettings:
    """The checked choices; a list of one may be given without its brackets."""
    if cfg.precision != "fp32":
        raise ValueError(
            f"precision={cfg.precision!r}: here backends say it, backends=[torch_fp32,torch_bf16] measures both"
        )
    lists = {key: list(cfg[key]) if OmegaConf.is_list(cfg[key]) else [cfg[key]] for key in LISTS}
    return LatencySettings(**lists, **{key: cfg[key] for key in VALUES})


def benchmark_of(cfg: DictConfig) -> Benchmark:
    for key in ("languages", "max_queries"):
        if cfg[key] is not None and cfg.benchmark:
            cfg.benchmark[key] = cfg[key]
    benchmark = build(cfg.benchmark)
    if benchmark is None:
        raise ValueError("benchmark=none has no queries to time: choose a name in conf/benchmark")
    return benchmark


def loaded_of(cfg: DictConfig) -> dict[str, tuple[TextEncoder, dict[str, Any]]]:
    """Every checkpoint with its card, by a label that tells them apart; all that cannot be loaded are named at once."""
    places = parse_languages(cfg.checkpoints)
    if not places:
        raise ValueError(
            "checkpoints=[] has nothing to measure: give run folders, .ckpt files, names in conf/model, folders or "
            "hub ids, for example checkpoints=[RUN_A,RUN_B]"
        )
    loaded, wrong = {}, []
    for place in places:
        try:
            encoder, card = models.load_any_encoder(str(place), cfg)
        except ValueError as error:
            wrong.append(f"checkpoints: {error}")
            continue
        loaded[label_of(card, loaded)] = encoder, card
    if wrong:
        raise ValueError("; ".join(wrong))
    return loaded


def label_of(card: dict[str, Any], taken: dict[str, Any]) -> str:
    """What a run trained, or a model's name; numbered where it is taken."""
    training = card["training"]
    share = (
        f" {training['monolingual_share']:g}"
        if training and training["sampler"].startswith("hybrid")
        else ""
    )
    label = (
        f"{training['model']} {training['sampler']}{share} seed{training['seed']}"
        if training
        else card["model"]["name"]
    )
    same = sum(name == label or name.startswith(f"{label} #") for name in taken)
    return f"{label} #{same + 1}" if same else label


def folder_of(cfg: DictConfig) -> Path:
    return Path(cfg.out or f"{cfg.paths.output_dir}/latency/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
