"""The floating-point operations of an encoder are those that torch counts, and no more."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertConfig, AlbertModel

from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.flops import ModelFlops
from hybrid_ir.model.lora import Lora
from hybrid_ir.model.token_store import RaggedTokens
from tests.conftest import TEXTS

# Wide enough that biases and norms, which torch does not count, are few of the weights.
WIDE = FromScratch(
    vocab_size=400, width=256, layers=3, heads=4, intermediate=512, max_positions=64, seed=1
)
LENGTHS = torch.tensor([60, 60, 60, 60])  # tokens, without padding
SIZES = ModelFlops(
    frozen_weights=100,
    trained_weights=1000,
    head_weights=10,
    attention_width=8,
    windows=(None, None),
    is_causal=False,
)


def build_wide_encoder(cache, **choices) -> BiEncoder:
    return BiEncoder(
        WIDE, query_max_length=64, passage_max_length=64, texts=TEXTS, cache=cache, **choices
    )


def count_by_torch(encoder: BiEncoder, with_backward: bool) -> int:
    ids_T = torch.randint(10, 300, (int(LENGTHS.sum()),))
    with FlopCounterMode(display=False) as counter:
        vectors_BD = encoder(RaggedTokens(ids_T, LENGTHS))
        if with_backward:
            vectors_BD.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("choices", [{}, {"projection": 64}, {"lora": Lora(rank=8)}])
def test_the_operations_are_those_that_torch_counts(cache, choices):
    encoder = build_wide_encoder(cache, attention="eager", **choices)
    flops = ModelFlops.of(encoder)
    assert flops.count_forward(LENGTHS) == pytest.approx(count_by_torch(encoder, False), rel=0.02)
    # Without trained embeddings and with LoRA the lowest layer passes no gradient further down.
    tolerance = 0.1 if "lora" in choices else 0.02
    found = count_by_torch(encoder, True)
    assert flops.count_training(LENGTHS) == pytest.approx(found, rel=tolerance)


def test_training_costs_three_forward_passes_and_less_where_weights_are_frozen(cache):
    trained = ModelFlops.of(build_wide_encoder(cache))
    assert trained.frozen_weights == 0
    assert trained.count_training(LENGTHS) == 3 * trained.count_forward(LENGTHS)
    adapted = ModelFlops.of(build_wide_encoder(cache, lora=Lora(rank=8)))
    ratio = adapted.count_training(LENGTHS) / adapted.count_forward(LENGTHS)
    assert 2 < ratio < 2.2


def test_embeddings_are_looked_up_and_cost_nothing(cache):
    encoder = build_wide_encoder(cache)
    weights = sum(weight.numel() for weight in encoder.backbone.parameters())
    embeddings = sum(
        part.weight.numel()
        for part in encoder.backbone.modules()
        if isinstance(part, torch.nn.Embedding)
    )
    assert ModelFlops.of(encoder).trained_weights == weights - embeddings


def test_the_cost_of_texts_is_the_sum_of_theirs():
    lengths_B = torch.tensor([3, 17, 40])
    parts = [SIZES.count_training(lengths_B[row : row + 1]) for row in range(3)]
    assert SIZES.count_training(lengths_B) == sum(parts)
    # 2 products of 2 operations, 2 layers, width 8, 5 x 5 pairs of tokens.
    attention = 4 * 2 * 8 * 25
    assert SIZES.count_forward(torch.tensor([5])) == 2 * 1100 * 5 + 2 * 10 + attention


def test_causal_attention_costs_half_and_a_window_bounds_what_is_seen():
    length_1 = torch.tensor([10])
    without_attention = replace(SIZES, windows=()).count_forward(length_1)
    full = SIZES.count_forward(length_1) - without_attention
    causal = replace(SIZES, is_causal=True).count_forward(length_1) - without_attention
    assert causal == full / 2
    one_window = replace(SIZES, windows=(None, 4)).count_forward(length_1) - without_attention
    assert one_window == full * (10 + 4) / 20


def test_layers_that_share_their_weights_are_unknown(encoder):
    config = AlbertConfig(
        vocab_size=50, hidden_size=16, num_attention_heads=2, intermediate_size=16, embedding_size=8
    )
    encoder.backbone = AlbertModel(config)
    assert ModelFlops.of(encoder) is None
