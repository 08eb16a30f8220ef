"""`hybrid-ir compare` as a user types it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ir.cli import compare as command
from hybrid_ir.evaluation.benchmarks.cldr_facts import load as load_cldr_facts
from tests.support.comparison_results import Tags, card_of, training_of, write_result

ROOT = Path(__file__).parents[2]


def hybrid_ir(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    code = "import sys; from hybrid_ir.cli.main import main; sys.argv[0] = 'hybrid-ir'; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "150",
        "NO_COLOR": "1",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_API_KEY": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code, "compare", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


def test_the_command_leaves_a_report_and_an_offline_wandb_run(sweep, tmp_path):
    """Any measure can be the main one, and paths and labels may have the signs of Hydra's grammar."""
    for name in ("x_y_seed1", "hybrid_seed1"):
        shutil.copytree(sweep / name, tmp_path / "x=y (1)" / name)
    out = tmp_path / "a b=c, d'"
    done = hybrid_ir(
        tmp_path,
        "runs=[x=y (1)/x_y_seed1,x=y (1)/hybrid_seed1]",
        f"out={out}",
        "baseline=x_y / e5_small",
        "metric=recall@10",
        "logger=wandb",
        "paper=false",
        "flips=100",
        "resamples=50",
    )
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "tables.md", "tables.tex", "comparison.json", "table1_macro.csv"):
        assert (out / name).stat().st_size > 200
    assert (
        "Table 1: R@10" in done.stdout
        and "differences from x_y (macro" in done.stdout
        and str(out) in done.stdout
    )
    assert list((out / "wandb").glob("offline-run-*/*.wandb"))
    logged = next((out / "wandb").glob("offline-run-*/files/media"))
    assert (
        len(list((logged / "table").rglob("*.json"))) > 5
        and len(list((logged / "images").glob("*.png"))) == 4
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], r"runs=\[A,B,\.\.\.\] must name at least one folder"),
        (["runs=nowhere"], "nowhere does not exist"),
        (["runs=SWEEP", "metric=mapp"], "has no column 'mapp': choose one of map, ndcg@10"),
        (["runs=SWEEP", "baseline=bm25"], "baseline='bm25' is no system"),
        (
            ["runs=SWEEP", "flips=0", "logger=csv"],
            "flips=0 must be a whole number from 1; logger='csv' must be none or wandb",
        ),
        (["runs=SWEEP", "benchmark=[xquad]"], "benchmark=xquad must be one of beir_folder"),
        (
            ["runs=SWEEP", "benchmark=cldr_facts"],
            "benchmark=cldr_facts: none of these runs was measured on it, only on made_r",
        ),
        (
            ["runs=SWEEP", "benchmark=cldr_facts_dev"],
            "cldr_facts_dev, which is called cldr_facts: none of these runs",
        ),
        (["runs=SWEEP", "runs=[nowhere]"], "nowhere does not exist"),
        (["runs=SWEEP", "flipps=3"], "flipps"),
        (["runs=SWEEP", "out=SWEEP/untrained/metrics.json"], "metrics.json is a file"),
    ],
)
def test_bad_input_is_one_clear_error(sweep, arguments, said):
    with pytest.raises(Exception, match=said):
        command.main([argument.replace("SWEEP", str(sweep)) for argument in arguments])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", ["a"]),
        ("[a, b]", ["a", "b"]),
        ('"a,b"', ["a,b"]),
        ("['a,b', c d,\"e's\"]", ["a,b", "c d", "e's"]),
        ("it's", ["it's"]),
        ("[]", []),
        ("a,,b,", ["a", "b"]),
        ("x=y (1)/z", ["x=y (1)/z"]),
    ],
)
def test_a_comma_in_quotes_is_part_of_a_path(value, found):
    assert command.parse_paths(value) == found


def test_the_command_takes_runs_again_and_names_two_forms_of_a_benchmark_apart(tmp_path):
    """The embedded data in two forms, whose configs have other names than the data; a comma in a folder's name."""
    for place, config in (
        ("all, of it", {"pool": "all"}),
        ("dev", {"split": "dev", "pool": "split"}),
    ):
        benchmark = load_cldr_facts(**config, languages=["de", "en"], max_queries=8)
        for name, noise in (("x_x_mono", 0.9), ("hybrid", 1.2)):
            write_result(
                tmp_path / place / name,
                benchmark,
                noise,
                0.3,
                1,
                card_of(benchmark, training_of(name, 1)),
            )
    command.main(
        [
            f"runs='{tmp_path / 'all, of it'}'",
            f"runs=[{tmp_path / 'dev'}]",
            "benchmark=[cldr_facts,cldr_facts_dev]",
            "corpus.languages=[de,en]",
            "benchmark.cldr_facts.max_queries=8",
            "benchmark.cldr_facts_dev.max_queries=8",
            "flips=50",
            "resamples=20",
            f"out={tmp_path / 'out'}",
        ]
    )
    page = Tags((tmp_path / "out" / "report.html").read_text())
    assert len(page.ids) == len(set(page.ids))
    for name in ("cldr_facts (split=test, pool=all)", "cldr_facts (split=dev, pool=split)"):
        assert name in page.text
    assert (
        page.text.count("Where a system and its baseline differ most, one translation") == 2
    )  # examples of both forms
    for stem in ("cldr_facts_split_test_pool_all", "cldr_facts_split_dev_pool_split"):
        assert (tmp_path / "out" / f"{stem}_systems.csv").exists() and (
            tmp_path / "out/figures" / f"{stem}_effects.pdf"
        ).exists()
