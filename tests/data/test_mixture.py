"""A mixture of corpora: every batch is of one of them, drawn by its size."""

import numpy as np
import pytest

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.batch_card import BatchCard
from hybrid_ir.training.losses import InfoNCE
from tests.support.corpora import SOURCE, draw_corpus


def list_plans(mixture: Mixture, share: float, steps: int = 3000) -> list:
    """Lists the first plans of batches of 4."""
    sampler = PairBatchSampler(mixture, 4, share, seed=3)
    return [sampler[step] for step in range(steps)]


@pytest.mark.parametrize("tau", [1.0, 0.5, 0.0])
def test_corpora_of_a_mixture_are_drawn_by_size(tau):
    sizes = (90, 40, 10)
    mixture = Mixture({str(size): draw_corpus(size) for size in sizes}, tau, weights={"10": 2})
    expected = np.array(sizes) ** tau * [1, 1, 2]
    for monolingual_share in (1.0, 0.0):
        parts = [plan.part for plan in list_plans(mixture, monolingual_share)]
        drawn = np.bincount(parts, minlength=3) / len(parts)
        assert drawn == pytest.approx(expected / expected.sum(), abs=0.04)


def test_a_corpus_in_one_language_serves_monolingual_batches_alone():
    english = ParallelCorpus(
        {"b": [f"q{i}" for i in range(50)]},
        {"b": [f"p{i}" for i in range(50)]},
        np.stack([np.arange(50)] * 2, 1),
        SOURCE,
    )
    mixture = Mixture({"english": english, "parallel": draw_corpus(50)})
    assert mixture.languages == ("a", "b", "c")
    plans = list_plans(mixture, 0.5)
    assert {plan.part for plan in plans if plan.monolingual} == {0, 1}
    assert {plan.part for plan in plans if not plan.monolingual} == {1}
    assert {plan.query_languages[0] for plan in plans if plan.part == 0} == {1}
    for plan in plans[:200]:
        part = mixture.parts[plan.part]
        for pair, language in zip(plan.pairs, plan.query_languages, strict=True):
            assert part.queries[mixture.languages[language]][int(part.pairs[pair, 0])]
    monolingual = np.mean([plan.part for plan in plans if plan.monolingual])
    assert monolingual == pytest.approx(0.5, abs=0.05)  # both have 50 pairs


def test_kinds_and_languages_of_a_corpus_in_a_mixture():
    mixture = Mixture(
        {"x": draw_corpus(50), "y": draw_corpus(50, seed=1)},
        languages_of={"x": ["a", "c"]},
        kinds={"y": ["cross_lingual"]},
    )
    plans = list_plans(mixture, 0.5)
    assert {plan.part for plan in plans if plan.monolingual} == {0}
    languages = set()
    for plan in plans:
        if plan.part == 0:
            languages.update(plan.query_languages.tolist())
            languages.update(plan.passage_languages.tolist())
    assert languages == {0, 2}


@pytest.mark.parametrize(("share", "level"), [(0.5, "batch"), (0.3, "example"), (1.0, "batch")])
def test_the_card_of_a_mixture_has_its_names_and_the_expected_shares(share, level):
    mixture = Mixture(
        {"one": draw_corpus(60), "two": draw_corpus(20, seed=1), "three": draw_corpus(30, seed=2)},
        weights={"two": 2},
        kinds={"three": ["monolingual"]},
        languages_of={"one": ["a", "c"]},
    )
    assert all(name in mixture.source.description for name in ("one", "two", "three"))
    card = BatchCard.of(
        PairBatchSampler(mixture, 4, share, level=level, seed=3), 6000, 1, InfoNCE(mask="none")
    )
    assert [part["corpus"] for part in card.parts] == ["one", "two", "three"]
    assert card.parts[0]["pairs"] == mixture.parts[0].usable_pair_count
    assert sum(part["expected"] for part in card.parts) == pytest.approx(1)
    for part in card.parts:
        assert part["monolingual"] + part["mixed"] == pytest.approx(part["expected"], abs=0.03)
    # The batches of this level have both kinds of examples.
    assert (card.parts[2]["expected"] == 0) == (level == "example")


def test_passes_of_a_mixture_repeat_no_pair():
    mixture = Mixture({"x": draw_corpus(40), "y": draw_corpus(24, seed=1)})
    plans = list_plans(mixture, 0.0)
    for part in (0, 1):
        pairs = np.concatenate([plan.pairs for plan in plans if plan.part == part])
        size = len(PairBatchSampler(mixture, 4, 0.0).parts[part].streams[0]) // 4 * 4
        for start in range(0, len(pairs) - size, size):
            assert len(set(pairs[start : start + size].tolist())) == size


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"parts": {}}, "it has no corpus: add one"),
        ({"tau": -1}, "tau=-1 must be between 0 and 100"),
        ({"weights": {"z": 1}}, r"weights names \['z'\], it has \['x'\]"),
        ({"sizes": {"z": 1}}, r"sizes names \['z'\]"),
        ({"weights": {"x": -1}}, "use 0, or numbers between"),
        ({"languages": ["zz"]}, r"languages has \['zz'\], which none of its corpora has"),
        (
            {"languages_of": {"x": ["zz"]}},
            r"languages_of.x has \['zz'\], that corpus has \['a', 'b', 'c'\]",
        ),
        ({"kinds": {"x": ["mono"]}}, r"kinds has {'x': \['mono'\]}: use one or both of"),
    ],
)
def test_what_is_wrong_with_a_mixture_is_said(choices, problem):
    with pytest.raises(ValueError, match=problem):
        Mixture(**{"parts": {"x": draw_corpus(10)}, **choices})


def test_a_sampler_that_nothing_can_serve_is_refused():
    alone = ParallelCorpus({"a": ["q", "r"]}, {"a": ["p", "s"]}, np.array([[0, 0], [1, 1]]), SOURCE)
    other = ParallelCorpus({"b": ["q", "r"]}, {"b": ["p", "s"]}, np.array([[0, 0], [1, 1]]), SOURCE)
    with pytest.raises(
        ValueError, match="has no pairs for the cross-lingual batches of monolingual_share=0.0"
    ):
        PairBatchSampler(Mixture({"x": alone, "y": other}), 2, 0.0)


def test_a_corpus_with_weight_0_is_not_in_the_mixture_and_none_is_an_error():
    mixture = Mixture({"x": draw_corpus(50), "y": draw_corpus(3, seed=1)}, weights={"y": 0})
    assert len(mixture.parts) == 1
    assert mixture.left_out == {"y": "drawn with weight 0"}
    assert PairBatchSampler(mixture, 16, 0.5)[0].part == 0  # more than the other has
    with pytest.raises(
        ValueError, match="no corpus with a weight above 0 has a pair in the chosen languages"
    ):
        Mixture({"x": draw_corpus(50)}, sizes={"x": 0})


def test_passes_are_over_the_pairs_that_are_used():
    whole = draw_corpus(40)
    mixture = Mixture({"x": draw_corpus(40)}, languages_of={"x": ["b"]})
    usable = mixture.parts[0].usable_pair_count
    assert usable < 40
    for corpus, pairs in ((whole, 40), (mixture, usable)):
        sampler = PairBatchSampler(corpus, 4, 1.0, languages=["b"])
        card = BatchCard.of(sampler, 10, 1, InfoNCE())
        assert card.passes == pytest.approx(40 / pairs)


def test_the_card_of_no_batches_has_no_masked_share():
    sampler = PairBatchSampler(draw_corpus(40), 4, 1.0)
    assert BatchCard.of(sampler, 0, 1, InfoNCE()).masked_share == 0
