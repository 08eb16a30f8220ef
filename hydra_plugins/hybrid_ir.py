"""Where Hydra looks for plugins: names for conf/hydra of our launchers and our sweeper.

Hydra imports this file at every start, so nothing here may import torch.
"""

from hybrid_ir.runs import launchers, optuna_search

# Hydra starts only plugins whose class belongs to this package, so each is derived here.


class JobLauncher(launchers.JobLauncher):
    """Runs the jobs of a sweep as processes of this machine."""


class SlurmLauncher(launchers.SlurmLauncher):
    """Runs the jobs of a sweep as jobs of SLURM."""


class OptunaSearch(optuna_search.OptunaSearch):
    """Lets Optuna propose the jobs of a sweep."""
