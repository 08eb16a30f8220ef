"""Every key of conf/, and rows of a table that say what another value of a key must change."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import compose_config, find_shipped_file, list_keys_of
from tests.support.in_process import CommandResult, hybrid_ir_in_process, train_in_process
from tests.support.speed import drop_speed

CONF = find_shipped_file("conf")
# Groups whose options have the same keys, so that one row is enough for all of them.
GROUPS_WITH_THE_SAME_KEYS = ("callbacks", "data", "encoder", "model", "paths", "sampler", "trainer")
# Groups whose options set keys of other groups.
GROUPS_OF_CHOICES = ("debug", "experiment", "hparams_search")
# Groups of the commands' config files that have rows of their own.
COMMANDS = (
    "clean",
    "compare",
    "debias",
    "evaluate",
    "export",
    "identify",
    "index",
    "latency",
    "mine",
    "search",
    "serve",
    "translate",
)


def list_all_keys() -> list[tuple[str, str]]:
    """Returns every key of conf/ with its owner, which is a group, an option or a command."""
    keys = set()
    for path in sorted(CONF.rglob("*.yaml")):
        place = path.relative_to(CONF).with_suffix("")
        if place.parts[0] in GROUPS_OF_CHOICES or place.parts[0] == "local":
            continue
        owner = str(place)
        if place.parts[0] in GROUPS_WITH_THE_SAME_KEYS:
            owner = str(place.parent)  # such as model, or model/lora
        for key in list_keys_of_file(path):
            keys.add((owner, key))
    return sorted(keys)


def list_chosen_keys() -> list[str]:
    """Returns the full keys that debug, experiments and searches set."""
    keys = set()
    for group in GROUPS_OF_CHOICES:
        for path in (CONF / group).glob("*.yaml"):
            keys.update(list_keys_of_file(path))
    return sorted(keys)


def list_keys_of_file(path: Path) -> list[str]:
    """Returns the dotted keys of a file that have a value, without those of Hydra itself."""
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    keys = list_keys_of(config or {})
    leaves = []
    for key in keys:
        parts = key.split(".")
        is_of_hydra = parts[0] == "defaults" or any(part.startswith("_") for part in parts)
        is_inner = any(other.startswith(f"{key}.") for other in keys)
        if not is_of_hydra and not is_inner:
            leaves.append(key)
    return leaves


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: how it ended, what it printed, and its folder."""

    ended: CommandResult
    folder: Path

    @property
    def output(self) -> str:
        """All that was printed."""
        return self.ended.stdout + self.ended.stderr

    @cached_property
    def files(self) -> list[str]:
        """The names of all files."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.folder)) for path in paths)

    @cached_property
    def weights(self) -> str:
        """The hash of the last weights."""
        path = self.folder / "checkpoints" / "last.ckpt"
        digest = hashlib.sha256()
        for name, tensor in torch.load(path, weights_only=True)["state_dict"].items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def rows(self) -> list[dict]:
        """The rows of metrics.jsonl, without how fast the steps were."""
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [drop_speed(json.loads(line)) for line in lines]

    @cached_property
    def steps(self) -> list[int]:
        """The steps of the rows of metrics.jsonl."""
        return [row["step"] for row in self.rows]

    def read_json(self, name: str) -> Any:
        """Returns what a JSON file of the folder holds."""
        return json.loads((self.folder / name).read_text())


@dataclass
class Probe:
    """Runs the tiny trainings and commands of the table, each once.

    Args:
        place: a folder for runs, caches and data.
        command: `train`, or a command of hybrid-ir.
        arguments: of every run.
        folder_key: the key that names the folder of a run; None for a command that only prints.
    """

    place: Path
    command: str
    arguments: tuple[str, ...]
    folder_key: str | None = "hydra.run.dir"
    outcomes: dict[tuple[str, ...], Outcome] = field(default_factory=dict)

    def run(self, *arguments: str) -> Outcome:
        """Returns the outcome of a run, which is made once."""
        if arguments not in self.outcomes:
            folder = self.place / f"{self.command}-{len(self.outcomes)}"
            given = replace_values(self.arguments, arguments)
            if self.folder_key is not None:
                given.insert(0, f"{self.folder_key}={folder}")
            if self.command == "train":
                ended = train_in_process(self.place, *given)
            else:
                ended = hybrid_ir_in_process(self.place, *self.command.split("-"), *given)
            self.outcomes[arguments] = Outcome(ended, folder)
        return self.outcomes[arguments]

    def run_well(self, *arguments: str) -> Outcome:
        """Returns the outcome of a run that must end well."""
        outcome = self.run(*arguments)
        assert outcome.ended.returncode == 0, outcome.output
        return outcome


def replace_values(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Returns arguments of which later ones replace earlier ones of the same key."""
    arguments = {}
    for argument in (*before, *after):
        arguments[argument.partition("=")[0]] = argument
    return list(arguments.values())


