"""A corpus on disk is the corpus in memory, complete or not there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.stored import build_cached_corpus, load_corpus_folder, write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data import row_streams
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from tests.support.corpora import SOURCE, draw_corpus, write_to_disk

TEXT = st.one_of(st.none(), st.sampled_from(["x", "y", "Ελλάδα", "中国", "a b"]))
ROW = st.tuples(TEXT, TEXT, TEXT, TEXT)  # query in a and b, passage in a and b


@given(rows=st.lists(ROW, min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_what_is_read(tmp_path_factory, rows):
    queries = {"a": [row[0] for row in rows], "b": [row[1] for row in rows]}
    passages = {"a": [row[2] for row in rows], "b": [row[3] for row in rows]}
    pairs = np.stack([np.arange(len(rows)), np.arange(len(rows))[::-1]], axis=1)
    corpus = ParallelCorpus(queries, passages, pairs, SOURCE)
    stored = write_to_disk(tmp_path_factory.mktemp("corpus") / "c", corpus)
    assert stored.source == corpus.source
    assert stored.languages == corpus.languages
    assert {language: list(texts) for language, texts in stored.queries.items()} == queries
    assert {language: list(texts) for language, texts in stored.passages.items()} == passages
    assert stored.content.tolist() == corpus.content.tolist()
    assert stored.query_content.tolist() == corpus.query_content.tolist()
    assert sorted(stored.pairs.tolist()) == sorted(corpus.pairs.tolist())


@given(rows=st.lists(ROW, min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_the_languages_of_texts_and_pairs_are_what_is_written(tmp_path_factory, rows):
    queries = {"a": [row[0] for row in rows], "b": [row[1] for row in rows]}
    passages = {"a": [row[2] for row in rows], "b": [row[3] for row in rows]}
    pairs = np.stack([np.arange(len(rows)), np.arange(len(rows))[::-1]], axis=1)
    corpus = ParallelCorpus(queries, passages, pairs, SOURCE)
    stored = write_to_disk(tmp_path_factory.mktemp("corpus") / "c", corpus)
    has_queries, has_passages = stored.availability.get_languages_of_pairs(np.arange(len(rows)))
    for row, (query, passage) in enumerate(stored.pairs):
        for number, language in enumerate("ab"):
            assert has_queries[row, number] == (queries[language][query] is not None)
            assert has_passages[row, number] == (passages[language][passage] is not None)
    ids = np.repeat(np.arange(len(rows)), 2)
    languages = np.tile([0, 1], len(rows))
    has_language = stored.index.passage_languages.has(ids, languages)
    assert (has_language == corpus.index.passage_languages.has(ids, languages)).all()


def collect_negatives(corpus: ParallelCorpus) -> dict[tuple[int, int], list[int]]:
    """Returns the hard negatives of each pair, in their order and without fillers."""
    negatives = {}
    for (query, passage), ids in zip(corpus.pairs, np.asarray(corpus.negatives), strict=True):
        negatives[int(query), int(passage)] = ids[ids >= 0].tolist()
    return negatives


def test_negatives_stay_with_their_pairs(tmp_path):
    corpus = draw_corpus(40)
    stored = write_to_disk(tmp_path / "c", corpus)
    assert collect_negatives(stored) == collect_negatives(corpus)


@pytest.mark.parametrize("largest_drawn_size", [1 << 20, 0])
def test_the_plan_of_a_stored_corpus_has_only_texts_that_are_there(
    tmp_path, monkeypatch, largest_drawn_size
):
    monkeypatch.setattr(row_streams, "LARGEST_DRAWN_SIZE", largest_drawn_size)
    corpus = write_to_disk(tmp_path / "c", draw_corpus(90))
    sampler = PairBatchSampler(corpus, 5, 0.5, seed=4)
    for step in range(200):
        plan = sampler[step]
        again = PairBatchSampler(corpus, 5, 0.5, seed=4)[step]
        assert (plan.pairs == again.pairs).all()
        assert (plan.query_languages == again.query_languages).all()
        for example, pair in enumerate(plan.pairs):
            query, passage = corpus.pairs[pair]
            query_language = corpus.languages[plan.query_languages[example]]
            passage_language = corpus.languages[plan.passage_languages[example]]
            assert corpus.queries[query_language][int(query)]
            assert corpus.passages[passage_language][int(passage)]


@pytest.mark.parametrize("largest_drawn_size", [1 << 20, 0])
def test_a_pass_over_a_stored_corpus_has_each_pair_once(tmp_path, monkeypatch, largest_drawn_size):
    monkeypatch.setattr(row_streams, "LARGEST_DRAWN_SIZE", largest_drawn_size)
    corpus = write_to_disk(tmp_path / "c", draw_corpus(90))
    # Every pair is there in the first language.
    sampler = PairBatchSampler(corpus, 7, 1.0, languages=["a"], seed=4)
    for start in range(0, 48, 12):
        pairs = np.concatenate([sampler[step].pairs for step in range(start, start + 12)])
        assert len(set(pairs.tolist())) == 84


def test_a_damaged_corpus_is_refused(tmp_path):
    write_to_disk(tmp_path / "c", draw_corpus(20))
    path = tmp_path / "c" / "pairs.npy"
    path.write_bytes(path.read_bytes()[:-8])
    problem = r"corpus .* is damaged: pairs\.npy has .* bytes, not .* delete the folder"
    with pytest.raises(ValueError, match=problem):
        load_corpus_folder(tmp_path / "c")
    path.unlink()
    with pytest.raises(ValueError, match=r"damaged: pairs\.npy has no bytes, not"):
        load_corpus_folder(tmp_path / "c")


def test_a_folder_without_the_card_of_this_version_is_refused(tmp_path):
    write_to_disk(tmp_path / "c", draw_corpus(20))
    with pytest.raises(ValueError, match="is no corpus: it has no corpus.json"):
        load_corpus_folder(tmp_path)
    card = tmp_path / "c" / "corpus.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"version": 0}))
    with pytest.raises(ValueError, match="not of version"):
        load_corpus_folder(tmp_path / "c")


KILLED_BUILD = """
import os, sys
from pathlib import Path
from hybrid_ir.corpora.writing import CorpusWriter
with CorpusWriter(Path(sys.argv[1]), "key") as writer:
    writer.write_column("query", "a", [["q"]])
    writer.open_column("passage", "a").add(["half"])
    os.kill(os.getpid(), 9)
