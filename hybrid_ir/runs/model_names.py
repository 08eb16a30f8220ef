"""What people call a model, as pages and sentences have it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HASH = re.compile("[0-9a-f]{8}")  # of the config of a run, the name of its folder


def name_model(model: Mapping[str, Any]) -> str:
    """Returns what people call a model; before the hash of a run stands the folder above it.

    Args:
        model: as on an evaluation card, with `name`, `kind` and `path`.
    """
    if model["kind"] != "run":
        return Path(model["name"]).name
    run_folder = Path(model["path"]).absolute().parents[1]
    names = run_folder.parts[-2:] if HASH.fullmatch(run_folder.name) else run_folder.parts[-1:]
    return "/".join(names)
