"""docs/architecture.md names every file of the package, in the words of its docstring."""

from docs.list_files import PAGE, write_file_lists


def test_every_file_is_listed():
    page = PAGE.read_text(encoding="utf-8")
    assert page == write_file_lists(page), "write it anew: python docs/list_files.py"
