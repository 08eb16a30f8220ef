"""The public face: what the import loads, and examples of docstrings and pages, which run."""

import doctest
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hybrid_ir
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.identity import hash_config

ROOT = Path(__file__).parents[1]
MAIN_RUN = "outputs/cldr_facts/tiny_hybrid_seed1/b49edd29"
CODE_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read_code_blocks(page: str) -> list[str]:
    return CODE_BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def test_the_import_loads_neither_torch_nor_hydra():
    code = (
        "import sys, hybrid_ir; "
        "print(*sorted({'torch', 'hydra', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", hybrid_ir.__all__)
def test_every_public_name_is_there(name):
    assert getattr(hybrid_ir, name) is not None
    assert name in dir(hybrid_ir)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'load_corpora'"):
        hybrid_ir.load_corpora  # noqa: B018


@pytest.mark.parametrize("module", ["hybrid_ir.runs.data_sets", "hybrid_ir.runs.encoders"])
def test_examples_of_docstrings_hold(module, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_IR_CACHE", str(tmp_path))
    result = doctest.testmod(import_module(module), extraglobs={"run_folder": trained})
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hybrid_ir.load_benchmark("cldr_facts", languages=["xx"]), "no embedded facts in"),
        (lambda: hybrid_ir.load_benchmark("cldr_facts", max_querys=3), "did you mean .*max_quer"),
        (lambda: hybrid_ir.load_benchmark("xquad"), "did you mean xquad_r"),
        (lambda: hybrid_ir.load_benchmark("cldr_facts", config_folders="a"), "a list of folders"),
        (lambda: hybrid_ir.load_benchmark("cldr_facts", config_folders=["a"]), "a is no folder"),
        (lambda: hybrid_ir.load_corpus("jsonl"), "corpus.path"),
        (lambda: hybrid_ir.load_corpus(None), "corpus=None must be a name"),
        (lambda: hybrid_ir.evaluate("run", None), "encoder='run' is no encoder"),
        (lambda: hybrid_ir.compare([]), "at least one folder"),
        (lambda: hybrid_ir.compare("runs"), "must be a list of folders"),
        (lambda: hybrid_ir.compare(["runs"], flips=0), "flips=0 must be a whole number from 1"),
    ],
)
def test_wrong_arguments_are_one_value_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_docs_name_the_folder_of_the_main_job():
    assert MAIN_RUN.endswith(hash_config(compose_config("train")))
    for page in ("README.md", "docs/library.md"):
        assert MAIN_RUN in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_the_code_of_a_page_runs_from_top_to_bottom(page, trained, monkeypatch, tmp_path, recipe):
    """As shown, but with a short run, two or three steps and a small encoder."""
    monkeypatch.setenv("HYBRID_IR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    replacements = {
        MAIN_RUN: str(trained),
        "outputs/sweeps/3f2a9c1e": str(trained),
        "range(1000)": "range(3)",
        "max_steps=1000": 'max_steps=2, accelerator="cpu", logger=False',
        'BiEncoder("FacebookAI/xlm-roberta-base")': (
            "BiEncoder(recipe, texts=corpus.texts(), passage_max_length=64)"
        ),
    }
    blocks = read_code_blocks(page)
    assert blocks
    names = {"recipe": recipe}
    for block in blocks:
        for shown, short in replacements.items():
            block = block.replace(shown, short)
        exec(compile(block, page, "exec"), names)
