"""A training step: packed rows beside padded slices and beside sentence-transformers.

    python benchmarks/training_step.py data/mlqa-r intfloat/multilingual-e5-small

All compute the loss of the same pairs, tokenised before, and its gradients; the optimiser, which
is the same for all, is left out. They take turns in one process.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from text_sets import TEXT_SETS, choose_texts, describe_ratios, time_in_turns
from torch import nn

from hybrid_ir.evaluation.benchmarks.mlqa_r import load
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.token_store import RaggedTokens, concatenate_tokens

MAX_LENGTH = 512  # tokens
SCALE = 20.0  # of cosine similarities, in both losses
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def build_our_step(
    model: str, packing: str, queries: list[str], passages: list[str]
) -> Callable[[], float]:
    """Returns a step of our encoder: the loss and its gradients."""
    encoder = BiEncoder(
        model,
        query_prefix="query: ",
        passage_prefix="passage: ",
        query_max_length=MAX_LENGTH,
        passage_max_length=MAX_LENGTH,
        dropout=0.0,
        packing=packing,
    )
    tokens: dict[str, RaggedTokens] = {}
    for role, texts in (("query", queries), ("passage", passages)):
        ids, _ = encoder.tokenizers[role].read(texts)
        tokens[role] = concatenate_tokens([np.asarray(row, np.int32) for row in ids])

    def step() -> float:
        encoder.zero_grad()
        scores = SCALE * encoder(tokens["query"]) @ encoder(tokens["passage"]).T
        loss = nn.functional.cross_entropy(scores, torch.arange(len(scores)))
        loss.backward()
        return loss.item()

    return step


def build_peer_step(model: str, queries: list[str], passages: list[str]) -> Callable[[], float]:
    """Returns a step of sentence-transformers: the loss and its gradients."""
    peer = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = MAX_LENGTH
    for layer in peer.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    loss_function = MultipleNegativesRankingLoss(peer, scale=SCALE)
    peer.train()
    features = [
        peer.preprocess([f"query: {text}" for text in queries]),
        peer.preprocess([f"passage: {text}" for text in passages]),
    ]

    def step() -> float:
        peer.zero_grad()
        copies = [dict(feature) for feature in features]
        loss = loss_function(copies, None)
        loss.backward()
        return loss.item()

    return step


def main() -> None:
    """Prints the ratio of each kind of texts."""
    parser = argparse.ArgumentParser(description="A training step beside sentence-transformers.")
    parser.add_argument("data", help="the folder of MLQA-R")
    parser.add_argument("model", help="a model of the hub, or its folder")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", nargs="*", default=["natural"], choices=TEXT_SETS)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    benchmark = load(options.data)
    for kind in options.texts:
        queries = choose_texts(benchmark.queries, benchmark.passages, "short", options.batch)
        passages = choose_texts(benchmark.queries, benchmark.passages, kind, options.batch, seed=1)
        steps = {
            "ours, packed": build_our_step(options.model, "on", queries, passages),
            "ours, padded": build_our_step(options.model, "off", queries, passages),
            "sentence-transformers": build_peer_step(options.model, queries, passages),
        }
        losses = ", ".join(f"{name} {step():.6f}" for name, step in steps.items())
        seconds = time_in_turns(steps, options.rounds, CLOCKS[options.clock])
        peer = seconds["sentence-transformers"]
        print(f"{kind}, batch {options.batch}, {options.threads} threads; loss {losses}")
        for name, values in seconds.items():
            ratio = describe_ratios(peer, values)
            print(f"  {name:<22} {np.median(values):6.2f} s a step, ratio {ratio}", flush=True)


if __name__ == "__main__":
    main()
