"""How numbers of results are written in tables and sentences, without what computes them."""

import math

UNDEFINED = "·"


def format_number(value: float | None, metric: str) -> str:
    """Formats the value of a metric: ranks with one decimal, shares with four."""
    if "rank" not in metric or "normalised" in metric:
        return format_fraction(value)
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:,.1f}"


def format_fraction(value: float | None) -> str:
    """Formats a share as a measure is written: with four decimals, a dot where it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:.4f}"


def format_percent(share: float | None, decimals: int = 1, unit: str = "%") -> str:
    """Formats a share in percent, as sentences and tables for readers have it.

    Args:
        share: The share, from 0 to 1. None and NaN give a dot.
        decimals: The number of decimals.
        unit: What stands behind the number. Empty where the title of a table says it.
    """
    if share is None or math.isnan(share):
        return UNDEFINED
    return f"{100 * share:.{decimals}f}{unit}"
