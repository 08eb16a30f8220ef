"""Lists of paths on the command line: `runs=[A,B]`, or with names `runs={base: A, new: [B,C]}`."""

import re
from typing import Any

# Keys whose lists of paths may have names, as in `runs={base: FOLDER, tuned: [A,B]}`.
NAMED_PATH_KEYS = {"runs"}
# One item of a list of paths: in double quotes, in single quotes, or up to the next comma.
PATH_ITEM = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*))\s*(?:,|$)""")
# One item of named lists of paths: a name, a colon, and a list in brackets or one path.
NAMED_ITEM = re.compile(
    r"""\s*(?:"([^"]*)"|'([^']*)'|([^:,"'\[]+?))\s*:\s*"""
    r"""(\[[^\]]*\]|"[^"]*"|'[^']*'|[^,\[]*?)\s*(?:,|$)"""
)


def add_paths(path_lists: dict[str, Any], key: str, value: str) -> None:
    """Adds the paths of an argument to those that its key has already."""
    if key in NAMED_PATH_KEYS and value.strip().startswith("{"):
        paths = parse_named_paths(key, value)
    else:
        paths = parse_paths(value)
    earlier = path_lists.setdefault(key, paths)
    if earlier is paths:
        return
    if type(earlier) is not type(paths):
        raise ValueError(f"{key} is given with names and without: give each folder a name, or none")
    if isinstance(paths, list):
        earlier.extend(paths)
        return
    for name, folders in paths.items():
        earlier.setdefault(name, []).extend(folders)


def parse_paths(value: str) -> list[str]:
    """Returns the paths of `[a,b]`, or of `a` alone; a comma inside quotes is part of a path."""
    inside = value.strip()
    if inside.startswith("[") and inside.endswith("]"):
        inside = inside[1:-1]
    paths = []
    for match in PATH_ITEM.finditer(inside):
        path = max(match.groups(""), key=len).strip()
        if path:
            paths.append(path)
    return paths


def parse_named_paths(key: str, value: str) -> dict[str, list[str]]:
    """Returns the paths of `{NAME: a, OTHER: [b,c]}` by name; see `parse_paths`.

    Raises:
        ValueError: it is not written so, or a name has no path.
    """
    form = f"{key}={value}: write '{key}={{NAME: FOLDER, OTHER: [A,B]}}', in quotes for the shell"
    text = value.strip()
    if not text.endswith("}"):
        raise ValueError(form)
    inside = text[1:-1].strip()
    named_paths: dict[str, list[str]] = {}
    position = 0
    while position < len(inside):
        match = NAMED_ITEM.match(inside, position)
        if match is None:
            raise ValueError(form)
        name = max(match.groups("")[:3], key=len).strip()
        paths = parse_paths(match.group(4))
        if not name or not paths:
            raise ValueError(form)
        if name in named_paths:
            raise ValueError(f"{key}: {name} is given twice: several folders are {name}: [A,B]")
        named_paths[name] = paths
        position = match.end()
    if not named_paths:
        raise ValueError(form)
    return named_paths
