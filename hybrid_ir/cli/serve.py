"""`hybrid-ir serve`: a page that ranks passages for a typed question, with one or two models."""

from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hybrid_ir.cli.config import parse_list
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
    find_split_problems,
)
from hybrid_ir.runs.errors import describe_error
from hybrid_ir.serve.schema import MOST_HITS

LIBRARIES = ("fastapi", "fastapi_offline", "uvicorn")
MOST_PORT = 65535
MOST_MODELS = 2


def run(cfg: DictConfig) -> None:
    """Serves the page until it is asked to stop."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"hybrid-ir serve needs {', '.join(missing)}: pip install 'hybrid-ir[serve]'"
        )
    models = parse_list(cfg.model or "")
    folders = [Path(folder).expanduser() for folder in parse_list(cfg.index or "")]
    _require_valid_values(cfg, models, folders)
    # Late, since these need libraries of an extra.
    from hybrid_ir.serve.access import choose_token
    from hybrid_ir.serve.loading import LoadingState
    from hybrid_ir.serve.running import open_socket, run_server

    token = choose_token(cfg.host, None if cfg.token is None else str(cfg.token))
    if folders:
        from hybrid_ir.cli.serving import require_valid_indexes

        require_valid_indexes(folders, cfg.method, cfg.verify)
    listening = open_socket(cfg.host, cfg.port)

    def load(state: LoadingState):
        # It loads torch, while the server answers already.
        from hybrid_ir.cli.serving import load_engine

        return load_engine(cfg, models, folders, state)

    run_server(listening, cfg.host, token, load, describe_error)


def list_searched(cfg: DictConfig, folders: list[Path]) -> list[str]:
    """Returns the keys that say what is searched, of which one is enough."""
    given = []
    if folders:
        given.append("index")
    if cfg.corpus is not None:
        given.append("corpus")
    if OmegaConf.select(cfg, "benchmark._target_") is not None:
        given.append("benchmark")
    return given


def _require_valid_values(cfg: DictConfig, models: list[str], folders: list[Path]) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_number_problems(cfg, {"port": 0, "k": 1, "max_characters": 1})
    problems += find_boolean_problems(cfg, "verify")
    problems += find_split_problems(cfg, "corpus")
    if cfg.max_queries is not None:
        problems += find_number_problems(cfg, {"max_queries": 1})
    if type(cfg.port) is int and cfg.port > MOST_PORT:
        problems.append(f"port={cfg.port} must be at most {MOST_PORT}")
    if type(cfg.k) is int and cfg.k > MOST_HITS:
        problems.append(f"k={cfg.k} must be at most {MOST_HITS}")
    given = list_searched(cfg, folders)
    if len(given) != 1:
        problems.append(
            "say what is searched by one of index=FOLDER, corpus=FOLDER and benchmark=NAME, not by "
            f"{' and '.join(given) or 'none'}"
        )
    if given and given != ["index"] and not models:
        problems.append(f"{given[0]}=... needs model=MODEL, or model=[A,B] for two")
    if "corpus" not in given:
        unused = [key for key in ("languages", "max_queries") if cfg[key] is not None]
        problems += [f"{key}={cfg[key]} is for corpus= alone" for key in unused]
    for key, values in (("model", models), ("index", folders)):
        if len(values) > MOST_MODELS:
            problems.append(f"{key}= names {len(values)}, and the page shows at most {MOST_MODELS}")
        if len(set(values)) < len(values):
            problems.append(f"{key}= names the same twice")
    if len(folders) == MOST_MODELS and len(models) == 1:
        problems.append("index=[A,B] needs model=[A,B], or none: the models that the indexes name")
    if problems:
        raise ValueError("; ".join(problems))
