"""Prints the section of a version in CHANGELOG.md: the text of its release on GitHub."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def find_section(changelog: str, version: str) -> str:
    """Returns the text below the heading of a version, such as `## 1.2.3` or `## [1.2.3] - DATE`.

    Raises:
        ValueError: there is no such heading, or nothing below it.
    """
    heading = re.compile(rf"^## \[?v?{re.escape(version)}\]?(\s.*)?$", re.MULTILINE)
    match = heading.search(changelog)
    if match is None:
        raise ValueError(f"CHANGELOG.md has no section '## {version}': write it before the tag")
    rest = changelog[match.end() :]
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not section:
        raise ValueError(f"the section '## {version}' of CHANGELOG.md is empty")
    return section


if __name__ == "__main__":
    print(find_section(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1]))
