"""A whole pass over XQuAD-R given the embeddings: all three views and every metric.

    python benchmarks/rank_counting.py data/xquad-r intfloat/multilingual-e5-small

Prints seconds and memory. Without a model, vectors are made up.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import torch
from made_up_vectors import make_up_vectors
from memory import read_peak_memory
from safetensors.torch import load_file, save_file

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.encoding import TokenChunks
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.model.encoder import BiEncoder


def write_vectors(data: str, model: str, languages: list[str] | None, path: Path) -> None:
    """Encodes all queries and passages, and writes their vectors to a file."""
    benchmark = load(data, languages=languages)
    encoder = BiEncoder(
        model, query_prefix="query: ", passage_prefix="passage: ", tokens_per_slice=2048
    ).eval()
    queries = torch.empty(len(benchmark.queries), encoder.width)
    passages = torch.empty(len(benchmark.passages), encoder.width)
    chunks = TokenChunks(benchmark, encoder.tokenizers, path.parent)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for number in range(len(chunks)):
            chunk = chunks[number]
            vectors = queries if chunk.stage == "queries" else passages
            encoded = chunk.assign(encoder(chunk.inputs))
            vectors[torch.from_numpy(encoded.rows_N)] = encoded.vectors_ND
    save_file({"queries": queries, "passages": passages}, path)


def encode_in_own_process(
    data: str, model: str, languages: list[str] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encodes in another process, so that the memory measured here is not the model's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.safetensors"
        process = multiprocessing.get_context("spawn").Process(
            target=write_vectors, args=(data, model, languages, path)
        )
        process.start()
        process.join()
        vectors = load_file(path)
    return vectors["queries"], vectors["passages"]


def main() -> None:
    """Measures the pass several times."""
    parser = argparse.ArgumentParser(description="A whole pass over XQuAD-R, given the embeddings.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("model", nargs="?", help="a model of the hub, or its folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--languages", nargs="*", help="some of the languages, for a short try")
    options = parser.parse_args()
    benchmark = load(options.data, languages=options.languages)
    if options.model is None:
        queries, passages = make_up_vectors(benchmark)
    else:
        queries, passages = encode_in_own_process(options.data, options.model, options.languages)
    print(
        f"{len(queries):,} queries, {len(passages):,} passages, width {queries.shape[1]}, "
        f"{torch.get_num_threads()} threads"
    )
    memory_before = read_peak_memory()
    for _ in range(options.rounds):
        started = time.perf_counter()
        cpu_started = time.process_time()
        table = rank_benchmark(queries, passages, benchmark)
        rank_seconds = time.perf_counter() - started
        started = time.perf_counter()
        results = Results.from_table(table, benchmark)
        means = [f"{results.macro(view)['map']:.4f}" for view in ("mono", "cross", "multi")]
        metric_seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_started
        print(
            f"ranks {rank_seconds:.2f} s + metrics {metric_seconds:.2f} s = "
            f"{rank_seconds + metric_seconds:.2f} s, {cpu_seconds:.2f} s of the processor, mAP "
            f"{' / '.join(means)}"
        )
    print(
        f"peak memory of the process {read_peak_memory():.0f} MB, of which {memory_before:.0f} MB "
        "before the pass: libraries, texts, vectors"
    )


if __name__ == "__main__":
    main()
