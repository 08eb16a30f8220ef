"""Translation with a real model that was trained here: what comes out is right, and a kill loses and doubles nothing."""

import json
import random
import re
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ir.cli import translate as translate_command
from hybrid_ir.corpora.stored import load_corpus_folder, read_corpus_card
from hybrid_ir.runs.errors import USER_ERRORS
from hybrid_ir.translation.families import Translator, family_of
from hybrid_ir.translation.quality import QualityFilters, is_copy, loop
from tests.support.command_line import hybrid_ir, start_hybrid_ir, wait_until
from tests.support.number_words import in_words, tokenizer, trained

COUNT = 400
JOB = [
    "source=en",
    "languages=[de,es]",
    "unit=25",
    "max_length=12",
    "language_letters=0",
    "processes=2",
    "corpus.name=numbers",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("model") / "numbers", 700)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Path:
    """Records of numbers in "en"; some have a German query already, every fiftieth passage is too long for the model."""
    rng, path = random.Random(1), tmp_path_factory.mktemp("numbers") / "numbers.jsonl"
    records = []
    for i in range(COUNT):
        query, passage = (" ".join(rng.sample("23456789", rng.randint(1, 4))) for _ in range(2))
        passage = " ".join("0123456789012") if i % 50 == 7 else f"{passage} 0"
        given = {"de": f"von Hand {i}"} if i % 10 == 0 else {}
        records.append(
            {"id": i, "query": {"en": f"{query} 1", **given}, "passage": {"en": passage}}
        )
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def translate(place: Path, model: Path, numbers: Path, to: str, *more: str) -> list[str]:
    return [
        "translate",
        "corpus=jsonl",
        f"corpus.path={numbers}",
        f"model={model}",
        f"to={place / to}",
        *JOB,
        *more,
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model, numbers) -> Path:
    place = tmp_path_factory.mktemp("whole")
    done = hybrid_ir(place, *translate(place, model, numbers, "to"))
    assert done.returncode == 0, done.stderr
    assert "queries translated" in done.stdout and "rejected passage de: too long: 8" in done.stdout
    return place / "to"


def test_every_text_is_translated_as_it_should_be(whole, numbers):
    corpus, records = (
        load_corpus_folder(whole),
        [json.loads(line) for line in numbers.read_text().splitlines()],
    )
    assert corpus.languages == ("de", "en", "es") and len(corpus) == COUNT
    for query, passage in corpus.pairs:
        record = records[int(query)]
        for side, texts, row in (
            ("query", corpus.queries, query),
            ("passage", corpus.passages, passage),
        ):
            source = texts["en"][int(row)]
            assert source == record[side]["en"]
            for language in ("de", "es"):
                expected = None if len(source.split()) > 11 else in_words(source, language)
                assert texts[language][int(row)] == record[side].get(language, expected)


def test_where_a_text_is_from_and_what_was_rejected_is_kept(whole):
    column = pa.ipc.open_stream(pa.memory_map(str(whole / "query-de.arrow"))).read_all()
    for text, origin in zip(column["text"].to_pylist(), column["origin"].to_pylist(), strict=True):
        assert origin == (None if text.startswith("von Hand") else "translated from en by numbers")
    rejects = pq.read_table(whole / "rejects-passage-de.parquet").to_pylist()
    assert (
        len(rejects) == 8
        and {row["reason"] for row in rejects} == {"too long"}
        and rejects[0]["source"].startswith("0 1 2 3")
    )
    card = read_corpus_card(whole)
    assert (
        card["report"]["translated query de"] == COUNT * 9 // 10
        and card["report"]["rejected passage es: too long"] == 8
    )
    assert "translated from en into de, es by numbers" in card["source"]["description"]


