"""Sweeps end, whatever happens to their jobs: real jobs in real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ir.runs.jobs import Job, JobState, read_objective
from hybrid_ir.runs.launchers import JobLauncher, count_processes
from hybrid_ir.runs.session import count_processes_to_start
from hybrid_ir.runs.sweep_table import print_sweep_table
from tests.support.command_line import (
    HANG_SECONDS,
    ROOT,
    compose_train_config,
    find_processes,
    hybrid_ir,
    start,
    train,
    wait_until,
)

SMALL = [
    "debug=smoke",
    "corpus.languages=[de,en]",
    "validation.languages=[de,en]",
    "validation.max_queries=50",
    "model.backbone.vocab_size=1000",
]
FOUR_STEPS = ["trainer.max_steps=4", "trainer.val_check_interval=4"]
MEASURED = ["benchmark.languages=[de,en]", "benchmark.max_queries=50"]


class ShellJob(Job):
    """A job whose process is a line of shell instead of a training."""

    script = "true"

    def build_command(self) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return ["sh", "-c", self.script]


def make_job(
    folder: Path, name: str, script: str = "true", processes: int = 1, accelerator: str = "cpu"
) -> Job:
    """Makes a job which notes its GPUs and runs a script in its folder."""
    config = {
        "trainer": {"accelerator": accelerator, "devices": processes},
        "threads": 1,
        "objective": None,
    }
    job = ShellJob(folder / name, config, [], name, processes)
    job.script = f"cd '{job.folder}'; echo $CUDA_VISIBLE_DEVICES > gpus; {script}"
    return job


def make_launcher(slots: int = 1, gpus: tuple[int, ...] = ()) -> JobLauncher:
    return JobLauncher(slots=slots, devices=gpus)


def run_all(launcher: JobLauncher, *jobs: Job) -> None:
    for _ in launcher.run(list(jobs)):
        pass


def read_jobs(sweep: Path) -> list[dict]:
    return json.loads((sweep / "jobs.json").read_text())


def test_a_killed_sweep_leaves_no_process_and_goes_on_where_it_was(place):
    sweep = place / "killed sweep"
    go_on = place / "go on"
    arguments = [
        "-m",
        *SMALL,
        *MEASURED,
        "trainer=cpu,ddp_cpu",
        "trainer.max_steps=40",
        "trainer.val_check_interval=20",
        "hydra.launcher.slots=3",
        "callbacks.checkpoint_last.every_n_train_steps=5",
        "+callbacks.fault._target_=tests.support.faults.Fault",
        "+callbacks.fault.kind=waits",
        "+callbacks.fault.step=12",
        "+callbacks.fault.rank=0",
        f"+callbacks.fault.until='{go_on}'",
        f"hydra.sweep.dir='{sweep}'",
    ]

    def list_checkpoints() -> list[Path]:
        return sorted(sweep.glob("*/checkpoints/last.ckpt"))

    running = start(place, *arguments)
    wait_until(lambda: len(list_checkpoints()) == 2 or running.poll() is not None)
    assert list_states(sweep) == ["running", "running"]
    running.kill()
    running.wait()
    wait_until(lambda: not find_processes(str(sweep)))
    assert list_states(sweep) == ["running", "running"]

    go_on.touch()
    resumed = train(place, *arguments)
    assert resumed.returncode == 0, resumed.stderr
    rows = read_jobs(sweep)
    assert [row["state"] for row in rows] == ["done", "done"]
    assert [row["processes"] for row in rows] == [1, 2]
    assert all(row["metric"] > 0 for row in rows)
    assert "2 jobs: mAP" in resumed.stdout
    for checkpoint in list_checkpoints():
        folder = checkpoint.parent.parent
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps[:-1] == sorted(steps[:-1])
        assert steps.count(10) == 1
        log = (folder / "job.log").read_text().splitlines()
        starts = [line for line in log if line.startswith("resume: ")]
        assert len(starts) == 2
        assert "no checkpoint there" not in starts[1]

    before = read_job_files(sweep)
    third = train(place, *arguments)
    assert third.returncode == 0, third.stderr
    assert "of 2 jobs 2 are done" in third.stdout
    assert "2 jobs: mAP" in third.stdout
    assert read_job_files(sweep) == before


def list_states(sweep: Path) -> list[str]:
    return [row["state"] for row in read_jobs(sweep)]


def read_job_files(sweep: Path) -> dict[str, tuple[int, bytes]]:
    """Returns time and bytes of the results and logs of all jobs."""
    files = {}
    for pattern in ("*/metrics.json*", "*/job.log", "*/checkpoints/*"):
        for path in sweep.glob(pattern):
            files[str(path.relative_to(sweep))] = (path.stat().st_mtime_ns, path.read_bytes())
    return files


def test_a_job_that_fails_stops_no_other_job_and_is_tried_again_when_asked(place):
    sweep = place / "one fails"
    arguments = [
        *SMALL,
        *MEASURED,
        *FOUR_STEPS,
        "sampler.batch_size=99999,16",
        f"folder='{sweep}'",
    ]
    run = hybrid_ir(place, "sweep", *arguments)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    failed, done = read_jobs(sweep)
    assert [failed["state"], done["state"]] == ["failed", "done"]
    assert failed["config_hash"] != done["config_hash"]
    assert "batch_size=99999 is larger than the data" in failed["reason"]
    assert "99999 is larger" in run.stderr
    failed_row, done_row = json.loads((sweep / "sweep.json").read_text())
    assert failed_row == {"job": failed["job"], "state": "failed"}
    assert done_row["multi/map"] > 0
    assert "2 jobs" in run.stdout

    first_files = read_job_files(sweep)
    unasked = hybrid_ir(place, "sweep", *arguments)
    assert unasked.returncode == 2
    assert "1 are done, 1 failed, not tried again without" in unasked.stdout
    assert read_job_files(sweep) == first_files

    again = hybrid_ir(place, "sweep", "retry=failed", *arguments)
    assert again.returncode == 2
    assert list_states(sweep) == ["failed", "done"]
    last_files = read_job_files(sweep)
    changed = [name for name in first_files if last_files[name] != first_files[name]]
    assert changed == [f"{failed['job']}/job.log"]
    assert last_files.keys() == first_files.keys()
    log = last_files[changed[0]][1].decode()
    assert log.count("error: batch_size=99999 is larger than the data") == 2


def test_a_search_that_is_started_again_finds_its_jobs_done(place):
    sweep = place / "search"
    arguments = [
        "-m",
        *SMALL,
        *FOUR_STEPS,
        "benchmark=none",
        "hparams_search=alpha_temperature",
        "hydra.sweeper.n_trials=2",
        f"hydra.sweep.dir={sweep}",
    ]
    first = train(place, *arguments)
    assert first.returncode == 0, first.stderr
    search = json.loads((sweep / "search.json").read_text())
    values = [trial["value"] for trial in search["trials"]]
    assert len(values) == 2
    assert search["best"]["value"] == max(values)
    assert set(search["best"]["params"]) == {"sampler.monolingual_share", "loss.temperature"}

    second = train(place, *arguments)
    assert second.returncode == 0, second.stderr
    assert "of 2 jobs 2 are done" in second.stdout
    assert len(list(sweep.glob("*_*"))) == 2


def test_hydra_loads_the_plugins_without_torch():
    command = "import hydra_plugins.hybrid_ir, sys; sys.exit('torch' in sys.modules)"
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", command], env=variables).returncode == 0


def test_a_job_that_is_done_is_not_run_again(tmp_path):
    job = make_job(tmp_path, "a", "touch metrics.json")
    run_all(make_launcher(), job)
    again = make_job(tmp_path, "a", "exit 1")
    again.restore_state(retry_failed=True)
    assert again.state == JobState.DONE
    again.run()  # Nothing happens: the script would fail.


@pytest.mark.parametrize(("retry_failed", "state"), [(False, "failed"), (True, "pending")])
def test_a_failed_job_is_not_tried_again_unless_asked(tmp_path, retry_failed, state):
    run_all(make_launcher(), make_job(tmp_path, "a", "echo 'error: a reason' >&2; exit 3"))
    again = make_job(tmp_path, "a")
    again.restore_state(retry_failed)
    assert again.state == state
    assert again.reason == ("a reason" if state == "failed" else "")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'error: first'; echo 'error: last' >&2; echo more; exit 3", "last"),
        ("exit 3", "exit code 3, see "),
        ("kill -9 $$", "killed by SIGKILL"),
    ],
)
def test_a_failed_job_says_why(tmp_path, script, reason):
    job = make_job(tmp_path, "a", script)
    run_all(make_launcher(), job)
    assert job.state == JobState.FAILED
    assert job.reason.startswith(reason)


def test_jobs_are_packed_and_never_take_more_than_there_is(tmp_path):
    launcher = make_launcher(slots=3, gpus=(4, 5))
    jobs = [
        make_job(tmp_path, "a", "sleep 0.3", processes=2),
        make_job(tmp_path, "b", processes=2),
        make_job(tmp_path, "c", "sleep 0.3"),
        make_job(tmp_path, "d", "exit 3", processes=9),
        make_job(tmp_path, "e", accelerator="gpu"),
        make_job(tmp_path, "f", processes=2, accelerator="gpu"),
    ]
    order = []
    in_use = {"cpu": 0, "gpu": 0}
    most_in_use = {"cpu": 0, "gpu": 0}
    for job in launcher.run(list(jobs)):
        request = launcher.find_request(job)
        if job.state == JobState.RUNNING:
            order.append(job.folder.name)
            in_use[request.kind] += request.count
        else:
            in_use[request.kind] -= request.count
        most_in_use[request.kind] = max(most_in_use[request.kind], in_use[request.kind])
    assert most_in_use == {"cpu": 3, "gpu": 2}
    assert order[:3] == ["a", "c", "e"]  # b does not fit beside a, but c and e do.
    states = [job.state for job in jobs]
    assert states == ["done", "done", "done", "failed", "done", "done"]
    gpus_of_e = (tmp_path / "e" / "gpus").read_text().strip()
    gpus_of_f = (tmp_path / "f" / "gpus").read_text().strip()
    assert gpus_of_e == "4"
    assert sorted(gpus_of_f.split(",")) == ["4", "5"]


def test_a_job_that_was_asked_to_stop_waits_for_the_next_start(tmp_path):
    job = make_job(tmp_path, "a", "exit 75")
    run_all(make_launcher(), job)
    assert job.state == JobState.PENDING
    assert json.loads((tmp_path / "a" / "job.json").read_text())["state"] == "pending"


def test_jobs_are_asked_to_save_when_the_sweep_is_stopped(tmp_path):
    job = make_job(tmp_path, "long", f"exec sleep {HANG_SECONDS}")
    running = make_launcher().run([job])
    assert next(running).state == JobState.RUNNING
    running.close()
    assert job.process.poll() is not None
    assert job.state == JobState.PENDING


def test_a_job_that_wants_a_gpu_is_started_where_there_is_none(tmp_path):
    job = make_job(tmp_path, "a", "exit 1", accelerator="gpu")
    run_all(make_launcher(), job)
    assert job.state == JobState.FAILED
    assert (tmp_path / "a" / "gpus").read_text() == "\n"


@pytest.mark.parametrize(
    ("devices", "processes"), [(1, 1), ("3", 3), ([0, 2], 2), ("auto", 4), (-1, 4)]
)
def test_processes_of_a_trainer(devices, processes):
    assert count_processes({"devices": devices}, gpus=4) == processes


def test_several_machines_need_a_launcher_of_a_cluster():
    cfg = compose_train_config("trainer=ddp_cpu", "trainer.num_nodes=2")
    message = "trainer.num_nodes=2: processes of several machines are started by torchrun"
    with pytest.raises(ValueError, match=message):
        count_processes_to_start(cfg.trainer)


@pytest.mark.parametrize(
    ("rows", "objective"),
    [
        ([{"val/loss": 2, "val/map": 1}, {"val/loss": 1, "val/map": 3}, {"val/loss": 4}], 3),
        # Of equal losses the first is kept as best.ckpt.
        ([{"val/loss": 1, "val/map": 1}, {"val/loss": 1, "val/map": 2}], 1),
        ([{"val/map": 5}, {"val/map": 4}], 4),
        ([{"val/loss": 1}], None),
    ],
)
def test_the_objective_is_that_of_the_best_validation(tmp_path, rows, objective):
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_objective(tmp_path, "val/map") == objective


@pytest.mark.parametrize(("mode", "objective"), [("min", 7), ("max", 8)])
def test_the_objective_is_where_the_monitor_of_the_run_was_best(tmp_path, mode, objective):
    rows = [{"score": 1, "val/map": 7, "val/loss": 2}, {"score": 3, "val/map": 8, "val/loss": 2}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert read_objective(tmp_path, "val/map", monitor="score", mode=mode) == objective


def test_a_sweep_of_another_launcher_has_a_table_in_the_order_of_its_jobs(tmp_path, capsys):
    for name in ("10_b", "9_a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    print_sweep_table(tmp_path)
    assert "2 jobs: mAP" in capsys.readouterr().out
    rows = json.loads((tmp_path / "sweep.json").read_text())
    assert rows == [{"job": "9_a"}, {"job": "10_b"}]
