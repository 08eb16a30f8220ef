"""What an argument that is no KEY=VALUE may have meant."""

from collections.abc import Sequence
from pathlib import Path

from hybrid_ir.runs.suggestions import ask_if_meant

OPTIONS = ("--config-dir", "--help")


def describe_argument_without_value(argument: str, keys: Sequence[str]) -> str:
    """Says what to write instead of an argument without a key or a value.

    Args:
        argument: as it was typed.
        keys: of the command.
    """
    example = "out=FOLDER"
    if argument in keys:
        example = f"{argument}=VALUE"
    elif "model" in keys and Path(argument).expanduser().exists():
        example = f"model={argument}"
    return f"{argument!r} has no value: write KEY=VALUE, as in {example}; --help lists the keys"


def describe_unknown_option(argument: str, following: str | None, keys: Sequence[str]) -> str:
    """Says what to write instead of an option that there is not.

    Args:
        argument: as it was typed, with a value or without.
        following: the argument behind it, if there is one.
        keys: of the command.
    """
    name, equals, value = argument.partition("=")
    key = name.lstrip("-").replace("-", "_")
    if key in keys:
        given = value if equals else following
        return f"there is no option {name}: write {key}={given or 'VALUE'}; --help lists the keys"
    hint = ask_if_meant(name, OPTIONS, otherwise=": keys are written KEY=VALUE, and")
    return f"there is no option {argument}{hint} --help lists the keys"
