"""Collects everything that is wrong with the files of a data set and reports it at once."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SHOWN = 10  # problems that an error message shows, the others are only counted


class Problems:
    """Collects what is wrong with the files of a data set and raises all of it as one ValueError.

    Args:
        what: the name of the data set or folder, for the messages.
        log: a text file that gets every problem, one a line, when there are more than an error
            message shows. Without it the others are only counted.

    Attributes:
        number: how many problems were added.
        unreadable_files: how many of them say that a file could not be read to its end.
        first: the first problems, as many as an error message shows.
        muted: whether `add` does nothing, for files that are read a second time.
        changed_ids: how many ids were not in their normal form, see `texts.normalize_id`.
        first_changed_id: the place of the first of them.
    """

    def __init__(self, what: str, log: Path | None = None):
        self.what = what
        self.log = log
        self.first: list[str] = []
        self.number = 0
        self.unreadable_files = 0
        self.muted = False
        self.changed_ids = 0
        self.first_changed_id = ""

    def add(self, problem: str, file_unreadable: bool = False) -> None:
        """Adds a problem.

        Args:
            problem: the place and what is wrong there, in one line.
            file_unreadable: whether the file cannot be read, or not to its end. Such a problem must
                stop an import that leaves out wrong records, as it would lose right ones as well.
        """
        if self.muted:
            return
        self.number += 1
        if file_unreadable:
            self.unreadable_files += 1
        if len(self.first) < SHOWN:
            self.first.append(problem)
            return
        if self.log is None:
            return
        if self.number == SHOWN + 1:
            self._start_log()
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(_join_lines([problem]))

    def add_all(self, others: "Problems") -> None:
        """Adds the problems that another collector has; those beyond its first ones are counted."""
        for problem in others.first:
            self.add(problem)
        self.number += others.number - len(others.first)
        self.unreadable_files += others.unreadable_files

    def note_changed_id(self, place: str, number: int = 1) -> None:
        """Counts ids that are compared in another form than they are written in.

        Args:
            place: file and line of the first of them.
            number: how many.
        """
        if self.muted or not number:
            return
        if not self.changed_ids:
            self.first_changed_id = place
        self.changed_ids += number

    def describe_changed_ids(self) -> str | None:
        """Says how many ids were not in their normal form; None if there was none."""
        if not self.changed_ids:
            return None
        return (
            f"{self.changed_ids:,} ids are compared in Unicode's form NFC and without blanks "
            f"around them, which is not how they are written, first {self.first_changed_id}"
        )

    def summarise(self) -> str:
        """Describes how many problems there were and which file lists them, or the first of them.

        Writes that file if there were so few problems that `add` had no need of it.
        """
        if self.log is not None and 0 < self.number <= SHOWN:
            self._start_log()
        count = "1 problem" if self.number == 1 else f"{self.number:,} problems"
        summary = f"{count} in {self.what}, what they were about is left out"
        if self.log is None:
            return "\n  ".join([f"{summary}:", *self.first])
        return f"{summary}: {self.log}"

    def delete_log(self) -> None:
        """Deletes the file of problems that an earlier import of the same data has left."""
        if self.log is not None:
            self.log.unlink(missing_ok=True)

    def get_state(self) -> dict[str, Any]:
        """Returns what `restore` needs to continue from here in another process."""
        return {
            "number": self.number,
            "files": self.unreadable_files,
            "first": list(self.first),
            "bytes": self._log_size(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, and cuts what was logged after it off the file."""
        self.number = state["number"]
        self.unreadable_files = state["files"]
        self.first = list(state["first"])
        if self._log_size() > state["bytes"]:
            os.truncate(self.log, state["bytes"])

    def raise_if_any(self, cure: str = "") -> None:
        """Raises a ValueError with all problems, and does nothing if there are none.

        Args:
            cure: what the user can do, as the last line of the message.
        """
        if self.number == 0:
            return
        count = "1 error" if self.number == 1 else f"{self.number} errors"
        lines = [f"{count} in {self.what}:", *self.first]
        unseen = self.number - len(self.first)
        if unseen and self.log is not None:
            lines.append(f"... and {unseen} more, all of them in {self.log}")
        elif unseen:
            lines.append(f"... and {unseen} more")
        if cure:
            lines.append(cure)
        raise ValueError("\n  ".join(lines))

    def _start_log(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text(_join_lines(self.first), encoding="utf-8")

    def _log_size(self) -> int:
        """Returns the size in bytes of what this object has written to its file."""
        if self.log is None or self.number <= SHOWN or not self.log.exists():
            return 0
        return self.log.stat().st_size


def _join_lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
