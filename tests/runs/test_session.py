"""What is left to do of a run is read from its folder."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.session import RunSession, open_run
from hybrid_ir.training.checkpoint_callbacks import LastCheckpoint
from hybrid_ir.training.checkpoints import AtomicCheckpointIO

MAX_STEPS = 10


def make_config(**changes) -> DictConfig:
    config = {
        "resume": "auto",
        "fit": True,
        "cache_gradients": False,
        "ckpt_path": None,
        "resume_from": None,
        "test_checkpoint": "best",
        "benchmark": {"_target_": "a benchmark"},
        "trainer": {"max_steps": MAX_STEPS},
    }
    return OmegaConf.create(config | changes)


def open_session(folder: Path, **changes) -> RunSession:
    with open_run(make_config(**changes), folder) as session:
        return session


def save_checkpoint(folder: Path, name: str, step: int, ended: bool = False) -> str:
    path = folder / "checkpoints" / name
    checkpoint = {
        "state_dict": {"weight": torch.zeros(1)},
        "global_step": step,
        "callbacks": {LastCheckpoint.__qualname__: {"ended": ended}},
    }
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return str(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "run"


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_new_run_is_trained_from_the_start(folder, resume):
    with open_run(make_config(resume=resume), folder) as session:
        assert session.needs_training
        assert not session.is_complete
        assert session.resume_from is None
        assert (folder / "config.yaml").exists()
        assert (folder / "versions.json").exists()


def test_a_resumed_run_starts_from_its_newest_checkpoint(folder, capsys):
    save_checkpoint(folder, "best.ckpt", step=4)
    newest = save_checkpoint(folder, "last.ckpt", step=6)
    session = open_session(folder)
    assert session.needs_training
    assert session.resume_from == newest
    assert f"resume: {folder}, from step 6 (last.ckpt)" in capsys.readouterr().out


def test_a_resumed_run_passes_over_a_damaged_checkpoint(folder):
    previous = save_checkpoint(folder, "previous.ckpt", step=4)
    damaged = Path(save_checkpoint(folder, "last.ckpt", step=6))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert open_session(folder).resume_from == previous


def test_a_resumed_run_drops_what_came_after_its_checkpoint(folder):
    save_checkpoint(folder, "last.ckpt", step=2)
    unfinished = folder / "checkpoints" / ".last.ckpt.writing"
    unfinished.touch()
    log = folder / "metrics.jsonl"
    rows = [json.dumps({"step": step}) for step in range(4)]
    log.write_text("\n".join(rows) + '\n{"st')
    open_session(folder)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [0, 1, 2]
    assert not unfinished.exists()


def test_a_run_with_results_is_complete_and_stays_as_it_is(folder):
    save_checkpoint(folder, "last.ckpt", step=MAX_STEPS, ended=True)
    (folder / "metrics.json").write_text("{}")
    before = sorted(folder.rglob("*"))
    assert open_session(folder).is_complete
    assert sorted(folder.rglob("*")) == before


def test_a_run_whose_training_was_cut_off_goes_on(folder):
    last = save_checkpoint(folder, "last.ckpt", step=4, ended=False)
    session = open_session(folder, benchmark=None)
    assert not session.is_complete
    assert session.needs_training
    assert session.resume_from == last


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"optimizer": {"lr": 0.1}}, "optimizer.lr=None there, 0.1 here"),
        ({"trainer": {"max_steps": 20}}, "trainer.max_steps=10 there, 20 here"),
        (
            {"benchmark": None},
            "benchmark=None there|benchmark._target_=a benchmark there, None here",
        ),
    ],
)
def test_a_run_goes_on_with_the_same_experiment_only(folder, changes, difference):
    save_checkpoint(folder, "last.ckpt", step=4)
    open_session(folder)
    config = (folder / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=difference):
        open_session(folder, **changes)
    assert (folder / "config.yaml").read_bytes() == config


def test_a_start_that_left_nothing_to_go_on_from_binds_nobody(folder):
    open_session(folder)
    assert open_session(folder, optimizer={"lr": 0.1}).needs_training
    assert "lr: 0.1" in (folder / "config.yaml").read_text()


def test_a_run_goes_on_elsewhere_faster_and_with_other_callbacks(folder):
    save_checkpoint(folder, "last.ckpt", step=4)
    open_session(folder, corpus={"folder": "here"}, callbacks={"early_stopping": {"patience": 2}})
    changes = {
        "corpus": {"folder": "there"},
        "threads": 2,
        "trainer": {"max_steps": MAX_STEPS, "max_time": "00:00:01:00", "devices": 2},
        "callbacks": {"early_stopping": {"patience": 2}, "progress": {"refresh_rate": 1}},
    }
    assert open_session(folder, **changes).needs_training


def test_a_trained_run_is_only_measured_if_there_is_a_benchmark(folder):
    last = save_checkpoint(folder, "last.ckpt", step=MAX_STEPS, ended=True)
    with_benchmark = open_session(folder)
    assert not with_benchmark.is_complete
    assert not with_benchmark.needs_training
    assert with_benchmark.find_checkpoint_to_measure() == last


def test_a_trained_run_without_a_benchmark_is_complete(folder):
    save_checkpoint(folder, "last.ckpt", step=MAX_STEPS, ended=True)
    assert open_session(folder, benchmark=None).is_complete


def test_the_best_checkpoint_is_measured_unless_the_last_is_chosen(folder):
    best = save_checkpoint(folder, "best.ckpt", step=4)
    last = save_checkpoint(folder, "last.ckpt", step=MAX_STEPS, ended=True)
    assert open_session(folder).find_checkpoint_to_measure() == best
    (folder / "config.yaml").unlink()
    assert open_session(folder, test_checkpoint="last").find_checkpoint_to_measure() == last


def test_without_training_the_chosen_checkpoint_is_measured(folder, tmp_path):
    best = save_checkpoint(tmp_path / "other", "best.ckpt", step=4)
    session = open_session(folder, fit=False, ckpt_path=str(tmp_path / "other"))
    assert not session.needs_training
    assert session.find_checkpoint_to_measure() == best


def test_without_training_or_checkpoint_the_untrained_encoder_is_measured(folder):
    session = open_session(folder, fit=False)
    assert not session.needs_training
    assert session.find_checkpoint_to_measure() is None


def test_a_new_run_may_start_from_the_weights_of_another(folder, tmp_path):
    save_checkpoint(tmp_path / "other", "last.ckpt", step=6)
    best = save_checkpoint(tmp_path / "other", "best.ckpt", step=4)
    session = open_session(folder, ckpt_path=str(tmp_path / "other"))
    assert session.resume_from is None
    assert session.weights_from == best


def test_a_new_run_may_go_on_with_everything_of_another(folder, tmp_path):
    other = tmp_path / "other"
    open_session(other)
    save_checkpoint(other, "best.ckpt", step=4)
    last = save_checkpoint(other, "last.ckpt", step=6, ended=True)
    longer = {"trainer": {"max_steps": 20}, "benchmark": None}
    session = open_session(folder, resume_from=str(other), **longer)
    assert session.needs_training
    assert session.resume_from == last
    own = save_checkpoint(folder, "last.ckpt", step=8)
    assert open_session(folder, resume_from=str(other), **longer).resume_from == own


def test_a_run_that_goes_on_from_another_keeps_what_would_be_ignored(folder, tmp_path):
    other = tmp_path / "other"
    open_session(other, optimizer={"lr": 0.1}, sampler={"batch_size": 8})
    save_checkpoint(other, "last.ckpt", step=4)
    message = "optimizer.lr=0.1 there, 0.2 here; sampler.batch_size=8 there, 4 here"
    changes = {"optimizer": {"lr": 0.2}, "sampler": {"batch_size": 4}}
    with pytest.raises(ValueError, match=message):
        open_session(folder, resume_from=str(other), **changes)
    assert not folder.exists()


@pytest.mark.parametrize("file", ["metrics.json", "checkpoints/last.ckpt"])
def test_a_folder_with_a_run_is_not_overwritten(folder, file):
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("{}")
    with pytest.raises(ValueError, match="holds a run already: go on in it with resume=auto"):
        open_session(folder, resume="never")
    assert (folder / file).read_text() == "{}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resume": "always"}, "resume='always' must be never or auto"),
        ({"test_checkpoint": "first"}, "test_checkpoint='first' must be best or last"),
        ({"resume_from": "nothing.ckpt"}, "'nothing.ckpt' is neither a checkpoint"),
        ({"resume_from": "a", "ckpt_path": "b"}, "resume_from=a goes on with everything of a run"),
        ({"resume_from": "a", "fit": False}, "resume_from=a goes on with everything of a run"),
        ({"ckpt_path": "nothing.ckpt"}, "'nothing.ckpt' is neither a checkpoint nor a run folder"),
    ],
)
def test_a_wrong_choice_is_refused_before_the_training(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        open_session(folder, **changes)
    assert not folder.exists()


def test_two_processes_cannot_write_to_one_folder(folder):
    with (
        lock_folder(folder),
        pytest.raises(ValueError, match="another process is writing there"),
        lock_folder(folder),
    ):
        pass
    assert not folder.exists()
