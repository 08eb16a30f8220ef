"""Checkpoints are whole or not there, on a disk that may be full; a run that goes on tells nothing twice."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from hybrid_ir.training.checkpoints import (
    AtomicCheckpointIO,
    drop_logged_steps,
    find_newest_checkpoint,
    read_checkpoint,
    require_disk_space,
)

ENDED = {"LastCheckpoint": {"ended": True}}


def save(
    folder: Path, name: str, step: int, size: int = 1000, callbacks: dict | None = None
) -> Path:
    path = folder / "checkpoints" / name
    saved = {
        "state_dict": {"w": torch.arange(size)},
        "global_step": step,
        "callbacks": callbacks or {},
    }
    AtomicCheckpointIO().save_checkpoint(saved, path)
    return path


@pytest.fixture
def little_disk(tmp_path) -> Path:
    """A disk of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("a full disk needs one of its own, and only root may mount it")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_checkpoint_comes_back_and_keeps_its_predecessor(tmp_path):
    save(tmp_path, "last.ckpt", 1)
    path = save(tmp_path, "last.ckpt", 2)
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 2
    assert read_checkpoint(path.with_name("previous.ckpt"))["global_step"] == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "gone"])
def test_the_newest_whole_one_is_found(tmp_path, damage):
    save(tmp_path, "last.ckpt", 10)
    path = save(tmp_path, "last.ckpt", 20)
    save(tmp_path, "best.ckpt", 15)
    assert find_newest_checkpoint(tmp_path, 30).step == 20
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:-100],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "text": b"step: 20",
            "gone": b"",
        }[damage]
    )
    if damage == "gone":
        path.unlink()
    assert (
        find_newest_checkpoint(tmp_path, 30).step,
        find_newest_checkpoint(tmp_path, 30).path.name,
    ) == (15, "best.ckpt")
    (path.with_name("best.ckpt")).unlink()
    assert find_newest_checkpoint(tmp_path, 30).path.name == "previous.ckpt"
    path.with_name("previous.ckpt").unlink()
    assert (
        find_newest_checkpoint(tmp_path, 30) is None
        and find_newest_checkpoint(tmp_path / "nowhere", 30) is None
    )


def test_the_best_one_at_the_last_step_is_no_place_to_go_on_from_but_the_end_is(tmp_path):
    save(tmp_path, "last.ckpt", 20)
    save(tmp_path, "best.ckpt", 30)
    assert find_newest_checkpoint(tmp_path, 30).step == 20
    save(tmp_path, "last.ckpt", 30, callbacks=ENDED)
    assert find_newest_checkpoint(tmp_path, 30).ended and "training ended at step 30" in str(
        find_newest_checkpoint(tmp_path, 30)
    )


def test_a_full_disk_leaves_the_one_before_and_nothing_half_written(little_disk):
    save(little_disk, "last.ckpt", 1, size=50_000)
    with pytest.raises(
        OSError,
        match=r"checkpoint of step 2 could not be written .*MiB are free.*go on .* with resume=auto",
    ):
        save(little_disk, "last.ckpt", 2, size=100_000)
    assert [file.name for file in (little_disk / "checkpoints").iterdir()] == ["last.ckpt"]
    assert find_newest_checkpoint(little_disk, 9).step == 1


def test_a_disk_that_will_be_full_is_refused_before_the_first_step(little_disk):
    small, large = torch.nn.Linear(10, 10), torch.nn.Linear(300, 300)
    require_disk_space(little_disk / "checkpoints", small)
    with pytest.raises(ValueError, match="1 MiB free, and the checkpoints of this run need 4 MiB"):
        require_disk_space(little_disk / "checkpoints", large)
    frozen = large.requires_grad_(False)
    with pytest.raises(ValueError, match="need 1 MiB"):
        require_disk_space(little_disk / "checkpoints", frozen)


def test_steps_that_come_again_are_forgotten(tmp_path):
    rows = [{"step": step, "train/loss": 1.0 / (1 + step)} for step in range(5)]
    rows.insert(3, {"step": 2, "val/loss": 0.5})
    rows += [{"step": 2, "test/loss": 0.1}]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 5, "tra'
    )
    (tmp_path / "nonfinite.jsonl").write_text('{"step": 2}\n{"step": 4}\n')
    drop_logged_steps(tmp_path, 3)
    assert json.loads((tmp_path / "nonfinite.jsonl").read_text()) == {"step": 2}
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == rows[:4]
    drop_logged_steps(tmp_path, 0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    drop_logged_steps(tmp_path / "nowhere", 0)
    assert not os.path.exists(tmp_path / "nowhere")
