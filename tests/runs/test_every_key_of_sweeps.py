"""Every key of conf/hydra changes a run or a sweep, and no key of conf/ is without a row."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hybrid_ir.runs.launchers import JobLauncher, SlurmLauncher
from hybrid_ir.runs.optuna_search import OptunaSearch
from tests.cli import test_every_key_of_commands as commands
from tests.corpora import test_every_key_of_data_sets as data_sets
from tests.runs import test_every_key as trainings
from tests.support.every_key import list_all_keys, list_chosen_keys
from tests.support.in_process import train_in_process

COMPLETED = JobReturn(_return_value=None, status=JobStatus.COMPLETED)
SLURM = ("hydra/launcher=slurm",)
SEARCH = ("hydra/sweeper=optuna", "sampler.monolingual_share=choice(0,0.5,1)")
# The change of each key, what is looked at, and the arguments of both sweeps.
ROWS: dict[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("hydra/default", "sweep.dir"): ("hydra.sweep.dir=elsewhere", "folders", ()),
    ("hydra/default", "sweep.subdir"): ("hydra.sweep.subdir=x${seed}", "folders", ()),
    ("hydra/launcher/jobs", "slots"): ("hydra.launcher.slots=7", "slots", ()),
    ("hydra/launcher/jobs", "devices"): ("hydra.launcher.devices=[3]", "devices", ()),
    ("hydra/launcher/jobs", "retry_failed"): ("hydra.launcher.retry_failed=true", "retry", ()),
    ("hydra/launcher/slurm", "cluster"): ("hydra.launcher.cluster=local", "cluster", SLURM),
    ("hydra/launcher/slurm", "retry_failed"): (
        "hydra.launcher.retry_failed=true",
        "retry",
        SLURM,
    ),
    ("hydra/sweeper/optuna", "n_trials"): ("hydra.sweeper.n_trials=3", "jobs", SEARCH),
    ("hydra/sweeper/optuna", "n_jobs"): ("hydra.sweeper.n_jobs=3", "launches", SEARCH),
    ("hydra/sweeper/optuna", "seed"): ("hydra.sweeper.seed=5", "jobs", SEARCH),
    ("hydra/sweeper/optuna", "direction"): ("hydra.sweeper.direction=minimize", "best", SEARCH),
    ("hydra/sweeper/optuna", "params"): (
        "hparams_search=alpha_temperature",
        "jobs",
        SEARCH,
    ),
}
for name in ("timeout_min", "cpus_per_task", "gpus_per_node", "slurm_signal_delay_s"):
    ROWS["hydra/launcher/slurm", f"parameters.{name}"] = (
        f"hydra.launcher.parameters.{name}=3",
        "parameters",
        SLURM,
    )


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory) -> dict[tuple[str, ...], dict[str, Any]]:
    """What sweeps were asked to do, by their arguments; none of them starts a job."""
    return {}


def sweep(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Returns what a sweep asks of its launcher, which does no job.

    A trial is worth its number, so that the best one is the last or the first.
    """
    seen: dict[str, Any] = {"jobs": [], "folders": [], "launches": [], "best": None}

    def run_no_job(launcher: JobLauncher, pending: list) -> Iterator:
        seen["slots"] = launcher.slots
        seen["devices"] = launcher.devices
        seen["retry"] = launcher.retry_failed
        seen["cluster"] = getattr(launcher, "cluster", None)
        seen["parameters"] = getattr(launcher, "parameters", None)
        seen["launches"].append(len(pending))
        for job in pending:
            seen["jobs"].append(list(job.overrides))
            seen["folders"].append(str(job.folder))
        yield from ()

    def note_best(_: OptunaSearch, study: Any, __: Path) -> None:
        seen["best"] = study.best_trial.number

    values = iter(range(100))
    with (
        mock.patch.object(JobLauncher, "run", run_no_job),
        mock.patch.object(SlurmLauncher, "run", run_no_job),
        mock.patch.object(OptunaSearch, "_report", note_best),
        mock.patch("hybrid_ir.runs.optuna_search._get_objective", lambda _: float(next(values))),
        mock.patch("hybrid_ir.runs.launchers.to_job_return", lambda _: COMPLETED),
        mock.patch("hybrid_ir.runs.sweep_table.CompareJobs.on_multirun_end"),
    ):
        ended = train_in_process(folder, "-m", *arguments)
    assert ended.returncode == 0, ended.stderr
    return seen


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_another_value_of_a_key_changes_a_sweep(sweeps, tmp_path, key):
    change, look, base = ROWS[key]
    arguments = ("hydra.sweeper.n_trials=6",) if base == SEARCH else ("seed=1,2",)
    arguments += ("hydra.sweep.dir=sweep", *base)
    for case in (arguments, (*arguments, change)):
        if case not in sweeps:
            sweeps[case] = sweep(tmp_path, case)
    assert sweeps[arguments][look] != sweeps[*arguments, change][look]


def test_no_key_of_conf_is_without_a_row():
    rows = {*trainings.ROWS, *commands.ROWS, *data_sets.ROWS, *ROWS}
    missing = [key for key in list_all_keys() if key not in rows]
    assert missing == []


def test_no_row_is_about_a_key_that_is_gone():
    rows = {*trainings.ROWS, *commands.ROWS, *data_sets.ROWS, *ROWS}
    known = {*list_all_keys(), ("trainer", "profiler"), *trainings.TRACE_KEYS}
    assert sorted(rows - known) == []


def test_debug_experiments_and_searches_set_keys_that_have_a_row():
    rows = {*trainings.ROWS, *commands.ROWS, *data_sets.ROWS, *ROWS}
    known = {f"{owner.partition('/')[0]}.{key}" for owner, key in rows}
    known |= {key for owner, key in rows if owner == "train"}
    for key in list_chosen_keys():
        parents = [key.rsplit(".", count)[0] for count in range(key.count(".") + 1)]
        is_search = key.startswith("hydra.sweeper.params.")
        assert is_search or any(parent in known for parent in parents), key
