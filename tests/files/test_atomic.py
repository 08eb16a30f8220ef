"""Atomic writes: the old file or the new one, never half of one, and nothing left behind."""

import os
from pathlib import Path

import pytest

from hybrid_ir.files.atomic import (
    flush_folder_to_disk,
    write_atomically,
    write_folder_atomically,
    write_text_atomically,
)


class Stop(Exception):
    """An error in the middle of writing."""


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path, durable):
    path = tmp_path / "card.json"
    path.write_text("old")
    with write_atomically(path, durable) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("complete")
        assert path.read_text() == "old"
    assert path.read_text() == "complete"
    assert list_names(tmp_path) == ["card.json"]


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "card.json"
    path.write_text("old")
    with pytest.raises(Stop), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise Stop
    assert path.read_text() == "old"
    assert list_names(tmp_path) == ["card.json"]


def test_an_error_before_the_first_byte_leaves_nothing(tmp_path):
    with pytest.raises(Stop), write_atomically(tmp_path / "card.json"):
        raise Stop
    assert list_names(tmp_path) == []


def test_leftovers_of_a_killed_process_are_replaced(tmp_path):
    path = tmp_path / "card.json"
    process = os.fork()
    if process == 0:
        with write_atomically(path) as temporary:
            temporary.write_text("half of a long text")
            os._exit(1)  # as by kill -9: nothing is cleaned up
    os.waitpid(process, 0)
    assert list_names(tmp_path) == [".card.json.writing"]
    write_text_atomically(path, "new")
    assert path.read_text() == "new"
    assert list_names(tmp_path) == ["card.json"]


def test_texts_are_written_in_utf8_byte_for_byte(tmp_path):
    write_text_atomically(tmp_path / "text", "größer\n学\n", durable=True)
    assert (tmp_path / "text").read_bytes() == "größer\n学\n".encode()


def test_a_folder_appears_with_all_of_its_files(tmp_path):
    folder = tmp_path / "runs" / "corpus"
    with write_folder_atomically(folder) as temporary:
        (temporary / "one").write_text("1")
        assert not folder.exists()
        (temporary / "two").write_text("2")
    assert list_names(folder) == ["one", "two"]
    assert list_names(folder.parent) == ["corpus"]


def test_a_folder_is_replaced_and_not_mixed_with_the_old_one(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "old").write_text("0")
    with write_folder_atomically(folder) as temporary:
        (temporary / "new").write_text("1")
        assert list_names(folder) == ["old"]
    assert list_names(folder) == ["new"]


def test_an_error_keeps_the_old_folder_and_leaves_nothing_else(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "old").write_text("0")
    with pytest.raises(Stop), write_folder_atomically(folder) as temporary:
        (temporary / "new").write_text("1")
        raise Stop
    assert list_names(folder) == ["old"]
    assert list_names(tmp_path) == ["corpus"]


def test_a_folder_has_none_of_the_files_of_a_killed_process(tmp_path):
    leftover = tmp_path / ".corpus.writing"
    leftover.mkdir()
    (leftover / "half").write_text("x")
    with write_folder_atomically(tmp_path / "corpus") as temporary:
        (temporary / "new").write_text("1")
    assert list_names(tmp_path / "corpus") == ["new"]
    assert list_names(tmp_path) == ["corpus"]


def test_a_folder_is_flushed_and_closed_again(tmp_path, monkeypatch):
    flushed = []

    def note(descriptor: int) -> None:
        flushed.append((descriptor, os.fstat(descriptor).st_ino))

    monkeypatch.setattr(os, "fsync", note)
    flush_folder_to_disk(tmp_path)
    [(descriptor, inode)] = flushed
    assert inode == tmp_path.stat().st_ino
    with pytest.raises(OSError):
        os.fstat(descriptor)
