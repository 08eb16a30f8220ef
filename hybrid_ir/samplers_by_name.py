"""The names of the samplers that are two numbers, for cards and tables."""

from collections.abc import Sequence

NAMES = {(1.0, "batch"): "x_x_mono", (0.0, "batch"): "x_y", (1.0, "example"): "x_x", (0.0, "example"): "x_y"}


def sampler_name(monolingual_share: float, level: str, languages: Sequence[str] | None = None) -> str:
    """As in conf/sampler: `hybrid` and `hybrid_example` at any share between 0 and 1, `en_en` for English alone."""
    if list(languages or ()) == ["en"]:
        return "en_en"
    return NAMES.get((float(monolingual_share), level), "hybrid" if level == "batch" else "hybrid_example")
