"""`benchmark=[mteb]` of evaluate and compare, with a task whose data is in memory."""

import contextlib
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import mteb
import pytest
from mteb.results import TaskResult

from hybrid_ir.cli.main import run_command
from hybrid_ir.comparison.comparison import Comparison, compare
from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.runs import encoders
from hybrid_ir.runs.data_sets import load_benchmark
from tests.support.benchmarks import write_beir_folder
from tests.support.in_process import hybrid_ir_in_process, train_in_process
from tests.support.mteb_task import PASSAGES, QUERIES, SPLIT, SUBSETS

TASK = "benchmark.mteb.tasks=[tests.support.mteb_task.SmallRetrieval]"
SCORES = "mteb_scores.json"


@dataclass(frozen=True)
class Place:
    """A folder with a tiny model and a BEIR folder, and the results of two ways to read the model.

    Attributes:
        folder: The folder.
        mean: The results with mean pooling, of mteb's task and of the BEIR folder.
        cls: The results with the first token's vector, of mteb's task alone.
        printed: What the command printed of the first.
    """

    folder: Path
    mean: Path
    cls: Path
    printed: str


def evaluate(place: Path, *arguments: str) -> str:
    """Runs `hybrid-ir evaluate` on the tiny model; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_command("evaluate", [f"model={place / 'plain'}", *arguments])
    return printed.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("mteb")
    texts = []
    for group in (PASSAGES, QUERIES):
        for language in group:
            texts += group[language].values()
    recipe = FromScratch(
        vocab_size=300, width=16, layers=1, heads=2, intermediate=16, max_positions=256
    )
    shutil.copytree(recipe.build(texts, folder / "cache"), folder / "plain")
    corpus = [{"_id": key, "text": text, "language": "en"} for key, text in PASSAGES["en"].items()]
    queries = [{"_id": key, "text": text, "language": "en"} for key, text in QUERIES["en"].items()]
    qrels = "".join(f"q-en{i}\ten{i + 1}\t1\n" for i in range(9))
    write_beir_folder(folder / "beir", corpus, queries, qrels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_IR_CACHE", str(folder / "cache"))
        patch.setenv("COLUMNS", "150")
        printed = evaluate(
            folder,
            "pooling=mean",
            "benchmark=[mteb,beir_folder]",
            f"benchmark.beir_folder.folder={folder / 'beir'}",
            "benchmark.mteb.model_name=me/tiny",
            TASK,
            f"out={folder / 'mean'}",
        )
        evaluate(folder, "pooling=cls", "benchmark=[mteb]", TASK, f"out={folder / 'cls'}")
    return Place(folder, folder / "mean", folder / "cls", printed)


@pytest.fixture(scope="module")
def comparison(place) -> Comparison:
    return compare([place.mean, place.cls], flips=50, resamples=50)


def read_scores(folder: Path) -> dict[str, float]:
    scores = json.loads((folder / "mteb" / SCORES).read_text())["scores"]
    return {score["subset"]: score["value"] for score in scores}


def test_mteb_and_our_benchmarks_are_measured_by_one_command(place):
    assert (place.mean / "beir_folder" / "metrics.json").is_file()
    assert set(read_scores(place.mean)) == set(SUBSETS)
    assert "mteb's score" in place.printed and "mean of 3" in place.printed
    assert not list((place.mean / "mteb").rglob("metrics.json"))  # no number of ours is there


def test_mteb_loads_its_own_files_again(place):
    folder = place.mean / "mteb"
    (file,) = folder.glob("results/me__tiny/*/SmallRetrieval.json")
    result = TaskResult.from_disk(file)
    for entry in result.scores[SPLIT]:
        assert entry["main_score"] == pytest.approx(read_scores(place.mean)[entry["hf_subset"]])

    loaded = mteb.ResultCache(folder).load_results(models=["me/tiny"], validate_and_filter=False)

    (of_model,) = loaded.model_results
    assert of_model.model_name == "me/tiny"
    assert [result.task_name for result in of_model.task_results] == ["SmallRetrieval"]
    meta = json.loads((file.parent / "model_meta.json").read_text())
    assert meta["embed_dim"] == 16 and meta["similarity_fn_name"] == "cosine"


def test_the_card_says_what_decides_the_scores(place):
    card = json.loads((place.mean / "mteb" / "evaluation_card.json").read_text())
    (task,) = card["mteb"]["tasks"]
    assert card["evaluator"] == f"mteb {mteb.__version__}"
    assert (task["name"], task["subsets"], task["splits"]) == (
        "SmallRetrieval",
        list(SUBSETS),
        [SPLIT],
    )
    assert card["reading"]["pooling"] == "mean" and card["model"]["name"] == "plain"
    assert card["texts_cut"] == {"query": 0, "passage": 0}


def test_prompts_go_by_role(place, monkeypatch):
    monkeypatch.setenv("HYBRID_IR_CACHE", str(place.folder / "cache"))
    out = place.folder / "prompts"
    prompts = ["query_prefix=was ", "passage_prefix=folgt "]
    evaluate(place.folder, "pooling=mean", *prompts, "benchmark=[mteb]", TASK, f"out={out}")
    assert read_scores(out) != read_scores(place.mean)


def test_languages_subsets_and_splits_are_chosen(place, monkeypatch):
    monkeypatch.setenv("HYBRID_IR_CACHE", str(place.folder / "cache"))
    out = place.folder / "chosen"
    choices = [
        "benchmark.mteb.languages=[de]",
        "benchmark.mteb.subsets=[de-en,en]",
        f"benchmark.mteb.splits=[{SPLIT}]",
        "benchmark.mteb.batch_size=3",
    ]
    evaluate(place.folder, "pooling=mean", "benchmark=[mteb]", TASK, *choices, f"out={out}")
    whole = read_scores(place.mean)
    assert read_scores(out) == {"de-en": pytest.approx(whole["de-en"], abs=1e-4)}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["tasks=[XQuADRetrival]"], "no task 'XQuADRetrival', did you mean XQuADRetrieval"),
        (["tasks=[no.such.Task]"], "'no.such.Task' is no name of mteb, and its module cannot"),
        (["tasks=[tests.support.mteb_task.Dataset]"], "is no class that inherits from mteb's"),
        (["tasks=[tests.support.mteb_task.SPLIT]"], "has no class or function SPLIT"),
        (["tasks=[]"], "no tasks are named"),
        (["subsets=[de-em]"], "no task has 'de-em', did you mean de-en"),
        (["languages=[fr]"], "SmallRetrieval has no subset for languages=['fr']"),
        (["splits=[test]"], "SmallRetrieval has none of the splits test, but dev"),
        (["batch_size=0", "model_name=tiny"], "batch_size=0 must be at least 1; model_name='tiny'"),
    ],
)
def test_a_wrong_choice_is_refused_before_a_model_is_loaded(choices, message, monkeypatch):
    monkeypatch.setattr(encoders, "load_any_encoder", None)
    keys = [f"benchmark.mteb.{choice}" for choice in choices]
    tasks = [] if choices[0].startswith("tasks") else [TASK]
    with pytest.raises(Exception) as error:
        run_command("evaluate", ["model=x", "benchmark=[mteb]", *tasks, *keys])
    assert message in str(error.value.__cause__ or error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("postprocess=center postprocess_on=test", "postprocess=center is not for mteb"),
        ("long_passages=max_passage", "long_passages=max_passage is not for mteb"),
        ("run_depth=5", "run_depth=5 changes nothing in mteb's evaluation"),
        ("postprocess_on=mteb", "mteb's tasks cannot estimate a correction"),
    ],
)
def test_keys_that_mteb_cannot_honour_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run_command("evaluate", ["model=x", "benchmark=[mteb]", TASK, *arguments.split()])


def test_nothing_is_overwritten(place):
    arguments = [f"model={place.folder / 'plain'}", "benchmark=[mteb]", TASK, f"out={place.mean}"]
    with pytest.raises(ValueError, match=SCORES):
        run_command("evaluate", arguments)


def test_data_that_cannot_be_reached_is_one_line(place):
    ended = hybrid_ir_in_process(
        place.folder,
        "evaluate",
        f"model={place.folder / 'plain'}",
        "pooling=mean",
        "benchmark=[mteb]",
        "benchmark.mteb.tasks=[tests.support.mteb_task.UnreachableRetrieval]",
        f"out={place.folder / 'unreachable'}",
    )
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error")]
    assert "UnreachableRetrieval" in line and "HF_HUB_OFFLINE" in line


def test_without_mteb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(Exception) as error:
        run_command("evaluate", ["model=x", "benchmark=[mteb]", TASK])
    assert "pip install 'hybrid-ir[mteb]'" in str(error.value.__cause__ or error.value)


def test_only_evaluate_takes_tasks_of_mteb(place):
    ended = train_in_process(place.folder, "benchmark=mteb", TASK.replace(".mteb.", "."))
    assert ended.returncode == 2
    assert "only `hybrid-ir evaluate ... benchmark=[mteb]` takes them" in ended.stderr
    assert "Traceback" not in ended.stderr
    with pytest.raises(ValueError, match="only `hybrid-ir evaluate"):
        load_benchmark("mteb", tasks=["XQuADRetrieval"])


def test_compare_has_the_scores_of_mteb_in_tables_of_their_own(place, comparison, tmp_path):
    tasks = comparison.get_table("mteb_tasks")
    subsets = comparison.get_table("mteb_subsets")
    assert len(tasks.columns) == 2
    assert [row.labels[2] for row in subsets.rows] == list(SUBSETS)
    for column, folder in enumerate((place.cls, place.mean)):  # in the order of labels
        for row in subsets.rows:
            assert row.cells[column].value == pytest.approx(read_scores(folder)[row.labels[2]])
        mean = sum(read_scores(folder).values()) / len(SUBSETS)
        assert tasks.rows[0].cells[column].value == pytest.approx(mean)
    for table in comparison.overview:
        assert "mteb" not in table.title and "ndcg_at_10" not in str(table)

    comparison.save(tmp_path)

    page = (tmp_path / "report.html").read_text()
    assert '<h2 id="mteb">' in page and "SmallRetrieval" in page
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert "mteb_tasks" in content["tables"] and len(content["mteb"]["systems"]) == 2
    assert "mteb" not in content["benchmarks"]


def test_compare_takes_results_of_mteb_alone(place, tmp_path):
    out = tmp_path / "report"
    ended = hybrid_ir_in_process(place.folder, "compare", f"runs=[{place.cls}]", f"out={out}")
    assert ended.returncode == 0, ended.stderr
    assert "mteb's own main scores" in ended.stdout
    assert "SmallRetrieval" in (out / "report.html").read_text()


def test_compare_says_which_subsets_are_missing_and_gives_no_mean(place, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(place.cls, part)
    path = part / "mteb" / SCORES
    record = json.loads(path.read_text())
    record["scores"] = record["scores"][:2]
    path.write_text(json.dumps(record))

    comparison = compare([place.mean, part], flips=50, resamples=50)

    assert any("2 of 3 subsets of SmallRetrieval" in note for note in comparison.notes)
    values = [cell.value for cell in comparison.get_table("mteb_tasks").rows[0].cells]
    assert values.count(None) == 1


def test_compare_refuses_two_scores_of_one_system(place, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(place.cls, other)
    path = other / "mteb" / SCORES
    record = json.loads(path.read_text())
    record["scores"][0]["value"] += 0.1
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="different scores of SmallRetrieval"):
        compare([place.cls, other])
    path.write_text("{}")
    with pytest.raises(ValueError, match="measure the model again"):
        compare([place.cls, other])
