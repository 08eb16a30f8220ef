"""Encoding XQuAD-R passages: slices of ragged batches beside sentence-transformers, alternating in one process.

python benchmarks/encoding.py data/xquad-r intfloat/multilingual-e5-small
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.model.encoder import BiEncoder

TEXTS, ROUNDS, LENGTH = 768, 5, 256


def main(folder: str, model: str) -> None:
    texts = [load(folder).passages[i] for i in np.random.default_rng(0).permutation(13_014)[:TEXTS]]
    peer = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = LENGTH
    ours = BiEncoder(
        model,
        query_prefix="",
        passage_prefix="passage: ",
        passage_max_length=LENGTH,
        query_max_length=LENGTH,
        tokens_per_slice=2048,
    ).eval()
    ratios = []
    for number in range(ROUNDS):
        started = time.perf_counter()
        theirs = peer.encode(
            [f"passage: {text}" for text in texts], normalize_embeddings=True, batch_size=32
        )
        between = time.perf_counter()
        with (
            tempfile.TemporaryDirectory() as cache,
            torch.inference_mode(),
        ):  # so that our time holds the tokeniser's, too
            mine = ours(ours.tokenizers["passage"].store(texts, Path(cache)).take(range(TEXTS)))
        ratios.append((between - started) / (time.perf_counter() - between))
        print(
            f"round {number}: sentence-transformers {between - started:.2f} s, ratio to ours {ratios[-1]:.2f}"
        )
    print(
        f"median ratio {np.median(ratios):.2f}; largest difference {np.abs(mine.numpy() - theirs).max():.1e}; "
        f"{torch.get_num_threads()} threads, float32"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
