"""`hybrid-ir study`: the bias of many encoders on the same texts, resumable, as one table.

Each encoder is measured by a `hybrid-ir bias` of its own, in a process of its own: one that cannot
be had, or that takes all memory, does not end the study. A finished one has bias.json, which is
written last, and is not measured again.
"""

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.bias.leaderboard import (
    MARKDOWN_FILE,
    StudiedEncoder,
    read_record,
    write_leaderboard,
)
from hybrid_ir.cli.config import find_boolean_problems, require_values
from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.suggestions import ask_if_meant

# Keys of an encoder that are keys of `hybrid-ir bias`.
ENCODER_KEYS = ("model", "revision", "pooling", "query_prefix", "passage_prefix")
KNOWN_KEYS = {*ENCODER_KEYS, "name", "needs"}
# Keys of the study that are handed on.
SHARED_KEYS = ("languages", "max_queries", "precision", "trust_remote_code", "threads")
START = "from hybrid_ir.cli.main import main; main()"
NEEDS_CODE = "trust_remote_code=true"
SHOWN_CHARACTERS = 200  # of a reason


def run(cfg: DictConfig) -> None:
    """Measures the encoders of a study, one after the other, and writes the table."""
    require_values(cfg, "study", "to")
    encoders = list_encoders(cfg)
    folder = Path(cfg.to).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    tasks = list(itertools.product(cfg.texts, encoders))
    studied = []
    with lock_folder(folder):
        for number, (corpus, encoder) in enumerate(tasks, start=1):
            console.print(
                f"{number} of {len(tasks)}: {encoder['name']} on {corpus}", highlight=False
            )
            result = measure_encoder(encoder, str(corpus), cfg, folder)
            if result.reason:
                console.print(f"  not measured: {result.reason}", highlight=False, markup=False)
            studied.append(result)
            # After each, so that a table is there whatever happens later.
            write_leaderboard(studied, folder)
    console.print(f"table in {folder / MARKDOWN_FILE}", highlight=False, soft_wrap=True)


def list_encoders(cfg: DictConfig) -> list[dict[str, Any]]:
    """Returns the encoders to measure.

    Raises:
        ValueError: the study is not as conf/study/encoders.yaml is, a name comes twice, or `only`
            names an encoder that is not in it.
    """
    problems = find_boolean_problems(cfg, "trust_remote_code")
    encoders = list(OmegaConf.to_object(cfg.study).get("encoders", []))
    for encoder in encoders:
        wrong = sorted(set(encoder) - KNOWN_KEYS)
        if wrong or not encoder.get("name") or not encoder.get("model"):
            problems.append(
                f"study.encoders: {encoder} must have name and model, and of other keys only "
                f"{', '.join(sorted(KNOWN_KEYS))}"
            )
    for place in cfg.models:
        encoders.append({"name": Path(str(place)).name, "model": str(place)})
    names = [str(encoder.get("name")) for encoder in encoders]
    for name, times in Counter(names).items():
        if times > 1:
            problems.append(f"study.encoders: the name {name} comes twice")
    only = names if cfg.only is None else [str(name) for name in cfg.only]
    for name in only:
        if name not in names:
            problems.append(f"only: there is no encoder {name}{ask_if_meant(name, names)}")
    if problems:
        raise ValueError("; ".join(problems))
    return [encoder for encoder in encoders if encoder["name"] in only]


def measure_encoder(
    encoder: dict[str, Any], corpus: str, cfg: DictConfig, folder: Path
) -> StudiedEncoder:
    """Returns what is known of an encoder on some texts, after measuring it if need be."""
    name = str(encoder["name"])
    corpus_name = Path(corpus).name
    out = folder / name / corpus_name
    record = read_record(out)
    if record is not None:
        return StudiedEncoder(name, corpus_name, record)
    if encoder.get("needs") == NEEDS_CODE and not cfg.trust_remote_code:
        return StudiedEncoder(name, corpus_name, None, f"it runs code of its own: {NEEDS_CODE}")
    words = [sys.executable, "-c", START, "bias", f"out={out}", f"corpus={corpus}"]
    for key in ENCODER_KEYS:
        if encoder.get(key) is not None:
            # A folder has no revisions.
            if key == "revision" and Path(str(encoder["model"])).exists():
                continue
            words.append(f"{key}={encoder[key]}")
    for key in SHARED_KEYS:
        if cfg[key] is not None:
            words.append(f"{key}={_write_value(cfg[key])}")
    ended = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    record = read_record(out)
    if record is not None:
        return StudiedEncoder(name, corpus_name, record)
    reason = find_reason(ended.stderr.splitlines(), ended.returncode)
    if encoder.get("needs"):
        reason += f" (it needs {encoder['needs']})"
    return StudiedEncoder(name, corpus_name, None, reason)


def _write_value(value: Any) -> str:
    """Returns a value as an argument of a command."""
    if OmegaConf.is_list(value):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def find_reason(lines: Sequence[str], code: int) -> str:
    """Returns why a command failed, in one line of what it printed."""
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")[:SHOWN_CHARACTERS]
    if code < 0:
        return f"it was ended by signal {-code}"
    return lines[-1][:SHOWN_CHARACTERS] if lines else f"it ended with code {code}"
