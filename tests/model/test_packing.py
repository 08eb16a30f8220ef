"""Packed rows give the vectors and gradients of padded batches, for every backbone they take."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel

from hybrid_ir.model import packed_attention
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.packed_attention import AttentionRule, NotPackable
from hybrid_ir.model.packing import PackedTexts, Packing, find_packing
from hybrid_ir.model.token_store import RaggedTokens
from tests.conftest import TEXTS

PAD_ID = 1
SEPARATOR_ID = 3
LONGEST = 40
# Backbones with all kinds of positions and attention; windows are shorter than the longest text.
BACKBONES = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "modernbert": {
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "sep_token_id": SEPARATOR_ID,
        "eos_token_id": SEPARATOR_ID,
    },
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 10},
    "gemma3_text": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 12,
        "use_bidirectional_attention": True,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
SHIFTED = ("roberta", "xlm-roberta")
# Their layers compute some things in float32, whatever the weights are.
FLOAT32_INSIDE = ("gemma3_text", "modernbert", "qwen3", "mistral")
lengths_of_texts = st.lists(st.integers(1, LONGEST), min_size=1, max_size=9)


def build_backbone(kind: str, **options) -> nn.Module:
    """Builds a small transformer whose weights are so large that every difference shows."""
    common = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": LONGEST + PAD_ID + 1,
        "pad_token_id": PAD_ID,
    }
    config = CONFIG_MAPPING[kind](**{**common, **BACKBONES.get(kind, {}), **options})
    torch.manual_seed(0)
    backbone = AutoModel.from_config(config, dtype=torch.float32)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    backbone.config.use_cache = False
    if hasattr(backbone, "pooler"):
        backbone.pooler = None
    return backbone.eval()


def encode_padded(backbone: nn.Module, row: PackedTexts) -> torch.Tensor:
    """Returns the hidden vectors (T, D) of the tokens by the padded pass of transformers."""
    _, mask_BL = row.pad(torch.zeros(len(row.ids_T), 1))
    ids_BL = torch.full_like(mask_BL, PAD_ID)
    ids_BL[mask_BL == 1] = row.ids_T
    inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
    if row.types_T is not None:
        inputs["token_type_ids"] = torch.zeros_like(mask_BL)
        inputs["token_type_ids"][mask_BL == 1] = row.types_T
    return backbone(**inputs).last_hidden_state[mask_BL == 1]


def compute_gradients(backbone: nn.Module, hidden_TD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns the gradients of a function of the hidden vectors."""
    backbone.zero_grad()
    weights_D = torch.linspace(-1, 1, hidden_TD.shape[1], dtype=hidden_TD.dtype)
    (hidden_TD.sin() @ weights_D).sum().backward()
    gradients = {}
    for name, parameter in backbone.named_parameters():
        if parameter.grad is not None:
            gradients[name] = parameter.grad.clone()
    return gradients


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", BACKBONES)
def test_hidden_vectors_and_gradients_are_those_of_the_padded_pass(kind, kernel):
    # transformers' own eager kernel gives NaN for padding where weights are float64.
    original = build_backbone(kind, attn_implementation="sdpa")
    backbone = build_backbone(kind, attn_implementation=kernel)
    separator_id = SEPARATOR_ID if kind == "bert" else None
    packing = find_packing(backbone, PAD_ID, separator_id, LONGEST)
    original.double()
    backbone.double()
    tolerance = 1e-5 if kind in FLOAT32_INSIDE else 1e-9

    @settings(max_examples=8, deadline=None)
    @given(lengths=lengths_of_texts, seed=st.integers(0, 9))
    def compare(lengths: list[int], seed: int) -> None:
        lengths_B = torch.tensor(lengths)
        random = torch.Generator().manual_seed(seed)
        # A text may spell the padding token out.
        ids_T = torch.randint(50, (sum(lengths),), generator=random)
        order_B = lengths_B.argsort(descending=True, stable=True)
        row = packing.pack(ids_T, lengths_B, order_B)
        packed_TD = packing.run(backbone, row)
        padded_TD = encode_padded(original, row)
        assert torch.allclose(packed_TD, padded_TD, rtol=tolerance, atol=tolerance)
        packed_gradients = compute_gradients(backbone, packed_TD)
        for name, gradient in compute_gradients(original, padded_TD).items():
            scale = gradient.abs().max() + 1
            difference = (packed_gradients[name] - gradient).abs().max()
            assert difference < 10 * tolerance * scale, name

    compare()
    assert packing.shifts_positions == (kind in SHIFTED)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_padded_batch_is_encoded_as_before(kind):
    original = build_backbone(kind)
    backbone = build_backbone(kind)
    find_packing(backbone, PAD_ID, None, LONGEST)
    ids_BL = torch.randint(4, 50, (3, 30))
    mask_BL = (torch.arange(30)[None, :] < torch.tensor([30, 7, 1])[:, None]).long()
    expected = original(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
    hidden = backbone(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
    is_token_BL = mask_BL == 1
    assert torch.allclose(hidden[is_token_BL], expected[is_token_BL], atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("mpnet", "does not go through transformers' AttentionInterface"),
        ("gemma2", "its attention has softcap"),
        ("granite_swa", "its attention has s_aux"),
    ],
)
def test_a_backbone_that_cannot_be_packed_stays_as_it_is(kind, reason):
    options = {"num_key_value_heads": 2, "head_dim": 8} if kind != "mpnet" else {}
    backbone = build_backbone(kind, **options)
    implementation = backbone.config._attn_implementation
    with pytest.raises(NotPackable, match=reason):
        find_packing(backbone, PAD_ID, None, LONGEST)
    assert backbone.config._attn_implementation == implementation


def test_positions_that_depend_on_the_longest_text_beside_it_are_not_packed():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    backbone = build_backbone("qwen3", rope_parameters=rope)
    with pytest.raises(NotPackable, match="its dynamic positions depend on the longest text"):
        find_packing(backbone, PAD_ID, None, LONGEST)


def test_attention_that_chooses_tokens_is_found_by_its_own_reference():
    backbone = build_backbone("bert")

    def attend_differently(*arguments, **options):
        output, weights = packed_attention.attend_within_texts("sdpa", *arguments, **options)
        return 2 * output, weights

    packed_attention.AttentionInterface.register("packed_auto", attend_differently)
    try:
        with pytest.raises(NotPackable, match="its padded vectors would differ"):
            find_packing(backbone, PAD_ID, None, LONGEST)
    finally:
        packed_attention.register_attention.cache_clear()
        packed_attention.register_attention()


def test_a_row_is_refused_when_the_attention_was_changed_behind_it():
    backbone = build_backbone("bert")
    packing = find_packing(backbone, PAD_ID, None, LONGEST)
    backbone.set_attn_implementation("sdpa")
    row = packing.pack(torch.arange(5, 10), torch.tensor([3, 2]), torch.arange(2))
    with pytest.raises(RuntimeError, match="changed to sdpa, by which the texts"):
        packing.run(backbone, row)


def test_one_long_text_does_not_pad_many_short_ones():
    lengths_B = torch.tensor([1000, *[5] * 500])
    packing = Packing(pad_id=-1, separator_id=None, shifts_positions=False)
    texts = packing.pack(torch.arange(int(lengths_B.sum())), lengths_B, torch.arange(501))
    for row in texts.cut(2000):
        assert len(row.lengths_B) * int(row.lengths_B.max()) <= 4 * 2000


def test_the_probe_finds_a_window_that_is_forgotten(monkeypatch):
    monkeypatch.setattr(AttentionRule, "build_mask", lambda *_: None)
    with pytest.raises(NotPackable, match="its vectors would differ"):
        find_packing(build_backbone("modernbert"), PAD_ID, None, LONGEST)


def test_the_probe_finds_texts_that_see_each_other(monkeypatch):
    def attend_over_the_row(kernel, query, key, value, cumulative_lengths, rule):
        return packed_attention._attend_by_sdpa(query, key, value, None, rule).transpose(1, 2)

    monkeypatch.setattr(packed_attention, "_attend_by_equal_lengths", attend_over_the_row)
    with pytest.raises(NotPackable, match="its vectors would differ"):
        find_packing(build_backbone("bert"), PAD_ID, None, LONGEST)


@settings(max_examples=20, deadline=None)
@given(lengths=lengths_of_texts, budget=st.integers(1, 100))
def test_rows_hold_whole_texts_within_their_budget(lengths, budget):
    lengths_B = torch.tensor(lengths)
    ids_T = torch.arange(sum(lengths))
    packing = Packing(pad_id=-1, separator_id=None, shifts_positions=False)
    order_B = torch.randperm(len(lengths))
    texts = ids_T.split(lengths)
    rows = list(packing.pack(ids_T, lengths_B, order_B).cut(budget))
    assert torch.equal(
        torch.cat([row.ids_T for row in rows]), torch.cat([texts[text] for text in order_B])
    )
    assert torch.equal(torch.cat([row.lengths_B for row in rows]), lengths_B[order_B])
    for row in rows:
        assert len(row.ids_T) <= budget or len(row.lengths_B) == 1


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=2, max_size=6))
def test_nested_tensors_attend_as_groups_of_equal_lengths(lengths):
    torch.manual_seed(0)
    cumulative = torch.tensor([0, *lengths]).cumsum(0).int()
    query, key, value = torch.randn(3, 1, 4, sum(lengths), 8)
    rule = AttentionRule(is_causal=False, window=None, scaling=0.2, dropout=0.0)
    expected = packed_attention._attend_by_equal_lengths(
        "sdpa", query, key, value, cumulative, rule
    )
    nested = packed_attention._attend_by_nesting(query, key, value, cumulative, max(lengths), rule)
    assert torch.allclose(nested, expected, atol=1e-5)


