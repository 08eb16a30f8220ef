"""The embedded fact set: sizes, splits without leaks, and the same on every machine."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hybrid_ir.cldr.fact_set import build_fact_set
from hybrid_ir.cldr.facts import find_facts_of_same_entity, split_by_entity
from hybrid_ir.cldr.languages import XQUAD
from hybrid_ir.corpora.sources import cldr_facts as corpus_source
from hybrid_ir.evaluation.benchmarks import cldr_facts as benchmark_source

DIGEST = """
import hashlib, json
from hybrid_ir.cldr.fact_set import build_fact_set
if {warm}:
    build_fact_set(["th"])  # babel shares data between languages: what came before must not show
facts = build_fact_set(["de", "zh"])
numbers = [facts.question_passage, facts.split, facts.hard_negatives]
state = [facts.passages, facts.questions, facts.entity, *(array.tolist() for array in numbers)]
print(hashlib.sha256(json.dumps(state).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def facts():
    return build_fact_set("xquad")


def texts(facts, split):
    """All texts of a split, in any language, as a model that lowers case sees them."""
    asked, said = np.flatnonzero(facts.split == split), np.flatnonzero(facts.fact_split == split)
    questions = (facts.questions[language][i] for language in facts.languages for i in asked)
    passages = (facts.passages[language][i] for language in facts.languages for i in said)
    return {text.casefold() for text in (*questions, *passages) if text is not None}


def test_sizes(facts):
    """Lower bounds, since the counts move with the version of babel."""
    assert facts.languages == XQUAD
    assert len(facts.fact_kind) > 3000
    assert (facts.split == "train").sum() > 7000
    assert len(facts.find_evaluated_questions("test")) > 450
    assert len(facts.find_evaluated_questions("dev")) > 180
    assert len(set(facts.fact_kind)) > 18


def test_every_text_is_there(facts):
    for language in facts.languages:
        for column, size in (
            (facts.passages, len(facts.fact_kind)),
            (facts.questions, len(facts.question_passage)),
        ):
            assert len(column[language]) == size
            assert all(text and text == text.strip() for text in column[language])


def test_a_text_means_one_thing(facts):
    for column in (facts.passages, facts.questions):
        for language in facts.languages:
            assert len({text.casefold() for text in column[language]}) == len(column[language])


@pytest.mark.parametrize("languages", ["xquad", ("fr", "ja", "sw")])
def test_no_held_out_text_is_trained_on(languages):
    facts = build_fact_set(languages)
    train, dev, test = (texts(facts, split) for split in ("train", "dev", "test"))
    assert not train & dev and not train & test and not dev & test


def test_splits_do_not_depend_on_the_languages(facts):
    """A model trained on two languages may be evaluated on eleven."""
    trained = corpus_source.load(["de", "en"])
    held_out = {facts.passages["en"][i] for i in np.flatnonzero(facts.fact_split != "train")}
    assert not held_out & set(trained.passages["en"])


def test_every_held_out_entity_is_trained_on(facts):
    entity = np.array(facts.entity)
    assert set(entity[facts.fact_split != "train"]) <= set(entity[facts.fact_split == "train"])


def test_questions_by_city_share_no_name(facts):
    by_city = [
        i
        for i, asker in enumerate(facts.question_subject)
        if asker.startswith("city:")
        and facts.entity[facts.question_passage[i]].startswith("territory:")
        and facts.fact_kind[facts.question_passage[i]] not in ("country", "time_zone")
    ]
    assert len(by_city) > 1500
    shared = [
        i
        for i in by_city
        if facts.questions["en"][i].rstrip("?").split()[-1]
        in facts.passages["en"][facts.question_passage[i]]
    ]
    assert len(shared) < 0.1 * len(by_city)


def test_hard_negatives_are_other_facts_of_the_entity(facts):
    for i, row in enumerate(facts.hard_negatives):
        others = row[row >= 0]
        assert i not in others
        assert all(facts.entity[other] == facts.entity[i] for other in others)


def test_corpus_and_benchmark_share_nothing_held_out(facts):
    corpus, test = corpus_source.load(), benchmark_source.load("test")
    trained = {text for rows in corpus.queries.values() for text in rows}
    assert not trained & set(test.queries)
    assert len(test.passages) == len(facts.fact_kind) * len(XQUAD)
    assert len(set(test.passage_ids)) == len(test.passages)
    assert all(len(rows) == len(XQUAD) and (np.diff(rows) > 0).all() for rows in test.relevant)
    assert corpus.negatives.max() < len(corpus.passages["en"])
    assert (np.diff((corpus.negatives < 0).astype(int), axis=1) >= 0).all()  # fillers last
    assert "CLDR" in test.source.revision


def test_relevant_passages_answer_in_the_query_language():
    test = benchmark_source.load("dev", ["de", "en"], max_queries=40)
    assert len(test.queries) == 80 and len(set(test.question_ids)) == 40
    for i, rows in enumerate(test.relevant):
        assert set(test.passage_languages[rows]) == {0, 1}
        assert len({test.passage_ids[row].split(":")[1] for row in rows}) == 1
        assert test.languages[test.query_languages[i]] in ("de", "en")


def test_smaller_checks_are_part_of_larger_ones():
    few, more = (benchmark_source.load("dev", max_queries=n, pool="split") for n in (20, 60))
    assert set(few.question_ids) < set(more.question_ids)


def test_same_on_every_machine():
    results = [
        subprocess.run(
            [sys.executable, "-c", DIGEST.format(warm=seed == "2")],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize("languages", ["xx", ["en", "xx"], []])
def test_unknown_language(languages):
    with pytest.raises(ValueError, match=r"languages=xquad .*ar de el.*languages=all") as error:
        build_fact_set(languages)
    assert "xx" in str(error.value) or languages == []


@pytest.mark.parametrize("wrong", [{"split": "train"}, {"pool": "none"}, {"max_queries": 0}])
def test_wrong_choices_say_the_right_ones(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        benchmark_source.load(**wrong)


def test_all_languages():
    facts = build_fact_set("all")
    assert len(facts.languages) >= 100
    assert set(XQUAD) < set(facts.languages)
    assert set(facts.question_style) == {"keywords"}
    there = [
        sum(text is not None for text in facts.passages[language]) for language in facts.languages
    ]
    assert len(facts.fact_kind) > 1500 and min(there) > 0.5 * len(facts.fact_kind)
    assert len(facts.find_evaluated_questions("test")) > 200
    assert not texts(facts, "train") & texts(facts, "test")


def test_a_list_beyond_the_templates():
    corpus = corpus_source.load(["fr", "ja", "sw"])
    assert corpus.languages == ("fr", "ja", "sw")
    assert len(corpus) > 1500
    assert benchmark_source.load("dev", ["fr", "ja", "sw"]).languages == ("fr", "ja", "sw")


def test_every_entity_keeps_a_fact_and_shares_are_kept():
    splits = np.array(split_by_entity([i // 2 for i in range(400)])).reshape(-1, 2)
    assert (
        (splits == "train").any(1).all()
        and (splits == "test").sum() == 48
        and (splits == "dev").sum() == 20
    )


def test_the_other_facts_of_an_entity():
    assert find_facts_of_same_entity("aba").tolist() == [[2], [-1], [0]]
