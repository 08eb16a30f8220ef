"""ParallelCorpus: content ids that do not know the language, and everything wrong said at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ir.data import content_ids as content
from hybrid_ir.data.content_ids import hash_texts
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
PAIRS = np.array([[0, 0], [1, 1]])


def shared_content(texts: dict[str, list[str | None]]) -> np.ndarray:
    return content.assign_content_ids(map(hash_texts, texts.values()))


def test_passages_that_share_a_text_in_any_language_share_their_content():
    passages = {"a": ["x", "y", "x", None, "w"], "b": ["1", "2", "3", "2", "4"]}
    assert shared_content(passages).tolist() == [0, 1, 0, 1, 4]


def test_missing_texts_are_no_shared_text():
    assert shared_content({"a": ["x", None, None], "b": ["1", "2", "3"]}).tolist() == [0, 1, 2]


def test_a_chain_of_shared_texts_is_one_content():
    assert shared_content({"a": ["x", "x", None, "z"], "b": ["1", "2", "2", "2"]}).tolist() == [
        0,
        0,
        0,
        0,
    ]


@given(
    st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("xyz123")), min_size=1, max_size=30)
)
def test_content_is_the_finest_grouping_that_joins_equal_texts(rows):
    groups = shared_content({"a": [a for a, _ in rows], "b": [b for _, b in rows]})
    for i, (a, b) in enumerate(rows):
        assert groups[i] <= i and groups[groups[i]] == groups[i]
        assert all(groups[i] == groups[j] for j, (c, d) in enumerate(rows) if a == c or b == d)
    for group in set(groups):  # nothing is joined without a chain of equal texts
        members, reached = {i for i, c in enumerate(groups) if c == group}, {group}
        while more := {
            j
            for i in reached
            for j in members - reached
            if {*zip("ab", rows[i])} & {*zip("ab", rows[j])}
        }:
            reached |= more
        assert reached == members


def test_availability_is_per_pair_and_language():
    corpus = ParallelCorpus(
        {"b": ["q", None], "a": ["q", "r"]},
        {"a": [None, "p"], "b": ["p", "s"]},
        PAIRS[::-1],
        SOURCE,
    )
    assert corpus.languages == ("a", "b")
    queries, passages = corpus.availability.of_pairs(np.arange(2))
    assert queries.tolist() == [[True, False], [True, True]]
    assert passages.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("queries", "passages", "pairs", "said"),
    [
        ({"a": ["q"]}, {"b": ["p"]}, [[0, 0]], r"queries are in \['a'\], passages in \['b'\]"),
        ({"a": ["q"]}, {"a": ["p"]}, [], "no pair to train on"),
        (
            {"a": ["q", "r"], "b": ["q"]},
            {"a": ["p"], "b": ["p"]},
            [[0, 0]],
            r"one entry per query id.*'a': 2, 'b': 1",
        ),
        ({"a": ["q"]}, {"a": ["p"]}, [[0, 3]], "passage ids of pairs reach from 3 to 3"),
        ({"a": ["q"]}, {"a": ["p"]}, [[0, 1]], "passage ids of pairs reach from 1 to 1"),
        ({"a": ["q"]}, {"a": ["p"]}, [[-1, 0]], "query ids of pairs reach from -1"),
        ({"a": ["q", " "]}, {"a": ["p"]}, [[0, 0]], "1 empty query texts in 'a', first at id 1"),
    ],
)
def test_what_is_wrong_is_said(queries, passages, pairs, said):
    with pytest.raises(ValueError, match=said):
        ParallelCorpus(queries, passages, np.array(pairs), SOURCE)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(
        ValueError,
        match=r"'made': .*empty query.*;.*empty passage.*;.*negatives have shape \(1, 1\), need \(2",
    ):
        ParallelCorpus({"a": ["", "r"]}, {"a": ["p", ""]}, PAIRS, SOURCE, negatives=np.array([[1]]))
