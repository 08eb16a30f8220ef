"""Encoding XQuAD-R passages: slices of ragged batches beside sentence-transformers.

    python benchmarks/encoding.py data/xquad-r intfloat/multilingual-e5-small

Both encode in one process, in turns.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.model.encoder import BiEncoder

MAX_LENGTH = 256  # tokens


def load_peer(model: str) -> SentenceTransformer:
    """Loads the model of sentence-transformers."""
    peer = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = MAX_LENGTH
    return peer


def load_ours(model: str) -> BiEncoder:
    """Loads the same model as our encoder."""
    encoder = BiEncoder(
        model,
        query_prefix="",
        passage_prefix="passage: ",
        passage_max_length=MAX_LENGTH,
        query_max_length=MAX_LENGTH,
        tokens_per_slice=2048,
    )
    return encoder.eval()


def encode_with_ours(encoder: BiEncoder, texts: Sequence[str]) -> np.ndarray:
    """Tokenises and encodes passages. The cache is new, so that its time holds the tokeniser's."""
    with tempfile.TemporaryDirectory() as cache, torch.inference_mode():
        store = encoder.tokenizers["passage"].store(texts, Path(cache))
        return encoder(store.take(range(len(texts)))).numpy()


def main() -> None:
    """Encodes with both in turns, and prints their times and the largest difference."""
    parser = argparse.ArgumentParser(description="Encoding beside sentence-transformers.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("model", help="a model of the hub, or its folder")
    parser.add_argument("--texts", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    passages = load(options.data).passages
    order = np.random.default_rng(0).permutation(len(passages))
    texts = [passages[row] for row in order[: options.texts]]
    peer = load_peer(options.model)
    ours = load_ours(options.model)
    ratios = []
    for number in range(options.rounds):
        started = time.perf_counter()
        prefixed = [f"passage: {text}" for text in texts]
        peer_vectors = peer.encode(prefixed, normalize_embeddings=True, batch_size=32)
        peer_seconds = time.perf_counter() - started
        started = time.perf_counter()
        vectors = encode_with_ours(ours, texts)
        ratio = peer_seconds / (time.perf_counter() - started)
        ratios.append(ratio)
        print(
            f"round {number}: sentence-transformers {peer_seconds:.2f} s, ratio to ours {ratio:.2f}"
        )
    difference = np.abs(vectors - peer_vectors).max()
    print(
        f"median ratio {np.median(ratios):.2f}; largest difference {difference:.1e}; "
        f"{torch.get_num_threads()} threads, float32"
    )


if __name__ == "__main__":
    main()
