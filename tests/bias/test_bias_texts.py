"""What `hybrid-ir bias corpus=...` takes: folders with their keys, names, and what it refuses."""

import json
from pathlib import Path

import pytest

from hybrid_ir.evaluation.benchmarks import belebele
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines
from tests.support.parallel_lines import ask_bias, build_plain_encoder
from tests.support.raw_data import build_belebele_pages

LANGUAGES = ("de", "en")
NUMBERS = range(6)
QUERIES = [
    {"_id": f"{i}", "text": f"{code} asks {i}", "language": code, "question_id": f"{i % 3}"}
    for i, code in enumerate(LANGUAGES * 3)
]
PASSAGES = [
    {"_id": f"{i}", "text": f"{code} tells {i}", "language": code}
    for i, code in enumerate(LANGUAGES * 3)
]
# The passage with the number of a query is another one than its answer.
QRELS = "".join(f"{i}\t{(i + 1) % 6}\t1\n" for i in NUMBERS)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an encoder, folders in the form of BEIR, and files of JSON lines."""
    place = tmp_path_factory.mktemp("bias-texts")
    write_beir_folder(place / "numbered", PASSAGES, QUERIES, QRELS)
    write_beir_folder(place / "unknown", PASSAGES, QUERIES, QRELS + "0\tgone\t1\n")
    write_beir_folder(place / "splits", PASSAGES, QUERIES, QRELS, "qrels/dev.tsv")
    unnamed = [{"_id": f"q{i}", "text": f"asks {i}"} for i in NUMBERS]
    qrels = "".join(f"q{i}\t{i}\t1\n" for i in NUMBERS)
    write_beir_folder(place / "unnamed", PASSAGES, unnamed, qrels)
    (place / "nothing").mkdir()
    spellings = []
    lines = []
    for number in NUMBERS:
        for code in ("zh", "zh-Hans", "en"):
            text = f"{code} tells {number}"
            spellings.append({"_id": f"{code}{number}", "text": text, "language": code})
            for role in ("query", "passage"):
                line = {"text": f"{role} {text}", "language": code, "role": role, "id": number}
                lines.append(line)
    queries = [{**row, "_id": f"q{row['_id']}"} for row in spellings]
    qrels = "".join(f"{row['_id']}\t{row['_id'][1:]}\t1\n" for row in queries)
    write_beir_folder(place / "spellings", spellings, queries, qrels)
    write_json_lines(place / "spellings.jsonl", *lines)
    write_json_lines(place / "questions.jsonl", *(row for row in lines if row["role"] == "query"))
    apart = []
    for row in lines:
        apart.append({**row, "id": f"{row['role']} {row['id']}"})
    write_json_lines(place / "apart.jsonl", *apart)
    texts = [row["text"] for row in [*QUERIES, *PASSAGES, *lines]]
    build_plain_encoder(place, "plain", texts)
    return place


def ask_record(place: Path, out: str, *arguments: str) -> dict:
    ended = ask_bias(place, f"out={out}", *arguments)
    assert ended.returncode == 0, ended.stderr
    return json.loads((place / out / "bias.json").read_text())


@pytest.mark.parametrize("corpus", ["spellings", "spellings.jsonl"])
def test_spellings_of_one_language_are_in_the_notes(place, corpus):
    notes = ask_record(place, f"noted-{corpus}", f"corpus={corpus}")["notes"]
    assert any(note.startswith("zh, zh-Hans are counted as different") for note in notes)


def test_ids_that_join_no_query_and_passage_are_in_the_notes(place):
    notes = ask_record(place, "apart", "corpus=apart.jsonl")["notes"]
    assert any("no query has the id of a passage" in note for note in notes)


def test_passages_that_are_left_out_by_their_ids_are_in_the_notes(place):
    record = ask_record(place, "numbered-out", "corpus=numbered")
    [note] = [note for note in record["notes"] if note.startswith("ignore_identical_ids")]
    assert "6 queries have the id of a passage, which is not in their rankings" in note
    assert "0 of these passages hold the text of the query" in note
    assert "split.folder.ignore_identical_ids=false keeps these passages" in note


def test_a_key_of_a_folder_keeps_passages_in_the_rankings(place):
    key = "split.folder.ignore_identical_ids=false"
    record = ask_record(place, "numbered-kept", "corpus=numbered", key)
    [note] = [note for note in record["notes"] if note.startswith("ignore_identical_ids")]
    assert "6 queries have the id of a passage, which stays in their rankings" in note
    assert record["texts"]["choices"]["ignore_identical_ids"].startswith("false")


def test_the_cure_that_a_message_names_is_one_that_can_be_typed(place):
    refused = ask_bias(place, "corpus=unknown", "out=refused")
    assert refused.returncode == 2
    assert "split.folder.unknown_passages=keep counts such passages as never" in refused.stderr
    record = ask_record(place, "kept", "corpus=unknown", "split.folder.unknown_passages=keep")
    assert record["texts"]["choices"]["unknown_passages"].startswith("counted as never found")
    assert any("unknown_passages: counted as never" in note for note in record["notes"])


def test_a_folder_takes_its_split_and_the_language_of_its_texts(place):
    refused = ask_bias(place, "corpus=splits", "out=refused")
    assert "split.folder.split=test must be one of those there: dev" in refused.stderr
    assert ask_record(place, "dev", "corpus=splits", "split.folder.split=dev")["measures"]
    refused = ask_bias(place, "corpus=unnamed", "out=refused")
    assert "or set split.folder.language= to the one that they are in" in refused.stderr
    record = ask_record(place, "named", "corpus=unnamed", "split.folder.language=de")
    assert record["texts"]["languages"] == ["de", "en"]


def test_a_folder_can_be_named_as_a_benchmark(place):
    keys = ("split.beir_folder.folder=splits", "split.beir_folder.split=dev")
    record = ask_record(place, "as-benchmark", "corpus=beir_folder", *keys)
    assert record["texts"]["queries"] == 6


@pytest.fixture(scope="module")
def miniature(place) -> Path:
    """Files of two variants of Belebele, of its size and with texts of two or three words."""
    folder = place / "data" / "belebele"
    variants = ("eng_Latn", "zho_Hans")
    pages = build_belebele_pages(*variants)
    for path, content in pages.items():
        file = folder / "data" / path.rpartition("/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return place / "data"


def test_belebele_is_asked_in_some_of_its_variants(place, miniature):
    languages = "languages=[zho_Hans,eng_Latn]"
    texts = ("corpus=belebele", languages, f"paths.data_dir={miniature}", "max_queries=3")
    record = ask_record(place, "belebele-out", *texts)
    assert record["texts"]["languages"] == ["eng_Latn", "zho_Hans"]
    assert record["texts"]["questions"] == 3
    assert record["texts"]["passages"] == 2 * belebele.PASSAGES


def test_missing_files_of_belebele_are_one_error_with_the_command(place, miniature):
    ended = ask_bias(place, "corpus=belebele", f"paths.data_dir={miniature}")
    assert ended.returncode == 2
    assert "1 error in" in ended.stderr
    assert "hybrid-ir data fetch belebele gets it" in ended.stderr
    assert f"{len(belebele.VARIANTS) - 2} of {len(belebele.VARIANTS)} files are mis" in ended.stderr
    assert ended.stderr.count(".jsonl") == belebele.FILES_NAMED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus=",), "corpus= names nothing: give a name"),
        (("corpus=null",), "corpus= names nothing: give a name"),
        (("corpus=xquad-r",), "text and language, did you mean xquad_r?"),
        (("corpus=hub",), "corpus=hub needs more: split.hub.repository=... split.hub.revision=..."),
        (("corpus=nothing",), "corpus=nothing: no corpus.jsonl in it or below it"),
        (("corpus=spellings.jsonl", "languages={en: zh}"), "must be codes as a list, as in [en,"),
        (("corpus=spellings.jsonl", "languages=[en,sw]"), "(not there: 'sw')"),
        (("corpus=numbered", "languages=[en,sw]"), "(not there: 'sw')"),
        (("corpus=questions.jsonl",), "there are no passages, all lines have role=query"),
        (
            ("corpus=spellings.jsonl", "split.folder.title=false"),
            "split.folder.title: only a folder in the form of BEIR has such keys",
        ),
        (
            ("corpus=xquad_r", "split.folder.split=dev"),
            "split.folder.split: only a folder in the form of BEIR has such keys",
        ),
        (("corpus=numbered", "split.folder.folder=splits"), "corpus=numbered names it"),
        (
            ("corpus=numbered", "split.folder.title=3"),
            "split.folder.title=3 must be of type bool",
        ),
        (("corpus=numbered", "split.folder.titel=true"), "did you mean split.folder.title?"),
    ],
)
def test_texts_that_cannot_be_meant_are_refused_in_one_line(place, arguments, message):
    ended = ask_bias(place, *arguments, "out=refused")
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def write_partly_answered(place: Path) -> Path:
    """Lines of JSON with forty questions, of which the last two have an answer."""
    lines = []
    for number in range(40):
        text = f"en asks {number}"
        lines.append({"role": "query", "id": str(number), "language": "en", "text": text})
    for number in range(30):
        for code in LANGUAGES:
            text = f"{code} tells {number}"
            name = str(38 + number) if number < 2 and code == "de" else f"{code} {number}"
            lines.append({"role": "passage", "id": name, "language": code, "text": text})
    path = place / "partly.jsonl"
    write_json_lines(path, *lines)
    return path


def test_questions_with_an_answer_are_those_that_are_kept(place):
    path = write_partly_answered(place)
    record = ask_record(place, "partly", f"corpus={path.name}", "max_queries=5")
    assert record["texts"]["queries"] == 2
    assert record["texts"]["question_groups_across"] == 2
    assert record["grade"] == "too few texts to judge"
    assert any("do not have a known answer in every language" in note for note in record["notes"])
    everything = ask_record(place, "partly-all", f"corpus={path.name}", "max_queries=null")
    assert everything["texts"]["queries"] == 40
    assert everything["grade"] == "too few texts to judge"


def test_a_threshold_above_all_grades_is_one_error(place):
    graded = "".join(f"{i}\t{(i + 1) % 6}\t2\n" for i in NUMBERS)
    write_beir_folder(place / "graded", PASSAGES, QUERIES, graded)
    arguments = ("corpus=graded", "split.folder.relevance_threshold=3", "out=above")
    ended = ask_bias(place, *arguments)
    assert ended.returncode == 2
    assert "relevance_threshold" in ended.stderr
    assert not (place / "above").exists()


def test_low_grades_join_no_questions(place):
    qrels = ""
    for number in NUMBERS:
        qrels += f"{number}\t{(number + 2) % 6}\t2\n"
        if number != 3:
            qrels += f"{number}\t5\t1\n" if number + 2 != 5 else ""
    write_beir_folder(place / "low", PASSAGES, QUERIES, qrels)
    low = ask_record(place, "low-1", "corpus=low")
    high = ask_record(place, "low-2", "corpus=low", "split.folder.relevance_threshold=2")
    assert low["texts"]["question_groups"] < high["texts"]["question_groups"]
