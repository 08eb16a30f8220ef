"""What users type as KEY=VALUE, before Hydra reads it: its grammar would drop the blank that ends a prefix, and split paths."""

import re
from collections.abc import Iterable

ENCODER_TEXTS = ("backbone", "query_prefix", "passage_prefix", "out")  # keys of conf/encoder whose values are plain texts


def as_text(argument: str, keys: Iterable[str]) -> str:
    """The override with its value quoted, where the key is one of `keys` and the value is not quoted or null already."""
    key, equals, value = argument.partition("=")
    if key not in keys or not equals or value[:1] in ("'", '"') or value == "null":
        return argument
    escaped = re.sub(r"(['\\])", r"\\\1", value)
    return f"{key}='{escaped}'"


def listed(value: str) -> list[str]:
    """The items of `[a,b]`, or of `a` alone, as they stand."""
    return [item.strip().strip("'\"") for item in value.strip().removeprefix("[").removesuffix("]").split(",") if item.strip()]
