"""Where conf/ and train.py are, and which options the groups of conf/ have."""

import os
from collections.abc import Iterable
from pathlib import Path

from hybrid_ir.runs.identity import register_resolvers
from hybrid_ir.system.setup import silence_libraries

PACKAGE = Path(__file__).parents[1]


def find_shipped_file(name: str) -> Path:
    """`conf` or `train.py`: inside an installed package, or beside it in a clone."""
    return PACKAGE / name if (PACKAGE / name).exists() else PACKAGE.parent / name


def find_conf_folder() -> str:
    """Absolute path of conf/, for hydra.main."""
    silence_libraries()
    register_resolvers()
    # a sweep must not hide what a failing job said, and one_clear_error prints it better than Hydra does
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    return str(find_shipped_file("conf"))


def list_options(group: str) -> list[str]:
    """The options of a group of conf/."""
    return sorted(
        path.stem
        for path in (find_shipped_file("conf") / group).glob("*.yaml")
        if path.stem != "none"
    )


def require_benchmarks(key: str, chosen: Iterable[str], but: str | None = None) -> None:
    """ValueError for names that are not in conf/benchmark; `but` may stand there too."""
    known = list_options("benchmark")
    if unknown := [name for name in chosen if name not in (but, *known)]:
        raise ValueError(
            f"{key}={', '.join(unknown)} must be one of {', '.join([*([but] if but else []), *known])}"
        )
