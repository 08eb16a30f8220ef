"""`hybrid-ir latency` as users type it: two checkpoints, its files and tables, and its errors."""

import json
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from hybrid_ir.cli import latency
from hybrid_ir.cli.main import run_command
from hybrid_ir.runs.errors import USER_ERRORS
from tests.support.in_process import hybrid_ir_in_process, train_in_process

LANGUAGES = "corpus.languages=[en,de,zh]"
QUESTIONS = 12
POOLS = [50, 200]
ROUNDS = 2
TIMES = ["tokenise_ns", "encode_ns", "search_ns"]
BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[str]:
    """The two checkpoints that a short run keeps: the best and the last."""
    folder = tmp_path_factory.mktemp("latency-run")
    ended = train_in_process(
        folder,
        "debug=smoke",
        LANGUAGES,
        f"hydra.run.dir={folder / 'run'}",
        "trainer.max_steps=2",
        "trainer.val_check_interval=1",
        "validation.max_queries=2",
        "benchmark.max_queries=2",
    )
    assert ended.returncode == 0, ended.stderr
    return [str(folder / "run" / "checkpoints" / f"{name}.ckpt") for name in ("best", "last")]


@pytest.fixture(scope="module")
def results(checkpoints, tmp_path_factory) -> Path:
    """The folder of a measurement of both checkpoints, whose tables were printed."""
    folder = tmp_path_factory.mktemp("latency")
    ended = hybrid_ir_in_process(
        folder,
        "latency",
        f"checkpoints=[{','.join(checkpoints)}]",
        "benchmark=cldr_facts",
        LANGUAGES,
        f"max_queries={QUESTIONS}",
        "batch_sizes=[1,5]",
        f"pools={POOLS}",
        "pool_passages=30",
        "backends=[torch_fp32,torch_bf16]",
        f"rounds={ROUNDS}",
        "warmup=1",
        "threads=1",
        f"out={folder / 'out'}",
    )
    assert ended.returncode == 0, ended.stderr
    for text in (
        "milliseconds per batch, p50 / p95 / p99",
        "tokens per query, p50 in ms",
        "how much slower, mean and 90% interval",
        "tiny hybrid 0.5 seed1 #2",
        "pool vectors: 30 passages of cldr_facts",
    ):
        assert text in ended.stdout
    return folder / "out"


@pytest.fixture(scope="module")
def frame(results) -> pandas.DataFrame:
    return pq.read_table(results / "latency.parquet").to_pandas()


@pytest.fixture(scope="module")
def report(results) -> dict:
    return json.loads((results / "latency.json").read_text())


def test_the_parquet_file_has_a_row_for_every_timed_unit(frame):
    assert set(frame["checkpoint"]) == {"tiny hybrid 0.5 seed1", "tiny hybrid 0.5 seed1 #2"}
    assert set(frame["language"]) == {"en", "de", "zh"}
    assert frame["question"].nunique() == QUESTIONS
    single_queries = frame[frame["batch_size"] == 1]
    checkpoints_and_backends = 2 * 2
    queries = 3 * QUESTIONS  # of three languages
    expected_rows = checkpoints_and_backends * len(POOLS) * ROUNDS * queries
    assert len(single_queries) == expected_rows
    assert (frame[[*TIMES, "tokens"]] > 0).all(axis=None)


def test_batches_are_as_even_as_their_size_allows(frame):
    largest_batches = frame.groupby("batch_size")["queries"].max().to_dict()
    assert largest_batches == {1: 1, 5: 4}  # 12 questions are three batches of 4


def test_both_figures_are_written_as_png_and_svg_and_nothing_else_is_left(results):
    for name in ("by_stage", "by_language"):
        for kind, beginning in BEGINNINGS.items():
            assert (results / f"{name}.{kind}").read_bytes().startswith(beginning)
    assert not list(results.glob(".*"))


def test_the_tables_hold_the_percentiles_of_the_parquet_file(report, frame):
    row = report["latency"][-1]
    keys = ["checkpoint", "backend", "batch_size", "search", "pool"]
    units = frame[(frame[keys] == [row[key] for key in keys]).all(axis=1)]
    expected = np.percentile(units["encode_ns"], 99) / 1e6
    assert row["ms"]["encode"]["p99"] == pytest.approx(expected)


def test_the_tables_have_a_row_for_every_combination(report):
    measurements = 2 * 2 * 2 * 2  # checkpoints, backends, batch sizes, pools
    assert len(report["latency"]) == measurements
    assert len(report["languages"]) == 3 * measurements
    stages = 1 + len(POOLS)  # encoding, and the total with each pool
    assert len(report["equivalence"]) == 2 * 2 * stages  # backends, batch sizes


def test_the_card_describes_the_machine_the_pools_and_the_settings(report):
    card = report["card"]
    assert card["machine"]["threads"] == 1
    assert card["machine"]["cpu"]
    assert card["versions"]["torch"]
    assert card["pools"]["sizes"] == POOLS
    assert card["settings"]["margin"] == 0.05
    assert card["left_out"] == []


def test_the_card_describes_both_checkpoints(report):
    descriptions = report["card"]["checkpoints"].values()
    assert len(descriptions) == 2
    for description in descriptions:
        assert description["attention_kernel"] in ("auto", "sdpa", "eager")
        assert description["weights_dtype"] == "float32"
        assert description["training"]["sampler"] == "hybrid"
        assert description["reading"]["width"] == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checkpoints=[]"], r"checkpoints=\[\] has nothing to measure"),
        (["checkpoints=[empty,bare]"], "'empty' is .*; checkpoints: .*'bare' is "),
        (
            ["backends=[tpu]", "batch_sizes=0", "margin=-1"],
            "batch_sizes=.0. must .*; backends=.'tpu'. must .*; margin=-1 must",
        ),
        (["precision=bf16"], r"backends=\[torch_fp32,torch_bf16\] measures both"),
        (["benchmark=none"], "benchmark=none has no queries"),
        (
            ["benchmark=nothing"],
            "benchmark=nothing: there is no such option; the options of benchmark are beir_folder",
        ),
        (["max_queries=0"], "max_queries=0"),
        (["languages=[xx]"], "xx"),
        (
            ["benchmark=squadshifts", "languages=[en]"],
            r"languages=\['en'\]: the chosen benchmark has no such key",
        ),
        (["threads=0"], "threads=0 must be"),
        (["checkpoint=x"], "checkpoint"),
        (["benchmark=xquad"], "benchmark=xquad: there is no such option, did you mean xquad_r"),
        (["checkpoints=['a, b']"], "'a, b'"),
        (["pools=[100,100]"], r"names something twice$"),
        (["out=before"], "out=before holds results already"),
        (["out=before/latency.json/x"], "before/latency.json is a file"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for folder_without_model in ("empty", "bare"):
        Path(folder_without_model).mkdir()
    Path("before").mkdir()
    Path("before/latency.json").write_text("{}")
    # It would limit the threads of all other tests of this process, too.
    monkeypatch.setattr(latency, "limit_tokenizer_threads", lambda threads: None)
    with pytest.raises(USER_ERRORS, match=message):
        # Of two choices of a benchmark the later one counts.
        run_command("latency", ["benchmark=cldr_facts", *arguments])


def test_help_lists_every_key(capsys):
    run_command("latency", ["--help"])
    assert "batch_sizes" in capsys.readouterr().out
