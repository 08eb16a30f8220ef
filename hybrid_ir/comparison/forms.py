"""What a comparison needs of metrics.json and evaluation_card.json; whoever edited or cut them hears what is wrong."""

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes that of typing only from Python 3.12 on


class Measured(TypedDict):
    name: str
    languages: list[str]
    queries: int
    pool: dict[str, int]
    choices: NotRequired[dict[str, str] | None]


class Views(TypedDict):
    mono: dict[str, float | None]
    cross: dict[str, float | None]
    multi: dict[str, float | None]


class Metrics(TypedDict):
    benchmark: Measured
    macro_over_settings: Views
    settings: list[dict[str, Any]]


class Model(TypedDict):
    name: str


class Training(TypedDict, total=False):
    seed: int | None
    sampler: str
    monolingual_share: float
    languages: list[str] | None
    settings: dict[str, Any] | None


class Card(TypedDict):
    model: Model
    training: Training | None
    benchmark: NotRequired[dict[str, Any] | None]
    postprocess: NotRequired[dict[str, Any] | None]
    long_passages: NotRequired[dict[str, Any] | None]
    reading: NotRequired[dict[str, Any] | None]


METRICS, CARD = TypeAdapter(Metrics), TypeAdapter(Card)


def require_form(form: TypeAdapter, found: dict[str, Any], path: Path) -> None:
    """ValueError naming every key that is missing or of a wrong type."""
    try:
        form.validate_python(found)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))} is {one['input']!r:.60}: {one['msg']}"
            if one["type"] != "missing"
            else f"no key {'.'.join(map(str, one['loc']))}"
            for one in error.errors()
        )
        raise ValueError(
            f"{path} is not as an evaluation writes it ({wrong}): measure the model again"
        ) from error
