"""The positives that a corpus knows are no negatives: against all pairs, one by one."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.data.batching import choose_hard_negatives, select_passages
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.known_positives import POSITIVES
from hybrid_ir.data.labels import (
    Labels,
    count_negatives,
    mark_compared,
    mark_false_negatives,
    mark_false_positives,
)
from hybrid_ir.data.language_view import LanguageView
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import PlannedBatch
from tests.support.corpora import (
    SOURCE,
    build_corpus_with_several_positives,
    build_parallel_corpus,
    write_to_disk,
)

LANGUAGES = "abc"
TEXT_COUNT = 9  # queries, and passages


@st.composite
def corpora(draw) -> ParallelCorpus:
    """Draws a corpus whose texts repeat and are missing, with several positives of a query.

    Hard negatives are any passages, known positives of their query among them.
    """
    sides = []
    for role in ("query", "passage"):
        texts = {}
        for language in LANGUAGES:
            numbers = draw(
                st.lists(st.integers(-1, TEXT_COUNT), min_size=TEXT_COUNT, max_size=TEXT_COUNT)
            )
            # Distinct texts are as frequent as repeated ones.
            texts[language] = []
            for row, number in enumerate(numbers):
                name = f"alone {row}" if number > TEXT_COUNT // 2 else str(number)
                texts[language].append(None if number < 0 else f"{role} {language} {name}")
        texts["a"] = [text or f"{role} there {row}" for row, text in enumerate(texts["a"])]
        sides.append(texts)
    ids = st.integers(0, TEXT_COUNT - 1)
    pairs = draw(st.lists(st.tuples(ids, ids), min_size=6, max_size=24))
    negatives = draw(
        st.lists(
            st.lists(st.integers(-1, TEXT_COUNT - 1), min_size=3, max_size=3),
            min_size=len(pairs),
            max_size=len(pairs),
        )
    )
    return ParallelCorpus(sides[0], sides[1], np.array(pairs), SOURCE, np.array(negatives))


class AllPairs:
    """What a corpus says of a query and a passage, by going through all of its pairs."""

    def __init__(self, corpus: ParallelCorpus):
        self.corpus = corpus

    def list_positives(self, query: int) -> list[int]:
        """Lists the passages of all pairs whose query has the content of a query."""
        corpus = self.corpus
        positives = []
        for other, passage in corpus.pairs:
            if corpus.query_content[other] == corpus.query_content[query]:
                positives.append(int(passage))
        return positives

    def is_positive(self, query: int, passage: int) -> bool:
        """Returns whether a passage says the same as a positive of the query."""
        contents = {int(self.corpus.content[one]) for one in self.list_positives(query)}
        return int(self.corpus.content[passage]) in contents

    def has_positive_text(self, query: int, passage: int, language: str) -> bool:
        """Returns whether a passage has the text of a positive of the query in a language."""
        texts = self.corpus.passages[language]
        return texts[passage] in {texts[one] for one in self.list_positives(query)}


def is_masked(
    all_pairs: AllPairs, plan: PlannedBatch, passages_GM: np.ndarray, row: int, cell: int, mask: str
) -> bool:
    """Returns whether passage `cell` of a batch, which is filled, is no negative of query `row`."""
    corpus = all_pairs.corpus
    columns = passages_GM.shape[1]
    example = cell // columns
    query = corpus.pairs[plan.pairs[row], 0]
    passage = passages_GM.reshape(-1)[cell]
    if mask == "none" or cell == row * columns:
        return False
    if mask == "translations":
        return all_pairs.is_positive(query, passage)
    other_query = corpus.pairs[plan.pairs[example], 0]
    is_same_query = corpus.query_content[query] == corpus.query_content[other_query]
    if is_same_query and cell % columns == 0:
        return True
    number = plan.passage_languages[example]
    own_number = plan.passage_languages[row]
    own = passages_GM[row, 0]
    language = corpus.languages[number]
    own_text = corpus.passages[corpus.languages[own_number]][own]
    if corpus.passages[language][passage] == own_text:
        return True
    if number != own_number and corpus.content[passage] == corpus.content[own]:
        return False  # a translation of the example's own positive
    return all_pairs.has_positive_text(query, passage, language)


def compute_mask(corpus, plan, passages_GM, labels: Labels, mask: str) -> torch.Tensor:
    """Computes the mask of a batch (G, N), cell by cell."""
    all_pairs = AllPairs(corpus)
    rows = []
    for row in range(len(passages_GM)):
        cells = []
        for cell in range(passages_GM.size):
            is_empty = bool(labels.content_N[cell] < 0)
            cells.append(is_empty or is_masked(all_pairs, plan, passages_GM, row, cell, mask))
        rows.append(cells)
    return torch.tensor(rows)


@given(
    corpus=corpora(),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    hard_negatives=st.integers(0, 3),
    mask=st.sampled_from(["translations", "exact", "none"]),
    step=st.integers(0, 20),
)
@settings(max_examples=150, deadline=None)
def test_the_mask_is_that_of_all_pairs(corpus, share, hard_negatives, mask, step):
    plan = plan_any_batch(corpus, share, step)
    passages, labels = select_passages(corpus, plan, hard_negatives, seed=1)
    expected = compute_mask(corpus, plan, passages, labels, mask)
    assert torch.equal(mark_false_negatives(labels, len(passages), mask), expected)
    columns = 1 + hard_negatives
    reverse = mark_false_positives(labels, len(passages), mask)
    assert torch.equal(reverse, expected[:, ::columns].T)


@given(
    corpus=corpora(),
    hard_negatives=st.integers(0, 2),
    mask=st.sampled_from(["translations", "exact", "none"]),
    ranks=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60, deadline=None)
def test_ranks_have_their_rows_of_the_mask(corpus, hard_negatives, mask, ranks):
    plan = plan_any_batch(corpus, 0.0, step=0)
    _, labels = select_passages(corpus, plan, hard_negatives, seed=1)
    size = 4 // ranks
    negatives = []
    positives = []
    for rank in range(ranks):
        labels_of_rank = replace(labels, first=rank * size).to("cpu")
        negatives.append(mark_false_negatives(labels_of_rank, size, mask))
        positives.append(mark_false_positives(labels_of_rank, size, mask))
    assert torch.equal(torch.cat(negatives), mark_false_negatives(labels, 4, mask))
    assert torch.equal(torch.cat(positives), mark_false_positives(labels, 4, mask))


def plan_any_batch(corpus: ParallelCorpus, share: float, step: int) -> PlannedBatch:
    """Plans a batch of four examples; where the sampler cannot, one language serves all."""
    try:
        return PairBatchSampler(corpus, 4, share, seed=2)[step]
    except ValueError:
        pairs = (np.arange(4) + step) % len(corpus)
        return PlannedBatch(step, True, pairs, np.zeros(4, int), np.zeros(4, int))


@given(corpus=corpora(), step=st.integers(0, 20), count=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_known_positive_is_never_a_hard_negative(corpus, step, count):
    plan = plan_any_batch(corpus, 0.5, step)
    all_pairs = AllPairs(corpus)
    chosen = choose_hard_negatives(corpus, plan, count, seed=1)
    for pair, language, row in zip(plan.pairs, plan.passage_languages, chosen, strict=True):
        usable = 0
        texts = corpus.passages[corpus.languages[language]]
        for candidate in corpus.negatives[pair]:
            if candidate >= 0 and texts[candidate] is not None:
                usable += not all_pairs.is_positive(corpus.pairs[pair, 0], candidate)
        assert (row >= 0).sum() == min(count, usable)
        for negative in row[row >= 0]:
            assert not all_pairs.is_positive(corpus.pairs[pair, 0], negative)


@given(corpus=corpora())
@settings(max_examples=25, deadline=None)
def test_a_stored_corpus_knows_the_same_and_lists_no_positive_as_negative(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("corpus") / "c"
    stored = write_to_disk(folder, corpus)
    assert stored.index.positives.path == folder / POSITIVES
    assert np.array_equal(stored.index.positives.keys, corpus.index.positives.keys)
    all_pairs = AllPairs(corpus)
    negatives = np.asarray(corpus.negatives)
    kept = Counter()
    dropped = 0
    for (query, passage), row in zip(corpus.pairs, negatives, strict=True):
        for negative in row[row >= 0]:
            if all_pairs.is_positive(query, negative):
                dropped += 1
            else:
                kept[int(query), int(passage), int(negative)] += 1
    found = Counter()
    for (query, passage), row in zip(stored.pairs, np.asarray(stored.negatives), strict=True):
        for negative in row[row >= 0]:
            found[int(query), int(passage), int(negative)] += 1
    assert found == kept
    report = read_report(folder)
    name = "hard negatives left out that are a positive of their query"
    assert report.get(name, 0) == dropped


def read_report(folder: Path) -> dict[str, int]:
    return json.loads((folder / "corpus.json").read_text(encoding="utf-8"))["report"]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("negatives", ["in_batch", "explicit"])
def test_no_known_positive_is_among_the_negatives(share, negatives):
    neighbours = (np.arange(32)[:, None] // 2 + [0, 1, 2, 3]) % 17
    corpus = build_corpus_with_several_positives(negatives=neighbours)
    all_pairs = AllPairs(corpus)
    known = 0
    kept = 0
    for step in range(6):
        plan = PairBatchSampler(corpus, 16, share, seed=2)[step]
        passages, labels = select_passages(corpus, plan, 2, seed=2)
        kept_BN = mark_compared(labels, 16, negatives)
        kept_BN &= ~mark_false_negatives(labels, 16, "translations")
        for row, column in kept_BN.nonzero().tolist():
            query = corpus.pairs[plan.pairs[row], 0]
            known += all_pairs.is_positive(query, passages.reshape(-1)[column])
        kept += int(kept_BN.sum())
    assert known == 0
    assert kept > 1000


def test_the_masked_share_counts_the_known_positives():
    corpus = build_corpus_with_several_positives()
    plan = PairBatchSampler(corpus, 16, 1.0, seed=2)[0]
    _, labels = select_passages(corpus, plan, 0, seed=2)
    share = count_negatives(labels, 16, "translations", "in_batch").masked_share
    pairs_of_batch = Labels(labels.query_G, labels.content_N, labels.text_N)
    of_pairs = count_negatives(pairs_of_batch, 16, "translations", "in_batch")
    marked = mark_false_negatives(labels, 16, "translations")
    assert float(share) == pytest.approx(float(marked.sum()) / 240)
    assert float(share) > float(of_pairs.masked_share) + 0.02


def test_exact_knows_the_texts_of_other_positives_in_their_language():
    """Passages 0 and 1 have one text in "a" alone, and 0 and 2 answer query 0."""
    passages = {"a": ["same", "same", "third", "x"], "b": ["first", "second", "third b", "y"]}
    queries = {"a": ["q0", "q1", "q2"], "b": ["r0", "r1", "r2"]}
    pairs = np.array([[0, 0], [0, 2], [1, 1], [2, 2], [1, 0]])
    corpus = ParallelCorpus(queries, passages, pairs, SOURCE)
    rows = np.array([0, 2, 3, 4])  # passages 0, 1, 2 and 0
    for languages, expected in (
        ([0, 0, 0, 0], [False, True, True, True]),
        ([1, 1, 1, 1], [False, False, True, True]),
        ([0, 1, 1, 1], [False, False, True, False]),
    ):
        numbers = np.array(languages)
        plan = PlannedBatch(0, False, rows, numbers, numbers)
        _, labels = select_passages(corpus, plan, 0, seed=0)
        assert mark_false_negatives(labels, 4, "exact")[0].tolist() == expected
        everything = mark_false_negatives(labels, 4, "translations")[0].tolist()
        assert everything == [False, True, True, True]


def test_a_positive_that_a_language_lacks_has_no_text_there():
    """Passages 0 and 1 have one text in "a"; passage 0, an answer to query 0, is not in "b"."""
    passages = {"a": ["same", "same", "third"], "b": [None, "second", "third b"]}
    queries = {"a": ["q0", "q1"], "b": ["r0", "r1"]}
    corpus = ParallelCorpus(queries, passages, np.array([[0, 0], [0, 2], [1, 1]]), SOURCE)
    ones = np.ones(2, int)
    _, labels = select_passages(corpus, PlannedBatch(0, True, np.array([1, 2]), ones, ones), 0, 0)
    assert mark_false_negatives(labels, 2, "translations")[0].tolist() == [False, True]
    assert mark_false_negatives(labels, 2, "exact")[0].tolist() == [False, False]


def test_a_query_in_another_language_or_asked_again_has_the_same_positives():
    """Queries 0 and 1 are equal in "b", so they are one query with two passages."""
    queries = {"a": ["q0", "q1", "q2"], "b": ["same", "same", "other"]}
    passages = {"a": ["p0", "p1", "p2"], "b": ["r0", "r1", "r2"]}
    pairs = np.array([[0, 0], [1, 1], [2, 2], [2, 1]])
    corpus = ParallelCorpus(queries, passages, pairs, SOURCE)
    zeros = np.zeros(2, int)
    plan = PlannedBatch(0, True, np.array([0, 3]), zeros, zeros)
    _, labels = select_passages(corpus, plan, 0, seed=0)
    marked = mark_false_negatives(labels, 2, "translations")
    assert marked.tolist() == [[False, True], [False, False]]


def test_a_part_of_a_mixture_has_its_positives_and_a_view_those_of_its_corpus():
    several = build_corpus_with_several_positives(languages="ab")
    single = build_parallel_corpus(40, "bc")
    mixture = Mixture({"several": several, "single": single})
    sampler = PairBatchSampler(mixture, 8, 0.5, seed=1)
    known = {0: 0, 1: 0}
    for step in range(20):
        plan = sampler[step]
        _, labels = select_passages(mixture.parts[plan.part], plan, 0, seed=1)
        known[plan.part] += labels.known_2E.shape[1]
    assert known[0] > 20
    assert known[1] == 0
    view = LanguageView(several, ["a"], ["a"])
    assert view.index.positives is several.index.positives


def test_a_corpus_with_one_positive_a_query_lists_nothing():
    assert len(build_parallel_corpus().index.positives.keys) == 0


def test_a_folder_that_was_written_without_the_list_makes_it_in_memory(tmp_path):
    corpus = build_corpus_with_several_positives()
    keys = write_to_disk(tmp_path / "c", corpus).index.positives.keys
    card_path = tmp_path / "c" / "corpus.json"
    card = json.loads(card_path.read_text(encoding="utf-8"))
    del card["files"][POSITIVES]
    card_path.write_text(json.dumps(card), encoding="utf-8")
    (tmp_path / "c" / POSITIVES).unlink()
    positives = load_corpus_folder(tmp_path / "c").index.positives
    assert positives.path is None
    assert np.array_equal(positives.keys, keys)
    assert len(keys) == 32


def test_another_process_gets_the_path_of_the_list_and_no_copy(tmp_path):
    positives = write_to_disk(
        tmp_path / "c", build_corpus_with_several_positives(3000)
    ).index.positives
    state = positives.__getstate__()
    assert len(positives.keys) == 6000
    assert "keys" not in positives.__getstate__()
    assert state["path"] == tmp_path / "c" / POSITIVES
    copied = pickle.loads(pickle.dumps(positives))
    assert np.array_equal(copied.keys, positives.keys)


@given(corpus=corpora(), rows=st.lists(st.integers(0, TEXT_COUNT - 1), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_passages_of_queries_are_found_as_listed(corpus, rows):
    contents = corpus.query_content[rows]
    places, passages = corpus.index.positives.find_passages(contents)
    all_pairs = AllPairs(corpus)
    for place, row in enumerate(rows):
        expected = sorted(set(all_pairs.list_positives(row)))
        if len(expected) < 2:
            expected = []
        assert passages[places == place].tolist() == expected
