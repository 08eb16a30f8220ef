"""`hybrid-ir bias` on texts of one's own, in every form, by the real command."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from omegaconf import DictConfig

from hybrid_ir.bias.diagnosis import describe_texts
from hybrid_ir.bias.known_encoders import (
    SHOWN_MEASURES,
    explain_missing_encoders,
    find_known_encoders,
    read_known_encoders,
)
from hybrid_ir.bias.verdict import WORTHWHILE_GAIN
from hybrid_ir.cli.asked_texts import load_asked_texts
from hybrid_ir.cli.bias import CONDITION_CODE
from hybrid_ir.cli.config import parse_command_line
from hybrid_ir.cli.debias_command import build_debias_command
from hybrid_ir.cli.main import COMMANDS
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines
from tests.support.in_process import CommandResult, hybrid_ir_in_process
from tests.support.parallel_lines import (
    ask_bias,
    build_plain_encoder,
    list_parallel_lines,
)

QUESTIONS = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an encoder, texts with answers, texts without, and a folder of BEIR."""
    place = tmp_path_factory.mktemp("bias")
    lines = list_parallel_lines(("de", "en", "fr"), QUESTIONS)
    passages_alone = []
    for language in ("de", "en", "fr"):
        for number in range(QUESTIONS):
            passages_alone.append({"text": f"{language} tells {number}", "language": language})
    write_json_lines(place / "answered.jsonl", *lines)
    write_json_lines(place / "alone.jsonl", *passages_alone)
    write_json_lines(place / "broken.jsonl", *lines[:3], {"text": "no language"})
    for language in ("de", "en"):
        passages = [
            {"_id": str(i), "text": f"{language} tells {i} of it"} for i in range(QUESTIONS)
        ]
        queries = [{"_id": str(i), "text": f"{language} asks {i}"} for i in range(QUESTIONS)]
        qrels = "".join(f"{i}\t{i}\t1\n" for i in range(QUESTIONS))
        write_beir_folder(place / "mine" / language, passages, queries, qrels)
    build_plain_encoder(place, "plain", [line["text"] for line in lines])
    return place


def read_record(folder: Path) -> dict:
    return json.loads((folder / "bias.json").read_text())


@pytest.fixture(scope="module")
def answered(place) -> CommandResult:
    return ask_bias(place, "corpus=answered.jsonl", "out=answered")


def test_texts_with_answers_get_a_verdict_a_page_and_numbers(place, answered):
    assert answered.returncode == 0, answered.stderr
    record = read_record(place / "answered")
    assert record["texts"]["languages"] == ["de", "en", "fr"]
    measures = record["measures"]
    assert abs(measures["found"] + measures["hidden"] + measures["not_found"] - 1) < 1e-12
    assert record["grade"] == "too few texts to judge"
    assert record["verdict"][0].startswith("plain cannot be judged by so few texts: ")
    printed = " ".join(answered.stdout.split())
    assert record["verdict"][0] in printed
    page = (place / "answered" / "bias.html").read_text()
    assert record["verdict"][1].replace("'", "&#39;") in page
    saved = json.loads((place / "answered/evaluation/metrics.json").read_text())
    assert saved["macro_over_settings"]["multi"]["map"] == pytest.approx(measures["multi.map"])
    assert record["corrections"] == {}
    assert "only 12 queries in de, 12 queries in en" in " ".join(record["notes"])


def test_results_are_not_overwritten(place, answered):
    again = ask_bias(place, "corpus=answered.jsonl", "out=answered")
    assert again.returncode == 2
    assert "answered" in again.stderr


def test_small_collections_are_said_to_be_small(place, answered):
    notes = " ".join(read_record(place / "answered")["notes"])
    assert "fewer than 100 passages in de, en, fr" in notes


def test_texts_without_answers_say_what_can_be_said(place):
    ended = ask_bias(place, "corpus=alone.jsonl", "out=alone")
    assert ended.returncode == 0, ended.stderr
    record = read_record(place / "alone")
    assert record["grade"] == "not measurable"
    share = record["measures"]["same_language_neighbours"]
    assert 0 <= share <= 1
    assert record["measures"]["same_language_neighbours.fair"] == pytest.approx(1 / 3)
    assert not (place / "alone" / "evaluation").exists()
    assert "cannot be said" in (place / "alone" / "bias.html").read_text()


def test_a_folder_of_beir_without_parallel_texts_judges_own_answers(place):
    ended = ask_bias(place, "corpus=mine", "out=beir")
    assert ended.returncode == 0, ended.stderr
    record = read_record(place / "beir")
    assert record["measures"]["hidden"] is None
    assert record["measures"]["own.hidden"] is not None
    assert "No question has a known answer in another language" in record["notes"][0]


def test_json_goes_to_standard_output_alone(place):
    ended = ask_bias(
        place, "corpus=answered.jsonl", "out=as_json", "json=true", "languages=[de,en]"
    )
    assert ended.returncode == 0, ended.stderr
    printed = json.loads(ended.stdout)
    assert printed == read_record(place / "as_json")
    assert printed["texts"]["languages"] == ["de", "en"]


