"""Variants of a corpus: code switching, mined negatives, and overlap with benchmarks."""

import re

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.overlap import (
    BenchmarkTexts,
    NearTextIndex,
    choose_band_count,
    find_repeated_pairs,
    normalise_texts,
)
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Benchmark, Source

SOURCE = Source("made", "texts made for a test", "none", "none")


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lexicon")
    (folder / "en-de.tsv").write_text("cat\tKatze\ndog\tHund\nnew york\tNeu York\n")
    (folder / "en-es.txt").write_text("cat gato\n")
    return folder


def test_phrases_are_replaced_by_translations_longest_first(lexicon):
    switching = CodeSwitching(str(lexicon), words=1.0).prepare(["en", "de"])
    rng = np.random.default_rng(0)
    assert (
        switching.switch_words("A Cat, a dog; New York? Concat!", "en", rng)
        == "A Katze, a Hund; Neu York? Concat!"
    )
    assert switching.switch_words("Katze", "de", rng) == "Katze"
    both = CodeSwitching(str(lexicon), words=1.0).prepare(["en", "de", "es"])
    assert {both.switch_words("cat", "en", np.random.default_rng(i)) for i in range(20)} == {
        "Katze",
        "gato",
    }
    assert (
        CodeSwitching(str(lexicon), words=0.0).prepare(["en", "de"]).switch_words("cat", "en", rng)
        == "cat"
    )


@given(
    text=st.text("cat dog new york,.é中", max_size=40),
    seed=st.integers(0, 99),
    words=st.floats(0, 1),
)
@settings(max_examples=60)
def test_nothing_else_of_a_text_changes(lexicon, text, seed, words):
    switching = CodeSwitching(str(lexicon), words=words).prepare(["en", "de"])
    back = re.sub(
        r"\b(Katze|Hund|Neu York)\b",
        lambda found: {"Katze": "cat", "Hund": "dog", "Neu York": "new york"}[found[0]],
        switching.switch_words(text, "en", np.random.default_rng(seed)),
    )
    assert back == text


def test_words_of_scripts_with_vowel_signs_are_whole():
    switching = CodeSwitching(words=1.0).prepare(["hi", "en"])
    rng = np.random.default_rng(0)
    switched = switching.switch_words("क्या भारतीय भारत में हैं?", "hi", rng)
    assert switched == "क्या भारतीय India में हैं?"


def test_the_lexicon_of_cldr():
    switching = CodeSwitching(words=1.0).prepare(["en", "de", "zh"])
    said = {
        switching.switch_words("the people of South Africa", "en", np.random.default_rng(i))
        for i in range(20)
    }
    assert said == {"the people of Südafrika", "the people of 南非"}


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"share": 2}, "share=2 is a probability"),
        ({"words": -1}, "words=-1 is a probability"),
        ({"sides": ["both"]}, r"sides=\['both'\] must be among"),
        ({"lexicon": "nowhere"}, "must be cldr, or a folder"),
    ],
)
def test_wrong_choices(choices, said):
    with pytest.raises(ValueError, match=said):
        CodeSwitching(**choices)


def test_wrong_lexicons(lexicon, tmp_path):
    with pytest.raises(ValueError, match="has nothing to switch between"):
        CodeSwitching(str(lexicon)).prepare(["ru", "th"])
    (tmp_path / "en-de.tsv").write_text("cat\tKatze\n\ndog\n")
    with pytest.raises(ValueError, match=r"en-de.tsv, line 3: 'dog' has no translation"):
        CodeSwitching(str(tmp_path)).prepare(["en", "de"])
    (tmp_path / "en-de.tsv").rename(tmp_path / "english-de.tsv")
    with pytest.raises(ValueError, match="the language code 'english' is not known"):
        CodeSwitching(str(tmp_path)).prepare(["en", "de"])


def animals(count: int = 24) -> ParallelCorpus:
    queries = {
        "en": [f"which cat is number {i}" for i in range(count)],
        "de": [f"welche Zahl {i}" for i in range(count)],
    }
    passages = {code: [f"{text} indeed" for text in texts] for code, texts in queries.items()}
    return ParallelCorpus(queries, passages, np.repeat(np.arange(count)[:, None], 2, 1), SOURCE)