"""


def kill_a_build(folder: Path) -> None:
    """Starts a build of a corpus that is killed after one of its two columns."""
    killed = subprocess.run([sys.executable, "-c", KILLED_BUILD, str(folder)], timeout=600)
    assert killed.returncode == -9
    assert not folder.exists()


def write_one_pair(writer: CorpusWriter) -> None:
    writer.write_column("query", "b", [["q"]])
    writer.write_column("passage", "b", [["p"]])
    writer.finish(SOURCE, np.array([[0, 0]]))


def test_a_killed_build_is_resumed_with_its_complete_columns(tmp_path):
    kill_a_build(tmp_path / "c")
    with CorpusWriter(tmp_path / "c", "key") as writer:
        assert writer.has_column("query", "a")
        assert not writer.has_column("passage", "a")
        writer.write_column("query", "a", pytest.fail)  # not read
        writer.write_column("passage", "a", [["p"]])
        writer.finish(SOURCE, np.array([[0, 0]]))
    assert list(load_corpus_folder(tmp_path / "c").passages["a"]) == ["p"]


def test_what_a_killed_build_left_is_in_no_other(tmp_path):
    kill_a_build(tmp_path / "c")
    assert write_corpus(str(tmp_path / "c"), write_one_pair).languages == ("b",)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    with pytest.raises(ValueError, match="is there already: name a new folder"):
        write_corpus(str(tmp_path / "c"), write_one_pair)


def test_two_processes_do_not_write_the_same_folder(tmp_path):
    def build(writer):
        with pytest.raises(ValueError, match="another process is writing it"):
            write_corpus(str(tmp_path / "c"), pytest.fail)
        write_one_pair(writer)

    assert len(write_corpus(str(tmp_path / "c"), build)) == 1


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def build(writer):
        writer.write_column("query", "a", [["q"]])
        raise ValueError("bad data")

    with pytest.raises(ValueError, match="bad data"):
        build_cached_corpus(tmp_path, "c", {}, build)
    assert {path.suffix for path in (tmp_path / "corpora").iterdir()} == {".lock"}


def test_a_cached_corpus_is_built_once_for_a_key(tmp_path):
    calls = []

    def build(writer):
        calls.append(1)
        write_one_pair(writer)

    for key in (1, 1, 2):
        assert len(build_cached_corpus(tmp_path, "c", {"key": key}, build)) == 1
    assert len(calls) == 2


def test_texts_of_several_record_batches_are_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.corpora.text_columns.BATCH_ROWS", 3)
    monkeypatch.setattr("hybrid_ir.corpora.text_columns.BATCH_BYTES", 50)
    texts = [None if number % 4 == 3 else "x" * number for number in range(20)]
    with CorpusWriter(tmp_path / "c") as writer:
        writer.write_column("query", "a", [pa.array(texts, pa.large_string())])
        passages = writer.open_column("passage", "a")
        passages.pad_to(5)
        passages.add(texts[5:])
        writer.finish(SOURCE, np.stack([np.arange(20)] * 2, axis=1))
    corpus = load_corpus_folder(tmp_path / "c")
    assert list(corpus.queries["a"]) == texts
    assert list(corpus.passages["a"]) == [None] * 5 + texts[5:]
