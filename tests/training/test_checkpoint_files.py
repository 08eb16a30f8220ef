"""Checkpoint files are complete or absent, also on a full disk; logs repeat no step."""

import json
import subprocess
from collections.abc import Iterator
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

TRAINING_ENDED = {"LastCheckpoint": {"ended": True}}


def save(
    folder: Path, name: str, step: int, size: int = 1000, callbacks: dict | None = None
) -> Path:
    path = folder / "checkpoints" / name
    checkpoint = {
        "state_dict": {"w": torch.arange(size)},
        "global_step": step,
        "callbacks": callbacks or {},
    }
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return path


@pytest.fixture
def little_disk(tmp_path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a full disk needs a disk for the test, and only root may mount one")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_checkpoint_comes_back_and_keeps_its_predecessor(tmp_path):
    save(tmp_path, "last.ckpt", 1)
    path = save(tmp_path, "last.ckpt", 2)
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 2
    assert read_checkpoint(path.with_name("previous.ckpt"))["global_step"] == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


def cut(content: bytes) -> bytes:
    return content[:-100]


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return b""


def replace_by_text(content: bytes) -> bytes:
    return b"step: 20"


@pytest.mark.parametrize("damage", [cut, flip_a_bit, empty, replace_by_text])
def test_the_newest_undamaged_checkpoint_is_found(tmp_path, damage):
    save(tmp_path, "last.ckpt", 10)
    last = save(tmp_path, "last.ckpt", 20)
    best = save(tmp_path, "best.ckpt", 15)
    assert find_newest_checkpoint(tmp_path, 30).step == 20

    last.write_bytes(damage(last.read_bytes()))

    newest = find_newest_checkpoint(tmp_path, 30)
    assert newest.step == 15
    assert newest.path == best


def test_what_is_left_of_the_checkpoints_is_found(tmp_path):
    save(tmp_path, "last.ckpt", 10)
    last = save(tmp_path, "last.ckpt", 20)
    previous = last.with_name("previous.ckpt")
    last.unlink()
    assert find_newest_checkpoint(tmp_path, 30).path == previous
    previous.unlink()
    assert find_newest_checkpoint(tmp_path, 30) is None
    assert find_newest_checkpoint(tmp_path / "nowhere", 30) is None


def test_a_best_checkpoint_of_the_last_step_leaves_nothing_to_train(tmp_path):
    save(tmp_path, "last.ckpt", 20)
    save(tmp_path, "best.ckpt", 30)
    assert find_newest_checkpoint(tmp_path, 30).step == 20


def test_the_end_of_a_training_is_found(tmp_path):
    save(tmp_path, "best.ckpt", 30)
    save(tmp_path, "last.ckpt", 30, callbacks=TRAINING_ENDED)
    newest = find_newest_checkpoint(tmp_path, 30)
    assert newest.ended
    assert "training ended at step 30" in str(newest)


def test_a_full_disk_keeps_the_checkpoint_before_and_nothing_half_written(little_disk):
    save(little_disk, "last.ckpt", 1, size=50_000)
    message = r"checkpoint of step 2 could not be written .*MiB are free.*go on .* with resume=auto"
    with pytest.raises(OSError, match=message):
        save(little_disk, "last.ckpt", 2, size=100_000)
    assert [file.name for file in (little_disk / "checkpoints").iterdir()] == ["last.ckpt"]
    assert find_newest_checkpoint(little_disk, 9).step == 1


def test_a_disk_that_will_be_full_is_refused_before_the_first_step(little_disk):
    folder = little_disk / "checkpoints"
    require_disk_space(folder, torch.nn.Linear(10, 10))
    large = torch.nn.Linear(300, 300)
    with pytest.raises(ValueError, match="1 MiB free, and the checkpoints of this run need 4 MiB"):
        require_disk_space(folder, large)
    with pytest.raises(ValueError, match="need 1 MiB"):
        require_disk_space(folder, large.requires_grad_(False))


def test_rows_of_steps_that_come_again_are_dropped(tmp_path):
    rows = [
        {"step": 1, "train/loss": 1.0},
        {"step": 2, "train/loss": 0.5},
        {"step": 3, "train/loss": 0.3},
        {"step": 3, "val/loss": 0.5},
        {"step": 4, "train/loss": 0.2},
        {"step": 3, "test/loss": 0.1},
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    cut_line = '{"step": 5, "tra'
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(lines) + cut_line)
    (tmp_path / "nonfinite.jsonl").write_text('{"step": 3}\n{"step": 4}\n')

    drop_logged_steps(tmp_path, 3)

    assert metrics.read_text() == "".join(lines[:4])
    assert json.loads((tmp_path / "nonfinite.jsonl").read_text()) == {"step": 3}
    drop_logged_steps(tmp_path, 0)
    assert metrics.read_text() == ""


def test_dropping_steps_of_no_run_makes_no_folder(tmp_path):
    drop_logged_steps(tmp_path / "nowhere", 0)
    assert not (tmp_path / "nowhere").exists()
