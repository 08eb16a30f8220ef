"""A stopped import goes on where it was: nothing lost, nothing twice, and the same bytes."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora import import_journal, importing
from hybrid_ir.corpora.checking import RecordRules
from hybrid_ir.corpora.importing import Importer
from hybrid_ir.corpora.sources import yahoo_answers
from hybrid_ir.corpora.stored import load_corpus_folder, write_corpus
from hybrid_ir.files import datasets_library, records
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.tables import ColumnMap
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, Interrupted
from tests.support.command_line import read_output, start_module, wait_until
from tests.support.corpora import SOURCE
from tests.support.waiting_import import WAITING_FILE

NO_STOP = 10**9
TEXTS = st.dictionaries(
    st.sampled_from(["en", "de", "sw", "no language"]),
    st.sampled_from(["a", "b", "中", " ", "same"]),
    max_size=3,
)
RECORD = st.fixed_dictionaries(
    {
        "id": st.integers(0, 30),
        "query": TEXTS,
        "passage": TEXTS,
        "negatives": st.lists(TEXTS, max_size=2),
    }
)
LINE = st.one_of(RECORD.map(json.dumps), st.just("{"), st.just('{"id": 3}'))
FILES = st.lists(st.lists(LINE, max_size=12), min_size=1, max_size=4)


@contextmanager
def small_blocks():
    """Lets a few records be read, saved and reported as if they were millions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "RECORDS_PER_BLOCK", 2)
        patch.setattr(datasets_library, "RECORDS_PER_BLOCK", 2)
        patch.setattr(importing, "SAVE_EVERY", 4)
        patch.setattr(importing, "SAVE_AFTER_PART", 1)
        patch.setattr(import_journal, "SAVE_INTERVAL", 0)
        yield


