"""`hybrid-ir latency` as users start it: two real checkpoints, real processes, and its errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hybrid_ir.cli import latency
from hybrid_ir.cli.main import run_command
from hybrid_ir.runs.errors import USER_ERRORS

ROOT = Path(__file__).parents[2]
LANGUAGES = "corpus.languages=[en,de,zh]"


def run(place: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HYBRID_IR_CACHE": str(place / "cache"),
            "COLUMNS": "150",
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a run: it keeps two checkpoints, the best and the last."""
    folder = tmp_path_factory.mktemp("latency")
    done = run(
        folder,
        str(ROOT / "train.py"),
        "debug=smoke",
        LANGUAGES,
        f"hydra.run.dir={folder / 'run'}",
        "trainer.max_steps=2",
        "trainer.val_check_interval=1",
        "validation.max_queries=2",
        "benchmark.max_queries=2",
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def measured(place) -> Path:
    code = "from hybrid_ir.cli.main import run_command as r; import sys; r('latency', sys.argv[1:])"
    checkpoints = [str(place / "run" / "checkpoints" / f"{name}.ckpt") for name in ("best", "last")]
    done = run(
        place,
        "-c",
        code,
        f"checkpoints=[{','.join(checkpoints)}]",
        "benchmark=cldr_facts",
        LANGUAGES,
        "max_queries=12",
        "batch_sizes=[1,5]",
        "pools=[50,200]",
        "pool_passages=30",
        "backends=[torch_fp32,torch_bf16]",
        "rounds=2",
        "warmup=1",
        f"out={place / 'out'}",
    )
    assert done.returncode == 0, done.stderr
    for shown in (
        "milliseconds per batch, p50 / p95 / p99",
        "tokens per query, p50 in ms",
        "how much slower, mean and 90 % interval",
        "tiny hybrid 0.5 seed1 #2",
        "pool vectors: 30 passages of cldr_facts",
    ):
        assert shown in done.stdout
    return place / "out"


def test_files_hold_every_timed_unit(measured):
    frame = pq.read_table(measured / "latency.parquet").to_pandas()
    assert set(frame["checkpoint"]) == {"tiny hybrid 0.5 seed1", "tiny hybrid 0.5 seed1 #2"}
    single = frame[frame["batch_size"] == 1]
    assert (
        len(single) == 2 * 2 * 2 * 2 * 3 * 12
    )  # checkpoints, backends, pools, rounds, languages, questions
    assert (frame[["tokenise_ns", "encode_ns", "search_ns", "tokens"]] > 0).all(axis=None)
    assert frame.groupby("batch_size")["queries"].max().to_dict() == {
        1: 1,
        5: 4,
    }  # 12 in batches of at most 5
    assert set(frame["language"]) == {"en", "de", "zh"} and frame["question"].nunique() == 12
    for kind, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        for name in ("by_stage", "by_language"):
            assert (measured / f"{name}.{kind}").read_bytes().startswith(head)
    assert not list(measured.glob(".*"))


def test_the_tables_and_the_card_can_be_read_again(measured):
    found = json.loads((measured / "latency.json").read_text())
    frame = pq.read_table(measured / "latency.parquet").to_pandas()
    assert (
        len(found["latency"]) == 16
        and len(found["languages"]) == 48
        and len(found["equivalence"]) == 2 * 2 * 3
    )
    row = found["latency"][-1]
    keys = ["checkpoint", "backend", "batch_size", "search", "pool"]
    mine = frame[(frame[keys] == [row[key] for key in keys]).all(axis=1)]
    assert row["ms"]["encode"]["p99"] == pytest.approx(np.percentile(mine["encode_ns"], 99) / 1e6)
    card = found["card"]
    assert card["machine"]["threads"] == 1 and card["machine"]["cpu"] and card["versions"]["torch"]
    assert (
        card["pools"]["sizes"] == [50, 200]
        and card["settings"]["margin"] == 0.05
        and card["left_out"] == []
    )
    for checkpoint in card["checkpoints"].values():
        assert (
            checkpoint["attention_kernel"] in ("sdpa", "eager")
            and checkpoint["weights_dtype"] == "float32"
        )
        assert (
            checkpoint["training"]["sampler"] == "hybrid" and checkpoint["reading"]["width"] == 64
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
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
        (["threads=0"], "threads=0 must be"),
        (["checkpoint=x"], "checkpoint"),
        (["benchmark=xquad"], "benchmark=xquad: there is no such option, did you mean xquad_r"),
        (["checkpoints=['a, b']"], "'a, b'"),
        (["pools=[100,100]"], r"names something twice$"),
        (["out=before"], "out=before holds results already"),
        (["out=before/latency.json/x"], "before/latency.json is a file"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bare"):  # folders without a model
        Path(name).mkdir()
    Path("before").mkdir()
    Path("before/latency.json").write_text("{}")
    monkeypatch.setattr(
        latency, "limit_tokenizer_threads", lambda threads: None
    )  # of this process too, for all other tests
    with pytest.raises(USER_ERRORS, match=said):
        run_command(
            "latency", ["benchmark=cldr_facts", *arguments]
        )  # a later choice of a group wins


def test_help_lists_every_key(capsys):
    run_command("latency", ["--help"])
    assert "batch_sizes" in capsys.readouterr().out
