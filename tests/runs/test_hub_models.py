"""Models of a hub on loopback: any kind is found, and the commit that was read is recorded."""

import json
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from tests.support.command_line import hybrid_ir
from tests.support.corpora import write_json_lines
from tests.support.hub_server import find_commit, serving_hub
from tests.support.parallel_lines import build_plain_encoder, list_parallel_lines

STUDY = """
encoders:
  - {name: small, model: owner/small, revision: main, pooling: mean, note: untrained}
  - {name: table, model: owner/table, revision: main, query_prefix: "", passage_prefix: ""}
  - {name: missing, model: owner/missing, revision: main}
"""


def read_files(folder: Path) -> dict[str, bytes]:
    """Returns the files below a folder by their paths in it."""
    files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with texts, a transformer without modules, and a table of word vectors."""
    place = tmp_path_factory.mktemp("hub_models")
    lines = list_parallel_lines(("de", "en"), 12)
    write_json_lines(place / "texts.jsonl", *lines)
    build_plain_encoder(place, "small", [line["text"] for line in lines])
    tokenizer = Tokenizer.from_file(str(place / "small" / "tokenizer.json"))
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)])
    static.save(str(place / "table"))
    assert not (place / "table" / "config.json").exists()
    (place / "my_conf" / "study").mkdir(parents=True)
    (place / "my_conf" / "study" / "mine.yaml").write_text(STUDY)
    return place


def test_a_study_of_the_hub_records_commits_versions_and_intervals(place):
    models = {
        "owner/small": read_files(place / "small"),
        "owner/table": read_files(place / "table"),
    }
    with serving_hub(models=models) as hub:
        ended = hybrid_ir(
            place,
            *("study", "--config-dir", "my_conf", "study=mine", "texts=[texts.jsonl]", "to=out"),
            HF_ENDPOINT=hub.url,
            HF_HOME=str(place / "hub_cache"),
            HF_HUB_OFFLINE="0",
        )
    assert ended.returncode == 0, ended.stderr
    table = (place / "out" / "leaderboard.md").read_text()
    rows = json.loads((place / "out" / "leaderboard.json").read_text())
    assert [row["encoder"] for row in rows] == ["small", "table", "missing"]
    for row in rows[:2]:
        commit = find_commit(f"owner/{row['encoder']}", "main")
        assert row["model"]["commit"] == commit, row["reason"]
        assert f"| {row['encoder']} ({commit[:8]}) |" in table
        for name in ("mono.map", "cross.map", "multi.map", "hidden", "rank_distance"):
            low, high = row["intervals"][name]
            assert low <= row["measures"][name] <= high
        assert f"transformers {row['versions']['transformers']}" in table
    assert "- small: untrained" in table
    assert "- missing: " in table
    assert "the hub did not deliver it" in rows[2]["reason"]
