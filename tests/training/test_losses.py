"""InfoNCE and its mask against a float64 brute force written from the formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.labels import MASKS, Labels, mark_false_negatives
from hybrid_ir.training.losses import InfoNCE


@st.composite
def problems(draw):
    """Vectors and labels of a batch: B queries, K hard negatives each, few contents so that many repeat."""
    queries, negatives = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    passages = queries * (1 + negatives)
    ids = st.integers(0, 4)
    content = draw(st.lists(ids, min_size=passages, max_size=passages))
    for i in range(passages):
        if i % (1 + negatives) and draw(st.booleans()):
            content[i] = -1
    text = draw(st.lists(st.integers(0, 2), min_size=passages, max_size=passages))
    labels = Labels(
        torch.tensor(draw(st.lists(ids, min_size=queries, max_size=queries))),
        torch.tensor(content),
        torch.tensor([10 * c + t for c, t in zip(content, text, strict=True)]),
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    vectors = [
        F.normalize(torch.randn(n, 8, generator=generator, dtype=torch.float64), dim=1)
        for n in (queries, passages)
    ]
    return *vectors, labels


def brute_force(queries, passages, labels, temperature, negatives, mask, symmetric):
    """Equation 1, one exponential at a time."""
    size, columns = len(queries), labels.columns
    score = [[math.exp(float(q @ p) / temperature) for p in passages] for q in queries]

    def is_false(i, j):
        own = i * columns
        if labels.content_N[j] < 0:
            return True
        if mask == "none":
            return False
        ids = labels.content_N if mask == "translations" else labels.text_N
        asked_again = j % columns == 0 and labels.query_G[i] == labels.query_G[j // columns]
        return bool(ids[j] == ids[own] or asked_again)

    forward, backward = [], []
    for i in range(size):
        own = i * columns
        rest = [j for j in range(len(passages)) if j != own and not is_false(i, j)]
        if negatives == "explicit":
            rest = [j for j in rest if j % columns]
        forward.append(-math.log(score[i][own] / (score[i][own] + sum(score[i][j] for j in rest))))
        others = [k for k in range(size) if k != i and not is_false(k, own)]
        backward.append(
            -math.log(score[i][own] / (score[i][own] + sum(score[k][own] for k in others)))
        )
    total = sum(forward) / size
    return (total + sum(backward) / size) / 2 if symmetric else total


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("negatives", ["in_batch", "explicit"])
@pytest.mark.parametrize("symmetric", [False, True])
@given(problem=problems(), temperature=st.floats(0.02, 1))
@settings(max_examples=30, deadline=None)
def test_loss_is_the_brute_force(problem, temperature, negatives, mask, symmetric):
    queries, passages, labels = problem
    loss = InfoNCE(temperature, negatives=negatives, mask=mask, symmetric=symmetric).double()
    loss.log_temperature.fill_(math.log(temperature))
    if negatives == "explicit" and labels.columns == 1:
        with pytest.raises(ValueError, match="data.hard_negatives"):
            loss(queries, passages, labels)
        return
    expected = brute_force(queries, passages, labels, temperature, negatives, mask, symmetric)
    assert loss(queries, passages, labels).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(problem=problems(), mask=st.sampled_from(MASKS))
@settings(max_examples=30, deadline=None)
def test_gradients_are_those_of_float64_and_none_reaches_what_is_masked(problem, mask):
    queries, passages, labels = (t.float() if torch.is_tensor(t) else t for t in problem)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        p = passages.to(dtype).clone().requires_grad_()
        InfoNCE(0.1, mask=mask)(queries.to(dtype), p, labels).backward()
        gradients.append(p.grad)
    assert torch.allclose(gradients[0].double(), gradients[1], atol=1e-4)
    nobodys = mark_false_negatives(labels, len(queries), mask).all(0)
    assert (gradients[1][nobodys] == 0).all()


def test_twins_are_masked_and_strangers_are_not():
    """Query 0 and 1 share a passage in two languages, 2 repeats the text of 0, 3 asks what 0 asks, 4 is a stranger."""
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


@given(problem=problems(), mask=st.sampled_from(MASKS))
@settings(max_examples=40, deadline=None)
def test_a_slice_of_the_batch_has_its_rows_of_the_mask(problem, mask):
    queries, _, labels = problem
    whole = mark_false_negatives(labels, len(queries), mask)
    for first in range(len(queries)):
        part = Labels(labels.query_G, labels.content_N, labels.text_N, first)
        assert torch.equal(mark_false_negatives(part, 1, mask), whole[first : first + 1])
        assert part.positives(1).item() == first * labels.columns


def test_half_precision_vectors_are_compared_in_float32():
    vectors = F.normalize(torch.randn(6, 16), dim=1)
    labels = Labels(torch.arange(6), torch.arange(6), torch.arange(6))
    with torch.autocast("cpu", torch.bfloat16):
        loss = InfoNCE(0.01)(vectors.bfloat16(), vectors.bfloat16(), labels)
    assert loss.dtype == torch.float32
    assert (
        loss.item()
        == InfoNCE(0.01)(vectors.bfloat16().float(), vectors.bfloat16().float(), labels).item()
    )


def test_a_learnt_temperature_learns_and_a_fixed_one_does_not():
    vectors = F.normalize(torch.randn(4, 8), dim=1)
    labels = Labels(torch.arange(4), torch.arange(4), torch.arange(4))
    learnt = InfoNCE(0.07, learn_temperature=True)
    learnt(vectors, vectors, labels).backward()
    assert (
        learnt.log_temperature.grad != 0
        and learnt.log_temperature.exp().item() == pytest.approx(0.07)
    )
    assert not InfoNCE(0.07).log_temperature.requires_grad


def test_bad_choices_are_all_named():
    with pytest.raises(ValueError, match=r"temperature=0 .*negatives='hard'.*mask='all'"):
        InfoNCE(0, negatives="hard", mask="all")


def test_moved_labels_keep_the_place_of_their_slice():
    assert Labels(torch.arange(4), torch.arange(4), torch.arange(4), first=2).to("cpu").first == 2


@pytest.mark.parametrize("temperature", [0.0, -1.0, 0.004, float("nan"), float("inf")])
def test_a_temperature_that_no_softmax_survives_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature=.* must be finite and at least 0.005"):
        InfoNCE(temperature=temperature)
