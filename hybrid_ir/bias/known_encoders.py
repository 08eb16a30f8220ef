"""A small table of encoders that the project has measured, to compare a model with."""

import json
from importlib.resources import files
from typing import Any

# Measures that the table shows.
SHOWN_MEASURES = ("multi.map", "hidden", "lost", "not_found", "own_language_share")


def find_known_encoders(texts: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the encoders that were measured on the very same texts.

    Each has `name`, `note`, `training` (what it was trained on, where its numbers are not to be
    read without it; else empty), `commit` (of a hub model), `measured_on` (a date), `texts`,
    `measures` and `intervals`.

    Args:
        texts: of a diagnosis; their hash decides.
    """
    known = []
    for encoder in read_known_encoders():
        if texts["sha256"] is not None and encoder["texts"]["sha256"] == texts["sha256"]:
            known.append(encoder)
    return known


def explain_missing_encoders(texts: dict[str, Any]) -> str | None:
    """Says why no known encoder is shown, where some were measured on another version of the texts.

    Args:
        texts: of a diagnosis.

    Returns:
        None where some are shown, or the texts are of another kind.
    """
    if find_known_encoders(texts):
        return None
    for encoder in read_known_encoders():
        others = encoder["texts"]
        is_same_choice = all(
            others.get(key) == texts.get(key) for key in ("name", "languages", "queries")
        )
        if is_same_choice and others["revision"] != texts["revision"]:
            return (
                f"These texts are those of {texts['revision']}, and the table of known encoders "
                f"was measured on those of {others['revision']}: it is left out, and numbers of "
                "the two do not compare."
            )
    return None


def read_known_encoders() -> list[dict[str, Any]]:
    """Reads the whole table, of all texts."""
    path = files("hybrid_ir.bias").joinpath("known_encoders.json")
    return json.loads(path.read_text(encoding="utf-8"))
