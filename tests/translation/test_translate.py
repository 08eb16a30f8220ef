"""Translation with a real model that is trained here: right texts, and a kill loses nothing."""

import json
import random
import re
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from hybrid_ir.cli.main import run_command
from hybrid_ir.corpora.stored import load_corpus_folder, read_corpus_card
from hybrid_ir.runs.errors import USER_ERRORS
from hybrid_ir.translation.families import Translator
from tests.support.command_line import (
    find_processes,
    hybrid_ir,
    read_output,
    start_hybrid_ir,
    wait_until,
)
from tests.support.corpora import write_json_lines
from tests.support.every_key import replace_values
from tests.support.number_words import say_in_words, train_translation_model

COUNT = 200  # records
UNITS = 32  # units of work: two languages of 8 units each for queries and for passages
CHOICES = [
    "source=en",
    "languages=[de,es]",
    "unit=25",
    "max_length=12",
    "language_letters=0",
    "corpus.name=numbers",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return train_translation_model(tmp_path_factory.mktemp("model") / "numbers", steps=700)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """Records of numbers in English.

    Every tenth has a German query already, and every fiftieth a passage that is too long.
    """
    rng = random.Random(1)
    records = []
    for number in range(COUNT):
        query = {"en": " ".join(rng.sample("23456789", rng.randint(1, 4))) + " 1"}
        passage = {"en": " ".join(rng.sample("23456789", rng.randint(1, 4))) + " 0"}
        if number % 10 == 0:
            query["de"] = f"von Hand {number}"
        if number % 50 == 7:
            passage["en"] = " ".join("0123456789012")
        records.append({"id": number, "query": query, "passage": passage})
    return write_json_lines(tmp_path_factory.mktemp("numbers") / "numbers.jsonl", *records)


def list_arguments(folder: Path, model: Path, records: Path, *choices: str) -> list[str]:
    """Lists the arguments of a translation to the folder `to` in a folder."""
    return [
        "corpus=jsonl",
        f"corpus.path={records}",
        f"model={model}",
        f"to={folder / 'to'}",
        f"paths.cache_dir={folder / 'cache'}",
        *CHOICES,
        *choices,
    ]


@pytest.fixture(scope="module")
def translated(tmp_path_factory, model, records) -> Path:
    """The corpus as one process translates it that is not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    run_command("translate", list_arguments(folder, model, records))
    return folder / "to"


def test_every_text_is_translated_as_it_should_be(translated, records):
    corpus = load_corpus_folder(translated)
    originals = [json.loads(line) for line in records.read_text().splitlines()]
    assert corpus.languages == ("de", "en", "es")
    assert len(corpus) == COUNT
    for query, passage in corpus.pairs:
        original = originals[int(query)]
        for language in ("de", "en", "es"):
            query_text = corpus.queries[language][int(query)]
            assert query_text == expect_text(original["query"], language)
            passage_text = corpus.passages[language][int(passage)]
            assert passage_text == expect_text(original["passage"], language)


def expect_text(texts: dict[str, str], language: str) -> str | None:
    """Returns the text of a record in a language: its own, or its translation from English."""
    if language in texts:
        return texts[language]
    if len(texts["en"].split()) > 11:
        return None
    return say_in_words(texts["en"], language)


def test_each_text_says_whether_it_is_translated(translated):
    file = pa.memory_map(str(translated / "query-de.arrow"))
    for row in pa.ipc.open_stream(file).read_all().to_pylist():
        is_original = row["text"].startswith("von Hand")
        assert row["origin"] == (None if is_original else "translated from en by numbers")


def test_rejected_translations_are_kept_and_counted(translated):
    rejects = pq.read_table(translated / "rejects-passage-de.parquet").to_pylist()
    assert len(rejects) == COUNT // 50
    assert {row["reason"] for row in rejects} == {"too long"}
    assert rejects[0]["source"].startswith("0 1 2 3")
    card = read_corpus_card(translated)
    assert card["report"]["translated query de"] == COUNT * 9 // 10
    assert card["report"]["rejected passage es: too long"] == COUNT // 50
    assert "translated from en into de, es by numbers" in card["source"]["description"]


def test_what_is_there_is_shown_and_not_translated_again(
    translated, model, records, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "300")  # no line of the output is broken
    run_command("translate", list_arguments(translated.parent, model, records))
    output = capsys.readouterr().out
    assert "queries translated" in output
    assert "rejected passage de: too long: 4" in output


def test_a_folder_that_is_no_such_translation_is_refused(translated, model, records, tmp_path):
    arguments = list_arguments(translated.parent, model, records, "languages=[de,fr]")
    with pytest.raises(ValueError, match="is there already, and is no translation into fr"):
        run_command("translate", arguments)
    arguments = list_arguments(translated.parent, model, records, "beams=2")
    with pytest.raises(ValueError, match="translated with beams=1, not beams=2"):
        run_command("translate", arguments)
    (tmp_path / "to").mkdir()
    with pytest.raises(ValueError, match="is there already, and is no translation into de, es"):
        run_command("translate", list_arguments(tmp_path, model, records))


def test_killed_and_started_again_it_ends_with_the_same_corpus(
    tmp_path, model, records, translated
):
    arguments = ["translate", *list_arguments(tmp_path, model, records, "processes=2")]
    folder = tmp_path / ".to.translating"
    folder.mkdir()
    # A unit that somebody else seems to do: the processes cannot end before they are killed.
    with (
        FileLock(folder / "passage-es-000007.parquet.lock"),
        start_hybrid_ir(tmp_path, *arguments) as running,
    ):
        wait_until(lambda: len(list(folder.glob("*.parquet"))) >= 4 or running.poll() is not None)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL, read_output(running)
    wait_until(lambda: not find_processes(str(tmp_path)))
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert 0 < len(done) < UNITS
    assert not (tmp_path / "to").exists()
    again = hybrid_ir(tmp_path, *arguments)
    assert again.returncode == 0, again.stderr
    for name, moment in done.items():
        assert (folder / name).stat().st_mtime_ns == moment  # not done twice
    card = read_corpus_card(tmp_path / "to")
    expected = read_corpus_card(translated)
    assert card["sha256"] == expected["sha256"]
    assert card["report"] == expected["report"]


def test_work_of_another_job_is_not_mixed_in(tmp_path, model, records):
    folder = tmp_path / ".to.translating"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"beams": 3}))
    problem = r"has work of another job \(beams differ\): delete it, or name another to="
    with pytest.raises(ValueError, match=problem):
        run_command("translate", list_arguments(tmp_path, model, records))


@pytest.mark.parametrize(
    ("choice", "problem"),
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
def test_a_wrong_choice_is_refused_before_there_is_any_work(
    tmp_path, model, records, choice, problem
):
    arguments = replace_values(list_arguments(tmp_path, model, records), [choice])
    with pytest.raises(Exception, match=re.escape(problem)) as error:
        run_command("translate", arguments)
    assert isinstance(error.value, USER_ERRORS)
    assert not list(tmp_path.glob(".to.translating"))


def test_order_and_batches_do_not_change_translations(model):
    texts = []
    for number in range(40):
        texts.append(" ".join(random.Random(number).sample("0123456789", number % 5 + 1)))
    expected = [(say_in_words(text, "de"), True) for text in texts]
    for tokens_per_batch in (4096, 30):
        translator = Translator.load(
            str(model),
            None,
            "en",
            "cpu",
            "float32",
            codes={},
            max_length=12,
            tokens_per_batch=tokens_per_batch,
        )
        assert translator.translate(texts, "de") == expected
        assert translator.translate(texts[::-1], "de") == expected[::-1]
