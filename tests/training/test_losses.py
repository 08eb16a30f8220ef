"""InfoNCE and its mask against a float64 brute force written from the formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.labels import MASKS, Labels, mark_false_negatives
from hybrid_ir.training.losses import InfoNCE, read_loss_options

WIDTH = 8


@st.composite
def batches(draw):
    """Vectors and labels of a batch, with so few contents that many of them repeat."""
    queries = draw(st.integers(1, 6))
    hard_negatives = draw(st.integers(0, 2))
    passages = queries * (1 + hard_negatives)
    content = draw(st.lists(st.integers(0, 4), min_size=passages, max_size=passages))
    for column in range(passages):
        is_hard_negative = column % (1 + hard_negatives) > 0
        if is_hard_negative and draw(st.booleans()):
            content[column] = -1
    text = draw(st.lists(st.integers(0, 2), min_size=passages, max_size=passages))
    query_content = draw(st.lists(st.integers(0, 4), min_size=queries, max_size=queries))
    labels = Labels(
        torch.tensor(query_content),
        torch.tensor(content),
        10 * torch.tensor(content) + torch.tensor(text),
    )
    seed = draw(st.integers(0, 999))
    return draw_vectors(queries, seed), draw_vectors(passages, seed + 1000), labels


def draw_vectors(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, WIDTH, generator=generator, dtype=torch.float64), dim=1)


def label_distinct_passages(count: int, first: int = 0) -> Labels:
    return Labels(torch.arange(count), torch.arange(count), torch.arange(count), first)


def is_false_negative(labels: Labels, query: int, column: int, mask: str) -> bool:
    positive = query * labels.columns
    if labels.content_N[column] < 0:
        return True
    if mask == "none":
        return False
    ids_N = labels.content_N if mask == "translations" else labels.text_N
    if ids_N[column] == ids_N[positive]:
        return True
    is_positive_of_another = column % labels.columns == 0
    query_of_column = column // labels.columns
    same_query = labels.query_G[query] == labels.query_G[query_of_column]
    return bool(is_positive_of_another and same_query)


def compute_by_hand(queries, passages, labels, temperature, negatives, mask, symmetric) -> float:
    """Computes equation 1 of the paper, one exponential at a time."""
    size = len(queries)
    columns = labels.columns
    exponentials = (queries @ passages.T / temperature).exp().tolist()
    forward = 0.0
    backward = 0.0
    for query in range(size):
        positive = query * columns
        numerator = exponentials[query][positive]
        denominator = numerator
        for column in range(len(passages)):
            is_compared = negatives == "in_batch" or column % columns > 0
            is_masked = is_false_negative(labels, query, column, mask)
            if column != positive and is_compared and not is_masked:
                denominator += exponentials[query][column]
        forward -= math.log(numerator / denominator) / size
        denominator = numerator
        for other in range(size):
            if other != query and not is_false_negative(labels, other, positive, mask):
                denominator += exponentials[other][positive]
        backward -= math.log(numerator / denominator) / size
    return (forward + backward) / 2 if symmetric else forward


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("negatives", ["in_batch", "explicit"])
@pytest.mark.parametrize("symmetric", [False, True])
@given(batch=batches(), temperature=st.floats(0.02, 1))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_equation_1_by_hand(batch, temperature, negatives, mask, symmetric):
    queries, passages, labels = batch
    loss = InfoNCE(temperature, negatives=negatives, mask=mask, symmetric=symmetric).double()
    loss.log_temperature.fill_(math.log(temperature))
    if negatives == "explicit" and labels.columns == 1:
        with pytest.raises(ValueError, match="data.hard_negatives"):
            loss(queries, passages, labels)
        return
    expected = compute_by_hand(queries, passages, labels, temperature, negatives, mask, symmetric)
    assert loss(queries, passages, labels).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(batch=batches(), mask=st.sampled_from(MASKS))
@settings(max_examples=30, deadline=None)
def test_gradients_are_those_of_float64_and_none_reaches_masked_passages(batch, mask):
    queries, passages, labels = batch
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = passages.float().to(dtype).requires_grad_()
        InfoNCE(0.1, mask=mask)(queries.float().to(dtype), leaf, labels).backward()
        gradients.append(leaf.grad)
    assert torch.allclose(gradients[0].double(), gradients[1], atol=1e-4)
    masked_for_all = mark_false_negatives(labels, len(queries), mask).all(0)
    assert (gradients[1][masked_for_all] == 0).all()


def test_twins_are_masked_and_strangers_are_not():
    """Query 0 and 1 share a passage in two languages, and query 2 repeats the text of query 0.

    Query 3 asks the same as query 0, and query 4 is a stranger.
    """
    labels = Labels(
        torch.tensor([7, 8, 9, 7, 6]),
        torch.tensor([1, 1, 1, 4, 5]),
        torch.tensor([10, 11, 10, 40, 50]),
    )
    expected = {
        "translations": [
            [0, 1, 1, 1, 0],
            [1, 0, 1, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ],
        "exact": [
            [0, 0, 1, 1, 0],
            [0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ],
        "none": [[0] * 5] * 5,
    }
    for mask, rows in expected.items():
        assert mark_false_negatives(labels, 5, mask).int().tolist() == rows


@given(batch=batches(), mask=st.sampled_from(MASKS))
@settings(max_examples=40, deadline=None)
def test_a_slice_of_the_batch_has_its_rows_of_the_mask(batch, mask):
    queries, _, labels = batch
    mask_of_batch = mark_false_negatives(labels, len(queries), mask)
    for first in range(len(queries)):
        part = Labels(labels.query_G, labels.content_N, labels.text_N, first)
        assert torch.equal(mark_false_negatives(part, 1, mask), mask_of_batch[first : first + 1])
        assert part.positives(1).item() == first * labels.columns


def test_half_precision_vectors_are_compared_in_float32():
    vectors = draw_vectors(6, seed=0).bfloat16()
    labels = label_distinct_passages(6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = InfoNCE(0.01)(vectors, vectors, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == InfoNCE(0.01)(vectors.float(), vectors.float(), labels).item()


def test_a_learnt_temperature_gets_a_gradient_and_a_fixed_one_does_not():
    vectors = draw_vectors(4, seed=0)
    learnt = InfoNCE(0.07, learn_temperature=True)
    learnt(vectors, vectors, label_distinct_passages(4)).backward()
    assert learnt.log_temperature.grad != 0
    assert learnt.log_temperature.exp().item() == pytest.approx(0.07)
    assert not InfoNCE(0.07).log_temperature.requires_grad


def test_bad_choices_are_all_named():
    with pytest.raises(ValueError, match=r"temperature=0 .*negatives='hard'.*mask='all'"):
        InfoNCE(0, negatives="hard", mask="all")


def test_moved_labels_keep_the_place_of_their_slice():
    assert label_distinct_passages(4, first=2).to("cpu").first == 2


@pytest.mark.parametrize("temperature", [0.0, -1.0, 0.004, float("nan"), float("inf")])
def test_a_temperature_that_no_softmax_survives_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature=.* must be finite and at least 0.005"):
        InfoNCE(temperature=temperature)


def test_options_of_a_loss_are_its_attributes_or_the_defaults():
    options = read_loss_options(InfoNCE(0.07, negatives="explicit", mask="exact"))
    assert float(options.temperature) == pytest.approx(0.07)
    assert options.negatives == "explicit"
    assert options.mask == "exact"
    defaults = read_loss_options(torch.nn.Identity())
    assert defaults.temperature == 1.0
    assert defaults.negatives == "in_batch"
    assert defaults.mask == "none"