class StepBudget:
    """Stops an import, as if the process were asked to, after so many steps."""

    def __init__(self, steps: int):
        self.steps = steps

    def spend(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Interrupted

    def stop_reading(self, read):
        """Returns a reader for which each block of records is a step."""

        def read_with_budget(problems):
            for block in read(problems):
                self.spend()
                yield block

        return read_with_budget

    @contextmanager
    def stop_at_files(self):
        """Makes a step of every time that a file is renamed, cut or deleted."""

        def with_budget(call):
            def call_with_budget(path, *arguments, **keywords):
                if not str(path).endswith(".lock"):
                    self.spend()
                return call(path, *arguments, **keywords)

            return call_with_budget

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", with_budget(os.replace))
            patch.setattr(os, "rename", with_budget(os.rename))
            patch.setattr(os, "truncate", with_budget(os.truncate))
            patch.setattr(Path, "unlink", with_budget(Path.unlink))
            yield


def run_import(
    paths: list[Path],
    to: Path,
    errors: str = "stop",
    steps: int = NO_STOP,
    read=records.read_json_line_records,
) -> bool:
    """Imports files; returns whether it came to its end in so many steps."""
    budget = StepBudget(steps)

    def build(writer):
        parts = []
        for path in paths:
            parts.append(budget.stop_reading(partial(read, path)))
        problems = Problems("x", to.with_suffix(".problems.txt"))
        Importer(writer, parts, RecordRules(errors=errors), problems).run(SOURCE)

    try:
        with budget.stop_at_files():
            write_corpus(str(to), build, {"files": str(paths), "errors": errors})
    except Interrupted:
        return False
    return True


def import_to_the_end(paths: list[Path], to: Path, errors: str, budgets: list[int]) -> str:
    """Imports files with a stop after each budget; returns what is wrong, or an empty text."""
    for steps in [*budgets, NO_STOP]:
        try:
            if run_import(paths, to, errors, steps) or to.exists():
                return ""
        except ValueError as error:
            return str(error)
    raise AssertionError("an import without a budget was stopped")


def read_files(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of the files, without what a stop in the very last moment leaves."""
    if not folder.exists():
        return {}
    paths = [path for path in folder.iterdir() if path.is_file()]
    contents = {path.name: path.read_bytes() for path in paths}
    contents.pop("build.key", None)
    return contents


def write_records(path: Path, count: int, passage: str = "p") -> Path:
    lines = []
    for number in range(count):
        record = {"id": number, "query": {"en": "q"}, "passage": {"en": f"{passage} {number}"}}
        lines.append(json.dumps(record) + "\n")
    path.write_text("".join(lines))
    return path


@given(FILES, st.sampled_from(["skip", "stop"]), st.lists(st.integers(1, 60), max_size=4))
@settings(max_examples=250, deadline=None)
def test_stopped_anywhere_it_ends_with_the_same_bytes_and_problems(
    tmp_path_factory, files, errors, budgets
):
    folder = tmp_path_factory.mktemp("x")
    paths = [folder / f"{number}.jsonl" for number in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    at_once = folder / "a" / "to"
    in_parts = folder / "b" / "to"
    with small_blocks():
        expected_errors = import_to_the_end(paths, at_once, errors, [])
        found_errors = import_to_the_end(paths, in_parts, errors, budgets)
    assert found_errors.replace(str(folder / "b"), str(folder / "a")) == expected_errors
    assert read_files(in_parts) == read_files(at_once)
    if expected_errors:
        assert {path.name for path in in_parts.parent.iterdir()} <= {"to.problems.txt"}
    problems = [to.with_suffix(".problems.txt") for to in (at_once, in_parts)]
    texts = [path.read_text() if path.exists() else None for path in problems]
    assert texts[0] == texts[1]


def read_saved_dataset(path: Path, problems: Problems) -> Iterator[records.Records]:
    dataset = datasets_library.load_saved_dataset(str(path))
    return datasets_library.read_dataset_records(dataset, str(path), ColumnMap(), problems)


@pytest.mark.parametrize("budgets", [[3], [9, 9], [20, 1, 14], [26]], ids=str)
def test_an_import_of_a_saved_data_set_goes_on_with_the_same_bytes(tmp_path, budgets):
    rows = [{"id": str(n % 30), "query_en": f"q{n}", "passage_en": f"p{n}"} for n in range(33)]
    rows[5]["passage_en"] = " "
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved", num_shards=3)
    paths = [tmp_path / "saved"]
    at_once = tmp_path / "a" / "to"
    in_parts = tmp_path / "b" / "to"
    with small_blocks():
        assert run_import(paths, at_once, "skip", read=read_saved_dataset)
        for steps in budgets:
            assert not run_import(paths, in_parts, "skip", steps, read_saved_dataset)
        assert run_import(paths, in_parts, "skip", read=read_saved_dataset)
    assert read_files(in_parts) == read_files(at_once)
    texts = [to.with_suffix(".problems.txt").exists() for to in (at_once, in_parts)]
    assert texts[0] == texts[1]
    assert len(load_corpus_folder(in_parts)) == 29


def test_what_was_read_is_not_checked_again(tmp_path, monkeypatch):
    path = write_records(tmp_path / "x.jsonl", 100)
    checked = []
    check = importing.RecordChecker.check

    def note_and_check(self, block):
        checked.append(block.numbers[0])
        return check(self, block)

    monkeypatch.setattr(importing.RecordChecker, "check", note_and_check)
    with small_blocks():
        assert not run_import([path], tmp_path / "to", steps=60)
        assert (tmp_path / ".to.building" / "import.json").exists()
        assert 20 < len(checked) < 50
        assert run_import([path], tmp_path / "to")
    assert 50 <= len(checked) <= 52  # one or two of those that were not saved yet


def test_an_import_of_other_files_is_not_resumed(tmp_path):
    first = write_records(tmp_path / "x.jsonl", 20)
    other = write_records(tmp_path / "y.jsonl", 20, passage="other")
    with small_blocks():
        assert not run_import([first], tmp_path / "to", steps=17)
        assert run_import([other], tmp_path / "to")
    assert b"p 3" not in read_files(tmp_path / "to")["passage-en.arrow"]


def test_the_state_is_saved_after_many_small_files_too(tmp_path, monkeypatch):
    paths = []
    for number in range(20):
        path = tmp_path / f"{number:02}.jsonl"
        record = {"id": number, "query": {"en": f"q {number}"}, "passage": {"en": "p"}}
        path.write_text(json.dumps(record) + "\n")
        paths.append(path)
    with small_blocks():
        monkeypatch.setattr(importing, "SAVE_AFTER_PART", 6)
        assert not run_import(paths, tmp_path / "to", steps=22)
        state = json.loads((tmp_path / ".to.building" / "import.json").read_text())
        assert state["parts"] >= 6
        assert run_import(paths, tmp_path / "to")
    assert len(load_corpus_folder(tmp_path / "to")) == 20


@pytest.mark.parametrize("missing", ["import.bin", "query-en.arrow.writing"])
def test_an_import_of_which_a_file_is_gone_is_not_resumed(tmp_path, missing):
    path = write_records(tmp_path / "x.jsonl", 40)
    with small_blocks():
        assert not run_import([path], tmp_path / "to", steps=30)
        (tmp_path / ".to.building" / missing).unlink()
        assert run_import([path], tmp_path / "to")
    assert len(load_corpus_folder(tmp_path / "to")) == 40


def test_a_state_of_another_version_is_not_resumed(tmp_path):
    path = write_records(tmp_path / "x.jsonl", 40)
    with small_blocks():
        assert not run_import([path], tmp_path / "to", steps=30)
        (tmp_path / ".to.building" / "import.json").write_text('{"parts": 0, "taken": 2}')
        assert run_import([path], tmp_path / "to")
    assert len(load_corpus_folder(tmp_path / "to")) == 40


ROWS = 70_000  # records of a file: more than after which the state is saved


@contextmanager
def start_import_that_waits(place: Path, moment: str, *command: str) -> Iterator[subprocess.Popen]:
    """Starts a command whose import goes no further than a moment, and waits until it is there."""
    with start_module(place, "tests.support.waiting_import", moment, *command) as running:
        wait_until(lambda: (place / WAITING_FILE).exists() or running.poll() is not None)
        yield running


@pytest.fixture(scope="module")
def yahoo_folder(tmp_path_factory) -> Path:
    """Files of a released data set, and the finished corpus."""
    folder = tmp_path_factory.mktemp("yahoo")
    for shard in range(2):
        rows = range(shard * ROWS, (shard + 1) * ROWS)
        titles = [f"question {row}" for row in rows]
        answers = [f"answer {row}" for row in rows]
        path = folder / yahoo_answers.TABLES.paths[shard]
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"title": titles, "answer": answers}), path)
    yahoo_answers.load(str(folder), str(folder / "cache"), require_counts=False)
    return folder


@pytest.mark.parametrize("moment", ["saved", "pairs written"])
def test_a_source_that_is_killed_while_it_is_built_goes_on(tmp_path, yahoo_folder, capsys, moment):
    choices = [f"corpus.folder={yahoo_folder}", "corpus.require_counts=false"]
    command = ["hybrid-ir", "data", "describe", "yahoo_answers", *choices]
    caches = tmp_path / "cache" / "corpora"
    with start_import_that_waits(tmp_path, moment, *command) as killed:
        killed.kill()
    assert killed.returncode == -signal.SIGKILL, read_output(killed)
    assert not list(caches.glob("yahoo_answers-*"))
    yahoo_answers.load(str(yahoo_folder), str(tmp_path / "cache"), require_counts=False)
    assert "import goes on after" in capsys.readouterr().err
    [resumed] = caches.glob("yahoo_answers-*")
    [at_once] = (yahoo_folder / "cache" / "corpora").glob("yahoo_answers-*")
    assert read_files(resumed) == read_files(at_once)
    assert len(read_files(resumed)) > 8


def test_a_run_that_is_asked_to_stop_while_it_imports_can_be_queued_again(tmp_path):
    command = ["train.py", "debug=smoke", "corpus=mixture"]
    for name in ("one", "two"):
        write_records(tmp_path / f"{name}.jsonl", ROWS)
        command.append(f"+corpus@corpus.parts.{name}=jsonl")
        command.append(f"corpus.parts.{name}.path={name}.jsonl")
    caches = tmp_path / "cache" / "corpora"
    with start_import_that_waits(tmp_path, "saved", *command) as asked:
        asked.send_signal(signal.SIGTERM)
    assert asked.returncode == REQUEUE_EXIT_CODE, read_output(asked)
    assert list(caches.glob(".one-*.building/import.json"))
    assert not list(caches.glob("*two*"))
    assert not list(caches.glob("one-*"))
