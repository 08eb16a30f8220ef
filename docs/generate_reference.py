"""Generates the reference of the site while mkdocs builds it: commands, config groups, Python API.

The pages are made of what the program itself reads (conf/*.yaml with their comments) and of
docstrings. They are not committed, so they cannot be out of date.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
CONF = DOCS.parent / "conf"
OUTWARD_LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)")
# Files of conf/ whose command has another name.
COMMAND_NAMES = {"clean": "data clean", "identify": "data identify"}
# Groups whose options are whole recipes or belong to Hydra: their files are shown as they are.
SHOWN_AS_FILES = (
    "study",
    "experiment",
    "hparams_search",
    "debug",
    "hydra",
    "hydra/launcher",
    "hydra/sweeper",
)
HIDDEN_KEYS = ("_target_", "_partial_", "_recursive_", "defaults")
PATH = "path"
MODEL = "path or name"
# The type of keys of commands that have no value by default, and so none that would show it.
TYPES_WITHOUT_VALUE = {
    "backend": "text",
    "backbone": MODEL,
    "baseline": "text",
    "checkpoint": PATH,
    "ckpt_path": PATH,
    "components": "whole number",
    "corpus": "path or name",
    "data_licence": "text",
    "device": "text",
    "effort": "whole number",
    "fail_if": "text",
    "host": "text",
    "hub": "text",
    "index": PATH,
    "languages": "list of codes",
    "latency": PATH,
    "only": "list of names",
    "licence": "text",
    "max_queries": "whole number",
    "measure": "true or false",
    "model": MODEL,
    "out": PATH,
    "passage_max_length": "whole number",
    "passage_prefix": "text",
    "path": PATH,
    "pooling": "text",
    "postprocess_on": "text",
    "queries": PATH,
    "query": "text",
    "query_max_length": "whole number",
    "query_prefix": "text",
    "rescore_multiplier": "whole number",
    "resume_from": PATH,
    "revision": "text",
    "similarity": "text",
    "to": PATH,
    "token": "text",
}
KEY_LINE = re.compile(r'^(\s*)"?([A-Za-z_][\w-]*)"?:(?:\s+(.*))?$')
API_INTRODUCTION = """# Python API

Everything here is imported from `hybrid_ir` itself, as in `from hybrid_ir import evaluate`.
Examples are in [the library](../library.md).

"""


@dataclass(frozen=True)
class Key:
    """A key of a YAML file of conf/.

    Attributes:
        name: with the keys around it, as it is typed.
        value: its default, as the file has it.
        comment: what the file says of it.
    """

    name: str
    value: str
    comment: str


def on_config(config: Any) -> Any:
    """Puts the generated pages into the navigation; mkdocs calls this."""
    lists = {"GENERATED_COMMANDS": list_commands(), "GENERATED_GROUPS": list_groups()}
    replace_placeholders(config.nav, lists)
    others = list_other_pages(config.nav)
    if others:
        config.nav.append({"Other pages": others})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages to those of the folder; mkdocs calls this."""
    from mkdocs.structure.files import File

    for path, text in generate_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Shows links to files outside of the site as their paths; mkdocs calls this for each page.

    On a page of the repository such a link opens the file, on the site there is nothing to open.

    Raises:
        FileNotFoundError: there is no such file.
    """
    folder = (DOCS / page.file.src_uri).parent

    def show_path(match: re.Match) -> str:
        """Returns what stands on the site instead of a link, or the link itself."""
        text, target = match.groups()
        path = (folder / target.partition("#")[0]).resolve()
        if path.is_relative_to(DOCS):
            return match.group(0)
        if not path.exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {target} does not exist")
        name = f"`{path.relative_to(DOCS.parent)}`"
        return name if text.strip("`") in name else f"{text} ({name})"

    return OUTWARD_LINK.sub(show_path, markdown)


def replace_placeholders(nav: list, lists: dict[str, dict[str, str]]) -> None:
    """Puts lists of pages where the navigation names them."""
    for entry in nav:
        if not isinstance(entry, dict):
            continue
        for title, value in entry.items():
            if isinstance(value, list):
                replace_placeholders(value, lists)
            elif value in lists:
                entry[title] = [{name: path} for name, path in lists[value].items()]


def list_other_pages(nav: list) -> list[str]:
    """Returns the pages of docs/ that the navigation does not name, so that all can be reached."""
    named = set(find_paths(nav))
    paths = []
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).as_posix()
        if name not in named:
            paths.append(name)
    return paths


def find_paths(nav: Any) -> Iterator[str]:
    """Yields every page that a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        yield from find_paths(list(nav.values()))
    else:
        for entry in nav:
            yield from find_paths(entry)