def test_killed_and_started_again_it_ends_with_the_same_corpus(tmp_path, model, numbers, whole):
    arguments, work = translate(tmp_path, model, numbers, "to"), tmp_path / ".to.translating"
    done_before = 0
    for _ in range(2):
        running = start_hybrid_ir(tmp_path, *arguments)
        wait_until(
            lambda: (
                len(list(work.glob("*.parquet"))) > done_before + 3 or running.poll() is not None
            )
        )  # noqa: B023
        running.send_signal(signal.SIGKILL)
        running.wait()
        done_before = len(list(work.glob("*.parquet")))
    assert 0 < done_before < 64 and not (tmp_path / "to").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("*.parquet")}
    done = hybrid_ir(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert all(
        (work / name).stat().st_mtime_ns == moment for name, moment in kept.items()
    )  # nothing was done twice
    one, other = read_corpus_card(whole), read_corpus_card(tmp_path / "to")
    assert {**one["sha256"]} == {**other["sha256"]} and one["report"] == other["report"]
    other_job = hybrid_ir(tmp_path, *translate(tmp_path, model, numbers, "to"), "beams=2")
    assert other_job.returncode == 0  # it is there: shown, and not made again


def test_work_of_another_job_is_not_mixed_in(tmp_path, model, numbers):
    work = tmp_path / ".to.translating"
    work.mkdir()
    (work / "job.json").write_text(json.dumps({"beams": 3}))
    done = hybrid_ir(tmp_path, *translate(tmp_path, model, numbers, "to", "processes=1"))
    assert (
        done.returncode == 2
        and "has work of another job (beams differ): delete it, or name another to=" in done.stderr
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "languages=[de,fr]",
            "this madlad model has no code for 'fr' (tried fr): leave the language out",
        ),
        ("languages=[de,xx]", "the language code 'xx' is not known"),
        ("source=fr", "source='fr': corpus 'numbers' has ['de', 'en']"),
        ("languages=[en]", "languages=['en'] must name other languages than source=en"),
        (
            "model=nowhere/at-all",
            "model='nowhere/at-all' could not be loaded as a translation model",
        ),
        ("model=/nowhere", "model='/nowhere': there is no such folder"),
        ("modle=x", "modle"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, model, numbers, change, said):
    _, *arguments = translate(
        tmp_path, model, numbers, "to", "processes=1", f"paths.cache_dir={tmp_path}", change
    )
    with pytest.raises(Exception, match=re.escape(said)) as error:
        translate_command.main(arguments)
    assert isinstance(error.value, USER_ERRORS)
    assert not list(tmp_path.glob(".to.translating"))  # nothing stands in the way of a better try


def test_order_and_batches_change_nothing(model):
    texts = [" ".join(random.Random(i).sample("0123456789", i % 5 + 1)) for i in range(40)]
    one, other = (
        Translator.load(
            str(model),
            None,
            "en",
            "cpu",
            "float32",
            codes={},
            max_length=12,
            tokens_per_batch=tokens,
        )
        for tokens in (4096, 30)
    )
    expected = [(in_words(text, "de"), True) for text in texts]
    assert one.translate(texts, "de") == other.translate(texts[::-1], "de")[::-1] == expected


def test_families_are_told_apart_and_others_refused():
    assert family_of("t5", tokenizer()) == "madlad"
    with pytest.raises(ValueError, match="a bart without the language codes of NLLB-200"):
        family_of("bart", tokenizer())


@pytest.mark.parametrize(
    ("source", "made", "reason"),
    [
        ("who won the football world cup of 1998?", ("", True), "empty"),
        (
            "who won the football world cup of 1998?",
            ("wer gewann die Fußballweltmeisterschaft 1998?", False),
            "too long",
        ),
        (
            "who won the football world cup of 1998?",
            ("wer gewann gewann gewann gewann gewann gewann gewann", True),
            "repetition",
        ),
        (
            "who won the football world cup of 1998?",
            ("Who won the Football World Cup of 1998?", True),
            "copied source",
        ),
        (
            "who won the football world cup of 1998?",
            ("quién ganó la copa mundial de fútbol de 1998?", True),
            "language",
        ),
        ("who won the football world cup of 1998?", ("wer", True), "length"),
        (
            "who won the football world cup of 1998?",
            ("wer gewann die Fußballweltmeisterschaft 1998?", True),
            None,
        ),
        ("FIFA 1998", ("FIFA 1998", True), None),
    ],
)
def test_reasons(source, made, reason):
    filters = QualityFilters(languages=("en", "de", "es"))
    usual = [
        ("what is the capital of France?", ("was ist die Hauptstadt von Frankreich?", True))
    ] * 9
    sources, translations = zip(*usual, (source, made), strict=True)
    assert filters.reasons(sources, translations, "de") == [None] * 9 + [reason]


def test_one_translation_of_many_texts_is_none():
    filters = QualityFilters(language_letters=0, identical=3)
    sources = [
        "yes",
        "Yes",
        "sure",
        "a question of some length",
        "another question of that length",
        "a third one that is longer",
    ]
    made = [("ja", True)] * 3 + [("immer das gleiche hier", True)] * 3
    assert (
        filters.reasons(sources, made, "de") == [None] * 3 + ["same as others"] * 3
    )  # "yes" is asked twice, and "ja" to two


def test_what_is_too_long_tells_nothing_of_what_is_typical():
    filters = QualityFilters(language_letters=0)
    sources = ["a question of some length", "another question of this length", *["x " * 400] * 6]
    made = [
        ("eine Frage einer Länge", True),
        ("noch eine Frage dieser Länge", True),
        *[("", False)] * 6,
    ]
    assert filters.reasons(sources, made, "de") == [None, None, *["too long"] * 6]


def test_real_questions_are_identified_as_of_their_language(shared):
    def questions(code: str) -> list[str]:
        articles = json.loads((shared / "data" / "xquad-r" / f"{code}.json").read_text())["data"]
        return [
            qa["question"]
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ][:150]

    languages = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
    filters, english = QualityFilters(length_ratio=0, languages=languages), questions("en")
    for code in languages:
        whole = [(text, True) for text in questions(code)]
        accepted = (
            filters.reasons(english, whole, code)
            if code != "en"
            else filters.reasons(questions("de"), whole, "en")
        )
        assert accepted.count(None) >= 146, (code, accepted)
    assert (
        filters.reasons(english, [(text, True) for text in questions("de")], "es").count("language")
        >= 140
    )


def test_loops_and_copies():
    assert loop("ab" * 12 + "c") == "ab" * 12 and loop("nothing of that kind") == ""
    assert is_copy("when was the city of Kabul founded", "When was the city of Kabul founded?", 0.8)
    assert not is_copy("Kabul Airport", "Kabul Airport", 0.8)
