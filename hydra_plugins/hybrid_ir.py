"""Where Hydra looks for plugins: our launchers and our sweeper, for conf/hydra."""

from hybrid_ir.runs.launchers import JobLauncher as Jobs
from hybrid_ir.runs.launchers import SlurmLauncher as Slurm
from hybrid_ir.runs.optuna_search import OptunaSearch as Search


class JobLauncher(Jobs):
    pass


class SlurmLauncher(Slurm):
    pass


class OptunaSearch(Search):
    pass
