"""Writes the tables under "Every file" in docs/architecture.md, from the docstrings of the files.

    python docs/list_files.py

A row that is no file of Python, such as a template, is kept as it is written there.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = "hybrid_ir"
HEADING = "## Every file\n"
ROW = re.compile(r"\| `(?P<name>[^`]+)`.*\|")
TABLE_HEAD = ("| file | what |", "|---|---|")


def write_file_lists(page: str) -> str:
    """Returns the text of the page with every file of the package in the table of its folder."""
    beginning, heading, rest = page.partition(HEADING)
    kept_rows = read_kept_rows(rest)
    sections = []
    for folder in list_folders(rest):
        sections.append("\n".join(build_section(folder, kept_rows.get(folder, []))))
    return beginning + heading + "\n" + "\n\n".join(sections) + "\n"


def list_folders(text: str) -> list[str]:
    """Returns the folders of the package: first those of the page, in its order, then others."""
    found = set()
    for path in (ROOT / PACKAGE).rglob("__init__.py"):
        folder = path.parent.relative_to(ROOT).as_posix()
        if len(list_modules(folder)) > 0:
            found.add(folder)
    shown = [folder for folder in re.findall(r"(?m)^### (\S+)$", text) if folder in found]
    return [*shown, *sorted(found.difference(shown))]


def list_modules(folder: str) -> list[Path]:
    """Returns the files of Python of a folder, but what only makes it a package."""
    return [path for path in sorted((ROOT / folder).glob("*.py")) if path.name != "__init__.py"]


def read_kept_rows(text: str) -> dict[str, list[str]]:
    """Returns the rows that are of no file of Python, by folder."""
    kept: dict[str, list[str]] = {}
    folder = ""
    for line in text.splitlines():
        if line.startswith("### "):
            folder = line.removeprefix("### ")
        match = ROW.fullmatch(line)
        if match is not None and not match["name"].endswith(".py"):
            kept.setdefault(folder, []).append(line)
    return kept


def build_section(folder: str, kept_rows: list[str]) -> list[str]:
    """Returns the lines of a folder: its docstring, and a row for every file."""
    package_file = ROOT / folder / "__init__.py"
    lines = [f"### {folder}", "", read_first_line(package_file), "", *TABLE_HEAD]
    for path in list_modules(folder):
        what = read_first_line(path).replace("|", r"\|")
        lines.append(f"| `{path.name}` | {what} |")
    return [*lines, *kept_rows]


def read_first_line(path: Path) -> str:
    """Returns the first line of the docstring of a file."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None, path
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(write_file_lists(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
