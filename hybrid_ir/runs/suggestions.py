"""What a misspelt key, group or option may have meant."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from hydra.errors import MissingConfigException

HELP = "--help lists the keys"


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


def describe_composition_error(
    error: Exception, list_keys: Callable[[], Sequence[str]], groups: Sequence[str]
) -> str:
    """Says in one line what is wrong with an override, and what may have been meant.

    Args:
        error: what Hydra raised while it composed a config.
        list_keys: gives the dotted keys of the config; called only where it is needed.
        groups: the groups of conf/.
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        options = sorted(set(error.options) - {"default"})
        return _refuse(
            f"{group}={option}",
            "there is no such option",
            suggest(option, options),
            f"the options of {group} are {', '.join(options)}",
        )
    no_group = re.search(r"Could not override '([^']+)'\. No match in the defaults list", text)
    if no_group:
        key = no_group[1]
        return _refuse(
            key, "there is no such group or key", suggest(key, [*groups, *list_keys()]), HELP
        )
    no_key = re.search(r"Could not override '([^']+)'", text)
    if no_key:
        key = no_key[1]
        return _refuse(key, "the config has no such key", suggest(key, list_keys()), HELP)
    return text.strip().replace("\n", " ")


def _refuse(what: str, problem: str, meant: str | None, cure: str) -> str:
    question = f", did you mean {meant}?" if meant else ";"
    return f"{what}: {problem}{question} {cure}"
