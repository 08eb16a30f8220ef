"""Where Hydra looks for plugins: our launchers and our sweeper, for conf/hydra."""

from hybrid_ir.commands.launcher import JobLauncher as Jobs
from hybrid_ir.commands.search import OptunaSearch as Search
from hybrid_ir.commands.slurm import SlurmLauncher as Slurm


class JobLauncher(Jobs):
    pass


class SlurmLauncher(Slurm):
    pass


class OptunaSearch(Search):
    pass
