"""The vectors of an index in Qdrant and LanceDB, in their local modes, find what we find."""

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from hybrid_ir import load_index
from tests.support.command_line import ROOT

QUESTION = "en tells 4 of it"


def load_example(name: str) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", [None, "de"])
def test_qdrant_finds_the_same(make_index, tmp_path, language):
    qdrant = pytest.importorskip("qdrant_client")
    example = load_example("qdrant_local")
    index = load_index(make_index(tmp_path / "index"), device="cpu")
    client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    example.copy_to_qdrant(index, client)
    points = example.search_qdrant(index, client, QUESTION, 5, language)
    client.close()
    [hits] = index.search(QUESTION, k=5, languages=language)
    for point, hit in zip(points, hits, strict=True):
        assert point.score == pytest.approx(hit.score, abs=1e-5)
        assert language in (None, point.payload["language"])
    assert points[0].payload["id"] == hits[0].id


@pytest.mark.parametrize("language", [None, "de"])
def test_lancedb_finds_the_same(make_index, tmp_path, language):
    pytest.importorskip("lancedb")
    example = load_example("lancedb_local")
    index = load_index(make_index(tmp_path / "index"), device="cpu")
    table = example.copy_to_lancedb(index, str(tmp_path / "lance"))
    rows = example.search_lancedb(index, table, QUESTION, 5, language)
    [hits] = index.search(QUESTION, k=5, languages=language)
    for row, hit in zip(rows, hits, strict=True):
        assert 1 - row["_distance"] == pytest.approx(hit.score, abs=1e-5)
        assert language in (None, row["language"])
    assert rows[0]["id"] == hits[0].id
