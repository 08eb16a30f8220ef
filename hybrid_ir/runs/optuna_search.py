"""A Hydra sweeper that lets Optuna propose the jobs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.atomic import write_text_atomically


class OptunaSearch(Sweeper):
    """Proposes a batch of trials, waits for their objectives, and proposes the next batch.

    The same seed and the same objectives give the same proposals. So a search that is started
    again finds its jobs done, and goes on where it was.

    Args:
        n_trials: the number of trials of the whole search.
        n_jobs: how many trials are proposed at once; the more, the less they know of each other.
        direction: maximize or minimize the objective.
        seed: the seed of the proposals.
        params: what is searched: interval(a, b), range(a, b), choice(a, b, ...) or tag(log, ...)
            for a key, as on Hydra's command line.
    """

    def __init__(
        self,
        n_trials: int = 20,
        n_jobs: int = 2,
        direction: str = "maximize",
        seed: int = 1,
        params: Mapping[str, str] | None = None,
    ):
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.direction = direction
        self.seed = seed
        self.params = {} if params is None else dict(params)

    def setup(self, *, hydra_context, task_function, config: DictConfig) -> None:
        """Keeps what Hydra hands to a sweeper, and gets the launcher of the jobs."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs the search and writes its trials to search.json of the sweep folder.

        Args:
            arguments: the overrides of the command line; one of a searched key replaces what
                `params` says of it.

        Raises:
            ValueError: Optuna is not installed, a key cannot be searched, or no trial has a value.
        """
        try:
            import optuna
        except ImportError as error:
            raise ValueError("a search needs Optuna: pip install 'hybrid-ir[optuna]'") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        fixed, searched = self._split_overrides(arguments)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        sampler = optuna.samplers.TPESampler(seed=self.seed)
        study = optuna.create_study(direction=self.direction, sampler=sampler)
        for first in range(0, self.n_trials, self.n_jobs):
            count = min(self.n_jobs, self.n_trials - first)
            trials = [study.ask() for _ in range(count)]
            batch = [[*fixed, *propose_overrides(trial, searched)] for trial in trials]
            self.validate_batch_is_legal(batch)
            results = self.launcher.launch(batch, initial_job_idx=first)
            for trial, result in zip(trials, results, strict=True):
                objective = _get_objective(result)
                if objective is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, objective)
        self._report(study, folder)

    def _split_overrides(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Override]]:
        """Parses `params` and the command line; the last override of a key counts.

        Returns:
            The overrides that all trials share, and those that are searched, by their key.
        """
        searched_by_default = [f"{key}={value}" for key, value in self.params.items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = {}
        for override in parser.parse_overrides([*searched_by_default, *arguments]):
            overrides[override.get_key_element()] = override
        fixed = []
        searched = {}
        for key, override in overrides.items():
            if override.is_sweep_override():
                searched[key] = override
            else:
                fixed.append(override.input_line)
        return fixed, searched

    def _report(self, study: Any, folder: Path) -> None:
        """Writes all trials and the best one, and prints the best one."""
        rows = []
        for trial in study.trials:
            row = {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "params": trial.params,
            }
            rows.append(row)
        successful = [row for row in rows if row["value"] is not None]
        if not successful:
            raise ValueError(
                f"none of {len(rows)} trials has a value of objective={self.config.objective}: "
                f"it must be a key of metrics.jsonl; see {folder}/jobs.json"
            )
        choose_best = max if self.direction == "maximize" else min
        best = choose_best(successful, key=lambda row: row["value"])
        text = json.dumps({"best": best, "trials": rows}, indent=2)
        write_text_atomically(folder / "search.json", text)
        params = " ".join(f"{key}={value}" for key, value in best["params"].items())
        print(
            f"best of {len(rows)} trials, {self.config.objective} {best['value']:.4f}: "
            f"{params}  ({folder}/search.json)"
        )


def propose_overrides(trial: Any, searched: Mapping[str, Override]) -> list[str]:
    """Lets a trial propose a value for every searched key, as overrides of the command line.

    Args:
        trial: a trial of Optuna.
        searched: the sweep of every searched key.

    Raises:
        ValueError: a sweep is of a kind that cannot be searched.
    """
    return [f"{key}={_propose_value(trial, key, sweep)}" for key, sweep in searched.items()]


def _propose_value(trial: Any, key: str, override: Override) -> Any:
    sweep = override.value()
    if override.is_interval_sweep():
        is_logarithmic = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return trial.suggest_int(key, sweep.start, sweep.end, log=is_logarithmic)
        return trial.suggest_float(key, sweep.start, sweep.end, log=is_logarithmic)
    if override.is_choice_sweep():
        choices = [Override._get_value_element_as_str(item) for item in sweep.list]
        return trial.suggest_categorical(key, choices)
    if override.is_range_sweep():
        bounds = (sweep.start, sweep.stop, sweep.step)
        if all(isinstance(bound, int) for bound in bounds):
            return trial.suggest_int(key, sweep.start, sweep.stop - 1, step=sweep.step)
    raise ValueError(
        f"{key}={override.get_value_string()}: use interval(a, b), range(a, b) of whole numbers, "
        "or choice(a, b, ...)"
    )


def _get_objective(result: JobReturn) -> float | None:
    """Returns the objective of a job, or None if the job failed or never logged it."""
    if result.status == JobStatus.COMPLETED:
        return result.return_value
    return None
