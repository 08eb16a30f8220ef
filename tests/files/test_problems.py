"""Problems: all of them in one error, the rest of many in a file, and states that continue."""

import pytest

from hybrid_ir.files.problems import SHOWN, Problems


def add_numbered(problems: Problems, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        problems.add(f"problem {number}")


def test_no_problem_is_no_error():
    Problems("data").raise_if_any()


def test_all_problems_and_the_cure_are_one_error():
    problems = Problems("data")
    add_numbered(problems, 2)
    with pytest.raises(ValueError) as raised:
        problems.raise_if_any("download again")
    assert str(raised.value) == "2 errors in data:\n  problem 0\n  problem 1\n  download again"


def test_many_problems_are_counted_and_all_of_them_in_the_file(tmp_path):
    log = tmp_path / "folder" / "problems.txt"
    problems = Problems("data", log)
    add_numbered(problems, SHOWN)
    assert not log.exists()
    add_numbered(problems, 5, first=SHOWN)
    with pytest.raises(ValueError, match=rf"\.\.\. and 5 more, all of them in {log}$"):
        problems.raise_if_any()
    assert log.read_text().splitlines() == [f"problem {number}" for number in range(SHOWN + 5)]


def test_few_problems_are_written_when_they_are_described(tmp_path):
    problems = Problems("data", tmp_path / "problems.txt")
    problems.add("problem 0")
    text = problems.summarise()
    assert text == f"1 problem in data, what they were about is left out: {problems.log}"
    assert problems.log.read_text() == "problem 0\n"


@pytest.mark.parametrize("saved", [1, SHOWN, SHOWN + 1, SHOWN + 4])
def test_a_restored_state_continues_as_if_nothing_had_happened(tmp_path, saved):
    count = SHOWN + 6
    expected = Problems("data", tmp_path / "expected.txt")
    add_numbered(expected, count)
    log = tmp_path / "problems.txt"
    interrupted = Problems("data", log)
    add_numbered(interrupted, saved)
    state = interrupted.get_state()
    add_numbered(interrupted, 3, first=saved)  # lost, as the state was saved before
    continued = Problems("data", log)
    continued.restore(state)
    add_numbered(continued, count - saved, first=saved)
    assert log.read_text() == expected.log.read_text()
    assert continued.get_state() == expected.get_state()


def test_muted_problems_are_not_counted():
    problems = Problems("data")
    problems.muted = True
    problems.add("problem", file_unreadable=True)
    assert problems.number == 0
    assert problems.unreadable_files == 0
