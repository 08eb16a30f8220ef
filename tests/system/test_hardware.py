"""What a process may use of its machine, and what `auto` makes of it."""

import os
import subprocess
import sys

import pytest

from hybrid_ir.system import hardware
from hybrid_ir.system.hardware import (
    CHOSEN_VARIABLE,
    THREADS_VARIABLE,
    choose_precision,
    choose_threads,
    count_cores,
    describe_slow_precision,
    has_bf16_units,
    let_idle_threads_sleep,
)

WITH_UNITS = "model name\t: Fast CPU\nflags\t\t: fpu avx512f avx512_bf16\n"
WITHOUT_UNITS = "model name\t: Old CPU\nflags\t\t: fpu avx2\n"


@pytest.fixture
def plain_environment(monkeypatch):
    for name in (
        THREADS_VARIABLE,
        CHOSEN_VARIABLE,
        "LOCAL_WORLD_SIZE",
        "SLURM_NTASKS_PER_NODE",
        "TORCHELASTIC_RUN_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def set_cpu(monkeypatch, tmp_path):
    """Lets the machine have the processor of a text in the form of /proc/cpuinfo."""

    def set_text(text: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(hardware, "CPU_INFO", path)

    return set_text


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_outside_the_affinity_are_not_counted():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from hybrid_ir.system.hardware import count_cores; print(count_cores())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("150000 100000", 1), ("400000 100000", 4), ("50000 100000", 1)],
)
def test_the_quota_of_a_control_group_counts(monkeypatch, tmp_path, quota, cores):
    # The group of the process is inside the one with the quota.
    (tmp_path / "jobs" / "mine").mkdir(parents=True)
    (tmp_path / "jobs" / "cpu.max").write_text(f"{quota}\n")
    (tmp_path / "jobs" / "mine" / "cpu.max").write_text("max 100000\n")
    (tmp_path / "cgroup").write_text("0::/jobs/mine\n")
    monkeypatch.setattr(hardware, "CGROUP_FOLDER", tmp_path)
    monkeypatch.setattr(hardware, "CGROUP_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert count_cores() == cores


def test_the_one_thread_that_torchrun_sets_by_itself_is_no_wish(plain_environment):
    plain_environment.setattr(hardware, "count_cores", lambda: 8)
    plain_environment.setenv(THREADS_VARIABLE, "1")
    plain_environment.setenv("LOCAL_WORLD_SIZE", "2")
    plain_environment.setenv("TORCHELASTIC_RUN_ID", "none")
    assert choose_threads("auto") == 4


def test_processes_of_a_run_share_the_cores(plain_environment):
    plain_environment.setattr(hardware, "count_cores", lambda: 8)
    assert choose_threads("auto") == 8
    plain_environment.setenv("LOCAL_WORLD_SIZE", "3")
    assert choose_threads("auto") == 2
    plain_environment.setenv("LOCAL_WORLD_SIZE", "16")
    assert choose_threads("auto") == 1


def test_a_number_of_threads_of_the_user_stays(plain_environment):
    plain_environment.setenv(THREADS_VARIABLE, "3")
    assert choose_threads("auto") == 3
    assert choose_threads(5) == 5


def test_what_auto_chose_for_a_parent_is_no_wish_for_its_children(plain_environment):
    plain_environment.setattr(hardware, "count_cores", lambda: 8)
    plain_environment.setenv(THREADS_VARIABLE, "8")
    plain_environment.setenv(CHOSEN_VARIABLE, "1")
    plain_environment.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_threads("auto") == 4


def test_bf16_is_chosen_where_the_processor_has_units(set_cpu):
    set_cpu(WITH_UNITS)
    assert has_bf16_units("cpu")
    assert choose_precision("auto", "cpu", bf16="b", fp32="f") == "b"
    assert describe_slow_precision("precision", "bf16", "cpu") is None
    set_cpu(WITHOUT_UNITS)
    assert not has_bf16_units("cpu")
    assert choose_precision("auto", "cpu", bf16="b", fp32="f") == "f"
    assert choose_precision("b", "cpu", bf16="b", fp32="f") == "b"


def test_bf16_without_units_is_warned_of(set_cpu):
    set_cpu(WITHOUT_UNITS)
    warning = describe_slow_precision("trainer.precision", "bf16-mixed", "cpu")
    assert "trainer.precision=bf16-mixed: this processor (Old CPU) has no units" in warning
    assert "trainer.precision=auto" in warning
    assert describe_slow_precision("trainer.precision", "32-true", "cpu") is None


def test_a_system_that_does_not_describe_its_processor_has_no_units(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "missing")
    assert not has_bf16_units("cpu")
    assert not has_bf16_units("mps")


def test_a_policy_of_the_user_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
