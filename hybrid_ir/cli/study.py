"""`hybrid-ir study`: the bias of many encoders on the same texts, resumable, as one table.

Each encoder is measured by a `hybrid-ir bias` of its own, in a process of its own: one that cannot
be had, or that takes all memory, does not end the study. A finished one has bias.json, which is
written last, and is not measured again.
"""

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from hybrid_ir.system.progress import show_progress

# Keys of an encoder that are keys of `hybrid-ir bias`.
ENCODER_KEYS = ("model", "revision", "pooling", "query_prefix", "passage_prefix")
KNOWN_KEYS = {*ENCODER_KEYS, "name", "needs", "note", "training"}
# Keys of the study that are handed on.
SHARED_KEYS = ("languages", "max_queries", "precision", "trust_remote_code", "threads")
START = "from hybrid_ir.cli.main import main; main()"
NEEDS_CODE = "trust_remote_code=true"
SHOWN_CHARACTERS = 500  # of a reason
WITHOUT_END = -1  # seconds
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
NOT_YET = "not measured yet"
ARGUMENTS_FILE = "arguments.json"  # of `hybrid-ir bias`, beside its results


@dataclass(frozen=True)
class Task:
    """An encoder to measure on some texts.

    Attributes:
        encoder: its keys in the study.
        corpus: name of the texts.
        place: of the texts, as `hybrid-ir bias` takes it.
        out: folder of the results.
    """

    encoder: dict[str, Any]
    corpus: str
    place: str
    out: Path

    def describe(self, record: dict[str, Any] | None, reason: str = "") -> StudiedEncoder:
        """Returns what is known of the encoder: its record, or the reason why there is none."""
        return StudiedEncoder(
            str(self.encoder["name"]),
            self.corpus,
            record,
            reason,
            self.encoder.get("note", ""),
            self.encoder.get("training", ""),
        )


def run(cfg: DictConfig) -> None:
    """Measures the encoders of a study, one after the other, and writes the table."""
    require_values(cfg, "study", "to")
    encoders = list_encoders(cfg)
    texts = name_texts([str(place) for place in cfg.texts])
    folder = Path(cfg.to).expanduser()
    tasks = []
    for (corpus, place), encoder in itertools.product(texts.items(), encoders):
        tasks.append(Task(encoder, corpus, place, folder / str(encoder["name"]) / corpus))
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        # All that is there is read and compared before anything new is measured.
        studied = read_finished_tasks(tasks, cfg)
        write_leaderboard(list(studied.values()), folder)
        open_tasks = []
        for number, task in enumerate(tasks):
            is_wanted = cfg.only is None or task.encoder["name"] in cfg.only
            if is_wanted and studied[number].record is None:
                open_tasks.append(number)
        with show_progress("measurements", len(open_tasks)) as work:
            for number in open_tasks:
                task = tasks[number]
                console.print(f"{task.encoder['name']} on {task.corpus}", highlight=False)
                result = measure_encoder(task, cfg)
                if result.reason:
                    console.print(f"  not measured: {result.reason}", highlight=False, markup=False)
                studied[number] = result
                require_same_texts(tasks, studied)
                # After each, so that a table is there whatever happens later.
                write_leaderboard(list(studied.values()), folder)
                work.advance()
    console.print(f"table in {folder / MARKDOWN_FILE}", highlight=False, soft_wrap=True)
    if all(encoder.record is None for encoder in studied.values()):
        raise ValueError(
            f"none of the {len(tasks)} encoders has been measured: {folder / MARKDOWN_FILE} says "
            "why"
        )


def read_finished_tasks(tasks: Sequence[Task], cfg: DictConfig) -> dict[int, StudiedEncoder]:
    """Returns what is known of every task by its number: a record, or that it was not measured yet.

    Raises:
        ValueError: results are of other settings, or of other texts than those beside them.
    """
    studied = {}
    for number, task in enumerate(tasks):
        record = read_record(task.out)
        if record is None:
            studied[number] = task.describe(None, NOT_YET)
        else:
            _require_same_arguments(list_arguments(task.encoder, task.place, cfg), task.out)
            studied[number] = task.describe(record)
    require_same_texts(tasks, studied)
    return studied


