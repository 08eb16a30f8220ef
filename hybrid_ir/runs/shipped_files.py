"""conf/ and train.py, wherever this package is installed, found without loading Hydra."""

from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# An installed train.py is in a folder of its own. Python looks for modules in the folder of a
# script first, and the package has names of the standard library, such as types.
SCRIPTS = PACKAGE / "script"
# Files of a group that are no choice of their own.
NO_OPTIONS = ("none", "default", "by_corpus")


def find_shipped_file(name: str) -> Path:
    """Returns the path of `conf` or `train.py`: in the package, or beside it in a clone."""
    for folder in (PACKAGE, SCRIPTS):
        if (folder / name).exists():
            return folder / name
    return PACKAGE.parent / name


def list_options(group: str, config_folders: Sequence[str | Path] = ()) -> list[str]:
    """Returns the names of the options of a group.

    Args:
        group: a folder of conf/, such as `benchmark`.
        config_folders: folders of the user that have groups of the same names.
    """
    names = set()
    for folder in (find_shipped_file("conf"), *map(Path, config_folders)):
        for path in (folder / group).glob("*.yaml"):
            names.add(path.stem)
    return sorted(names.difference(NO_OPTIONS))
