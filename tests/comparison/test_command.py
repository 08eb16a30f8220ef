"""`hybrid-ir compare` with the arguments that a user types, and `compare` as a function."""

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from hybrid_ir.cli.main import run_command
from hybrid_ir.cli.path_lists import parse_named_paths, parse_paths
from hybrid_ir.comparison.comparison import compare
from hybrid_ir.evaluation.benchmarks.cldr_facts import load as load_cldr_facts
from tests.support.comparison_results import (
    PageContent,
    build_card,
    build_training,
    write_result,
)

RUNS = ("x=y (1)/x_y_seed1", "x=y (1)/hybrid_seed1")
ENVIRONMENT = {
    "COLUMNS": "150",
    "NO_COLOR": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_API_KEY": "",
}


@dataclass(frozen=True)
class CommandReport:
    """What the command wrote and printed."""

    folder: Path
    out: Path
    printed: str


@pytest.fixture(scope="module")
def command_report(sweep, tmp_path_factory) -> CommandReport:
    """The report of two runs, whose paths and labels have the signs of Hydra's grammar."""
    folder = tmp_path_factory.mktemp("command")
    for run in RUNS:
        shutil.copytree(sweep / Path(run).name, folder / run)
    out = folder / "a b=c, d'"
    arguments = [
        f"runs=[{','.join(RUNS)}]",
        f"out={out}",
        "baseline=x_y / e5_small",
        "metric=recall@10",
        "logger=wandb",
        "paper=false",
        "flips=100",
        "resamples=50",
        "seed=3",
    ]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        run_command("compare", arguments)
    return CommandReport(folder, out, printed.getvalue())


def test_the_command_writes_and_prints_a_report(command_report):
    for name in ("report.html", "tables.md", "tables.tex", "comparison.json", "table1_macro.csv"):
        assert (command_report.out / name).stat().st_size > 200
    assert "Table 1: R@10" in command_report.printed
    assert "differences from x_y (macro" in command_report.printed
    assert str(command_report.out) in command_report.printed


def test_the_command_logs_the_report_offline(command_report):
    assert list(command_report.out.glob("wandb/offline-run-*/*.wandb"))
    (media,) = command_report.out.glob("wandb/offline-run-*/files/media")
    assert len(list((media / "table").rglob("*.json"))) > 5
    assert len(list((media / "images").glob("*.png"))) == 4


def test_the_function_writes_what_the_command_writes(command_report, tmp_path, monkeypatch):
    monkeypatch.chdir(command_report.folder)

    comparison = compare(
        RUNS,
        metric="recall@10",
        baseline="x_y",
        paper=False,
        flips=100,
        resamples=50,
        seed=3,
    )
    comparison.save(tmp_path)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        written_by_command = command_report.out / path.relative_to(tmp_path)
        assert path.read_bytes() == written_by_command.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"runs=\[A,B,\.\.\.\] must name at least one folder"),
        (["runs=nowhere"], "nowhere does not exist"),
        (["runs=SWEEP", "runs=[nowhere]"], "nowhere does not exist"),
        (["runs=nowhere", "benchmark=cldr_facts"], "nowhere does not exist"),
        (["runs=RUN", "metric=mapp"], "has no column 'mapp': choose one of map, ndcg@10"),
        (["runs=RUN", "baseline=bm25"], "baseline='bm25' is no system"),
        (
            ["runs=RUN", "flips=0", "logger=csv"],
            "flips=0 must be a whole number from 1; logger='csv' must be one of none, wandb",
        ),
        (["runs=RUN", "benchmark=[xquad]"], "benchmark=xquad must be one of beir_folder"),
        (
            ["runs=RUN", "benchmark=cldr_facts"],
            "benchmark=cldr_facts: none of these runs was measured on it, only on made_r",
        ),
        (
            ["runs=RUN", "benchmark=cldr_facts_dev"],
            "cldr_facts_dev, which is called cldr_facts: none of these runs",
        ),
        (["runs=RUN", "flipps=3"], "flipps"),
        (["runs=RUN", "out=RUN/metrics.json"], "metrics.json is a file"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(sweep, arguments, message):
    places = {"SWEEP": str(sweep), "RUN": str(sweep / "untrained")}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]

    with pytest.raises(Exception, match=message):
        run_command("compare", arguments)