def test_a_condition_decides_the_exit_code(place):
    texts = ("corpus=answered.jsonl", "max_queries=4")
    met = ask_bias(place, *texts, "out=met", "--fail-if", "multi.map>=0; hidden<-1")
    assert met.returncode == CONDITION_CODE
    assert "failed: multi.map is " in met.stderr
    assert "hidden is" not in met.stderr
    assert (place / "met" / "bias.json").is_file()
    not_met = ask_bias(place, *texts, "out=not_met", "--fail-if=multi.map<0")
    assert not_met.returncode == 0


def test_texts_that_find_themselves_are_counted(place):
    lines = []
    for number in range(QUESTIONS):
        for language in ("de", "en"):
            text = f"{language} says {number}"
            lines.append({"text": text, "language": language, "id": str(number)})
    write_json_lines(place / "both.jsonl", *lines)
    ended = ask_bias(place, "corpus=both.jsonl", "out=both")
    assert ended.returncode == 0, ended.stderr
    notes = " ".join(read_record(place / "both")["notes"])
    assert f"{2 * QUESTIONS} queries have the very text of one of their answers" in notes


@pytest.mark.parametrize("role", ["query", "passage", None])
def test_one_text_in_a_language_is_no_problem(place, role):
    line = {"text": "le seul", "language": "fr", "id": "3"}
    if role is not None:
        line["role"] = role
    lines = (place / "answered.jsonl").read_text().splitlines()
    kept = [json.loads(text) for text in lines if '"fr"' not in text]
    write_json_lines(place / f"one_{role}.jsonl", *kept, line)
    ended = ask_bias(place, f"corpus=one_{role}.jsonl", f"out=one_{role}")
    assert ended.returncode == 0, ended.stderr
    assert "in fr" in " ".join(read_record(place / f"one_{role}")["notes"])


def test_enough_texts_get_the_corrections(place):
    ended = ask_bias(
        place, "corpus=cldr_facts", "languages=[de,en]", "max_queries=30", "out=enough"
    )
    assert ended.returncode == 0, ended.stderr
    record = read_record(place / "enough")
    assert set(record["corrections"]) == {"center", "lir"}
    assert record["grade"] == "hardly finds answers across languages"


def test_several_conditions_and_options_are_all_checked(place):
    texts = ("corpus=answered.jsonl", "max_queries=4", "out=both_met")
    met = ask_bias(place, *texts, "--fail-if", "multi.map>=0", "--fail-if=hidden>=0")
    assert met.returncode == CONDITION_CODE
    assert "failed: multi.map is " in met.stderr
    assert "failed: hidden is " in met.stderr


def test_keys_of_the_benchmark_are_honoured(place):
    arguments = ("corpus=cldr_facts", "languages=[de,en]", "split.cldr_facts.max_queries=3")
    ended = ask_bias(place, *arguments, "split.cldr_facts.split=dev", "out=embedded")
    assert ended.returncode == 0, ended.stderr
    texts = read_record(place / "embedded")["texts"]
    assert texts["questions"] == 3
    assert texts["choices"]["split"] == "dev"
    assert texts["languages"] == ["de", "en"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus=broken.jsonl",), "broken.jsonl, line 4: language=None"),
        (("corpus=answered.jsonl", "languages=[de]"), "all passages are in de"),
        (("corpus=answered.jsonl", "languages=[xx]"), "languages=['xx'] must be"),
        (("corpus=nowhere",), "corpus=nowhere is no name in conf/benchmark"),
        (("languages=de,en",), "languages=de,en: several are languages=[de,en]"),
        (("answered.jsonl",), "as in model=answered.jsonl"),
        (("corpus=answered.jsonl", "--fail-if"), "--fail-if needs a value"),
        (("corpus=answered.jsonl", "--fail-if="), "has an empty condition"),
        (("corpus=answered.jsonl", "--fail-if", "mapp<1"), "there is no measure 'mapp'"),
        (("corpus=alone.jsonl", "out=untold", "--fail-if", "hidden>0"), "do not tell hidden"),
    ],
)
def test_wrong_input_is_one_line_with_a_cure(place, arguments, message):
    ended = ask_bias(place, *arguments)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_several_models_are_for_other_commands(place):
    ended = hybrid_ir_in_process(place, "bias", "model=[plain,other]", "pooling=mean")
    assert ended.returncode == 2
    assert "model=[plain,other]: bias asks one model; `hybrid-ir study`" in ended.stderr


