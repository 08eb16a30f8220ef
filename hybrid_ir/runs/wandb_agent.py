"""Runs that an agent of a W&B sweep starts, and starts again after they were stopped."""

import json
import os
from collections.abc import Sequence

# The variable in which such a run keeps what the agent typed, and its key in the config on W&B.
COMMAND_LINE_VARIABLE = "HYBRID_IR_COMMAND_LINE"
COMMAND_LINE_KEY = "command_line"


def restore_agent_arguments(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of a run, also where an agent of W&B starts it a second time.

    When such a run was stopped, the agent starts it again with its whole W&B config in place of
    the arguments of the sweep (https://github.com/wandb/wandb/issues/9143), which no Hydra reads.
    So the first start leaves its arguments in that config.

    Args:
        arguments: what this process was started with.
    """
    if "WANDB_SWEEP_ID" not in os.environ:
        return list(arguments)
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == COMMAND_LINE_KEY:
            os.environ[COMMAND_LINE_VARIABLE] = value
            return json.loads(value)
    # Ranks of the run inherit the variable, and have other arguments.
    os.environ.setdefault(COMMAND_LINE_VARIABLE, json.dumps(list(arguments)))
    return list(arguments)
