"""Converted passages: once for all who ask at the same time, and nothing of refused files stays."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ir.files.arrow_texts import PassageRow, load_or_convert_passages, take_rows
from hybrid_ir.files.problems import Problems


def read_words(path: Path, problems: Problems) -> Iterator[PassageRow]:
    """A passage for each line of language, id and text."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        language, passage_id, text = line.split(" ", 2)
        yield language, passage_id, text, number


def test_passages_are_stored_by_language_and_empty_ones_left_out(tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text("en a one\nde b eins\nen c  \nen d two\n")
    passages = load_or_convert_passages([path], "words", read_words, tmp_path, Problems("x"))
    assert list(passages.languages["en"].texts) == ["one", "two"]
    assert list(passages.languages["de"].ids) == ["b"]
    assert passages.languages["en"].find_rows(["d", "b"]) == {"d": 1}
    assert passages.empty == 1


def test_two_at_the_same_time_convert_once(tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text("en a one\n")
    conversions = []
    texts = []

    def read_slowly(path: Path, problems: Problems) -> Iterator[PassageRow]:
        conversions.append(path)
        time.sleep(0.1)
        yield from read_words(path, problems)

    def load() -> None:
        problems = Problems("x")
        passages = load_or_convert_passages([path], "words", read_slowly, tmp_path, problems)
        texts.append(list(passages.languages["en"].texts))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=600)
    assert texts == [["one"], ["one"]]
    assert conversions == [path]


def test_nothing_of_files_with_problems_stays_in_the_cache(tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text("en a one\nde a eins\n")
    problems = Problems("x")
    assert load_or_convert_passages([path], "words", read_words, tmp_path, problems) is None
    assert problems.first == [f"{path}, line 2: the id 'a' is also in {path}, line 1"]
    assert [file.suffix for file in (tmp_path / "texts").iterdir()] == [".lock"]


def test_missing_files_are_all_named(tmp_path):
    problems = Problems("x")
    files = [tmp_path / "one", tmp_path / "two"]
    assert load_or_convert_passages(files, "words", read_words, tmp_path, problems) is None
    assert problems.first == [f"{tmp_path / 'one'} is missing", f"{tmp_path / 'two'} is missing"]


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_taken_in_their_order_with_null_for_null(seed):
    random = np.random.default_rng(seed)
    chunks = [[f"{name}{row}" for row in range(random.integers(0, 5))] for name in "abc"] + [["d"]]
    column = pa.chunked_array(chunks, pa.string())
    texts = column.to_pylist()
    rows = [int(row) if row >= 0 else None for row in random.integers(-2, len(texts), 12)]
    expected = [None if row is None else texts[row] for row in rows]
    assert take_rows(column, pa.array(rows, pa.int32())).to_pylist() == expected
