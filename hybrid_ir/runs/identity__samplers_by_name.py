"""The names of conf/sampler and their two numbers, for cards and tables."""

from collections.abc import Sequence

SAMPLER_NUMBERS = {"x_x_mono": (1.0, "batch"), "x_y": (0.0, "batch"), "hybrid": (0.5, "batch"), "x_x": (1.0, "example"),
            "hybrid_example": (0.5, "example"), "en_en": (1.0, "batch")}  # monolingual_share and level


def name_sampler(monolingual_share: float, level: str, languages: Sequence[str] | None = None) -> str:
    """As in conf/sampler: `hybrid` and `hybrid_example` at any share between 0 and 1, `en_en` for English alone."""
    if list(languages or ()) == ["en"]:
        return "en_en"
    if monolingual_share == 0:
        return "x_y"  # no example is monolingual, whoever draws
    exact = (name for name, numbers in SAMPLER_NUMBERS.items() if numbers == (monolingual_share, level))
    return next(exact, "hybrid" if level == "batch" else "hybrid_example")
