"""A corpus on disk is the corpus in memory, whole or not there; its plan is the same function of seed and step."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.stored import build_cached_corpus, load_corpus_folder, write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data import permutation as order
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.batch_card import BatchCard
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
TEXT = st.one_of(st.none(), st.sampled_from(["x", "y", "Ελλάδα", "中国", "a b"]))


def written(folder, corpus: ParallelCorpus) -> ParallelCorpus:
    with CorpusWriter(folder) as writer:
        for role, texts in (("query", corpus.queries), ("passage", corpus.passages)):
            for language in corpus.languages:
                writer.write_column(role, language, [texts[language][:2], texts[language][2:]])
        writer.finish(corpus.source, corpus.pairs, corpus.negatives)
    return load_corpus_folder(folder)


def made(count: int, languages: str = "abc", seed: int = 0) -> ParallelCorpus:
    rng = np.random.default_rng(seed)
    there = rng.random((2, len(languages), count)) < 0.8
    there[:, 0] = True
    queries, passages = (
        {
            language: [
                f"{kind} {language} {i}" if there[side, number, i] else None for i in range(count)
            ]
            for number, language in enumerate(languages)
        }
        for side, kind in enumerate("qp")
    )
    negatives = rng.integers(-1, count, (count, 2))
    return ParallelCorpus(
        queries,
        passages,
        np.stack([np.arange(count), rng.permutation(count)], 1),
        SOURCE,
        negatives,
    )


@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_what_is_read(tmp_path_factory, rows):
    queries, passages = (
        {code: [row[2 * side + i] for row in rows] for i, code in enumerate("ab")}
        for side in (0, 1)
    )
    pairs = np.stack([np.arange(len(rows)), np.arange(len(rows))[::-1]], 1)
    one = ParallelCorpus(queries, passages, pairs, SOURCE)
    other = written(tmp_path_factory.mktemp("corpus") / "c", one)
    assert other.source == one.source and other.languages == one.languages
    for side in ("queries", "passages"):
        assert {code: list(texts) for code, texts in getattr(other, side).items()} == getattr(
            one, side
        )
    assert (
        other.content.tolist() == one.content.tolist()
        and other.query_content.tolist() == one.query_content.tolist()
    )
    assert sorted(other.pairs.tolist()) == sorted(one.pairs.tolist())
    asked, told = other.availability.of_pairs(np.arange(len(rows)))
    for (query, passage), has_query, has_passage in zip(other.pairs, asked, told, strict=True):
        assert has_query.tolist() == [queries[code][query] is not None for code in "ab"]
        assert has_passage.tolist() == [passages[code][passage] is not None for code in "ab"]
    ids = np.repeat(np.arange(len(rows)), 2), np.tile([0, 1], len(rows))
    assert (
        other.index.passage_languages.has(*ids).tolist()
        == one.index.passage_languages.has(*ids).tolist()
    )


def test_negatives_stay_with_their_pairs(tmp_path):
    one = made(40)
    other = written(tmp_path / "c", one)
    found, expected = (
        {
            tuple(pair): sorted(row, key=lambda passage: passage < 0)
            for pair, row in zip(  # -1, for none, behind
                corpus.pairs.tolist(), np.asarray(corpus.negatives).tolist(), strict=True
            )
        }
        for corpus in (other, one)
    )
    assert found == expected


@pytest.mark.parametrize("exact", [1 << 20, 0])
def test_the_plan_of_a_corpus_on_disk_has_only_texts_that_are_there_and_each_pair_once_a_pass(
    tmp_path, monkeypatch, exact
):
    monkeypatch.setattr(order, "EXACT", exact)
    corpus = written(tmp_path / "c", made(90))
    sampler = PairBatchSampler(corpus, 5, 0.5, seed=4)
    for step in range(200):
        plan = sampler[step]
        again = PairBatchSampler(corpus, 5, 0.5, seed=4)[step]
        assert (plan.pairs == again.pairs).all() and (
            plan.query_languages == again.query_languages
        ).all()
        for pair, asked, told in zip(
            plan.pairs, plan.query_languages, plan.passage_languages, strict=True
        ):
            query, passage = corpus.pairs[pair]
            assert (
                corpus.queries["abc"[asked]][int(query)]
                and corpus.passages["abc"[told]][int(passage)]
            )
    one = PairBatchSampler(corpus, 7, 1.0, languages=["a"], seed=4)  # all pairs are there in it
    for start in range(0, 48, 12):
        seen = np.concatenate([one[step].pairs for step in range(start, start + 12)])
        assert len(set(seen.tolist())) == 84


def test_a_damaged_corpus_is_refused(tmp_path):
    written(tmp_path / "c", made(20))
    path = tmp_path / "c" / "pairs.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(
        ValueError, match=r"corpus .* is damaged: pairs\.npy has .* bytes, not .* delete the folder"
    ):
        load_corpus_folder(tmp_path / "c")
    with pytest.raises(ValueError, match="is no corpus: it has no corpus.json"):
        load_corpus_folder(tmp_path)
    card = tmp_path / "c" / "corpus.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"version": 0}))
    with pytest.raises(ValueError, match="not of version"):
        load_corpus_folder(tmp_path / "c")


KILLED = """
import os, sys
from pathlib import Path
from hybrid_ir.corpora.writing import CorpusWriter
with CorpusWriter(Path(sys.argv[1]), "key") as writer:
    writer.write_column("query", "a", [["q"]])
    writer.open_column("passage", "a").add(["half"])
    os.kill(os.getpid(), 9)
