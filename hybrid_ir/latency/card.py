"""The card of a measurement: the machine, the models, the pools and the versions that its numbers hold for."""

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hybrid_ir.latency.backends import with_weights
from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.system.environment import PACKAGES, get_installed_version, read_git_state
from hybrid_ir.types import Benchmark, TextEncoder

OPTIONAL = (
    "sentence-transformers",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "onnxscript",
    "faiss-cpu",
    "faiss-gpu",
)


def build_latency_card(
    settings: LatencySettings,
    benchmark: Benchmark,
    models: dict[str, tuple[TextEncoder, dict[str, Any]]],
    pools: dict[str, Any],
    left_out: list[str],
) -> dict[str, Any]:
    """`models` by their label, each with the card that loading it gave."""
    encoder = next(iter(models.values()))[0]
    source = benchmark.source
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(encoder.device),
        "settings": asdict(settings),
        "benchmark": {
            "name": source.name,
            "revision": source.revision,
            "choices": source.choices,
            "languages": list(benchmark.languages),
            "queries": len(benchmark.queries),
            "passages": len(benchmark.passages),
        },
        "checkpoints": {
            label: {
                **card,
                "reading": encoder.reading(),
                "attention_kernel": attention(encoder),
                "weights_dtype": str(next(with_weights(encoder).parameters()).dtype).removeprefix(
                    "torch."
                ),
            }
            for label, (encoder, card) in models.items()
        },
        "precision": {
            "torch_fp32": "float32",
            "torch_bf16": "bfloat16 autocast",
            "torch_compile": "float32",
            "onnx": "float32",
        },
        "pools": pools,
        "left_out": left_out,
        "versions": versions(),
        "git": read_git_state(Path(__file__).parent),
    }


def machine(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def cpu_model() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def attention(encoder: TextEncoder) -> str | None:
    """`sdpa`, `eager` or another kernel of transformers; None for a model of another library."""
    configs = (getattr(module, "config", None) for module in with_weights(encoder).modules())
    return next(
        (found for config in configs if (found := getattr(config, "_attn_implementation", None))),
        None,
    )


def versions() -> dict[str, str | None]:
    return {
        "python": platform.python_version(),
        **{name: get_installed_version(name) for name in PACKAGES},
        **{name: found for name in OPTIONAL if (found := get_installed_version(name))},
    }