# The encoder as a whole


def tokenise(encoder: BiEncoder) -> RaggedTokens:
    lengths = [3, 9, 1, 30, 9, 2, 17, 17, 9]
    ids_T = torch.randint(5, 300, (sum(lengths),), generator=torch.Generator().manual_seed(0))
    return RaggedTokens(ids_T, torch.tensor(lengths))


def compute_vectors_and_gradients(encoder: BiEncoder, **options) -> tuple[torch.Tensor, dict]:
    encoder.zero_grad()
    vectors_BD = encoder(tokenise(encoder), **options)
    (vectors_BD @ torch.linspace(-1, 1, encoder.width)).sin().sum().backward()
    gradients = {}
    for name, parameter in encoder.named_parameters():
        gradients[name] = parameter.grad.clone()
    return vectors_BD.detach(), gradients


@pytest.fixture
def build(recipe, cache):
    """Builds the small encoder with choices."""
    return lambda **choices: BiEncoder(recipe, texts=TEXTS, cache=cache, **choices)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max", "weightedmean"])
@pytest.mark.parametrize("tokens_per_slice", [1, 40, None])
def test_any_pooling_and_row_gives_the_padded_vectors(build, pooling, tokens_per_slice):
    packed = build(pooling=pooling, packing="on", tokens_per_slice=tokens_per_slice)
    padded = build(pooling=pooling, packing="off")
    vectors, gradients = compute_vectors_and_gradients(packed)
    expected_vectors, expected_gradients = compute_vectors_and_gradients(padded)
    assert torch.allclose(vectors, expected_vectors, atol=1e-5)
    for name, gradient in expected_gradients.items():
        assert torch.allclose(gradients[name], gradient, atol=1e-4), name


