"""ParallelCorpus: content ids that do not depend on the language, and all errors at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.content_ids import assign_content_ids, hash_text, hash_texts
from hybrid_ir.data.corpus import ParallelCorpus, iterate_blocks
from hybrid_ir.data.language_view import MissingTexts
from tests.support.corpora import SOURCE, pair_equal_ids


def group_by_content(texts: dict[str, list[str | None]]) -> list[int]:
    return assign_content_ids(map(hash_texts, texts.values())).tolist()


def test_passages_that_share_a_text_in_any_language_share_their_content():
    passages = {"a": ["x", "y", "x", None, "w"], "b": ["1", "2", "3", "2", "4"]}
    assert group_by_content(passages) == [0, 1, 0, 1, 4]


def test_missing_texts_are_no_shared_text():
    assert group_by_content({"a": ["x", None, None], "b": ["1", "2", "3"]}) == [0, 1, 2]


def test_a_chain_of_shared_texts_is_one_content():
    passages = {"a": ["x", "x", None, "z"], "b": ["1", "2", "2", "2"]}
    assert group_by_content(passages) == [0, 0, 0, 0]


def group_by_searching(rows: list[tuple[str, str]]) -> list[int]:
    """Returns the smallest row that a chain of equal texts leads to, for each row."""
    groups = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for i, (first, second) in enumerate(rows):
            for j in range(i):
                if first == rows[j][0] or second == rows[j][1]:
                    smallest = min(groups[i], groups[j])
                    changed |= groups[i] != smallest or groups[j] != smallest
                    groups[i] = smallest
                    groups[j] = smallest
    return groups


@given(
    st.lists(
        st.tuples(st.sampled_from("stuvwxyz"), st.sampled_from("12345678")),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None)
def test_content_groups_are_those_of_a_search_through_all_chains(rows):
    groups = group_by_content({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    assert groups == group_by_searching(rows)


def test_a_text_has_the_same_hash_in_every_process():
    assert hash_text("Kabul") == 8867130010577433881


def test_availability_is_known_for_each_pair_and_language():
    corpus = ParallelCorpus(
        {"b": ["q", None], "a": ["q", "r"]},
        {"a": [None, "p"], "b": ["p", "s"]},
        pair_equal_ids(2)[::-1],
        SOURCE,
    )
    assert corpus.languages == ("a", "b")
    queries, passages = corpus.availability.get_languages_of_pairs(np.arange(2))
    assert queries.tolist() == [[True, False], [True, True]]
    assert passages.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("queries", "passages", "pairs", "message"),
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
def test_an_invalid_corpus_is_refused(queries, passages, pairs, message):
    with pytest.raises(ValueError, match=message):
        ParallelCorpus(queries, passages, np.array(pairs), SOURCE)


def test_all_errors_of_a_corpus_are_named_at_once():
    message = r"'made': .*empty query.*;.*empty passage.*;.*negatives have shape \(1, 1\), need \(2"
    with pytest.raises(ValueError, match=message):
        ParallelCorpus(
            {"a": ["", "r"]}, {"a": ["p", ""]}, pair_equal_ids(2), SOURCE, np.array([[1]])
        )


@pytest.mark.parametrize("negative", [12, -2])
def test_negatives_beyond_the_passages_are_refused(negative):
    texts = {"a": [f"text {i}" for i in range(12)]}
    message = "passage ids of negatives reach .* 12 passages and -1 for none"
    with pytest.raises(ValueError, match=message):
        ParallelCorpus(texts, texts, pair_equal_ids(12), SOURCE, np.full((12, 1), negative))


def test_blocks_of_texts_are_the_texts():
    blocks = list(iterate_blocks(["a", None, "b", "c", "d"], size=2))
    assert blocks == [["a", None], ["b", "c"], ["d"]]


def test_missing_texts_read_like_a_list_of_none():
    missing = MissingTexts(4)
    assert list(missing) == [None] * 4
    assert missing[1:3] == [None, None]
    assert missing[0] is None
    assert len(missing) == 4
