"""A Hydra sweeper that lets Optuna propose the jobs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.atomic import write_text_atomically


class OptunaSearch(Sweeper):
    """Proposes so many trials a batch, waits for their objectives, proposes the next ones.

    The same seed and the same objectives give the same proposals: a search that is started again finds its jobs done, and
    goes on where it was.

    Args:
        n_trials: in all.
        n_jobs: trials proposed at once; more know less of each other.
        direction: maximize or minimize the objective of a job.
        params: key -> interval(a, b), range(a, b), choice(a, b, ...), tag(log, ...), as on Hydra's command line.
        seed: of the proposals.
    """

    def __init__(
        self,
        n_trials: int = 20,
        n_jobs: int = 2,
        direction: str = "maximize",
        seed: int = 1,
        params: Mapping[str, str] | None = None,
    ):
        self.n_trials, self.n_jobs, self.direction, self.seed, self.params = (
            n_trials,
            n_jobs,
            direction,
            seed,
            dict(params or {}),
        )

    def setup(self, *, hydra_context, task_function, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ValueError("a search needs Optuna: pip install 'hybrid-ir[optuna]'") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        searched = {
            override.get_key_element(): override for override in parser.parse_overrides(given)
        }  # the last one counts
        fixed = [
            override.input_line
            for override in searched.values()
            if not override.is_sweep_override()
        ]
        searched = {
            key: override for key, override in searched.items() if override.is_sweep_override()
        }
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study = optuna.create_study(
            direction=self.direction, sampler=optuna.samplers.TPESampler(seed=self.seed)
        )
        for first in range(0, self.n_trials, self.n_jobs):
            trials = [study.ask() for _ in range(min(self.n_jobs, self.n_trials - first))]
            batch = [
                [
                    *fixed,
                    *(
                        f"{key}={propose_value(trial, key, override)}"
                        for key, override in searched.items()
                    ),
                ]
                for trial in trials
            ]
            self.validate_batch_is_legal(batch)
            for trial, ret in zip(
                trials, self.launcher.launch(batch, initial_job_idx=first), strict=True
            ):
                value = ret.return_value if ret.status == JobStatus.COMPLETED else None
                study.tell(
                    trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL
                )
        self._report(study, folder)

    def _report(self, study: Any, folder: Path) -> None:
        """search.json: every trial, and the best one."""
        rows = [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "params": trial.params,
            }
            for trial in study.trials
        ]
        done = [row for row in rows if row["value"] is not None]
        if not done:
            raise ValueError(
                f"none of {len(rows)} trials has a value of objective={self.config.objective}: it must be a key of "
                f"metrics.jsonl; see {folder}/jobs.json"
            )
        best = (max if self.direction == "maximize" else min)(done, key=lambda row: row["value"])
        write_text_atomically(
            folder / "search.json", json.dumps({"best": best, "trials": rows}, indent=2)
        )
        shown = " ".join(f"{key}={value}" for key, value in best["params"].items())
        print(
            f"best of {len(rows)} trials, {self.config.objective} {best['value']:.4f}: {shown}  ({folder}/search.json)"
        )


def propose_value(trial: Any, key: str, override: Override) -> Any:
    """The value of a searched key in a trial; ValueError for a kind of sweep that a search cannot do."""
    value = override.value()
    if override.is_interval_sweep():
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        return suggest(key, value.start, value.end, log="log" in value.tags)
    if override.is_choice_sweep():
        return trial.suggest_categorical(
            key, [Override._get_value_element_as_str(item) for item in value.list]
        )
    if override.is_range_sweep() and all(
        isinstance(number, int) for number in (value.start, value.stop, value.step)
    ):
        return trial.suggest_int(key, value.start, value.stop - 1, step=value.step)
    raise ValueError(
        f"{key}={override.get_value_string()}: use interval(a, b), range(a, b) of whole numbers, or "
        "choice(a, b, ...)"
    )