@pytest.mark.parametrize(
    ("value", "paths"),
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
def test_a_comma_in_quotes_is_part_of_a_path(value, paths):
    assert parse_paths(value) == paths


@pytest.mark.parametrize(
    ("value", "named_paths"),
    [
        ("{base: a/b, tuned: [c,d]}", {"base": ["a/b"], "tuned": ["c", "d"]}),
        ("{base:a}", {"base": ["a"]}),
        ("{'x, y': \"p,q: r\", z: ['1,2',3]}", {"x, y": ["p,q: r"], "z": ["1,2", "3"]}),
    ],
)
def test_systems_can_be_named(value, named_paths):
    assert parse_named_paths("runs", value) == named_paths


@pytest.mark.parametrize("value", ["{}", "{a}", "{a: }", "{a: b", "{: b}", "{a: x, b}"])
def test_names_that_cannot_be_read_are_one_clear_error(value):
    with pytest.raises(ValueError, match=r"write 'runs=\{NAME: FOLDER, OTHER: \[A,B\]\}'"):
        parse_named_paths("runs", value)


def test_the_command_takes_names(sweep, tmp_path):
    out = tmp_path / "out"
    seeds = f"[{sweep / 'hybrid_seed1'},{sweep / 'hybrid_seed2'}]"
    runs = f"runs={{base: {sweep / 'untrained'}, our model: {seeds}}}"

    run_command("compare", [runs, f"out={out}", "flips=20", "resamples=20", "paper=false"])

    content = json.loads((out / "comparison.json").read_text())
    systems = content["benchmarks"]["made_r"]["systems"]
    assert [system["label"] for system in systems] == ["base", "our model"]
    assert systems[1]["baseline"] == "base"
    assert systems[1]["seeds"] == [1, 2]
    assert "our model" in PageContent((out / "report.html").read_text()).text
    assert "| our model | 2 |" in (out / "tables.md").read_text()


def test_names_and_paths_without_names_do_not_mix(sweep):
    arguments = [f"runs={{base: {sweep / 'untrained'}}}", f"runs={sweep / 'hybrid_seed1'}"]
    with pytest.raises(ValueError, match="runs is given with names and without"):
        run_command("compare", arguments)


def test_a_benchmark_with_other_choices_has_its_own_examples_and_files(tmp_path):
    """The configs have other names than the data, and a folder's name has a comma."""
    for place, choices in (
        ("all, of it", {"pool": "all"}),
        ("dev", {"split": "dev", "pool": "split"}),
    ):
        benchmark = load_cldr_facts(**choices, languages=["de", "en"], max_queries=8)
        for sampler, noise in (("x_x_mono", 0.9), ("hybrid", 1.2)):
            card = build_card(benchmark, build_training(sampler))
            write_result(tmp_path / place / sampler, benchmark, card, noise=noise)
    out = tmp_path / "out"

    run_command(
        "compare",
        [
            f"runs='{tmp_path / 'all, of it'}'",
            f"runs=[{tmp_path / 'dev'}]",
            "benchmark=[cldr_facts,cldr_facts_dev]",
            "corpus.languages=[de,en]",
            "benchmark.cldr_facts.max_queries=8",
            "benchmark.cldr_facts_dev.max_queries=8",
            "flips=50",
            "resamples=20",
            f"out={out}",
        ],
    )

    page = PageContent((out / "report.html").read_text())
    assert len(page.ids) == len(set(page.ids))
    for name in ("cldr_facts (split=test, pool=all)", "cldr_facts (split=dev, pool=split)"):
        assert name in page.text
    assert page.text.count("Where a system and its baseline differ most, one translation") == 2
    for stem in ("cldr_facts_split_test_pool_all", "cldr_facts_split_dev_pool_split"):
        assert (out / f"{stem}_systems.csv").exists()
        assert (out / "figures" / f"{stem}_effects.pdf").exists()
