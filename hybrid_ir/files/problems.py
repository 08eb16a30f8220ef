"""Everything wrong in some files, told at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOWN = 10  # told in full, the rest is counted


class Problems:
    """Collects what is wrong, and raises it as one ValueError; `what` names the data set or folder.

    More than can be told is in the file `everything`, where one is given.
    """

    def __init__(self, what: str, everything: Path | None = None):
        self.what, self.everything = what, everything
        self.first: list[str] = []
        self.number = self.files = 0
        self.muted = False

    def add(self, problem: str, whole_file: bool = False) -> None:
        """`whole_file`: it cannot be read, or not to its end, so that leaving out what is wrong would hide a loss."""
        if self.muted:
            return
        self.number += 1
        self.files += whole_file
        if len(self.first) < SHOWN:
            self.first.append(problem)
        elif self.everything is not None:
            self.everything.parent.mkdir(parents=True, exist_ok=True)
            with open(
                self.everything, "a" if self.number > SHOWN + 1 else "w", encoding="utf-8"
            ) as file:
                file.write(
                    "".join(
                        f"{line}\n"
                        for line in (
                            [*self.first, problem] if self.number == SHOWN + 1 else [problem]
                        )
                    )
                )

    def tell(self) -> str:
        """How many there were, and the file that has all of them, written now if there were too few to need it."""
        if self.everything is not None and 0 < self.number <= SHOWN:
            self.everything.parent.mkdir(parents=True, exist_ok=True)
            self.everything.write_text(
                "".join(f"{line}\n" for line in self.first), encoding="utf-8"
            )
        counted = "1 problem" if self.number == 1 else f"{self.number:,} problems"
        return f"{counted} in {self.what}, what they were about is left out: {self.everything}"

    def clear(self) -> None:
        """Forget what an earlier start has left in the file."""
        if self.everything is not None:
            self.everything.unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        """What `restore` needs for going on from here."""
        return {
            "number": self.number,
            "files": self.files,
            "first": self.first,
            "bytes": self._bytes(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.number, self.files, self.first = state["number"], state["files"], list(state["first"])
        if self._bytes() > state["bytes"]:
            os.truncate(self.everything, state["bytes"])

    def _bytes(self) -> int:
        told = self.everything is not None and self.number > SHOWN and self.everything.exists()
        return self.everything.stat().st_size if told else 0

    def stop(self, cure: str = "") -> None:
        """Raise what was collected, if anything; `cure` says what may be done."""
        if self.number:
            rest = (
                [f"... and {self.number - len(self.first)} more"]
                if self.number > len(self.first)
                else []
            )
            if rest and self.everything is not None:
                rest = [f"{rest[0]}, all of them in {self.everything}"]
            errors = "1 error" if self.number == 1 else f"{self.number} errors"
            raise ValueError(
                f"{errors} in {self.what}:\n  "
                + "\n  ".join([*self.first, *rest, *([cure] if cure else [])])
            )
