"""`hybrid-ir index`: encodes passages to a store on disk that can be searched, on any processes."""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from hybrid_ir.cli.value_checks import (
    find_number_problems,
    require_values,
)
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, RankProcesses

COMMAND = "from hybrid_ir.cli.main import main; main()"


def run(cfg: DictConfig) -> None:
    """Builds an index, with the help of other processes where `processes` says so."""
    require_values(cfg, "index", "to")
    problems = find_number_problems(cfg, {"processes": 1})
    if problems:
        raise ValueError("; ".join(problems))
    is_helper = FAILURE_FOLDER_VARIABLE in os.environ
    to = Path(cfg.to).expanduser().absolute()
    if cfg.processes > 1 and not is_helper and not to.exists():
        # Every process runs the very same command; the shards are then put together here.
        arguments = sys.argv[2:]
        RankProcesses(cfg.processes).start(
            [sys.executable, "-c", COMMAND, "index", *arguments]
        ).wait()
    # Late, since a process that only watches others has no need of torch.
    from hybrid_ir.cli.indexing import index_passages

    index_passages(cfg, to, is_helper)
