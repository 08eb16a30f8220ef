"""The embedded fact set: sizes, splits without leaks, and the same on every machine."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hybrid_ir.cldr.fact_set import FactSet, build_fact_set
from hybrid_ir.cldr.facts import find_facts_of_same_entity, split_by_entity
from hybrid_ir.cldr.languages import XQUAD, list_supported_languages, resolve_languages
from hybrid_ir.cldr.names import collect_lexicon_names
from hybrid_ir.corpora.sources import cldr_facts as corpus_source
from hybrid_ir.evaluation.benchmarks import cldr_facts as benchmark_source

PRINT_DIGEST = """
from hybrid_ir.cldr.fact_set import build_fact_set
from tests.cldr.test_cldr_facts import compute_digest
print(compute_digest(build_fact_set(["de", "zh"])))
"""


@pytest.fixture(scope="module")
def facts() -> FactSet:
    return build_fact_set("xquad")


@pytest.fixture(scope="module")
def facts_of_all_languages() -> FactSet:
    return build_fact_set("all")


def collect_texts(facts: FactSet, split: str) -> set[str]:
    """Returns all texts of a split in any language, as a model that lower-cases sees them."""
    texts = set()
    for language in facts.languages:
        for question in np.flatnonzero(facts.split == split):
            texts.add(facts.questions[language][question])
        for passage in np.flatnonzero(facts.fact_split == split):
            texts.add(facts.passages[language][passage])
    return {text.casefold() for text in texts - {None}}


def compute_digest(facts: FactSet) -> str:
    """Returns a hash of all that a set says."""
    state = [
        facts.passages,
        facts.questions,
        facts.question_passage.tolist(),
        facts.split.tolist(),
        facts.entity,
        facts.hard_negatives.tolist(),
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def test_sizes_are_at_least_those_of_the_first_version(facts):
    """The counts change with the version of babel."""
    assert facts.languages == XQUAD
    assert len(facts.fact_kind) > 3000
    assert (facts.split == "train").sum() > 7000
    assert len(facts.find_evaluated_questions("test")) > 450
    assert len(facts.find_evaluated_questions("dev")) > 180
    assert len(set(facts.fact_kind)) > 18


def test_every_text_exists(facts):
    for language in facts.languages:
        assert len(facts.passages[language]) == len(facts.fact_kind)
        assert len(facts.questions[language]) == len(facts.question_passage)
        for text in facts.passages[language] + facts.questions[language]:
            assert text
            assert text == text.strip()


def test_a_text_means_one_thing(facts):
    for texts in (facts.passages, facts.questions):
        for language in facts.languages:
            distinct = {text.casefold() for text in texts[language]}
            assert len(distinct) == len(texts[language])


def require_separate_splits(facts: FactSet) -> None:
    """Fails if a text is in two splits, in whatever languages."""
    train = collect_texts(facts, "train")
    dev = collect_texts(facts, "dev")
    test = collect_texts(facts, "test")
    assert not train & dev
    assert not train & test
    assert not dev & test


@pytest.mark.parametrize("languages", ["xquad", ("fr", "ja", "sw")])
def test_no_held_out_text_is_trained_on(languages):
    require_separate_splits(build_fact_set(languages))


def test_no_held_out_text_of_any_language_is_trained_on(facts_of_all_languages):
    require_separate_splits(facts_of_all_languages)


def test_splits_do_not_depend_on_the_languages(facts):
    """A model trained on two languages may be evaluated on eleven."""
    trained = corpus_source.load(["de", "en"])
    held_out = {facts.passages["en"][i] for i in np.flatnonzero(facts.fact_split != "train")}
    assert not held_out & set(trained.passages["en"])


def test_every_held_out_entity_is_trained_on(facts):
    entity = np.array(facts.entity)
    is_trained = facts.fact_split == "train"
    assert set(entity[~is_trained]) <= set(entity[is_trained])


def test_questions_by_city_share_no_name_with_their_passage(facts):
    by_city = 0
    with_shared_name = 0
    for question, passage in enumerate(facts.question_passage):
        is_of_territory = facts.entity[passage].startswith("territory:")
        names_city = facts.question_subject[question].startswith("city:")
        if not names_city or not is_of_territory:
            continue
        if facts.fact_kind[passage] in ("country", "time_zone"):  # these are facts of a city
            continue
        by_city += 1
        last_word = facts.questions["en"][question].rstrip("?").split()[-1]
        if last_word in facts.passages["en"][passage]:
            with_shared_name += 1
    assert by_city > 1500
    assert with_shared_name < 0.1 * by_city


def test_hard_negatives_are_other_facts_of_the_entity(facts):
    for fact, row in enumerate(facts.hard_negatives):
        others = row[row >= 0]
        assert fact not in others
        assert {facts.entity[other] for other in others} <= {facts.entity[fact]}


def test_the_corpus_has_no_question_of_the_benchmark():
    corpus = corpus_source.load()
    benchmark = benchmark_source.load("test")
    trained = set()
    for texts in corpus.queries.values():
        trained.update(texts)
    assert not trained & set(benchmark.queries)


def test_negatives_of_the_corpus_are_passages_with_fillers_last():
    corpus = corpus_source.load()
    is_filler = corpus.negatives < 0
    assert corpus.negatives.max() < len(corpus.passages["en"])
    assert (np.diff(is_filler.astype(int), axis=1) >= 0).all()


def test_the_benchmark_has_every_passage_in_every_language(facts):
    benchmark = benchmark_source.load("test")
    assert len(benchmark.passages) == len(facts.fact_kind) * len(XQUAD)
    assert len(set(benchmark.passage_ids)) == len(benchmark.passages)
    for rows in benchmark.relevant:
        assert len(rows) == len(XQUAD)
        assert (np.diff(rows) > 0).all()
    assert "CLDR" in benchmark.source.revision


def test_relevant_passages_are_one_fact_in_all_languages():
    benchmark = benchmark_source.load("dev", ["de", "en"], max_queries=40)
    assert benchmark.languages == ("de", "en")
    assert len(benchmark.queries) == 80
    assert len(set(benchmark.question_ids)) == 40
    for rows in benchmark.relevant:
        fact_ids = {benchmark.passage_ids[row].split(":")[1] for row in rows}
        assert set(benchmark.passage_languages[rows]) == {0, 1}
        assert len(fact_ids) == 1


def test_smaller_checks_are_part_of_larger_ones():
    few = benchmark_source.load("dev", max_queries=20, pool="split")
    more = benchmark_source.load("dev", max_queries=60, pool="split")
    assert set(few.question_ids) < set(more.question_ids)


def test_the_set_is_the_same_on_every_machine():
    """Neither the hashes of Python nor sets that were built before may show.

    Babel shares data between languages, so the set of this process would show it.
    """
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    build_fact_set("xquad")
    build_fact_set(["th"])
    assert done.stdout.strip() == compute_digest(build_fact_set(["de", "zh"]))


@pytest.mark.parametrize("languages", ["xx", ["en", "xx"], []])
def test_an_unknown_language_is_refused_with_all_that_exist(languages):
    named = "xx" if "xx" in languages else "no language at all"
    message = rf"no embedded facts in {named}: use languages=xquad .*ar de el.*languages=all"
    with pytest.raises(ValueError, match=message):
        build_fact_set(languages)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"split": "train"}, "split="),
        ({"pool": "none"}, "pool="),
        ({"max_queries": 0}, "max_queries="),
    ],
)
def test_invalid_choices_of_the_benchmark_are_named(choices, message):
    with pytest.raises(ValueError, match=message):
        benchmark_source.load(**choices)


def test_all_languages_are_those_that_name_enough_facts(facts_of_all_languages):
    languages = resolve_languages("all")
    assert languages == list_supported_languages() == facts_of_all_languages.languages
    assert len(languages) >= 100
    assert set(XQUAD) < set(languages)


def test_all_languages_have_keywords_and_most_texts(facts_of_all_languages):
    facts = facts_of_all_languages
    assert set(facts.question_style) == {"keywords"}
    assert len(facts.fact_kind) > 1500
    assert len(facts.find_evaluated_questions("test")) > 200
    for language in facts.languages:
        existing = [text for text in facts.passages[language] if text is not None]
        assert len(existing) > 0.5 * len(facts.fact_kind)


def test_corpus_and_benchmark_can_be_in_languages_without_templates():
    languages = ["fr", "ja", "sw"]
    corpus = corpus_source.load(languages)
    assert corpus.languages == ("fr", "ja", "sw")
    assert len(corpus) > 1500
    assert benchmark_source.load("dev", languages).languages == ("fr", "ja", "sw")


def test_every_entity_keeps_a_fact_and_shares_are_kept():
    entities = [i // 2 for i in range(400)]
    splits = np.array(split_by_entity(entities)).reshape(-1, 2)
    assert (splits == "train").any(axis=1).all()
    assert (splits == "test").sum() == 48
    assert (splits == "dev").sum() == 20


def test_the_other_facts_of_an_entity():
    assert find_facts_of_same_entity("aba").tolist() == [[2], [-1], [0]]


def test_a_language_that_cldr_does_not_know_has_no_lexicon():
    assert collect_lexicon_names("xx") == {}
