"""The rules of the house: who imports whom, how code is written, that CI has its real data."""

import ast
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import SHARED

ROOT = Path(__file__).parents[1]
PACKAGE = sorted(path.relative_to(ROOT) for path in (ROOT / "hybrid_ir").rglob("*.py"))
FILES = [*PACKAGE, Path("train.py")]
CODE = [*FILES, *sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))]

# Rooms from the bottom up: a room imports from itself and from those that stand before it.
LAYERS = (
    ("types",),
    ("distributed",),
    ("system", "files", "cldr"),
    ("pages",),
    ("model",),
    ("inference",),
    ("data", "evaluation"),
    ("corpora", "training"),
    ("comparison", "latency", "translation", "export", "index", "debias", "mteb_tasks", "bias"),
    ("serve",),
    ("runs",),
    ("cli",),
)
# Neighbours of one layer that may know each other.
ALLOWED = {("files", "system"), ("system", "files"), ("cldr", "files"), ("cldr", "system")}
# What methods of a class in a lower room import from a higher one, when they are called.
CALLED_UPWARDS = {("hybrid_ir/data/corpus.py", "hybrid_ir.corpora.dataset_corpus")}
# Libraries that take seconds to load.
HEAVY_LIBRARIES = {"torch", "lightning", "transformers"}
LOADS_OF_WEIGHTS = r"torch\.load\([^)]*weights_only=True"
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SENTENCE = re.compile(r"^[A-Z0-9`\"'(].*[.:!?)`\"]$", re.DOTALL)
# Names that several modules share, since they are an interface.
INTERFACES = {"load", "list_files", "main", "run"}


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def list_imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def list_imports_when_loaded(tree: ast.Module) -> set[str]:
    """The imports that run when a module is loaded: not those of functions or of type checkers."""
    names = set()
    statements = list(tree.body)
    while statements:
        node = statements.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            statements += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= list_imports(node)
        statements += [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
        for handler in getattr(node, "handlers", []):
            statements += handler.body
    return names


def find_room(name: str) -> str:
    """The room of a path like hybrid_ir/data/corpus.py, or of a module like hybrid_ir.data."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 else ""


def find_layer(room: str) -> int:
    for number, rooms in enumerate(LAYERS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} is in no layer")


@pytest.mark.parametrize("path", PACKAGE, ids=str)
def test_imports_point_down(path):
    room = find_room(str(path))
    if room == "__init__":
        return
    tree = parse(path)
    for name in list_imports(tree):
        other = find_room(name)
        if (path.as_posix(), name.rpartition(".")[0]) in CALLED_UPWARDS:
            assert name not in list_imports_when_loaded(tree)
            continue
        if not name.startswith("hybrid_ir.") or other == room:
            continue
        if find_layer(other) == find_layer(room):
            assert (room, other) in ALLOWED, f"{path} imports {name}"
        assert find_layer(other) <= find_layer(room), f"{path} imports {name}"


def list_libraries(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_libraries_stay_where_they_belong(path):
    room = find_room(str(path))
    tree = parse(path)
    names = list_imports(tree)
    if room not in ("runs", "cli") and path != Path("train.py"):
        assert not list_libraries(names) & {"hydra", "omegaconf"}
    if room != "distributed":
        assert not [name for name in names if name.startswith("torch.distributed")]
    if room in ("files", "cldr", "pages"):
        assert not list_libraries(names) & HEAVY_LIBRARIES
    if room in ("types", "system"):  # A function may import them when it is called.
        assert not list_libraries(list_imports_when_loaded(tree)) & HEAVY_LIBRARIES


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch import nn",
        "from torch.nn import functional",
        "try:\n    import torch\nexcept ImportError:\n    pass",
        "class Model:\n    import torch",
    ],
)
def test_an_import_at_module_level_is_seen_in_every_form(line):
    assert list_libraries(list_imports_when_loaded(ast.parse(line))) == {"torch"}


@pytest.mark.parametrize(
    "line",
    ["def run():\n    from torch import nn", "if TYPE_CHECKING:\n    import torch", "import os"],
)
def test_an_import_that_loading_does_not_execute_is_none_of_it(line):
    assert "torch" not in list_libraries(list_imports_when_loaded(ast.parse(line)))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_short(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= (64 if path == Path("train.py") else 400)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            assert length <= 70, f"{path}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", CODE, ids=str)
def test_lines_have_at_most_100_characters(path):
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        assert len(line) <= 100, f"{path}, line {number}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_comprehension_is_inside_another(path):
    for node in ast.walk(parse(path)):
        if not isinstance(node, COMPREHENSIONS):
            continue
        inner = [one for one in ast.walk(node) if isinstance(one, COMPREHENSIONS)]
        assert len(inner) == 1 and len(node.generators) == 1, f"{path}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_conditional_expression_is_inside_another(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.IfExp):
            inner = [one for one in ast.walk(node) if isinstance(one, ast.IfExp)]
            assert len(inner) == 1, f"{path}, line {node.lineno}"


def find_public_definitions(tree: ast.Module) -> list[ast.AST]:
    """Functions, classes and methods of a module without a leading underscore."""
    definitions = []
    scopes = [tree]
    while scopes:
        for node in scopes.pop().body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if not node.name.startswith("_"):
                definitions.append(node)
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
    return definitions


@pytest.mark.parametrize("path", FILES, ids=str)
def test_everything_public_has_a_docstring_in_sentences(path):
    tree = parse(path)
    assert ast.get_docstring(tree)
    for node in find_public_definitions(tree):
        docstring = ast.get_docstring(node)
        assert docstring, f"{path}: {node.name} has no docstring"
        first = docstring.split("\n\n")[0].strip()
        assert SENTENCE.match(first), f"{path}: {node.name}: {first!r} is no sentence"


def test_a_public_name_is_defined_once():
    owners = defaultdict(list)
    for path in PACKAGE:
        for node in parse(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                owners[node.name].append(str(path))
    repeated = {name: paths for name, paths in owners.items() if len(paths) > 1}
    assert set(repeated) <= INTERFACES, repeated


def test_unrelated_values_are_not_packed():
    packed = 0
    lines = 0
    for path in FILES:
        lines += len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                packed += isinstance(node.targets[0], ast.Tuple)
    assert packed <= 3 * lines / 1000


@pytest.mark.parametrize("path", CODE, ids=str)
def test_names_of_tests_are_short(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert len(node.name) < 80, f"{path}: {node.name}"


def test_nothing_is_loaded_unsafely():
    text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in FILES)
    assert "pickle" not in text.replace("no pickle", "")
    assert len(re.findall(r"torch\.load\(", text)) == len(re.findall(LOADS_OF_WEIGHTS, text)) > 0


def test_the_top_level_is_the_one_that_was_asked_for():
    for name in ("conf", "hybrid_ir", "tests", "outputs", "pyproject.toml", "train.py"):
        assert (ROOT / name).exists()


def test_the_real_data_is_whole_where_it_is(shared):
    assert (shared / "models").is_dir()
    assert (shared / "data" / "xquad-r").is_dir()


@pytest.mark.skipif(
    not os.environ.get("CI") or bool(os.environ.get("GITHUB_ACTIONS")),
    reason="only the CI beside the real data promises to have it, and GitHub's is not",
)
def test_ci_does_not_skip_the_real_data():
    assert (SHARED / "data" / "xquad-r" / "en.json").is_file()
    assert (SHARED / "models" / "e5-small-pruned.tar.xz").is_file()
