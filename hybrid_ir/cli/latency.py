"""`hybrid-ir latency checkpoints=[A,B]`: what a query costs, and whether checkpoints differ."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli.config import choose_output_folder
from hybrid_ir.inference.graph_encoder import TORCH
from hybrid_ir.latency.report import build_latency_card, write_latency_report
from hybrid_ir.latency.session import run_latency_session
from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.runs.building import build_own_benchmark
from hybrid_ir.runs.encoders import EncoderSettings, LoadedEncoder, load_any_encoder
from hybrid_ir.runs.folder import require_no_results
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Benchmark

# Keys of the settings: lists, of which one item may be given without brackets, and single values.
LIST_KEYS = ("batch_sizes", "pools", "backends", "search")
VALUE_KEYS = (
    "top_k",
    "margin",
    "rounds",
    "warmup",
    "pool_dtype",
    "pool_vectors",
    "pool_passages",
    "seed",
)


def run(cfg: DictConfig) -> None:
    """Times the queries of a benchmark with every checkpoint of a config."""
    prepare_process(cfg.seed, cfg.threads)
    limit_tokenizer_threads(torch.get_num_threads())
    settings = read_latency_settings(cfg)
    out = choose_output_folder(cfg, "latency")
    require_no_results(out, "latency.json", "latency.parquet")
    benchmark = build_benchmark(cfg)
    loaded = load_encoders(cfg)
    console = Console()
    encoders = {label: model.encoder for label, model in loaded.items()}
    study, pools, left_out = run_latency_session(
        encoders, benchmark, settings, console, cfg.paths.cache_dir
    )
    described = {label: (model.encoder, model.describe()) for label, model in loaded.items()}
    card = build_latency_card(settings, benchmark, described, pools, left_out)
    write_latency_report(study, card, settings.margin, settings.seed, out, console)


def limit_tokenizer_threads(threads: int) -> None:
    """Lets tokenizers have as many threads as torch; they take all cores for a batch otherwise."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # read once, before the first text


def read_latency_settings(cfg: DictConfig) -> LatencySettings:
    """Returns the settings of a study. Raises ValueError for a choice that does not exist."""
    if cfg.precision != "fp32":
        raise ValueError(
            f"precision={cfg.precision!r}: here backends say it, "
            "backends=[torch_fp32,torch_bf16] measures both"
        )
    if cfg.backend != TORCH:
        raise ValueError(
            f"backend={cfg.backend!r}: here several are measured, "
            "backends=[torch_fp32,onnx,onnx_int8,openvino]"
        )
    values: dict[str, Any] = {key: cfg[key] for key in VALUE_KEYS}
    for key in LIST_KEYS:
        values[key] = list(cfg[key]) if OmegaConf.is_list(cfg[key]) else [cfg[key]]
    return LatencySettings(**values)


def build_benchmark(cfg: DictConfig) -> Benchmark:
    """Builds the benchmark whose queries are timed. Raises ValueError if there is none."""
    for key in ("languages", "max_queries"):
        if cfg[key] is not None and cfg.benchmark:
            if key not in cfg.benchmark:
                raise ValueError(f"{key}={cfg[key]}: the chosen benchmark has no such key")
            cfg.benchmark[key] = cfg[key]
    benchmark = build_own_benchmark(cfg.benchmark)
    if benchmark is None:
        raise ValueError("benchmark=none has no queries to time: choose a name in conf/benchmark")
    if not isinstance(benchmark, Benchmark):
        raise ValueError(f"benchmark gives {benchmark!r}, which is no Benchmark")
    return benchmark


def load_encoders(cfg: DictConfig) -> dict[str, LoadedEncoder]:
    """Loads every checkpoint, by a label that tells them from each other.

    Raises:
        ValueError: names all that cannot be loaded.
    """
    places = list(cfg.checkpoints)
    if not places:
        raise ValueError(
            "checkpoints=[] has nothing to measure: give run folders, .ckpt files, names in "
            "conf/model, folders or hub ids, for example checkpoints=[RUN_A,RUN_B]"
        )
    settings = EncoderSettings.from_config(cfg)
    loaded: dict[str, LoadedEncoder] = {}
    problems = []
    for place in places:
        try:
            encoder = load_any_encoder(str(place), settings)
        except ValueError as error:
            problems.append(f"checkpoints: {error}")
            continue
        loaded[choose_label(encoder, loaded)] = encoder
    if problems:
        raise ValueError("; ".join(problems))
    return loaded


def choose_label(loaded: LoadedEncoder, labels: Mapping[str, Any]) -> str:
    """Returns what a run trained, or a model's name; with a number where another has that label."""
    label = loaded.model["name"]
    training = loaded.training
    if training is not None:
        share = ""
        if training["sampler"].startswith("hybrid"):
            share = f" {training['monolingual_share']:g}"
        label = f"{training['model']} {training['sampler']}{share} seed{training['seed']}"
    same = [other for other in labels if other == label or other.startswith(f"{label} #")]
    return f"{label} #{len(same) + 1}" if same else label