def test_known_encoders_are_shown_beside_the_default_texts():
    """The shipped table has all that is shown, and is of the texts that are asked by default."""
    for encoder in read_known_encoders():
        assert all(encoder["measures"][name] is not None for name in SHOWN_MEASURES)
    cfg = parse_command_line("bias", ["model=plain"])
    texts = describe_texts(load_asked_texts(cfg))
    names = [encoder["name"] for encoder in find_known_encoders(texts)]
    assert "multilingual-e5-small (pruned vocabulary)" in names
    assert len(names) == len(set(names))
    trainings = {one["name"]: one["training"] for one in find_known_encoders(texts)}
    assert "facts of the same kind" in trainings["from scratch, hybrid"]
    assert trainings["multilingual-e5-small (pruned vocabulary)"] == ""


def test_texts_of_another_babel_say_why_no_known_encoder_is_shown():
    known = read_known_encoders()[0]["texts"]
    assert explain_missing_encoders({**known}) is None
    newer = {**known, "revision": "babel 9.9, CLDR 99", "sha256": "0"}
    note = explain_missing_encoders(newer)
    assert "those of babel 9.9, CLDR 99" in note
    assert known["revision"] in note
    assert explain_missing_encoders({**newer, "name": "others"}) is None
    assert explain_missing_encoders({**newer, "languages": ["de", "en"]}) is None


def test_questions_that_were_not_asked_are_mentioned(place, answered):
    words = "max_queries=null asks all"
    assert words not in " ".join(read_record(place / "answered")["notes"])
    ended = ask_bias(place, "corpus=answered.jsonl", "max_queries=5", "out=some")
    assert ended.returncode == 0, ended.stderr
    assert f"No more than 5 questions of a language were asked: {words}" in ended.stdout
    for corpus, out in (("mine", "some_of_mine"), ("cldr_facts", "some_facts")):
        ask_bias(place, f"corpus={corpus}", "languages=[de,en]", "max_queries=5", f"out={out}")
        assert (words in " ".join(read_record(place / out)["notes"])) == (corpus == "mine")


def test_missing_and_misspelt_prompts_are_the_first_words(place):
    shutil.copytree(place / "plain", place / "my-e5", dirs_exist_ok=True)
    ask = ("corpus=answered.jsonl", "max_queries=3", "model=my-e5", "pooling=mean")
    cases = {
        "without": ([], "is read without any"),
        "without_blank": (["query_prefix=query:"], 'query_prefix="query: " is the one of training'),
        "right": (['query_prefix="query: "', 'passage_prefix="passage: "'], None),
        "wanted": (["query_prefix=find: "], None),
    }
    for name, (arguments, words) in cases.items():
        ended = hybrid_ir_in_process(place, "bias", *ask, *arguments, f"out={name}")
        assert ended.returncode == 0, ended.stderr
        first = read_record(place / name)["verdict"][0]
        assert first.startswith("Mind: ") == (words is not None)
        if words is not None:
            assert words in first
            assert words in ended.stderr


def test_the_folder_of_the_results_is_named_after_the_model(place):
    ended = ask_bias(place, "corpus=answered.jsonl", "max_queries=3")
    assert ended.returncode == 0, ended.stderr
    [folder] = (place / "outputs" / "bias").iterdir()
    assert folder.name.startswith("plain_20")


def parse(name: str, *arguments: str) -> DictConfig:
    """Returns the config of a command as `hybrid-ir` reads its arguments."""
    command = COMMANDS[name]
    return parse_command_line(
        name, arguments, benchmark_keys=command.benchmark_keys, plain_keys=command.plain_keys
    )


@pytest.mark.parametrize("corpus", ["cldr_facts", "texts of mine.jsonl", "mine", "xquad_r"])
def test_the_command_that_is_proposed_passes_a_shell_as_it_is(place, monkeypatch, corpus):
    monkeypatch.chdir(place)
    shutil.copy(place / "answered.jsonl", place / "texts of mine.jsonl")
    asked = ["model=my model", "query_prefix=query: ", 'passage_prefix="it\'s: "', "pooling=cls"]
    command = build_debias_command(parse("bias", *asked, f"corpus={corpus}"))
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("hybrid-ir", "debias")
    cfg = parse("debias", *arguments)
    assert cfg.model == "my model"
    assert (cfg.query_prefix, cfg.passage_prefix, cfg.pooling) == ("query: ", "it's: ", "cls")
    assert cfg.to == "FOLDER"
    assert cfg.on == ("cldr_facts_dev" if corpus == "cldr_facts" else corpus)


def test_a_command_is_proposed_where_it_helps(place):
    ended = ask_bias(
        place, "corpus=cldr_facts", "languages=[de,en]", "max_queries=30", "out=proposed"
    )
    record = read_record(place / "proposed")
    best = max(measures["multi.map"] for measures in record["corrections"].values())
    is_worthwhile = best - record["measures"]["multi.map"] >= WORTHWHILE_GAIN
    assert (record["next_command"] is not None) == is_worthwhile
    page = (place / "proposed" / "bias.html").read_text()
    assert ("hybrid-ir debias model=plain pooling=mean to=FOLDER" in ended.stdout) == is_worthwhile
    assert ("hybrid-ir debias model=plain pooling=mean to=FOLDER" in page) == is_worthwhile