"""


def test_a_build_that_was_killed_goes_on_with_the_columns_that_are_whole(tmp_path):
    assert (
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "c")], timeout=60).returncode
        == -9
    )
    assert not (tmp_path / "c").exists()
    with CorpusWriter(tmp_path / "c", "key") as writer:
        assert writer.has_column("query", "a") and not writer.has_column("passage", "a")
        writer.write_column("query", "a", pytest.fail)  # not called
        writer.write_column("passage", "a", [["p"]])
        writer.finish(SOURCE, np.array([[0, 0]]))
    assert list(load_corpus_folder(tmp_path / "c").passages["a"]) == ["p"]


def test_what_a_stopped_import_left_is_in_no_other(tmp_path):
    assert (
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "c")], timeout=60).returncode
        == -9
    )

    def build(writer):
        writer.write_column("query", "b", [["q"]])
        writer.write_column("passage", "b", [["p"]])
        writer.finish(SOURCE, np.array([[0, 0]]))

    assert write_corpus(str(tmp_path / "c"), build).languages == ("b",)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    with pytest.raises(ValueError, match="is there already: name a new folder"):
        write_corpus(str(tmp_path / "c"), build)


def test_two_at_once_do_not_write_the_same_folder(tmp_path):
    def build(writer):
        with pytest.raises(ValueError, match="another process is writing it"):
            write_corpus(str(tmp_path / "c"), pytest.fail)
        writer.write_column("query", "b", [["q"]])
        writer.write_column("passage", "b", [["p"]])
        writer.finish(SOURCE, np.array([[0, 0]]))

    assert len(write_corpus(str(tmp_path / "c"), build)) == 1


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def build(writer):
        writer.write_column("query", "a", [["q"]])
        raise ValueError("bad data")

    with pytest.raises(ValueError, match="bad data"):
        build_cached_corpus(tmp_path, "c", {}, build)
    assert not [path for path in (tmp_path / "corpora").iterdir() if path.suffix != ".lock"]


def test_it_is_built_once(tmp_path):
    calls = []

    def build(writer):
        calls.append(1)
        writer.write_column("query", "a", [["q"]])
        writer.write_column("passage", "a", [["p"]])
        writer.finish(SOURCE, np.array([[0, 0]]))

    for key in (1, 1, 2):
        assert len(build_cached_corpus(tmp_path, "c", {"key": key}, build)) == 1
    assert len(calls) == 2


def test_texts_longer_than_a_batch_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.corpora.text_columns.BATCH_ROWS", 3)
    monkeypatch.setattr("hybrid_ir.corpora.text_columns.BATCH_BYTES", 50)
    texts = [None if i % 4 == 3 else "x" * i for i in range(20)]
    with CorpusWriter(tmp_path / "c") as writer:
        writer.write_column("query", "a", [pa.array(texts, pa.large_string())])
        writer.open_column("passage", "a").pad_to(5)
        writer.open_column("passage", "a").add(texts[5:])
        writer.finish(SOURCE, np.stack([np.arange(20)] * 2, 1))
    corpus = load_corpus_folder(tmp_path / "c")
    assert (
        list(corpus.queries["a"]) == texts and list(corpus.passages["a"]) == [None] * 5 + texts[5:]
    )


def plans(mixture: Mixture, share: float, steps: int = 3000, **choices) -> list:
    sampler = PairBatchSampler(mixture, 4, share, seed=3, **choices)
    return [sampler[step] for step in range(steps)]


@pytest.mark.parametrize("tau", [1.0, 0.5, 0.0])
def test_corpora_of_a_mixture_are_drawn_by_size(tau):
    sizes = (90, 40, 10)
    mixture = Mixture({str(size): made(size) for size in sizes}, tau, weights={"10": 2})
    for monolingual, share in ((True, 1.0), (False, 0.0)):
        drawn = np.bincount([plan.part for plan in plans(mixture, share)], minlength=3) / 3000
        expected = np.array(sizes) ** tau * [1, 1, 2]
        assert drawn == pytest.approx(expected / expected.sum(), abs=0.04), monolingual


def test_a_corpus_in_one_language_serves_monolingual_batches_alone():
    english = ParallelCorpus(
        {"b": [f"q{i}" for i in range(50)]},
        {"b": [f"p{i}" for i in range(50)]},
        np.stack([np.arange(50)] * 2, 1),
        SOURCE,
    )
    mixture = Mixture({"english": english, "parallel": made(50)})
    assert mixture.languages == ("a", "b", "c")
    found = plans(mixture, 0.5)
    assert {plan.part for plan in found if plan.monolingual} == {0, 1}
    assert {plan.part for plan in found if not plan.monolingual} == {1}
    assert {plan.query_languages[0] for plan in found if plan.part == 0} == {1}
    for plan in found[:200]:
        part = mixture.parts[plan.part]
        for pair, language in zip(plan.pairs, plan.query_languages, strict=True):
            assert part.queries[mixture.languages[language]][int(part.pairs[pair, 0])]
    monolingual = np.mean([plan.part for plan in found if plan.monolingual])
    assert monolingual == pytest.approx(0.5, abs=0.05)  # both have 50 pairs


def test_kinds_and_languages_of_a_corpus_in_a_mixture():
    mixture = Mixture(
        {"x": made(50), "y": made(50, seed=1)},
        languages_of={"x": ["a", "c"]},
        kinds={"y": ["cross_lingual"]},
    )
    found = plans(mixture, 0.5)
    assert {plan.part for plan in found if plan.monolingual} == {0}
    of_x = [plan for plan in found if plan.part == 0]
    assert {
        int(code) for plan in of_x for code in {*plan.query_languages, *plan.passage_languages}
    } == {0, 2}


@pytest.mark.parametrize(("share", "level"), [(0.5, "batch"), (0.3, "example"), (1.0, "batch")])
def test_the_card_of_a_mixture_has_the_names_that_were_given_and_what_is_to_be_expected(
    share, level
):
    mixture = Mixture(
        {"one": made(60), "two": made(20, seed=1), "three": made(30, seed=2)},
        weights={"two": 2},
        kinds={"three": ["monolingual"]},
        languages_of={"one": ["a", "c"]},
    )
    assert all(name in mixture.source.description for name in ("one", "two", "three"))
    card = BatchCard.of(
        PairBatchSampler(mixture, 4, share, level=level, seed=3), 6000, 1, InfoNCE(mask="none")
    )
    assert [part["corpus"] for part in card.parts] == ["one", "two", "three"]
    assert card.parts[0]["pairs"] == mixture.parts[0].usable and sum(
        part["expected"] for part in card.parts
    ) == pytest.approx(1)
    for part in card.parts:
        assert part["monolingual"] + part["mixed"] == pytest.approx(part["expected"], abs=0.03)
    assert (card.parts[2]["expected"] == 0) == (
        level == "example"
    )  # whose batches have both kinds of examples


def test_passes_of_a_mixture_repeat_no_pair():
    mixture = Mixture({"x": made(40), "y": made(24, seed=1)})
    rows = {
        part: np.concatenate([plan.pairs for plan in plans(mixture, 0.0) if plan.part == part])
        for part in (0, 1)
    }
    usable = {
        part: len(PairBatchSampler(mixture, 4, 0.0).parts[part].streams[0]) // 4 * 4
        for part in rows
    }
    for part, seen in rows.items():
        for start in range(0, len(seen) - usable[part], usable[part]):
            assert len(set(seen[start : start + usable[part]].tolist())) == usable[part]


@pytest.mark.parametrize(
    ("choices", "said"),
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
def test_what_is_wrong_with_a_mixture_is_said(choices, said):
    with pytest.raises(ValueError, match=said):
        Mixture(**{"parts": {"x": made(10)}, **choices})


def test_a_sampler_that_nothing_can_serve_is_refused():
    alone = ParallelCorpus({"a": ["q", "r"]}, {"a": ["p", "s"]}, np.array([[0, 0], [1, 1]]), SOURCE)
    other = ParallelCorpus({"b": ["q", "r"]}, {"b": ["p", "s"]}, np.array([[0, 0], [1, 1]]), SOURCE)
    with pytest.raises(
        ValueError, match="has no pairs for the cross-lingual batches of monolingual_share=0.0"
    ):
        PairBatchSampler(Mixture({"x": alone, "y": other}), 2, 0.0)


def test_a_corpus_with_weight_0_is_not_in_the_mixture_and_none_is_an_error():
    mixture = Mixture({"x": made(50), "y": made(3, seed=1)}, weights={"y": 0})
    assert len(mixture.parts) == 1 and mixture.left_out == {"y": "drawn with weight 0"}
    assert PairBatchSampler(mixture, 16, 0.5)[0].part == 0  # more than the other has
    with pytest.raises(
        ValueError, match="no corpus with a weight above 0 has a pair in the chosen languages"
    ):
        Mixture({"x": made(50)}, sizes={"x": 0})


def test_passes_are_over_the_pairs_that_are_used():
    whole, part = made(40), Mixture({"x": made(40)}, languages_of={"x": ["b"]})
    for corpus, pairs in ((whole, 40), (part, part.parts[0].usable)):
        card = BatchCard.of(PairBatchSampler(corpus, 4, 1.0, languages=["b"]), 10, 1, InfoNCE())
        assert card.passes == pytest.approx(40 / pairs)
    assert (
        part.parts[0].usable < 40
        and BatchCard.of(PairBatchSampler(whole, 4, 1.0), 0, 1, InfoNCE()).masked_share == 0
    )
