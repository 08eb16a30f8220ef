"""Training steps on a GPU: tokens a second and the share of the device's peak, beside a peer.

    python benchmarks/gpu_training.py FacebookAI/xlm-roberta-base --batch 1024

XLM-R base on random tokens with lengths like those of mMARCO: queries of 4 to 20 tokens, passages
of 20 to 180, in bfloat16 with a fused AdamW. Ours packs rows, with and without torch.compile;
sentence-transformers gets the same batches with FlashAttention where it is installed. All take
turns in one process. Every line has the median step, real tokens a second, and MFU by the flops of
the weights (6 for each weight and token) and of attention.

What to expect, by arithmetic: 35% of an H100's 989 teraflops are 674,000 tokens a second. Nobody
has run this yet: see docs/performance.md.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from text_sets import describe_ratios, time_on_gpu
from torch import nn

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.flops import ModelFlops
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.system.device_peaks import find_peak

SCALE = 20.0
LENGTHS = {"query": (4, 20), "passage": (20, 180)}  # tokens, shortest and longest
SPECIAL_TOKENS = 5  # ids below are special in XLM-R's vocabulary
TERA = 1e12


def draw_tokens(role: str, batch: int, vocabulary: int, seed: int) -> RaggedTokens:
    """Returns random tokens with the lengths of a role, on the GPU."""
    random = torch.Generator().manual_seed(seed)
    shortest, longest = LENGTHS[role]
    lengths_B = torch.randint(shortest, longest + 1, (batch,), generator=random)
    ids_T = torch.randint(SPECIAL_TOKENS, vocabulary, (int(lengths_B.sum()),), generator=random)
    return RaggedTokens(ids_T, lengths_B).to("cuda")


def build_our_step(
    model: str, queries: RaggedTokens, passages: RaggedTokens, compiled: bool
) -> Callable[[], None]:
    """Returns a step of our encoder: forward, backward and AdamW."""
    encoder = BiEncoder(model, packing="on", compile=compiled).cuda()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5, fused=True)
    texts = queries.join(passages)
    sizes = [len(queries), len(passages)]

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            query_vectors, passage_vectors = encoder(texts).split(sizes)
        _train(query_vectors, passage_vectors, optimizer)

    return step


def build_peer_step(
    model: str, queries: RaggedTokens, passages: RaggedTokens, attention: str
) -> Callable[[], None]:
    """Returns a step of sentence-transformers with mean pooling, on padded batches."""
    from sentence_transformers import SentenceTransformer

    options = {"dtype": torch.float32, "attn_implementation": attention}
    peer = SentenceTransformer(model, device="cuda", model_kwargs=options)
    peer.train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-5, fused=True)
    pad_id = peer.tokenizer.pad_token_id
    features = [pad(tokens, pad_id) for tokens in (queries, passages)]

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            vectors = [peer(dict(feature))["sentence_embedding"] for feature in features]
        _train(
            nn.functional.normalize(vectors[0].float(), dim=1),
            nn.functional.normalize(vectors[1].float(), dim=1),
            optimizer,
        )

    return step


def pad(tokens: RaggedTokens, pad_id: int) -> dict[str, torch.Tensor]:
    """Returns texts as one padded batch, as sentence-transformers takes it."""
    texts = tokens.ids_T.split(tokens.lengths_B.tolist())
    ids = nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=pad_id)
    return {"input_ids": ids, "attention_mask": (ids != pad_id).long()}


def _train(queries: torch.Tensor, passages: torch.Tensor, optimizer) -> None:
    scores = SCALE * queries @ passages.T
    labels = torch.arange(len(scores), device=scores.device)
    nn.functional.cross_entropy(scores, labels).backward()
    optimizer.step()
    optimizer.zero_grad()


def main() -> None:
    """Prints a line for each way to train."""
    parser = argparse.ArgumentParser(description="Training steps on a GPU.")
    parser.add_argument("model", help="XLM-R base: its hub id or folder")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peer-attention", default="flash_attention_2", help="or sdpa")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU: this benchmark has nothing to measure here")
    probe = BiEncoder(options.model)
    vocabulary = probe.backbone.config.vocab_size
    queries = draw_tokens("query", options.batch, vocabulary, seed=0)
    passages = draw_tokens("passage", options.batch, vocabulary, seed=1)
    lengths_B = torch.cat([queries.lengths_B, passages.lengths_B])
    flops = ModelFlops.of(probe).count_training(lengths_B)
    steps = {
        "ours, packed": build_our_step(options.model, queries, passages, compiled=False),
        "ours, packed and compiled": build_our_step(
            options.model, queries, passages, compiled=True
        ),
        f"sentence-transformers, {options.peer_attention}": build_peer_step(
            options.model, queries, passages, options.peer_attention
        ),
    }
    seconds = time_on_gpu(steps, options.rounds)
    device = torch.cuda.get_device_name()
    peak = find_peak(device, "bf16")
    peer_seconds = list(seconds.values())[-1]
    tokens = int(lengths_B.sum())
    print(f"{device}, batch {options.batch}, {tokens:,} tokens a step")
    for name, values in seconds.items():
        median = np.median(values)
        share = "unknown device" if peak is None else f"{flops / median / (peak * TERA):.1%}"
        ratio = describe_ratios(peer_seconds, values)
        print(
            f"  {name:<45} {1000 * median:8.1f} ms, {tokens / median:10,.0f} tokens/s, "
            f"MFU {share}, ratio {ratio}"
        )


if __name__ == "__main__":
    main()
