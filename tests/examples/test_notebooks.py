"""The notebooks run from top to bottom, with small settings, and are small and of no machine."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from hybrid_ir import load_corpus
from tests.support.command_line import environment
from tests.support.notebooks import NOTEBOOKS, execute_notebook

LARGEST_NOTEBOOK = 300_000  # bytes
MACHINE_PATH = re.compile(r"/(?:work|tmp|home|root|Users)/|site-packages")
LANGUAGES = ["de", "en"]
SMALL = {
    "bias_of_any_model": {"LANGUAGES": LANGUAGES, "QUESTIONS": 5},
    "our_sampler_in_sentence_transformers": {
        "LANGUAGES": LANGUAGES,
        "STEPS": 2,
        "BATCH_SIZE": 8,
        "QUESTIONS": 5,
    },
    "the_papers_table": {"LANGUAGES": LANGUAGES, "STEPS": 3, "BATCH_SIZE": 8, "QUESTIONS": 5},
    "your_data": {"LANGUAGES": LANGUAGES, "STEPS": 3, "BATCH_SIZE": 8, "QUESTIONS": 5},
}


@pytest.fixture(scope="module")
def model(recipe, tmp_path_factory) -> Path:
    """The folder of a tiny untrained model of sentence-transformers."""
    place = tmp_path_factory.mktemp("model")
    texts = load_corpus("cldr_facts", languages=LANGUAGES).texts()
    shutil.copytree(recipe.build(texts, place / "cache"), place / "transformer")
    transformer = Transformer(str(place / "transformer"), max_seq_length=64)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling]).save(str(place / "saved"))
    return place / "saved"


@pytest.fixture(scope="module")
def shared_variables(tmp_path_factory) -> dict[str, str]:
    """The environment of all kernels, which share a cache."""
    return environment(tmp_path_factory.mktemp("kernels"))


def test_every_notebook_has_small_settings():
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, model, shared_variables, tmp_path):
    parameters = dict(SMALL[path.stem])
    if "MODEL = " in path.read_text(encoding="utf-8"):
        parameters["MODEL"] = str(model)
    notebook = execute_notebook(path, tmp_path, parameters, shared_variables)
    pictures = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            pictures += "image/png" in output.get("data", {})
    assert pictures > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_shown_with_the_outputs_of_one_whole_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            counts.append(cell.execution_count)
            kinds = {output.output_type for output in cell.outputs}
            assert "error" not in kinds
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_names_no_path_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST_NOTEBOOK
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            shown = json.dumps({**output.get("data", {}), "image/png": ""})
            assert not MACHINE_PATH.search(shown + str(output.get("text", "")))