@pytest.mark.parametrize("choices", [{"gradient_checkpointing": True}, {}])
@pytest.mark.parametrize("cache_gradients", [True, False])
def test_recomputed_rows_give_the_same_gradients_with_dropout(build, choices, cache_gradients):
    plain = build(dropout=0.1, tokens_per_slice=40)
    recomputed = build(dropout=0.1, tokens_per_slice=40, **choices)
    torch.manual_seed(3)
    vectors, gradients = compute_vectors_and_gradients(plain)
    torch.manual_seed(3)
    other_vectors, other_gradients = compute_vectors_and_gradients(
        recomputed, cache_gradients=cache_gradients
    )
    assert torch.allclose(vectors, other_vectors, atol=1e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, other_gradients[name], atol=1e-5), name


def test_dropout_has_the_same_statistics_as_in_the_padded_pass(build):
    means = []
    deviations = []
    for packing in ("on", "off"):
        encoder = build(packing=packing, dropout=0.3, normalize=False)
        with torch.no_grad():
            torch.manual_seed(0)
            passes = torch.stack([encoder(tokenise(encoder)) for _ in range(200)])
        means.append(passes.mean(0))
        deviations.append(passes.std(0))
    error = (deviations[0].square() + deviations[1].square()).sqrt() / 200**0.5
    assert ((means[0] - means[1]).abs() < 5 * error).all()
    assert torch.allclose(deviations[0], deviations[1], rtol=0.5)


def test_bf16_gives_nearly_the_padded_vectors(build):
    vectors = []
    for packing in ("on", "off"):
        encoder = build(packing=packing).eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            vectors.append(encoder(tokenise(encoder)))
    assert torch.cosine_similarity(*vectors).min() > 0.9995


def test_a_plain_on_or_off_of_yaml_is_understood(build):
    assert build(packing=True).packing is not None
    assert build(packing=False).padding_reason == "packing=off"


def test_a_text_without_tokens_is_padded_like_before(build):
    tokens = RaggedTokens(torch.tensor([7, 8, 9]), torch.tensor([2, 0, 1]))
    vectors = build(packing="on").eval()(tokens)
    assert torch.allclose(vectors, build(packing="off").eval()(tokens), atol=1e-6)


def test_a_backbone_that_must_be_packed_and_cannot_is_refused(recipe, cache, monkeypatch):
    monkeypatch.setattr("transformers.BertModel._supports_attention_backend", False)
    padded = BiEncoder(recipe, texts=TEXTS, cache=cache)
    assert padded.packing is None
    assert "AttentionInterface" in padded.padding_reason
    with pytest.raises(ValueError, match="model.packing=on: .* cannot be packed, as its attention"):
        BiEncoder(recipe, texts=TEXTS, cache=cache, packing="on")
