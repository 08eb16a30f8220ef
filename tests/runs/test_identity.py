"""Folders are named by the experiment, and by nothing that only says how it is run."""

from inspect import signature
from pathlib import Path

import pytest
from lightning import Trainer
from omegaconf import OmegaConf

from hybrid_ir.runs.conf import find_shipped_file
from hybrid_ir.runs.identity import choose_run_folder, hash_config
from hybrid_ir.system.experiment_keys import EXECUTION_KEYS, RUN_KEYS
from tests.support.command_line import compose_train_config

RUN = {"seed": 1, "trainer": {"devices": 1, "max_steps": 3}, "paths": {"data_dir": "a"}}


def hash_run(**changes) -> str:
    return hash_config(OmegaConf.create(RUN | changes))


def choose_name(parent: Path, resume: bool) -> str:
    """Chooses the folder of the run `abc` as a new process would."""
    choose_run_folder.cache_clear()
    return Path(choose_run_folder(str(parent), "abc", resume)).name


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": {"data_dir": "b"}},
        {"trainer": {"devices": 8, "max_steps": 3}},
        {"resume": "auto"},
        {"logger": {"wandb": {"project": "mine"}}},
    ],
)
def test_how_a_run_is_executed_is_not_in_its_hash(changes):
    assert hash_run(**changes) == hash_run()


def test_keys_are_recognised_inside_of_lists():
    assert hash_run(callbacks=[{"refresh_rate": 5}]) == hash_run(callbacks=[{}])
    assert hash_run(callbacks=[{"patience": 5}]) != hash_run(callbacks=[{}])


@pytest.mark.parametrize("changes", [{"seed": 2}, {"trainer": {"devices": 1, "max_steps": 4}}])
def test_what_a_run_trains_is_in_its_hash(changes):
    assert hash_run(**changes) != hash_run()


def test_several_processes_train_the_run_of_one():
    one = compose_train_config("trainer=cpu")
    several = compose_train_config("trainer=ddp_cpu", "trainer.devices=4", "cache_gradients=true")
    assert hash_config(one) == hash_config(several)


def test_every_key_of_the_tables_is_in_conf_or_is_one_of_lightnings_trainer():
    lines = set()
    for path in find_shipped_file("conf").rglob("*.yaml"):
        lines.update(line.strip(" -") for line in path.read_text().splitlines())
    trainer_keys = signature(Trainer).parameters
    for key in [*EXECUTION_KEYS, *RUN_KEYS]:
        is_in_conf = any(line.startswith(f"{key}:") or f" {key}:" in line for line in lines)
        assert is_in_conf or key in trainer_keys, key


def test_no_key_is_in_both_tables():
    assert EXECUTION_KEYS.keys().isdisjoint(RUN_KEYS)


def test_a_new_run_takes_an_unused_folder_and_a_resumed_one_the_newest(tmp_path):
    assert choose_name(tmp_path, resume=False) == "abc"
    assert choose_name(tmp_path, resume=True) == "abc"
    (tmp_path / "abc").mkdir()
    assert choose_name(tmp_path, resume=False) == "abc-2"
    assert choose_name(tmp_path, resume=True) == "abc"
    (tmp_path / "abc-2").mkdir()
    assert choose_name(tmp_path, resume=False) == "abc-3"
    assert choose_name(tmp_path, resume=True) == "abc-2"


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"TORCHELASTIC_RUN_ID": "77"}, "abc-77"),
        ({"TORCHELASTIC_RUN_ID": "none"}, "abc"),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "12"}, "abc-12"),
    ],
)
def test_ranks_of_a_cluster_choose_one_folder_by_the_job(tmp_path, monkeypatch, variables, name):
    (tmp_path / "abc").mkdir()  # An earlier rank may have made it already.
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert choose_name(tmp_path, resume=False) == name
    assert choose_name(tmp_path, resume=True) == "abc"