@dataclass(frozen=True)
class Changed:
    """With another value a run ends well, and something is different.

    Args:
        change: KEY=VALUE; `{run}` stands for the folder of the run without it.
        look: returns what must be different, from an outcome; or the name of its attribute.
        base: arguments of both runs.
        together: changes of several keys, of which each changes something of its own: one run has
            all of them.
    """

    change: str
    look: str | Callable[[Outcome], Any] = "weights"
    base: tuple[str, ...] = ()
    together: tuple[str, ...] = ()

    def check(self, probe: Probe) -> None:
        """Runs with and without the change, and compares."""
        unchanged = probe.run_well(*self.base)
        before = self._look_at(unchanged)  # now, since a run may change its process
        changes = []
        for change in self.together or (self.change,):
            changes.append(change.replace("{run}", str(unchanged.folder)))
        after = self._look_at(probe.run_well(*self.base, *changes))
        assert before != after, f"{self.change} changes nothing"

    def _look_at(self, outcome: Outcome) -> Any:
        return getattr(outcome, self.look) if isinstance(self.look, str) else self.look(outcome)


@dataclass(frozen=True)
class Refused:
    """Another value is refused with a message; the run before it was not."""

    change: str
    message: str
    base: tuple[str, ...] = ()

    def check(self, probe: Probe) -> None:
        """Runs with the change."""
        outcome = probe.run(*self.base, self.change)
        assert outcome.ended.returncode == 2, outcome.output
        assert self.message in outcome.output, outcome.output
        assert "Traceback" not in outcome.output


@dataclass(frozen=True)
class Built:
    """With another value something else is built.

    Args:
        change: KEY=VALUE of train.py.
        look: returns what must be different, from a config.
        base: arguments of both configs.
    """

    change: str
    look: Callable[[DictConfig], Any]
    base: tuple[str, ...] = ()

    def check(self, probe: Probe) -> None:
        """Builds with and without the change, and compares."""
        places = (f"paths.cache_dir={probe.place}/cache", f"paths.data_dir={probe.place}/data")
        arguments = [*probe.arguments, *places, *self.base]
        before = self.look(compose_config("train", arguments))
        after = self.look(compose_config("train", [*arguments, self.change]))
        assert before != after, f"{self.change} changes nothing"


Row = Changed | Refused | Built


def change_together(
    owner: str,
    looks: Mapping[str, tuple[str, str | Callable[[Outcome], Any]]],
    base: tuple[str, ...] = (),
) -> dict[tuple[str, str], Row]:
    """Returns rows whose changes are made in one run.

    Args:
        owner: of the keys.
        looks: the change of each key, and what it must change.
        base: arguments of both runs.
    """
    changes = tuple(change for change, _ in looks.values())
    rows: dict[tuple[str, str], Row] = {}
    for key, (change, look) in looks.items():
        rows[owner, key] = Changed(change, look, base, changes)
    return rows


def build_trainer(cfg: DictConfig) -> Any:
    """Builds the trainer of a config."""
    return build(cfg.trainer)(logger=False)


def build_encoder(cfg: DictConfig) -> Any:
    """Builds the encoder of a config, in evaluation mode."""
    return build(cfg.model)(texts=build(cfg.corpus).texts()).eval()


def plan_batches(cfg: DictConfig) -> list:
    """Returns what the first batches of a config hold."""
    sampler = build(cfg.sampler)(corpus=build(cfg.corpus))
    batches = []
    for step in range(4):
        plan = sampler[step]
        languages = [plan.query_languages.tolist(), plan.passage_languages.tolist()]
        batches.append([plan.part, plan.pairs.tolist(), *languages])
    return batches
