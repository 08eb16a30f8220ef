"""The records that the parts of a page show."""

from dataclasses import dataclass

from markupsafe import Markup

COLOURS = 7  # of kinds in the style sheet
PATTERNS = 3  # on each of these colours: none, stripes, dots
KINDS = COLOURS * PATTERNS  # that look different; beyond them looks come again


def choose_look(kind: int) -> str:
    """Returns the classes of the style sheet for a kind: its colour, and its pattern if it has one.

    The first kinds are plain colours, the next ones have stripes, and then dots.

    Args:
        kind: The number of the kind, from 1.
    """
    place = (kind - 1) % KINDS
    colour = f"kind-{place % COLOURS + 1}"
    pattern = place // COLOURS
    return f"{colour} pattern-{pattern}" if pattern > 0 else colour


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
        language: The code of a language. Its tag stands before the label; in a mix, where the label
            is its name, the code stands in the bar.
        kind: The number of its look in a mix, from 1.
        is_neutral: Whether it is grey in a mix: all that is joined, or nothing at all.
    """

    label: str
    share: float
    text: str
    language: str = ""
    kind: int = 1
    is_neutral: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError where the share is none."""
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"the bar {self.label!r} has the share {self.share}: it must be from 0 to 1, "
                "so divide by the greatest value"
            )

    @property
    def look(self) -> str:
        """The classes of the style sheet that colour it in a mix."""
        return "neutral" if self.is_neutral else choose_look(self.kind)


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
