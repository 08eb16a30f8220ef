"""Everything wrong in some files, told at once."""

SHOWN = 10  # told in full, the rest is counted


class Problems:
    """Collects what is wrong, and raises it as one ValueError; `what` names the data set or folder."""

    def __init__(self, what: str):
        self.what = what
        self.first: list[str] = []
        self.number = 0

    def add(self, problem: str) -> None:
        self.number += 1
        if len(self.first) < SHOWN:
            self.first.append(problem)

    def stop(self) -> None:
        """Raise what was collected, if anything."""
        if self.number:
            rest = [f"... and {self.number - len(self.first)} more"] if self.number > len(self.first) else []
            errors = "1 error" if self.number == 1 else f"{self.number} errors"
            raise ValueError(f"{errors} in {self.what}:\n  " + "\n  ".join(self.first + rest))
