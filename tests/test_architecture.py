"""The walls of the house: who may import whom, how large a file may be, and that CI has its real data."""

import ast
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT) for path in [*(ROOT / "hybrid_ir").rglob("*.py"), ROOT / "train.py"]
)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_walls(path):
    names, place = imports(path), str(path)
    forbidden = []
    if not place.startswith(("train.py", "hybrid_ir/cli/", "hybrid_ir/runs/")):
        forbidden += ["hydra", "omegaconf", "hybrid_ir.runs.errors"]
    if place != "hybrid_ir/distributed.py":
        forbidden += ["torch.distributed"]
    if place == "hybrid_ir/types.py":
        forbidden += ["hybrid_ir"]
    if place.startswith("hybrid_ir/data/"):
        forbidden += [
            "hybrid_ir.evaluation",
            "hybrid_ir.training.retriever",
            "hybrid_ir.model.encoder",
        ]
    if place.startswith("hybrid_ir/evaluation/"):
        forbidden += ["hybrid_ir.data", "hybrid_ir.training.retriever", "hybrid_ir.model.encoder"]
    if place.startswith(("hybrid_ir/cldr/", "hybrid_ir/files/")):
        forbidden += ["hybrid_ir.data", "hybrid_ir.evaluation", "torch", "lightning"]
    assert [(name, wall) for name in names for wall in forbidden if inside(name, wall)] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_size(path):
    text = (ROOT / path).read_text()
    assert len(text.splitlines()) <= (60 if path.name == "train.py" else 200)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 40, (
                f"{path}: {node.name} is longer than 40 lines"
            )


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


def test_no_unsafe_loading():
    text = "\n".join((ROOT / path).read_text() for path in FILES)
    assert "pickle" not in text.replace("no pickle", "") and "weights_only=False" not in text


def test_ci_has_the_real_data(shared):
    """In CI nothing that needs real data may be skipped."""
    assert (shared / "models").is_dir() and (shared / "data" / "xquad-r").is_dir()


@pytest.mark.skipif(not os.environ.get("CI"), reason="only CI promises to have the real data")
def test_ci_does_not_skip_the_real_data():
    from tests.conftest import SHARED

    assert (SHARED / "data" / "xquad-r" / "en.json").is_file()
    assert (SHARED / "models" / "e5-small-pruned.tar.xz").is_file()
