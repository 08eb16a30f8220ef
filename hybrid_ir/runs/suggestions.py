"""What a misspelt key, group or option may have meant."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

HELP = "--help lists the keys"
# Keys that have got a better name; docs/decisions.md has the table.
RENAMED_KEYS = {"place": "model", "track": "logger"}
# Keys of Lightning's Trainer that conf/ does not name, and what to type instead.
REPLACED_KEYS = {
    "trainer.max_time": "+trainer.max_time=DD:HH:MM:SS adds it: the run saves and stops then",
    "trainer.fast_dev_run": "debug=smoke runs every part once, in seconds",
    "trainer.overfit_batches": "debug=overfit, or data.distinct_batches=N, trains on N batches",
    "trainer.limit_train_batches": "trainer.max_steps=N trains on N batches",
}
# What Hydra says of several values where none are swept over.
SEVERAL_VALUES = re.compile(
    r"^Ambiguous value for argument '(.*)'$|^Sweep parameters '(.*)' requires", re.MULTILINE
)


def suggest(name: str, known: Sequence[str]) -> str | None:
    """Returns the nearest of the known names, None if none is near.

    A dotted key may be meant by its last part alone, as `max_step` for `trainer.max_steps`.
    """
    near = get_close_matches(name, known, n=1, cutoff=0.7)
    if near:
        return near[0]
    last_part = name.rpartition(".")[2]
    by_last_part = {key.rpartition(".")[2]: key for key in reversed(known)}
    near = get_close_matches(last_part, list(by_last_part), n=1, cutoff=0.75)
    return by_last_part[near[0]] if near else None


def ask_if_meant(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Returns ", did you mean NAME?" for the nearest of the known names, `otherwise` without one.

    Args:
        name: what the user typed.
        known: the names that exist.
        otherwise: what stands in the message if no name is near.
    """
    meant = suggest(name, known)
    return f", did you mean {meant}?" if meant else otherwise


def describe_composition_error(
    error: Exception,
    list_keys: Callable[[], Sequence[str]],
    groups: Sequence[str],
    may_sweep: bool = False,
) -> str:
    """Says in one line what is wrong with an override, and what may have been meant.

    Args:
        error: what Hydra raised while it composed a config.
        list_keys: gives the dotted keys of the config; called only where it is needed.
        groups: the groups of conf/.
        may_sweep: whether there is a command that runs each of several values.
    """
    from hydra.errors import MissingConfigException  # Here, as it takes a moment to load.

    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        options = sorted(set(error.options) - {"default"})
        question = ask_if_meant(option, options, ";")
        if group == "benchmark" and Path(option).is_dir():
            question = (
                f", and a folder is none: bias and serve take corpus={option}, other commands "
                "benchmark=beir_folder and its key folder (hybrid-ir data --help beir_folder);"
            )
        return (
            f"{group}={option}: there is no such option{question} the options of {group} are "
            f"{', '.join(options)}"
        )
    several = SEVERAL_VALUES.search(text)
    if several:
        return _describe_several_values(several[1] or several[2], may_sweep)
    no_group = re.search(r"Could not override '([^']+)'\. No match in the defaults list", text)
    if no_group:
        key = no_group[1]
        if key in RENAMED_KEYS:
            return describe_renamed_key(key)
        if key in groups:
            return f"{key}: this command has no such key; {HELP}"
        question = ask_if_meant(key, [*groups, *list_keys()], ";")
        return f"{key}: there is no such group or key{question} {HELP}"
    no_key = re.search(r"Could not override '([^']+)'", text)
    if no_key:
        key = no_key[1]
        if key in RENAMED_KEYS:
            return describe_renamed_key(key)
        if key in REPLACED_KEYS:
            return f"{key}: there is no such key here, {REPLACED_KEYS[key]}"
        question = ask_if_meant(key, list_keys(), ";")
        return f"{key}: the config has no such key{question} {HELP}"
    return text.strip().replace("\n", " ")


def _describe_several_values(argument: str, may_sweep: bool) -> str:
    """Says how several values are written, of which Hydra makes a sweep.

    Args:
        argument: KEY=VALUE as it was typed.
        may_sweep: whether there is a command that runs each of them.
    """
    key, _, value = argument.partition("=")
    each = f"; hybrid-ir sweep {argument} runs each of them" if may_sweep else ""
    if "(" in value:
        return f"{argument}: this names several values, and one is wanted{each}"
    items = [item.strip() for item in value.split(",")]
    return f"{argument}: several are {key}=[{','.join(items)}]{each}"


def describe_renamed_key(key: str) -> str:
    """Says which name a key of RENAMED_KEYS has now."""
    return f"{key}: this key is called {RENAMED_KEYS[key]} now, write {RENAMED_KEYS[key]}=..."
