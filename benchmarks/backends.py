"""Backends of an encoder beside those of sentence-transformers: time of a query, and lost mAP.

    python benchmarks/backends.py DATA/xquad-r MODEL --query-prefix "query: " --passage-prefix "passage: "

All take turns in one process, on one query after the other and on batches of 32 passages; ratios are
paired. Then each of our backends ranks XQuAD-R, and the mAP of each language is compared with torch's.
"""  # noqa: E501

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.selection import select_questions
from hybrid_ir.inference.graph_encoder import ONNX_INT8, OPENVINO, build_graph_encoder
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.types import Benchmark

BATCH = 32
MAX_LENGTH = 256  # tokens
PEERS = ("torch", "onnx", "openvino")
REFERENCE = "torch"

Encode = Callable[[Sequence[str], str], torch.Tensor]  # texts and their role to vectors


def load_ours(options: argparse.Namespace) -> dict[str, BiEncoderAdapter]:
    """Loads the model under each of our backends."""
    encoder = BiEncoder(
        options.model,
        query_prefix=options.query_prefix,
        passage_prefix=options.passage_prefix,
        query_max_length=MAX_LENGTH,
        passage_max_length=MAX_LENGTH,
    )
    adapters = {REFERENCE: BiEncoderAdapter(encoder, Path(options.model).name)}
    for backend in ("onnx", ONNX_INT8, OPENVINO):
        try:
            adapters[backend] = build_graph_encoder(
                adapters[REFERENCE], backend, Path(options.cache)
            )
        except ValueError as error:
            print(f"left out: {error}")
            continue
        print(f"{backend}: {adapters[backend].about}")
    return adapters


def load_peers(options: argparse.Namespace) -> dict[str, Encode]:
    """Loads the model under each backend of sentence-transformers that works here."""
    from sentence_transformers import SentenceTransformer

    prompts = {"query": options.query_prefix, "passage": options.passage_prefix}
    peers = {}
    for backend in PEERS:
        name = f"sentence-transformers {backend}"
        try:
            model = SentenceTransformer(
                options.model,
                device="cpu",
                backend=backend,
                model_kwargs={"dtype": torch.float32} if backend == REFERENCE else {},
            )
        except Exception as error:  # it raises what its optional packages raise
            print(f"left out: {name}: {str(error).strip().splitlines()[0]}")
            continue
        model.max_seq_length = MAX_LENGTH

        def encode(texts: Sequence[str], role: str, model: SentenceTransformer = model):
            return model.encode(
                list(texts), prompt=prompts[role], batch_size=BATCH, show_progress_bar=False
            )

        peers[name] = encode
    return peers


def build_encode(adapter: BiEncoderAdapter) -> Encode:
    """Returns the function from texts to vectors of one of our encoders."""

    def encode(texts: Sequence[str], role: str) -> torch.Tensor:
        if role == "query":
            return adapter.encode_queries(texts, batch_size=BATCH)
        return adapter.encode_passages(texts, batch_size=BATCH)

    return encode


def time_in_turns(
    encoders: dict[str, Encode], units: Sequence[Sequence[str]], role: str
) -> dict[str, np.ndarray]:
    """Returns the seconds of each encoder on each unit; the order is drawn for every unit."""
    rng = np.random.default_rng(0)
    names = list(encoders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, texts in enumerate([*units[:3], *units]):
        for name in rng.permutation(names):
            start = time.perf_counter()
            encoders[name](texts, role)
            if number >= 3:  # those before warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def print_times(title: str, seconds: dict[str, np.ndarray]) -> None:
    """Prints p50 and p95, and the ratio to our torch with the range of its middle half."""
    print(f"\n{title}: p50 / p95 in ms, times as fast as our torch (quartiles)")
    for name, values_U in seconds.items():
        p50, p95 = np.percentile(values_U, [50, 95]) * 1e3
        low, median, high = np.percentile(seconds[REFERENCE] / values_U, [25, 50, 75])
        print(f"  {name:32} {p50:8.2f} / {p95:8.2f}   x{median:.2f} ({low:.2f} to {high:.2f})")


def average_by_language(results: Results) -> dict[tuple[str, str], float]:
    """Returns the mean mAP by view and query language."""
    values: dict[tuple[str, str], list[float]] = {}
    for setting in results.settings:
        key = (setting.view, setting.query_language)
        values.setdefault(key, []).append(setting.means["map"])
    return {key: float(np.mean(list_of_means)) for key, list_of_means in values.items()}


def print_losses(adapters: dict[str, BiEncoderAdapter], benchmark: Benchmark) -> None:
    """Prints the mAP of each language by torch, and what the other backends change."""
    expected = average_by_language(evaluate(adapters[REFERENCE], benchmark).results)
    print(f"\nmAP x 100, {len(benchmark.queries)} queries, {len(benchmark.passages)} passages")
    print(f"  {'':24}" + " ".join(f"{language:>6}" for language in benchmark.languages) + "   mean")
    for view in VIEWS:
        rows = {REFERENCE: [expected[view, language] for language in benchmark.languages]}
        print_row(f"{view}, {REFERENCE}", rows[REFERENCE], "6.2f")
    for backend, adapter in adapters.items():
        if backend == REFERENCE:
            continue
        means = average_by_language(evaluate(adapter, benchmark).results)
        for view in VIEWS:
            changes = []
            for language in benchmark.languages:
                changes.append(means[view, language] - expected[view, language])
            print_row(f"{view}, {backend}", changes, "+6.2f")


def print_row(name: str, values: Sequence[float], form: str) -> None:
    """Prints values and their mean, times 100."""
    cells = " ".join(format(100 * value, form) for value in [*values, float(np.mean(values))])
    print(f"  {name:24}{cells}", flush=True)


def main() -> None:
    """Times all backends in turns, then measures the mAP of ours."""
    parser = argparse.ArgumentParser(description="Backends of an encoder, in turns.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("model", help="a sentence-transformers model of the hub, or its folder")
    parser.add_argument("--query-prefix", default="")
    parser.add_argument("--passage-prefix", default="")
    parser.add_argument("--cache", default=".cache")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--queries", type=int, default=220, help="timed one by one")
    parser.add_argument("--batches", type=int, default=20, help="of 32 passages")
    parser.add_argument("--questions", type=int, default=60, help="of each language, for mAP")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    benchmark = load(options.data)
    adapters = load_ours(options)
    encoders = {name: build_encode(adapter) for name, adapter in adapters.items()}
    encoders |= load_peers(options)
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(benchmark.queries))[: options.queries]
    queries = [[benchmark.queries[row]] for row in rows]
    print_times("a query", time_in_turns(encoders, queries, "query"))
    batches = []
    for _ in range(options.batches):
        rows = rng.choice(len(benchmark.passages), BATCH, replace=False)
        batches.append([benchmark.passages[row] for row in rows])
    print_times(f"{BATCH} passages", time_in_turns(encoders, batches, "passage"))
    if options.questions:
        print_losses(adapters, select_questions(benchmark, options.questions))


if __name__ == "__main__":
    main()
