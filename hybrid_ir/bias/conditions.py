"""Conditions under which a command fails, such as `multi.map<0.5`, for continuous integration."""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*(?P<measure>[A-Za-z][\w./@]*)\s*(?P<operator><=|>=|<|>)\s*(?P<limit>\S+)\s*")
SEPARATOR = ";"  # between several conditions


@dataclass(frozen=True)
class Condition:
    """A measure, and the values for which a command fails.

    Attributes:
        text: as it was written.
        measure: name of the measure.
        operator: one of OPERATORS.
        limit: that the measure is compared with.
    """

    text: str
    measure: str
    operator: str
    limit: float

    def is_met(self, measures: Mapping[str, float | None]) -> bool:
        """Returns whether the command fails.

        Raises:
            ValueError: the texts do not tell the measure, so that nothing was checked.
        """
        value = measures.get(self.measure)
        if value is None:
            raise ValueError(
                f"--fail-if {self.text!r}: these texts do not tell {self.measure}, so nothing was "
                "checked"
            )
        return bool(OPERATORS[self.operator](value, self.limit))


def parse_conditions(text: str | None, known: Sequence[str]) -> list[Condition]:
    """Reads conditions, several of them separated by `;`.

    Args:
        text: as it was written; None for no condition.
        known: names of the measures.

    Raises:
        ValueError: a condition has another form, there is no such measure, or there is a text
            without a condition.
    """
    if text is None:
        return []
    conditions = []
    for part in text.split(SEPARATOR):
        if not part.strip():
            raise ValueError(
                f"--fail-if {text!r} has an empty condition, which would check nothing: write one "
                "as in 'multi.map<0.5', or leave the option out"
            )
        conditions.append(_parse_condition(part, known))
    return conditions


def _parse_condition(text: str, known: Sequence[str]) -> Condition:
    found = FORM.fullmatch(text)
    limit = math.nan
    if found is not None:
        limit = _read_number(found["limit"])
    if math.isnan(limit):
        raise ValueError(
            f"--fail-if {text.strip()!r} must be a measure, one of < <= > >=, and a number, as in "
            "'multi.map<0.5'"
        )
    measure = found["measure"].replace("/", ".")
    if measure not in known:
        raise ValueError(
            f"--fail-if {text.strip()!r}: there is no measure {measure!r}, only {', '.join(known)}"
        )
    return Condition(text.strip(), measure, found["operator"], limit)


def _read_number(text: str) -> float:
    """Returns a number, NaN for a text that is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
