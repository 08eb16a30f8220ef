"""How numbers of results are written in tables, without what computes them."""

import math

UNDEFINED = "·"


def format_number(value: float | None, metric: str) -> str:
    """Formats the value of a metric: ranks with one decimal, shares with four."""
    if value is None or math.isnan(value):
        return UNDEFINED
    if "rank" in metric and "normalised" not in metric:
        return f"{value:,.1f}"
    return f"{value:.4f}"