def test_batches_are_switched_alike_on_any_number_of_ranks(lexicon, tokenizers, cache):
    sampler = PairBatchSampler(animals(), 8, 0.5, seed=3)

    def data(own: slice) -> PlannedBatches:
        return PlannedBatches(
            sampler,
            tokenizers,
            cache,
            rank_slice=own,
            switching=CodeSwitching(str(lexicon), 0.5, 1.0),
        )

    whole, halves, never = (
        data(slice(0, 8)),
        [data(slice(0, 4)), data(slice(4, 8))],
        PlannedBatches(sampler, tokenizers, cache),
    )
    switched = 0
    for step in range(12):
        batch, parts, plain_batch = whole[step], [half[step] for half in halves], never[step]
        assert torch.equal(batch.queries.ids_T, torch.cat([part.queries.ids_T for part in parts]))
        assert torch.equal(
            batch.passages.ids_T, plain_batch.passages.ids_T
        )  # queries alone are switched
        texts = [
            tokenizers["query"].tokenizer.decode(ids)
            for ids in batch.queries.ids_T.split(batch.queries.lengths_B.tolist())
        ]
        switched += sum("katze" in text.lower() for text in texts)
        assert torch.equal(whole[step].queries.ids_T, batch.queries.ids_T)
    assert 15 < switched < 40  # a half of those in English, which are a half


def test_texts_are_compared_without_case_punctuation_and_form():
    assert normalise_texts(pa.array(["  ＷＨＯ is “it”?!", "who IS it", None])).to_pylist() == [
        "who is it",
        "who is it",
        None,
    ]


def benchmark(queries: list[str], passages: list[str]) -> Benchmark:
    rows = range(len(queries))
    return Benchmark(
        ("en",),
        queries,
        np.zeros(len(queries), int),
        [str(i) for i in rows],
        passages,
        np.zeros(len(passages), int),
        [str(i) for i in range(len(passages))],
        [np.array([i]) for i in rows],
        SOURCE,
    )


def test_shares_of_a_benchmark_in_a_corpus():
    tested = BenchmarkTexts.from_benchmark(
        benchmark(
            ["Which cat is number 3?", "something else", "welche ZAHL 4"],
            ["which cat is number 1, indeed", "x", "y"],
        )
    )
    assert tested.compute_shared_fractions(animals()) == {
        "queries": pytest.approx(2 / 3),
        "passages": pytest.approx(1 / 3),
    }


def test_near_matches_are_those_of_exact_jaccard_similarity():
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(["alpha", "beta", "gamma", "delta", "omega", "kappa"], 12)) + f" {i}"
        for i in range(40)
    ]
    changed = [text.replace("alpha", "alphas", 1) for text in texts]

    def similarity(a: str, b: str) -> float:
        one, other = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (a, b))
        return len(one & other) / len(one | other)

    near = NearTextIndex(0.8).add(texts)
    for text, found in zip(changed, near.mark_near_texts(changed), strict=True):
        best = max(similarity(text, other) for other in texts)
        assert found == (best >= 0.8) or abs(best - 0.8) < 0.1
    assert (
        not any(near.mark_near_texts(["something that is nothing like any of these texts at all"]))
        and near.mark_near_texts(texts) == [True] * 40
    )


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_what_is_at_the_threshold_and_are_no_more_than_that_takes(threshold):
    def found(bands: int) -> float:
        return 1 - (1 - threshold ** (128 // bands)) ** bands

    assert found(choose_band_count(threshold)) >= 0.95 and (
        choose_band_count(threshold) == 1 or found(choose_band_count(threshold) // 2) < 0.95
    )


def test_repeated_pairs_exactly_and_nearly():
    long = "a question about the history of the city of Kabul and its people"
    queries = [long, long + " today", "short", "other question altogether about rivers", long]
    corpus = ParallelCorpus(
        {"en": queries},
        {"en": ["answer text one"] * 5},
        np.repeat(np.arange(5)[:, None], 2, 1),
        SOURCE,
    )
    assert list(find_repeated_pairs(corpus, 0)) == [4] and list(
        find_repeated_pairs(corpus, 0.7)
    ) == [1, 4]
