"""XQuAD-R's whole pass, all three views and every metric, given the embeddings: seconds and memory.

python benchmarks/rank_counting.py data/xquad-r intfloat/multilingual-e5-small
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.encoding import TokenChunks
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.model.encoder import BiEncoder

REPEATS = 5


def encode(data: str, model: str, written: Path) -> None:
    benchmark = load(data)
    encoder = BiEncoder(
        model, query_prefix="query: ", passage_prefix="passage: ", tokens_per_slice=2048
    ).eval()
    vectors = {
        "queries": torch.empty(len(benchmark.queries), encoder.width),
        "passages": torch.empty(len(benchmark.passages), encoder.width),
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        chunks = TokenChunks(benchmark, encoder.tokenizers, written.parent)
        for chunk in (chunks[i] for i in range(len(chunks))):
            into = vectors["queries" if chunk.stage == "queries" else "passages"]
            encoded = chunk.assign(encoder(chunk.inputs))
            into[torch.from_numpy(encoded.rows_N)] = encoded.vectors_ND
    save_file(vectors, written)


def main(data: str, model: str) -> None:
    benchmark = load(data)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "vectors.safetensors"
        # in a process of its own, so that the memory measured here is not the model's
        child = multiprocessing.get_context("spawn").Process(
            target=encode, args=(data, model, written)
        )
        child.start()
        child.join()
        queries, passages = (load_file(written)[side] for side in ("queries", "passages"))
    print(
        f"{len(queries):,} queries, {len(passages):,} passages, width {queries.shape[1]}, {torch.get_num_threads()} threads"
    )
    before = peak()
    for _ in range(REPEATS):
        started = time.perf_counter()
        table = rank_benchmark(queries, passages, benchmark)
        counted = time.perf_counter()
        results = Results.from_table(table, benchmark)
        means = [f"{results.macro(view)['map']:.4f}" for view in ("mono", "cross", "multi")]
        print(
            f"ranks {counted - started:.2f} s + metrics {time.perf_counter() - counted:.2f} s "
            f"= {time.perf_counter() - started:.2f} s, mAP {' / '.join(means)}"
        )
    print(
        f"peak memory of the process {peak():.0f} MB, of which {before:.0f} MB before the pass: libraries, texts, vectors"
    )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
