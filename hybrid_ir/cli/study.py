"""`hybrid-ir study`: the bias of many encoders on the same texts, resumable, as one table.

Each encoder is measured by a `hybrid-ir bias` of its own, in a process of its own: one that cannot
be had, or that takes all memory, does not end the study. A finished one has bias.json, which is
written last, and is not measured again.
"""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
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
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    require_values,
)
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.suggestions import ask_if_meant

# Keys of an encoder that are keys of `hybrid-ir bias`.
ENCODER_KEYS = ("model", "revision", "pooling", "query_prefix", "passage_prefix")
KNOWN_KEYS = {*ENCODER_KEYS, "name", "needs", "note"}
# Keys of the study that are handed on.
SHARED_KEYS = ("languages", "max_queries", "precision", "trust_remote_code", "threads")
START = "from hybrid_ir.cli.main import main; main()"
NEEDS_CODE = "trust_remote_code=true"
SHOWN_CHARACTERS = 500  # of a reason
WITHOUT_END = -1  # seconds
WORDS_FILE = "arguments.json"  # of `hybrid-ir bias`, beside its results


def run(cfg: DictConfig) -> None:
    """Measures the encoders of a study, one after the other, and writes the table."""
    require_values(cfg, "study", "to")
    encoders = list_encoders(cfg)
    texts = name_texts([str(place) for place in cfg.texts])
    folder = Path(cfg.to).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    tasks = list(itertools.product(texts.items(), encoders))
    studied = []
    with lock_folder(folder):
        for number, ((corpus, place), encoder) in enumerate(tasks, start=1):
            out = folder / str(encoder["name"]) / corpus
            is_wanted = cfg.only is None or encoder["name"] in cfg.only
            if not is_wanted and read_record(out) is None:
                continue
            console.print(
                f"{number} of {len(tasks)}: {encoder['name']} on {corpus}", highlight=False
            )
            result = measure_encoder(encoder, corpus, place, cfg, out)
            if result.reason:
                console.print(f"  not measured: {result.reason}", highlight=False, markup=False)
            studied.append(result)
            # After each, so that a table is there whatever happens later.
            write_leaderboard(studied, folder)
    console.print(f"table in {folder / MARKDOWN_FILE}", highlight=False, soft_wrap=True)


def name_texts(places: Sequence[str]) -> dict[str, str]:
    """Returns the place of each of the texts by the name of its folder of results.

    Raises:
        ValueError: there are none, or two have the same name.
    """
    named: dict[str, str] = {}
    for place in places:
        name = Path(place).name
        if name in named:
            raise ValueError(
                f"texts: {named[name]} and {place} are both called {name}, and their results would "
                "be in one folder: rename one of them"
            )
        named[name] = place
    if not named:
        raise ValueError("texts=[] names nothing to ask: give names, as in texts=[cldr_facts]")
    return named


def list_encoders(cfg: DictConfig) -> list[dict[str, Any]]:
    """Returns the encoders of a study, also those that `only` leaves out.

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
    return encoders


def measure_encoder(
    encoder: dict[str, Any], corpus: str, place: str, cfg: DictConfig, out: Path
) -> StudiedEncoder:
    """Returns what is known of an encoder on some texts, after measuring it if need be.

    Args:
        encoder: of the study.
        corpus: name of the texts.
        place: of the texts, as `hybrid-ir bias` takes it.
        cfg: of the study.
        out: folder of the results.

    Raises:
        ValueError: the folder holds results of other settings.
    """
    studied = partial(StudiedEncoder, str(encoder["name"]), corpus, note=encoder.get("note", ""))
    words = list_arguments(encoder, place, cfg)
    _wait_for_other_process(out)
    record = read_record(out)
    if record is not None:
        _require_same_words(words, out)
        return studied(record)
    if encoder.get("needs") == NEEDS_CODE and not cfg.trust_remote_code:
        return studied(None, f"it runs code of its own: {NEEDS_CODE}")
    out.mkdir(parents=True, exist_ok=True)
    # Before it is measured, so that finished results always have theirs.
    write_text_atomically(out / WORDS_FILE, json.dumps(words, indent=2) + "\n")
    command = [sys.executable, "-c", START, "bias", f"out={out}", *words]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_for_other_process(out)
    record = read_record(out)
    if record is not None:
        return studied(record)
    reason = find_reason(ended.stderr.splitlines(), ended.returncode)
    if encoder.get("needs"):
        reason += f" (it needs {encoder['needs']})"
    return studied(None, reason)


def _wait_for_other_process(out: Path) -> None:
    """Waits while another process measures into a folder, as after a study that was killed.

    The measurement that a killed study had started ends by itself, and its numbers are as good.
    """
    if not out.is_dir():
        return
    try:
        with lock_folder(out):
            return
    except ValueError:
        print(f"  another process is measuring into {out}: waiting for it", file=sys.stderr)
    with lock_folder(out, wait_seconds=WITHOUT_END):
        return


def list_arguments(encoder: dict[str, Any], place: str, cfg: DictConfig) -> list[str]:
    """Returns the arguments of `hybrid-ir bias` that decide the numbers of an encoder."""
    words = [f"corpus={place}"]
    for key in ENCODER_KEYS:
        # A folder has no revisions.
        is_folder = Path(str(encoder["model"])).exists()
        if encoder.get(key) is not None and not (key == "revision" and is_folder):
            words.append(f"{key}={encoder[key]}")
    for key in SHARED_KEYS:
        if cfg[key] is not None or key == "max_queries":
            words.append(f"{key}={_write_value(cfg[key])}")
    return words


def _require_same_words(words: Sequence[str], out: Path) -> None:
    """Raises ValueError if the results of a folder were measured with other settings."""
    path = out / WORDS_FILE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    differing = {*words} ^ {*before}
    changed = sorted(word for word in differing if not word.startswith("threads="))
    if changed:
        raise ValueError(
            f"{out} was measured with other settings, which differ in {', '.join(changed)}: give "
            "another folder by to=, or the settings of before"
        )


def _write_value(value: Any) -> str:
    """Returns a value as an argument of a command."""
    if OmegaConf.is_list(value):
        return f"[{','.join(map(str, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def find_reason(lines: Sequence[str], code: int) -> str:
    """Returns why a command failed, in one line of what it printed."""
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")[:SHOWN_CHARACTERS]
    if code < 0:
        return f"it was ended by signal {-code}"
    return lines[-1][:SHOWN_CHARACTERS] if lines else f"it ended with code {code}"