def require_same_texts(tasks: Sequence[Task], studied: Mapping[int, StudiedEncoder]) -> None:
    """Raises ValueError if encoders of one corpus were asked different texts."""
    first_of_corpus: dict[str, tuple[str, Path]] = {}
    for number, task in enumerate(tasks):
        record = studied[number].record
        if record is None:
            continue
        sha256 = record["texts"]["sha256"]
        first_sha256, first_out = first_of_corpus.setdefault(task.corpus, (sha256, task.out))
        if sha256 != first_sha256:
            raise ValueError(
                f"{task.out} and {first_out} were measured on different texts, so they do not "
                f"belong in one table: {task.place} has changed between them. Measure all of them "
                "again in another folder (to=)"
            )


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
    encoders = OmegaConf.to_object(cfg.study).get("encoders", [])
    is_list = isinstance(encoders, list) and all(isinstance(item, dict) for item in encoders)
    if not is_list:
        raise ValueError(
            f"study.encoders={encoders!r} must be a list of mappings, each with name and model, as "
            "in conf/study/encoders.yaml"
        )
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
    for name in names:
        if name != Path(name).name or name == "..":
            problems.append(
                f"study.encoders: the name {name!r} must be that of a folder, without /"
            )
    for name, times in Counter(names).items():
        if times > 1:
            problems.append(f"study.encoders: the name {name} comes twice")
    only = names if cfg.only is None else [str(name) for name in cfg.only]
    if not only:
        problems.append("no encoder is chosen: name some in study.encoders, models= or only=")
    for name in only:
        if name not in names:
            problems.append(f"only: there is no encoder {name}{ask_if_meant(name, names)}")
    if problems:
        raise ValueError("; ".join(problems))
    return encoders


def measure_encoder(task: Task, cfg: DictConfig) -> StudiedEncoder:
    """Measures an encoder by a process of `hybrid-ir bias`.

    Args:
        task: what to measure.
        cfg: of the study.

    Returns:
        Its record, or the reason why there is none.
    """
    needs = task.encoder.get("needs")
    if needs == NEEDS_CODE and not cfg.trust_remote_code:
        return task.describe(None, f"it runs code of its own: {NEEDS_CODE}")
    missing = explain_missing_files(task.encoder)
    if missing is not None:
        return task.describe(None, missing)
    arguments = list_arguments(task.encoder, task.place, cfg)
    _wait_for_other_process(task.out)
    if read_record(task.out) is None:
        task.out.mkdir(parents=True, exist_ok=True)
        # Before it is measured, so that finished results always have theirs.
        text = json.dumps(arguments, indent=2) + "\n"
        write_text_atomically(task.out / ARGUMENTS_FILE, text)
        command = [sys.executable, "-c", START, "bias", f"out={task.out}", *arguments]
        ended = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        _wait_for_other_process(task.out)
        if read_record(task.out) is None:
            reason = find_reason(ended.stderr.splitlines(), ended.returncode)
            return task.describe(None, f"{reason} (it needs {needs})" if needs else reason)
    _require_same_arguments(arguments, task.out)
    return task.describe(read_record(task.out))


def explain_missing_files(encoder: Mapping[str, Any]) -> str | None:
    """Returns why the files of an encoder cannot be had, None if they are here or may be fetched.

    Without a network each process would find that out for itself.
    """
    model = str(encoder["model"])
    if not HUB_ID.fullmatch(model) or Path(model).exists():
        return None
    # Imported here, as a study whose models are folders needs none of it.
    from huggingface_hub import constants

    from hybrid_ir.files.hub_connection import go_offline_if_unreachable
    from hybrid_ir.runs.hub_models import FILES_OF_ANY_MODEL, find_cached_file

    go_offline_if_unreachable()
    if not constants.is_offline_mode():
        return None
    for file in FILES_OF_ANY_MODEL:
        if find_cached_file(model, file, encoder.get("revision")) is not None:
            return None
    return f"the hub cannot be reached, and {model} is not in its cache on this machine"


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
    arguments = [f"corpus={place}"]
    for key in ENCODER_KEYS:
        # A folder has no revisions.
        is_folder = Path(str(encoder["model"])).exists()
        if encoder.get(key) is not None and not (key == "revision" and is_folder):
            arguments.append(f"{key}={encoder[key]}")
    for key in SHARED_KEYS:
        if cfg[key] is not None or key == "max_queries":
            arguments.append(f"{key}={_write_value(cfg[key])}")
    return arguments


def _require_same_arguments(arguments: Sequence[str], out: Path) -> None:
    """Raises ValueError if the results of a folder were measured with other settings."""
    path = out / ARGUMENTS_FILE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    differing = {*arguments} ^ {*before}
    changed = sorted(item for item in differing if not item.startswith("threads="))
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
