"""The records that the parts of a page show."""

from dataclasses import dataclass

from markupsafe import Markup

KINDS = 7  # colours in the style sheet; the last one is grey


@dataclass(frozen=True)
class KeyFigure:
    """A number that the reader should see first.

    Attributes:
        label: What it is.
        value: The number as text.
        note: What it means, or how sure it is.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A number that is also drawn as a bar.

    Attributes:
        label: What it belongs to.
        share: The length of the bar, from 0 to 1.
        text: The number as text.
        language: The code of a language, whose tag stands before the label.
        kind: The number of its colour in a mix, from 1 to KINDS; 0 for that of its place.
    """

    label: str
    share: float
    text: str
    language: str = ""
    kind: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where the share is none."""
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"the bar {self.label!r} has the share {self.share}: it must be from 0 to 1, "
                "so divide by the greatest value"
            )


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        caption: What it shows, of which model and which data.
        svg: The picture itself.
        files: Paths, relative to the page, of the same picture for other uses.
    """

    caption: str
    svg: Markup
    files: tuple[str, ...] = ()
