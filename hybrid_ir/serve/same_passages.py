"""Checks that two indexes hold the same passages, without which no ranking can be compared."""

from pathlib import Path

from hybrid_ir.index.card import read_index_card
from hybrid_ir.index.layout import PASSAGE_FILE
from hybrid_ir.index.opened import IndexedPassages


def require_same_passages(first: Path, second: Path) -> None:
    """Compares the ids, languages and texts of two indexes, whatever their order.

    Raises:
        ValueError: they differ; it names both folders and the first difference.
    """
    checksums = []
    for folder in (first, second):
        checksums.append(read_index_card(folder)["files"][PASSAGE_FILE]["sha256"])
    if checksums[0] == checksums[1]:
        return
    difference = _find_difference(first, second) or _find_difference(second, first)
    if difference is not None:
        raise ValueError(
            f"index=[{first},{second}]: two models are compared on the same passages, and "
            f"{difference}; make both indexes from the same texts, or serve index={first} "
            "model=[A,B], which encodes its passages with both models"
        )


def _find_difference(first: Path, second: Path) -> str | None:
    """Says which passage of the first index is not the same in the second; None: all are."""
    ours = IndexedPassages.load(first / PASSAGE_FILE)
    theirs = IndexedPassages.load(second / PASSAGE_FILE)
    row_of_id = {theirs.ids[row]: row for row in range(len(theirs))}
    for row in range(len(ours)):
        id = ours.ids[row]
        there = row_of_id.get(id)
        if there is None:
            return (
                f"{first} ({len(ours):,} passages) has {id!r}, which {second} ({len(theirs):,}) "
                "does not have"
            )
        if ours.get_language(row) != theirs.get_language(there):
            return (
                f"{id!r} is of the language {ours.get_language(row)!r} in {first} and "
                f"{theirs.get_language(there)!r} in {second}"
            )
        if ours.texts[row] != theirs.texts[there]:
            return f"{id!r} has another text in {first} than in {second}"
    return None