def list_commands() -> dict[str, str]:
    """Returns the page of each command."""
    pages = {}
    for path in sorted(CONF.glob("*.yaml")):
        name = COMMAND_NAMES.get(path.stem, path.stem)
        pages[name] = f"reference/commands/{path.stem}.md"
    return pages


def list_groups() -> dict[str, str]:
    """Returns the page of each group of options."""
    groups = sorted({path.parent.relative_to(CONF) for path in CONF.glob("*/**/*.yaml")})
    pages = {}
    for group in groups:
        name = group.as_posix()
        if name != "local":
            pages[name] = f"reference/groups/{name.replace('/', '-')}.md"
    return pages


def generate_pages() -> dict[str, str]:
    """Returns the text of every generated page by its path."""
    pages = {}
    for name, page in list_commands().items():
        pages[page] = write_command_page(name, CONF / f"{Path(page).stem}.yaml")
    for group, page in list_groups().items():
        pages[page] = write_group_page(group)
    pages["reference/api.md"] = write_api_page()
    return pages


def write_command_page(name: str, path: Path) -> str:
    """Returns the page of a command: what it is for, its keys, and the groups it starts from."""
    text = path.read_text(encoding="utf-8")
    title = f"# hybrid-ir {name}\n\n"
    introduction = escape(read_introduction(text))
    parts = [title, introduction, "\n\n## Keys\n\n", write_table(read_keys(text))]
    groups = list_groups()
    for group, option in read_defaults(text):
        group_name = group.partition("@")[0].removeprefix("/")
        if group_name not in groups or group_name in ("paths", "hydra"):
            continue
        page = f"../{groups[group_name].removeprefix('reference/')}"
        if group_name == "encoder":
            parts.append("\n## How a model reads texts\n\n")
            encoder = (CONF / "encoder/default.yaml").read_text(encoding="utf-8")
            parts.append(write_table(read_keys(encoder)))
        elif option in (None, "???"):
            parts.append(f"\n`{group}=` takes any option of [{group_name}]({page}).\n")
        else:
            parts.append(f"\n`{group}={option}` by default: see [{group_name}]({page}).\n")
    return "".join(parts)


