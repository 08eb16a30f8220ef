"""Encoding texts: packed rows beside padded slices and beside sentence-transformers.

    python benchmarks/encoding.py data/xquad-r intfloat/multilingual-e5-small

All tokenise and encode the same texts in one process, in turns. sentence-transformers sorts texts
by their characters and cuts batches of 32.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from text_sets import TEXT_SETS, choose_texts, describe_ratios, time_in_turns

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.model.encoder import BiEncoder

MAX_LENGTH = 512  # tokens
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def build_our_pass(model: str, packing: str, texts: list[str]) -> Callable[[], np.ndarray]:
    """Returns the pass of our encoder. Its cache is new, so that it tokenises as well."""
    encoder = BiEncoder(
        model,
        query_prefix="",
        passage_prefix="passage: ",
        passage_max_length=MAX_LENGTH,
        packing=packing,
    ).eval()

    def encode() -> np.ndarray:
        with tempfile.TemporaryDirectory() as cache, torch.inference_mode():
            store = encoder.tokenizers["passage"].store(texts, Path(cache))
            return encoder(store.take(range(len(texts)))).numpy()

    return encode


def build_peer_pass(model: str, texts: list[str]) -> Callable[[], np.ndarray]:
    """Returns the pass of sentence-transformers."""
    peer = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = MAX_LENGTH
    prefixed = [f"passage: {text}" for text in texts]
    return lambda: peer.encode(prefixed, normalize_embeddings=True)


def main() -> None:
    """Prints the ratios for each kind of texts, and the largest difference of a number."""
    parser = argparse.ArgumentParser(description="Encoding beside sentence-transformers.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("model", help="a model of the hub, or its folder")
    parser.add_argument("--count", type=int, default=512, help="texts of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", nargs="*", default=list(TEXT_SETS), choices=TEXT_SETS)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    benchmark = load(options.data)
    for kind in options.texts:
        texts = choose_texts(benchmark.queries, benchmark.passages, kind, options.count)
        passes = {
            "ours, packed": build_our_pass(options.model, "on", texts),
            "ours, padded": build_our_pass(options.model, "off", texts),
            "sentence-transformers": build_peer_pass(options.model, texts),
        }
        vectors = {name: encode() for name, encode in passes.items()}
        peer_vectors = vectors["sentence-transformers"]
        difference = max(np.abs(ours - peer_vectors).max() for ours in vectors.values())
        seconds = time_in_turns(passes, options.rounds, CLOCKS[options.clock])
        print(f"{kind}: {len(texts)} texts, {options.threads} threads, difference {difference:.1e}")
        for name, values in seconds.items():
            ratio = describe_ratios(seconds["sentence-transformers"], values)
            print(f"  {name:<22} {np.median(values):6.2f} s, ratio {ratio}", flush=True)


if __name__ == "__main__":
    main()
