"""Sweeps end, whatever happens to them: real jobs in real processes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from hybrid_ir.runs import identity as run_names
from hybrid_ir.runs.identity import choose_run_folder, hash_config
from hybrid_ir.runs.jobs import DONE, FAILED, PENDING, Job
from hybrid_ir.runs.launchers import JobLauncher, count_processes
from tests.runs.test_processes import alive, until
from tests.support.command_line import hybrid_ir, start, train

SMALL = [
    "debug=smoke",
    "corpus.languages=[de,en]",
    "benchmark.languages=[de,en]",
    "validation.languages=[de,en]",
]


def table(sweep: Path) -> list[dict]:
    return json.loads((sweep / "jobs.json").read_text())


def processes_in(folder: Path) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-f", str(folder)], capture_output=True, text=True
    ).stdout.split()
    return [int(pid) for pid in found if int(pid) != os.getpid() and alive(int(pid))]


def test_two_jobs_of_two_processes_killed_and_started_again(place):
    sweep = place / "killed sweep"
    arguments = [
        "-m",
        *SMALL,
        "trainer=ddp_cpu",
        "trainer.max_steps=60",
        "trainer.val_check_interval=20",
        "seed=1,2",
        "hydra.launcher.slots=4",
        "callbacks.checkpoint_last.every_n_train_steps=5",
        f"hydra.sweep.dir='{sweep}'",
    ]
    running = start(place, *arguments)

    def training() -> list[Path]:
        return list(sweep.glob("*/checkpoints/last.ckpt"))

    until(lambda: len(training()) == 2 or running.poll() is not None, 120)
    assert [row["state"] for row in table(sweep)] == ["running", "running"]
    running.kill()
    running.wait()
    until(lambda: not processes_in(sweep))  # nobody trains on behind the back of the next start
    saved = [path.stat().st_mtime_ns for path in training()]
    done = train(place, *arguments)
    assert done.returncode == 0, done.stderr
    rows = table(sweep)
    assert [row["state"] for row in rows] == ["done", "done"] and all(
        row["metric"] > 0 and row["processes"] == 2 for row in rows
    )
    assert len({row["config_hash"] for row in rows}) == 2 and len(saved) == 2
    for folder in sorted(path.parent.parent for path in training()):
        steps = [
            json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        assert (
            steps[:-1] == sorted(steps[:-1])
            and steps.count(9) == 1
            and "resume: " in (folder / "job.log").read_text()
        )
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/metrics.json")}
    again = train(place, *arguments)
    assert (
        again.returncode == 0
        and "of 2 jobs 2 are done" in again.stdout
        and "2 jobs: mAP" in again.stdout
    )
    assert before == {path: path.stat().st_mtime_ns for path in sweep.glob("*/metrics.json")}


def test_a_job_that_fails_stops_nobody_and_is_tried_again_on_request(place):
    sweep = place / "one fails"
    arguments = [
        *SMALL,
        "trainer.max_steps=4",
        "trainer.val_check_interval=4",
        "sampler.batch_size=99999,16,32",
        f"hydra.sweep.dir='{sweep}'",
    ]
    done = hybrid_ir(place, "sweep", *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert [row["state"] for row in table(sweep)] == ["failed", "done", "done"]
    assert (
        "batch_size=99999 is larger than the data" in table(sweep)[0]["reason"]
        and "99999 is larger" in done.stderr
    )
    rows = json.loads((sweep / "comparison.json").read_text())
    assert [len(row) > 2 for row in rows] == [False, True, True] and "3 jobs" in done.stdout
    log = next(sweep.glob("0_*")) / "job.log"
    size = log.stat().st_size
    assert (
        hybrid_ir(place, "sweep", "retry=failed", *arguments).returncode == 2
        and log.stat().st_size > size
    )


def test_a_failed_job_is_not_tried_again_unless_asked(tmp_path):
    failed = job(tmp_path, "a", code=3)
    list(JobLauncher(slots=1, devices=[]).run([failed]))
    for retry, state in ((False, FAILED), (True, PENDING)):
        again = job(tmp_path, "a")
        again.remember(retry)
        assert again.state == state and again.reason == ("a reason" if state == FAILED else "")


def test_a_search_proposes_the_same_jobs_again(place):
    sweep = place / "search"
    arguments = [
        "-m",
        *SMALL,
        "hparams_search=alpha_temperature",
        "hydra.sweeper.n_trials=2",
        "benchmark=none",
        "trainer.max_steps=4",
        "trainer.val_check_interval=4",
        f"hydra.sweep.dir={sweep}",
    ]
    arguments = [argument for argument in arguments if not argument.startswith("benchmark.")]
    first, second = train(place, *arguments), train(place, *arguments)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    found = json.loads((sweep / "search.json").read_text())
    assert (
        found["best"]["value"] == max(row["value"] for row in found["trials"])
        and len(found["trials"]) == 2
    )
    assert set(found["best"]["params"]) == {"sampler.monolingual_share", "loss.temperature"}
    assert "of 2 jobs 2 are done" in second.stdout and len(list(sweep.glob("*_*"))) == 2


def job(
    folder: Path,
    name: str,
    processes: int = 1,
    accelerator: str = "cpu",
    code: int = 0,
    seconds: float = 0.3,
) -> Job:
    class Quick(Job):
        def command(self) -> list[str]:
            self.folder.mkdir(parents=True, exist_ok=True)
            return [
                "sh",
                "-c",
                f"echo $CUDA_VISIBLE_DEVICES > '{self.folder}/devices'; sleep {seconds}; "
                f"echo 'error: a reason' >&2; exit {code}",
            ]

    return Quick(
        folder / name,
        {
            "trainer": {"accelerator": accelerator, "devices": processes},
            "threads": 1,
            "objective": None,
        },
        [],
        name,
        processes,
    )


def test_jobs_are_packed_and_never_more_at_once_than_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launcher, at_once, most = JobLauncher(slots=3, devices=[4, 5]), {}, {"cpu": 0, "gpu": 0}
    jobs = [
        job(tmp_path, "a", 2),
        job(tmp_path, "b", 2),
        job(tmp_path, "c", 1),
        job(tmp_path, "d", 9, code=3),
        job(tmp_path, "e", 1, "gpu"),
        job(tmp_path, "f", 2, "gpu"),
    ]
    order = []
    for each in launcher.run(list(jobs)):
        kind, wanted, there = launcher.needs(each)
        if each.state == "running":
            order.append(each.folder.name)
        at_once[each.folder.name] = (
            (kind, min(wanted, there)) if each.state == "running" else (kind, 0)
        )
        for kind in most:
            most[kind] = max(
                most[kind], sum(count for known, count in at_once.values() if known == kind)
            )
    assert most == {"cpu": 3, "gpu": 2} and order[:3] == [
        "a",
        "c",
        "e",
    ]  # c and e fit beside a, b does not
    assert {
        "".join(sorted((tmp_path / name / "devices").read_text().strip())) for name in "ef"
    } == {"4", ",45"}
    assert [each.state for each in jobs] == [DONE, DONE, DONE, FAILED, DONE, DONE] and jobs[
        3
    ].reason == "a reason"


def test_a_job_that_was_asked_to_stop_waits_for_the_next_start(tmp_path):
    asked = job(tmp_path, "a", code=75)
    list(JobLauncher(slots=1, devices=[]).run([asked]))
    assert (
        asked.state == PENDING
        and json.loads((tmp_path / "a" / "job.json").read_text())["state"] == PENDING
    )


def test_jobs_are_asked_to_save_when_the_sweep_is_stopped_and_where_there_is_no_gpu_a_job_says_so(
    tmp_path,
):
    long = job(tmp_path, "long", seconds=60)
    running = JobLauncher(slots=1, devices=[]).run([long])
    assert next(running).state == "running"
    running.close()
    assert long.process.poll() is not None and long.state == PENDING
    lost = job(tmp_path, "lost", 1, "gpu", code=1)
    assert [each.state for each in JobLauncher(slots=1, devices=[]).run([lost])][-1] == FAILED


@pytest.mark.parametrize(
    ("devices", "processes"), [(1, 1), ("3", 3), ([0, 2], 2), ("auto", 4), (-1, 4)]
)
def test_processes_of_a_trainer(devices, processes):
    assert count_processes({"devices": devices}, 4) == processes


def test_a_run_folder_is_the_experiment_and_never_taken_twice(tmp_path):
    from omegaconf import OmegaConf

    def digest(**more) -> str:
        usual = {"seed": 1, "trainer": {"devices": 1, "max_steps": 3}, "paths": {"data": "a"}}
        return hash_config(OmegaConf.create(usual | more))

    assert (
        digest()
        == digest(paths={"data": "b"})
        == digest(trainer={"devices": 8, "max_steps": 3})
        == digest(resume="auto")
    )
    assert digest() != digest(seed=2) and digest() != digest(trainer={"devices": 1, "max_steps": 4})
    parent = str(tmp_path)

    def name(resume: bool) -> str:
        choose_run_folder.cache_clear()
        return Path(choose_run_folder(parent, "abc", resume)).name

    assert name(False) == name(True) == "abc"
    (tmp_path / "abc").mkdir()
    assert (name(False), name(True)) == ("abc-2", "abc")
    (tmp_path / "abc-2").mkdir()
    assert (name(False), name(True)) == ("abc-3", "abc-2")


def test_ranks_of_a_cluster_agree_on_the_folder_without_looking_at_the_disk(tmp_path, monkeypatch):
    (tmp_path / "abc").mkdir()
    for variables, expected in (
        ({"TORCHELASTIC_RUN_ID": "77"}, "abc-77"),
        ({"TORCHELASTIC_RUN_ID": "none"}, "abc"),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "12"}, "abc-12"),
    ):
        with monkeypatch.context() as patch:
            for key, value in variables.items():
                patch.setenv(key, value)
            run_names.choose_run_folder.cache_clear()
            assert Path(choose_run_folder(str(tmp_path), "abc", False)).name == expected
            run_names.choose_run_folder.cache_clear()
            assert Path(choose_run_folder(str(tmp_path), "abc", True)).name == "abc"
    run_names.choose_run_folder.cache_clear()


def test_several_machines_need_a_launcher_of_a_cluster(place):
    done = train(place, *SMALL, "trainer=ddp_cpu", "trainer.num_nodes=2")
    assert (
        done.returncode == 2
        and "trainer.num_nodes=2: processes of several machines are started by torchrun"
        in done.stderr
    )