def write_group_page(group: str) -> str:
    """Returns the page of a group: a table of keys for each option, or its file."""
    parts = [f"# {group}\n\nOptions of `{group}=`.\n"]
    for path in sorted((CONF / group).glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        parts.append(f"\n## {path.stem}\n\n")
        if group in SHOWN_AS_FILES:
            parts.append(f"```yaml\n{text}```\n")
            continue
        introduction = read_introduction(text)
        if introduction:
            parts.append(f"{escape(introduction)}\n\n")
        target = yaml.safe_load(text).get("_target_")
        if target:
            parts.append(f"Builds `{target}`.\n\n")
        for default_group, option in read_defaults(text):
            if default_group == "":
                parts.append(f"Has the keys of [{option}](#{option}), and these values:\n\n")
        parts.append(write_table(read_keys(text), read_annotations(target)))
    return "".join(parts)


def write_api_page() -> str:
    """Returns the page of the public names, whose docstrings mkdocstrings puts in."""
    from hybrid_ir import _MODULES

    parts = [API_INTRODUCTION]
    for name in sorted(_MODULES, key=str.lower):
        parts.append(f"::: {_MODULES[name]}.{name}\n\n")
    return "".join(parts)


def write_table(keys: list[Key], annotations: dict[str, str] | None = None) -> str:
    """Returns keys as a table of Markdown."""
    if not keys:
        return "No keys of its own.\n"
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for key in keys:
        value = "must be given" if key.value == "???" else f"`{key.value}`"
        type_name = name_type(key, annotations or {})
        cells = (f"`{key.name}`", escape(type_name), escape(value), escape(key.comment))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def name_type(key: Key, annotations: dict[str, str]) -> str:
    """Returns the type of a key in words, from its default or from what it is passed to."""
    short_name = key.name.split(".")[-1]
    if key.value in ("null", "???", "auto"):
        known = TYPES_WITHOUT_VALUE.get(short_name) or annotations.get(short_name)
        if known is None:
            known = "text"
        return f"{known} or auto" if key.value == "auto" else known
    if key.value.startswith("${by_backbone"):
        return "number"
    if "${" in key.value:
        return "text"
    value = yaml.safe_load(key.value)
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "whole number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, list):
        return "list"
    return "mapping" if isinstance(value, dict) else "text"


def read_annotations(target: str | None) -> dict[str, str]:
    """Returns the types of the arguments that a class or function of a `_target_` takes."""
    if target is None:
        return {}
    module, _, name = target.rpartition(".")
    try:
        function = getattr(import_module(module), name)
        parameters = inspect.signature(function).parameters.values()
    except (ImportError, AttributeError, ValueError):  # of an extra that is not installed
        return {}
    annotations = {}
    for parameter in parameters:
        if parameter.annotation is not inspect.Parameter.empty:
            annotations[parameter.name] = name_annotation(parameter.annotation)
    return annotations


def name_annotation(annotation: Any) -> str:
    """Returns a type of Python in words, without None."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b[\w.]+\.(\w+)", r"\1", text)
    text = re.sub(r"\s*\|\s*None\b|\bOptional\[(.*)\]$", r"\1", text)
    words = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    for name, word in words.items():
        text = re.sub(rf"\b{name}\b", word, text)
    return text.replace(" | ", " or ")


def read_introduction(text: str) -> str:
    """Returns the comment at the beginning of a file of conf/."""
    lines = []
    for line in text.splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def read_defaults(text: str) -> Iterator[tuple[str, str | None]]:
    """Yields group and option of each entry of the list of defaults; "" for an option alone."""
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if entry == "_self_":
            continue
        if isinstance(entry, str):
            yield "", entry
            continue
        for group, option in entry.items():
            if " " not in group:
                yield group, option


def read_keys(text: str) -> list[Key]:
    """Returns the keys of a file of conf/ that a user sets, in their order."""
    keys = []
    around: list[tuple[int, str]] = []  # indentation and name of the keys around a line
    hidden_at: int | None = None  # indentation of a key whose lines are not shown
    note = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            note = line.lstrip("# ")
            continue
        match = KEY_LINE.match(line)
        indentation = len(line) - len(line.lstrip())
        if hidden_at is not None and (indentation > hidden_at or line.lstrip().startswith("-")):
            continue
        hidden_at = None
        if match is None:
            continue
        name = match.group(2)
        if name in HIDDEN_KEYS:
            hidden_at = indentation
            continue
        while around and around[-1][0] >= indentation:
            around.pop()
        value, _, comment = (match.group(3) or "").partition("#")
        value = value.strip()
        full_name = ".".join([*(outer for _, outer in around), name])
        around.append((indentation, name))
        if value:
            keys.append(Key(full_name, value, comment.strip() or note))
        note = ""
    return keys


def escape(text: str) -> str:
    """Returns a text as it may stand in a cell of a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")
