"""Names of runs on trackers, W&B's own sweeps, and the table of ours there."""

import json
import re
from collections.abc import Iterator

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from hybrid_ir.runs.run_names import LONGEST_NAME, build_run_name
from hybrid_ir.runs.sweep_table import log_sweep
from tests.support.command_line import ROOT, compose_train_config, train
from tests.support.in_process import train_in_process
from tests.support.wandb_files import OFFLINE, read_offline_run, read_run_file

SMALL = (
    "debug=smoke",
    "corpus.languages=[de,en]",
    "validation.languages=[de,en]",
    "validation.max_queries=5",
    "benchmark=none",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
)


@pytest.fixture
def fresh_wandb() -> Iterator[None]:
    """Has W&B read its variables anew, which it does once in a process."""
    wandb.teardown()
    yield
    wandb.teardown()


def name_hybrid(*overrides: str, share: float = 0.5) -> str:
    return build_run_name("tiny", "hybrid", share, 1, overrides)


def test_a_name_says_alpha_where_batches_are_mixed():
    assert name_hybrid() == "tiny_hybrid_alpha=0.5_seed1"
    assert name_hybrid("sampler.monolingual_share=0.3", share=0.3) == "tiny_hybrid_alpha=0.3_seed1"
    assert build_run_name("labse", "x_y", 0.0, 2, ["model=labse", "seed=2"]) == "labse_x_y_seed2"


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("loss.temperature=0.02", "temperature=0.02"),
        ("+trainer.barebones=true", "barebones=true"),
        ("~callbacks.early_stopping", "early_stopping=none"),
        ("model.backbone=/models/e5-small", "backbone=e5-small"),
        ("corpus.languages=[de,en]", "languages=[de,en]"),
        ("experiment=mlqa_to_xquad", "experiment=mlqa_to_xquad"),
    ],
)
def test_a_name_says_what_was_typed(override, part):
    assert name_hybrid(override) == f"tiny_hybrid_alpha=0.5_{part}_seed1"


@pytest.mark.parametrize(
    "override", ["logger=wandb", "logger.wandb.tags=[a]", "resume=auto", "threads=2", "seed=1"]
)
def test_a_name_leaves_out_what_changes_no_number(override):
    assert name_hybrid(override) == "tiny_hybrid_alpha=0.5_seed1"


def test_keys_of_one_name_are_named_in_full_and_measures_come_last():
    name = name_hybrid("benchmark.max_queries=5", "validation.max_queries=6", "optimizer.lr=1e-4")
    expected = "lr=1e-4_benchmark.max_queries=5_validation.max_queries=6"
    assert name == f"tiny_hybrid_alpha=0.5_{expected}_seed1"


def test_long_names_are_cut_between_parts_and_stay_distinct():
    overrides = [f"data.key{number}=some_long_value" for number in range(12)]
    name = name_hybrid(*overrides)
    other = name_hybrid(*overrides[:-1], "data.key11=another_value")
    assert len(name) <= LONGEST_NAME
    assert name != other
    assert re.fullmatch(r"tiny_hybrid_alpha=0.5(_key\d=some_long_value)+_[0-9a-f]{8}_seed1", name)


def read_documented_sweep() -> dict:
    """Returns the sweep.yaml of the documentation."""
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return yaml.safe_load(block)


def build_agent_arguments(values: dict) -> list[str]:
    """Returns what an agent types after the program, by W&B's own code."""
    args = create_sweep_command_args({"args": {key: {"value": values[key]} for key in values}})
    sweep = read_documented_sweep()
    command = create_sweep_command(sweep["command"])
    arguments = []
    for part in command[command.index("${program}") + 1 :]:
        arguments += args["args_no_hyphens"] if part == "${args_no_hyphens}" else [part]
    return arguments


def test_the_documented_sweep_composes_with_values_of_its_parameters():
    sweep = read_documented_sweep()
    assert (ROOT / sweep["program"]).is_file()
    for sampler in sweep["parameters"]["sampler"]["values"]:
        rate = sweep["parameters"]["optimizer.lr"]["min"]
        arguments = build_agent_arguments({"sampler": sampler, "optimizer.lr": rate})
        cfg = compose_train_config(*arguments)
        assert cfg.sampler.monolingual_share == {"x_y": 0.0, "hybrid": 0.5}[sampler]
        assert cfg.optimizer.lr == rate
        assert cfg.resume == "auto"
        assert list(cfg.logger) == ["wandb"]


def test_an_agent_that_gives_the_whole_config_starts_the_same_run_again(
    place, tmp_path, fresh_wandb
):
    """https://github.com/wandb/wandb/issues/9143"""
    agent = {**OFFLINE, "WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "agents_id"}
    typed = [*build_agent_arguments({"sampler": "x_y", "optimizer.lr": 0.001}), *SMALL]
    typed += [f"paths.output_dir={tmp_path}"]

    first = train_in_process(place, *typed, **agent)
    assert first.returncode == 0, first.stderr
    (wandb_id,) = tmp_path.rglob("wandb_id")
    assert wandb_id.read_text() == "agents_id"
    config = dict(read_offline_run(wandb_id.parent).config)
    del config["_wandb"]
    assert config["sampler"]["monolingual_share"] == 0.0
    again = build_agent_arguments(config)
    assert any(argument.startswith("sampler={'_target_'") for argument in again)

    second = train_in_process(place, *again, **agent)
    assert second.returncode == 0, second.stderr
    assert f"complete: {wandb_id.parent}" in second.stdout
    assert len(list(tmp_path.rglob("config.yaml"))) == 2  # of the run, and in its folder .hydra


def test_the_table_of_a_sweep_is_a_run_in_the_group_of_its_jobs(tmp_path, monkeypatch):
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "3f2a9c1e"
    folder.mkdir()
    rows = [{"job": "0_a", "state": "done", "mono/map": 0.5}, {"job": "1_b", "state": "failed"}]
    jobs = [
        {"job": "0_a", "state": "done", "metric": 0.4, "overrides": ["seed=1"], "reason": ""},
        {"job": "1_b", "state": "failed", "metric": None, "overrides": [], "reason": "no memory"},
    ]
    (folder / "sweep.json").write_text(json.dumps(rows))
    (folder / "jobs.json").write_text(json.dumps(jobs))

    log_sweep(str(folder), "hybrid-ir")

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    run = read_run_file(path)
    assert run.name == "sweep 3f2a9c1e"
    assert run.group == "3f2a9c1e"
    table = json.loads((path.parent / "files" / run.summary["sweep"]["path"]).read_text())
    assert table["columns"] == ["job", "state", "mono/map", "metric", "overrides", "reason"]
    assert [row[0] for row in table["data"]] == ["0_a", "1_b"]
    assert table["data"][1][-1] == "no memory"


def test_a_sweep_logs_its_jobs_in_one_group_and_its_table(place, tmp_path):
    sweep = tmp_path / "sweep1"
    arguments = ("-m", *SMALL, "logger=wandb", "sampler=x_y", f"hydra.sweep.dir='{sweep}'")

    ended = train(place, *arguments, **OFFLINE)

    assert ended.returncode == 0, ended.stderr
    (job,) = sweep.glob("0_*")
    job_run = read_offline_run(job)
    assert job_run.group == "sweep1"
    assert job_run.name.startswith("tiny_x_y_debug=smoke")
    assert read_offline_run(sweep).name == "sweep sweep1"
