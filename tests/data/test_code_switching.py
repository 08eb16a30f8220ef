"""Code switching: phrases in other languages, nothing else changed, the same on any ranks."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.sampling import PairBatchSampler
from tests.support.corpora import build_corpus_of_animals
from tests.support.plans import decode


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory) -> Path:
    """A folder with translations of some animals and a city."""
    folder = tmp_path_factory.mktemp("lexicon")
    (folder / "en-de.tsv").write_text("cat\tKatze\ndog\tHund\nnew york\tNeu York\n")
    (folder / "en-es.txt").write_text("cat gato\n")
    return folder


def switch_with_seeds(switching: CodeSwitching, text: str) -> set[str]:
    """Returns what 20 seeds make of an English text."""
    return {switching.switch_words(text, "en", np.random.default_rng(seed)) for seed in range(20)}


def test_phrases_are_replaced_by_translations_longest_first(lexicon):
    switching = CodeSwitching(str(lexicon), words=1.0).prepare(["en", "de"])
    rng = np.random.default_rng(0)
    switched = switching.switch_words("A Cat, a dog; New York? Concat!", "en", rng)
    assert switched == "A Katze, a Hund; Neu York? Concat!"
    assert switching.switch_words("Katze", "de", rng) == "Katze"


def test_the_language_of_a_translation_is_drawn(lexicon):
    switching = CodeSwitching(str(lexicon), words=1.0).prepare(["en", "de", "es"])
    assert switch_with_seeds(switching, "cat") == {"Katze", "gato"}


def test_no_phrase_is_replaced_with_probability_0(lexicon):
    switching = CodeSwitching(str(lexicon), words=0.0).prepare(["en", "de"])
    assert switch_with_seeds(switching, "cat") == {"cat"}


@given(
    text=st.text("cat dog new york,.é中", max_size=40),
    seed=st.integers(0, 99),
    words=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_nothing_else_of_a_text_changes(lexicon, text, seed, words):
    switching = CodeSwitching(str(lexicon), words=words).prepare(["en", "de"])
    switched = switching.switch_words(text, "en", np.random.default_rng(seed))
    for phrase, translation in (("cat", "Katze"), ("dog", "Hund"), ("new york", "Neu York")):
        switched = re.sub(rf"\b{translation}\b", phrase, switched)
    assert switched == text


def test_words_of_scripts_with_vowel_signs_are_whole():
    switching = CodeSwitching(words=1.0).prepare(["hi", "en"])
    rng = np.random.default_rng(0)
    switched = switching.switch_words("क्या भारतीय भारत में हैं?", "hi", rng)
    assert switched == "क्या भारतीय India में हैं?"


@pytest.mark.parametrize(
    ("language", "entries", "text", "switched"),
    [
        (
            "zh",
            {"北京": "Peking", "京": "capital", "大学": "university"},
            "我在北京大学",
            "我在Pekinguniversity",
        ),
        ("zh", {"2020年": "2020"}, "在2020年。", "在2020。"),
        ("ja", {"東京": "Tokyo", "タワー": "tower"}, "東京タワーへ行く", "Tokyotowerへ行く"),
        ("th", {"ประเทศ": "country", "ไทย": "Thai"}, "ประเทศไทยมี", "countryThaiมี"),
        ("th", {"น": "n", "นำ": "lead"}, "นำน้ำ", "leadน้ำ"),
        ("km", {"ខ": "k", "ខ្មែរ": "Khmer"}, "ភាសាខ្មែរ", "ភាសាKhmer"),
    ],
)
def test_phrases_are_found_where_no_blanks_are_written(tmp_path, language, entries, text, switched):
    lines = [f"{phrase}\t{translation}\n" for phrase, translation in entries.items()]
    (tmp_path / f"{language}-en.tsv").write_text("".join(lines))
    switching = CodeSwitching(str(tmp_path), words=1.0).prepare([language, "en"])
    assert switching.switch_words(text, language, np.random.default_rng(0)) == switched


def test_words_with_blanks_between_them_are_still_whole(tmp_path):
    (tmp_path / "en-de.tsv").write_text("cat\tKatze\n")
    switching = CodeSwitching(str(tmp_path), words=1.0).prepare(["en", "de"])
    rng = np.random.default_rng(0)
    assert switching.switch_words("concat cats cat cat中", "en", rng) == "concat cats Katze cat中"


def test_the_lexicon_of_cldr_has_names_in_its_languages():
    switching = CodeSwitching(words=1.0).prepare(["en", "de", "zh"])
    switched = switch_with_seeds(switching, "the people of South Africa")
    assert switched == {"the people of Südafrika", "the people of 南非"}


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"share": 2}, "share=2 is a probability"),
        ({"words": -1}, "words=-1 is a probability"),
        ({"sides": ["both"]}, r"sides=\['both'\] must be among"),
        ({"lexicon": "nowhere"}, "must be cldr, or a folder"),
    ],
)
def test_wrong_choices_are_refused(choices, problem):
    with pytest.raises(ValueError, match=problem):
        CodeSwitching(**choices)


def test_wrong_lexicons_are_refused(lexicon, tmp_path):
    with pytest.raises(ValueError, match="has nothing to switch between"):
        CodeSwitching(str(lexicon)).prepare(["ru", "th"])
    (tmp_path / "en-de.tsv").write_text("cat\tKatze\n\ndog\n")
    with pytest.raises(ValueError, match=r"en-de.tsv, line 3: 'dog' has no translation"):
        CodeSwitching(str(tmp_path)).prepare(["en", "de"])
    (tmp_path / "en-de.tsv").rename(tmp_path / "english-de.tsv")
    with pytest.raises(ValueError, match="the language code 'english' is not known"):
        CodeSwitching(str(tmp_path)).prepare(["en", "de"])


def test_batches_are_switched_alike_on_any_number_of_ranks(lexicon, tokenizers, cache):
    sampler = PairBatchSampler(build_corpus_of_animals(), 8, 0.5, seed=3)

    def build_batches(rank_slice: slice) -> PlannedBatches:
        switching = CodeSwitching(str(lexicon), share=0.5, words=1.0)
        return PlannedBatches(
            sampler, tokenizers, cache, rank_slice=rank_slice, switching=switching
        )

    batches = build_batches(slice(0, 8))
    batches_of_ranks = [build_batches(slice(0, 4)), build_batches(slice(4, 8))]
    plain_batches = PlannedBatches(sampler, tokenizers, cache)
    switched = 0
    for step in range(12):
        batch = batches[step]
        queries_of_ranks = [half[step].queries.ids_T for half in batches_of_ranks]
        assert torch.equal(batch.queries.ids_T, torch.cat(queries_of_ranks))
        # Queries alone are switched.
        assert torch.equal(batch.passages.ids_T, plain_batches[step].passages.ids_T)
        assert torch.equal(batch.queries.ids_T, batches[step].queries.ids_T)
        switched += sum("katze" in text.lower() for text in decode(batch.queries, tokenizers))
    assert 15 < switched < 40  # a half of those in English, which are a half
