"""The names of samplers: a sampler is its share of monolingual examples and its level."""

from collections.abc import Sequence

# The monolingual share and the level of every sampler in conf/sampler.
SAMPLER_NUMBERS = {
    "x_x_mono": (1.0, "batch"),
    "x_y": (0.0, "batch"),
    "hybrid": (0.5, "batch"),
    "x_x": (1.0, "example"),
    "hybrid_example": (0.5, "example"),
    "en_en": (1.0, "batch"),
}


def name_sampler(
    monolingual_share: float, level: str, languages: Sequence[str] | None = None
) -> str:
    """Names a sampler as conf/sampler does.

    Args:
        monolingual_share: the share of monolingual batches or examples, 0 to 1.
        level: whether the kind is drawn once a `batch` or once an `example`.
        languages: the languages that are drawn from; None stands for all of the corpus.

    Returns:
        `en_en` for English alone, and `hybrid` or `hybrid_example` for every share between 0
        and 1.
    """
    if languages is not None and list(languages) == ["en"]:
        return "en_en"
    if monolingual_share == 0:
        return "x_y"  # No example is monolingual, whatever the level.
    for name, numbers in SAMPLER_NUMBERS.items():
        if numbers == (monolingual_share, level):
            return name
    return "hybrid" if level == "batch" else "hybrid_example"
