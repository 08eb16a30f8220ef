"""An import that was stopped goes on where it was: nothing lost, nothing twice, and the same bytes in the end."""

import json
import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora import import_journal as journal
from hybrid_ir.corpora import importing
from hybrid_ir.corpora.checking import RecordRules
from hybrid_ir.corpora.importing import Importer
from hybrid_ir.corpora.stored import load_corpus_folder, write_corpus
from hybrid_ir.files import records
from hybrid_ir.files.problems import Problems
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, Interrupted
from hybrid_ir.types import Source
from tests.support.command_line import hybrid_ir, start, start_hybrid_ir

SOURCE = Source("s", "d", "l", "c")
TEXT = st.sampled_from(["a", "b", "中", " ", "same"])
TEXTS = st.dictionaries(st.sampled_from(["en", "de", "sw", "no language"]), TEXT, max_size=3)
ROW = st.one_of(
    st.builds(
        lambda name, query, passage, negatives: json.dumps(
            {"id": name, "query": query, "passage": passage, "negatives": negatives}
        ),
        st.integers(0, 30),
        TEXTS,
        TEXTS,
        st.lists(TEXTS, max_size=2),
    ),
    st.just("{"),
    st.just('{"id": 3}'),
)
FILES = st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=4)


@contextmanager
def small():
    """As if these few records were millions."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (records, "RECORDS_PER_BLOCK", 2),
            (importing, "SAVE_EVERY", 4),
            (importing, "SAVE_AFTER_PART", 1),
            (journal, "SAVE_INTERVAL", 0),
        ):
            patch.setattr(module, name, value)
        yield


def stopping(read, budget: list[int]):
    """The reader; the process is asked to stop when the budget of all readers is used up."""

    def reads(problems):
        for found in read(problems):
            budget[0] -= 1
            if budget[0] < 0:
                raise Interrupted
            yield found

    return reads


@contextmanager
def stopping_at_files(budget: list[int]):
    """The process is asked to stop as well where it would rename, cut or delete one of its files."""

    def counted(call):
        def calls(path, *more, **named):
            if not str(path).endswith(".lock"):
                budget[0] -= 1
                if budget[0] < 0:
                    raise Interrupted
            return call(path, *more, **named)

        return calls

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "replace"), (os, "rename"), (os, "truncate"), (Path, "unlink")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield


def imported(paths: list[Path], to: Path, errors: str, budget: int = 10**9) -> bool:
    """Whether it came to its end before the budget was used up."""
    budgets = [budget]

    def build(writer):
        parts = [stopping(partial(records.read_json_line_records, path), budgets) for path in paths]
        Importer(
            writer, parts, RecordRules(errors=errors), Problems("x", to.with_suffix(".problems.txt"))
        ).run(SOURCE)

    try:
        with stopping_at_files(budgets):
            write_corpus(str(to), build, {"files": str(paths), "errors": errors})
    except Interrupted:
        return False
    return True


def content(folder: Path) -> dict[str, bytes]:
    """Of its files, without what a stop in the very last moment leaves."""
    return (
        {
            path.name: path.read_bytes()
            for path in sorted(folder.iterdir())
            if path.name != "build.key"
        }
        if folder.exists()
        else {}
    )


def told(paths: list[Path], to: Path, errors: str, budget: int = 10**9) -> str | None:
    """What is wrong; None where it was stopped, an empty text for nothing."""
    try:
        return "" if imported(paths, to, errors, budget) else None
    except ValueError as error:
        return str(error)


@given(FILES, st.sampled_from(["skip", "stop"]), st.lists(st.integers(1, 60), max_size=4))
@settings(max_examples=250, deadline=None)
def test_stopped_anywhere_it_ends_with_the_same_bytes_and_problems(
    tmp_path_factory, files, errors, budgets
):
    folder = tmp_path_factory.mktemp("x")
    paths = [folder / f"{i}.jsonl" for i in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    whole, parts = folder / "a" / "to", folder / "b" / "to"
    with small():
        wrong = told(paths, whole, errors)
        found = (
            next(
                found
                for budget in [*budgets, 10**9]
                if (found := told(paths, parts, errors, budget)) is not None or parts.exists()
            )
            or ""
        )
    assert found.replace(str(parts.parent), "") == wrong.replace(str(whole.parent), "")
    assert content(parts) == content(whole)
    assert {*content(parts.parent)} <= {"to.problems.txt"} if wrong else True
    first, second = (
        path.exists() and path.read_text()
        for path in (to.with_suffix(".problems.txt") for to in (parts, whole))
    )
    assert first == second


def test_what_was_read_is_not_checked_again(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "".join(
            f'{{"id": {i}, "query": {{"en": "q"}}, "passage": {{"en": "p {i}"}}}}\n'
            for i in range(100)
        )
    )
    checked = []
    good = importing.RecordChecker.check
    monkeypatch.setattr(
        importing.RecordChecker,
        "check",
        lambda self, found: checked.append(found.numbers[0]) or good(self, found),
    )
    with small():
        assert not imported([path], tmp_path / "to", "stop", budget=60)
        assert (tmp_path / ".to.building" / "import.json").exists() and 20 < len(checked) < 50
        assert imported([path], tmp_path / "to", "stop")
    assert 50 <= len(checked) <= 52  # one or two of those that were not noted yet


def test_other_files_are_no_reason_to_go_on(tmp_path):
    for name, text in (("x", "p"), ("y", "other")):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(
                f'{{"id": {i}, "query": {{"en": "q"}}, "passage": {{"en": "{text} {i}"}}}}\n'
                for i in range(20)
            )
        )
    with small():
        assert not imported([tmp_path / "x.jsonl"], tmp_path / "to", "stop", budget=17)
        assert imported([tmp_path / "y.jsonl"], tmp_path / "to", "stop")
    assert b"p 3" not in content(tmp_path / "to")["passage-en.arrow"]


@pytest.mark.parametrize("place", ["reading", "finishing"])
def test_a_source_that_is_killed_while_it_is_built_goes_on(tmp_path, place):
    folder = tmp_path / "data" / "yahoo_answers" / "title-answer-pair"
    folder.mkdir(parents=True)
    for shard in range(2):
        rows = range(shard * 200_000, (shard + 1) * 200_000)
        pq.write_table(
            pa.table(
                {
                    "title": [f"question {i}" for i in rows],
                    "answer": [f"answer {i} " * 9 for i in rows],
                }
            ),
            folder / f"train-0000{shard}-of-00002.parquet",
        )
    command = [
        "data",
        "describe",
        "yahoo_answers",
        "corpus.require_counts=false",
        "sampler.monolingual_share=1",
    ]
    with start_hybrid_ir(tmp_path, *command) as killed:
        built = tmp_path / "cache" / "corpora"
        sign = "import.json" if place == "reading" else "pairs.npy"
        while killed.poll() is None and not [*built.glob(f".*.building/{sign}")]:
            time.sleep(0.01)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL and not [*built.glob("yahoo_answers-*")]
    done = hybrid_ir(tmp_path, *command)
    assert done.returncode == 0 and "import goes on after" in done.stderr, done.stderr
    whole = tmp_path / "whole"
    assert hybrid_ir(tmp_path, *command, f"paths.cache_dir={whole}").returncode == 0
    first, second = (
        content(next(one.glob("corpora/yahoo_answers-*"))) for one in (tmp_path / "cache", whole)
    )
    assert first == second and len(first) > 8


def test_many_small_files_are_noted_too(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i:02}.jsonl" for i in range(20)]
    for i, path in enumerate(paths):
        path.write_text(f'{{"id": {i}, "query": {{"en": "q {i}"}}, "passage": {{"en": "p"}}}}\n')
    with small():
        monkeypatch.setattr(importing, "SAVE_AFTER_PART", 6)
        assert not imported(paths, tmp_path / "to", "stop", budget=22)
        assert json.loads((tmp_path / ".to.building" / "import.json").read_text())["parts"] >= 6
        assert (
            imported(paths, tmp_path / "to", "stop")
            and len(load_corpus_folder(tmp_path / "to")) == 20
        )


@pytest.mark.parametrize("gone", ["import.bin", "query-en.arrow.writing"])
def test_what_is_left_is_not_gone_on_with_where_some_of_it_is_gone(tmp_path, gone):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "".join(
            f'{{"id": {i}, "query": {{"en": "q"}}, "passage": {{"en": "p {i}"}}}}\n'
            for i in range(40)
        )
    )
    with small():
        assert not imported([path], tmp_path / "to", "stop", budget=30)
        (tmp_path / ".to.building" / gone).unlink()
        assert (
            imported([path], tmp_path / "to", "stop")
            and len(load_corpus_folder(tmp_path / "to")) == 40
        )


def test_a_run_that_is_asked_to_stop_while_it_imports_can_be_queued_again(tmp_path):
    for name in ("one", "two"):
        with open(tmp_path / f"{name}.jsonl", "w") as file:
            file.writelines(
                f'{{"id": {i}, "query": {{"en": "{name} {i}"}}, "passage": {{"en": "p {i}"}}}}\n'
                for i in range(300_000)
            )
    command = [
        "debug=smoke",
        "corpus=mixture",
        *(
            key
            for name in ("one", "two")
            for key in (
                f"+corpus@corpus.parts.{name}=jsonl",
                f"corpus.parts.{name}.path={name}.jsonl",
            )
        ),
    ]
    with start(tmp_path, *command) as asked:
        while asked.poll() is None and not [
            *(tmp_path / "cache").glob("corpora/.one-*.building/import.json")
        ]:
            time.sleep(0.01)
        asked.send_signal(signal.SIGTERM)
    assert asked.returncode == REQUEUE_EXIT_CODE, (tmp_path / "said").read_text()
    assert not [*(tmp_path / "cache").glob("corpora/*two*")] and not [
        *(tmp_path / "cache").glob("corpora/one-*")
    ]
