"""Two models on passages of one's own: two indexes, or one index and a second model."""

import json
import shutil
from pathlib import Path

import pytest

from hybrid_ir.cli.config import parse_command_line
from hybrid_ir.cli.serving import choose_settings
from hybrid_ir.runs.indexes import load_index
from hybrid_ir.serve.engine import Engine, ServedModel
from tests.serve.conftest import QUESTIONS, start_server, stop_server
from tests.support.in_process import hybrid_ir_in_process

QUESTION = QUESTIONS["en"].format(5)


def make_index(place: Path, name: str, model: str, passages: list[dict]) -> None:
    """Makes an index NAME of some passages with one of the small models."""
    texts = place / f"texts-{name}"
    texts.mkdir()
    lines = "".join(json.dumps(passage, ensure_ascii=False) + "\n" for passage in passages)
    (texts / "corpus.jsonl").write_text(lines, encoding="utf-8")
    keys = (f"model={model}", "pooling=mean", f"path={texts}", f"to={name}")
    made = hybrid_ir_in_process(place, "index", *keys)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def place(served_place, tmp_path_factory) -> Path:
    """A folder with two models and an index of each of them, in different orders."""
    place = tmp_path_factory.mktemp("two")
    for name in ("first", "second"):
        shutil.copytree(served_place / name, place / name)
    lines = (served_place / "benchmark" / "corpus.jsonl").read_text(encoding="utf-8")
    passages = [json.loads(line) for line in lines.splitlines()]
    make_index(place, "a", "first", passages)
    make_index(place, "b", "second", passages[::-1])
    make_index(place, "same", "second", passages)
    make_index(place, "fewer", "second", passages[:-1])
    only_english = [passage for passage in passages if passage["language"] == "en"]
    make_index(place, "english", "second", only_english)
    make_index(
        place, "text", "second", [*passages[:3], {**passages[3], "text": "x"}, *passages[4:]]
    )
    renamed = [{**passage, "language": "fr"} for passage in passages[:1]]
    make_index(place, "language", "second", [*renamed, *passages[1:]])
    return place


@pytest.mark.parametrize(
    "keys",
    [
        ("index=[a,b]",),
        ("index=[a,same]", "model=[first,second]"),
        ("index=a", "model=[first,second]", "pooling=mean"),
    ],
)
def test_two_models_rank_the_same_passages(place, keys):
    server = start_server(place, *keys, "port=0")
    server.wait_until_ready()
    answer = server.ask("search", {"question": QUESTION, "k": 100}).json()
    few = {"question": QUESTION, "k": 3, "languages": ["zh", "ar"]}
    filtered = server.ask("search", few).json()
    assert stop_server(server) == 0
    first, second = answer["models"]
    assert (first["model"], second["model"]) == ("first", "second")
    rank_of = {hit["id"]: hit["rank"] for hit in second["hits"]}
    assert len(rank_of) == 41
    assert [hit["other_rank"] for hit in first["hits"]] == [
        rank_of[hit["id"]] for hit in first["hits"]
    ]
    for model in filtered["models"]:
        assert {hit["language"] for hit in model["hits"]} <= {"zh", "ar"}
        assert len(model["hits"]) == 3


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("fewer", "a (41 passages) has 'markup', which fewer (40) does not have"),
        ("english", "a (41 passages) has 'ar-0', which english (11) does not have"),
        ("text", "'ar-3' has another text in a than in text"),
        ("language", "'ar-0' is of the language 'ar' in a and 'fr' in language"),
    ],
)
def test_indexes_of_other_passages_are_refused_at_the_start(place, other, words):
    for folders, sides in ((f"[a,{other}]", words), (f"[{other},a]", None)):
        ended = hybrid_ir_in_process(place, "serve", f"index={folders}", "port=0")
        assert ended.returncode == 2, ended.stderr
        [line] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert f"index={folders}: two models are compared on the same passages" in line
        assert sides is None or sides in line


def test_nothing_is_left_to_prepare_for_the_first_question(place):
    models = []
    for name in ("a", "b"):
        models.append(ServedModel(name, load_index(place / name, device="cpu")))
    Engine(models, None, 10, 100)
    for model in models:
        assert "row_of_id" in vars(model)


def test_prompts_are_for_the_model_that_is_no_run(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    cfg = parse_command_line("serve", [f"model=[owner/model,{run}]", "query_prefix=ask: "])
    assert choose_settings(cfg, "owner/model").query_prefix == "ask: "
    assert choose_settings(cfg, str(run)).query_prefix is None
    # With runs alone the key would do nothing: it stays, and loading the run refuses it.
    cfg = parse_command_line("serve", [f"model={run}", "query_prefix=ask: "])
    assert choose_settings(cfg, str(run)).query_prefix == "ask: "
