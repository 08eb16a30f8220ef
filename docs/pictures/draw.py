"""Draws the pictures of the explanations as SVG: python docs/pictures/draw.py writes them again."""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# Dark enough for white letters (WCAG AA).
COLOURS = {"en": "#2f5f8f", "de": "#a85500", "zh": "#2e7d32", "ar": "#8e4585"}
INK = "#222222"
GREY = "#777777"
GREEN = "#1a7f37"
FONT = "system-ui, sans-serif"
CELL_WIDTH = 46
CELL_HEIGHT = 26
ROW_HEIGHT = 34

BATCHES = (
    (
        "x_x_mono",
        "one language a batch",
        (("en", "en"), ("en", "en"), ("en", "en"), ("en", "en")),
        (("zh", "zh"), ("zh", "zh"), ("zh", "zh"), ("zh", "zh")),
    ),
    (
        "x_y",
        "every example has its own pair of languages",
        (("en", "de"), ("zh", "en"), ("ar", "zh"), ("de", "ar")),
        (("ar", "en"), ("de", "zh"), ("en", "ar"), ("zh", "de")),
    ),
    (
        "hybrid",
        "a coin decides which of the two a batch is",
        (("de", "de"), ("de", "de"), ("de", "de"), ("de", "de")),
        (("en", "zh"), ("ar", "de"), ("zh", "ar"), ("de", "en")),
    ),
)


class Picture:
    """An SVG picture that is put together from boxes, lines and words.

    Args:
        width: in pixels.
        height: in pixels.
        title: what it shows, for those who do not see it.
    """

    def __init__(self, width: int, height: int, title: str):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="{FONT}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def write(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 13,
        colour: str = INK,
        anchor: str = "start",
        weight: str = "normal",
    ) -> None:
        """Writes words with their baseline at a place."""
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(words)}</text>'
        )

    def draw_box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "none",
        stroke: str = "none",
    ) -> None:
        """Draws a box with round corners."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" '
            f'stroke="{stroke}"/>'
        )

    def draw_line(self, x1: float, y1: float, x2: float, y2: float, colour: str = GREY) -> None:
        """Draws a line."""
        self.parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.5"/>'
        )

    def draw_text_of_language(self, x: float, y: float, language: str, width: float) -> None:
        """Draws a box in the colour of a language, with its code."""
        self.draw_box(x, y, width, CELL_HEIGHT, COLOURS[language])
        self.write(x + width / 2, y + 18, language, 13, "#ffffff", "middle", "bold")

    def finish(self) -> str:
        """Returns the text of the file."""
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def draw_batches() -> str:
    """Draws two batches of each of three plans: the languages of question and passage."""
    picture = Picture(
        900, 300, "Two batches of four examples under the plans x_x_mono, x_y, hybrid"
    )
    for number, (name, words, first, second) in enumerate(BATCHES):
        left = 15 + number * 297
        picture.write(left, 24, name, 16, weight="bold")
        picture.write(left, 44, words, 12, GREY)
        for place, batch in enumerate((first, second)):
            x = left + place * 142
            picture.draw_box(x, 58, 132, 200, "#f6f8fa", "#d0d7de")
            picture.write(x + 36, 78, "question", 11, GREY, "middle")
            picture.write(x + 96, 78, "passage", 11, GREY, "middle")
            for row, (query_language, passage_language) in enumerate(batch):
                y = 88 + row * 41
                picture.draw_text_of_language(x + 12, y, query_language, CELL_WIDTH)
                picture.draw_line(x + 12 + CELL_WIDTH, y + 13, x + 74, y + 13)
                picture.draw_text_of_language(x + 74, y, passage_language, CELL_WIDTH)
            picture.write(x + 66, 276, f"batch {place + 1}", 12, INK, "middle")
    return picture.finish()


def draw_views() -> str:
    """Draws which passages a German question is ranked among in each of the three views."""
    picture = Picture(900, 250, "The pools of a German question in the views mono, cross and multi")
    views = (
        ("mono", "passages of its own language", (("de",),)),
        ("cross", "passages of one other language, one at a time", (("en",), ("zh",), ("ar",))),
        ("multi", "all passages of all languages together", (("de", "en", "zh", "ar"),)),
    )
    lefts = (15, 235, 605)
    for (name, words, pools), left in zip(views, lefts, strict=True):
        picture.write(left, 24, name, 16, weight="bold")
        picture.write(left, 44, words, 12, GREY)
        picture.draw_text_of_language(left, 60, "de", CELL_WIDTH)
        picture.write(left + CELL_WIDTH + 8, 78, "question", 12, GREY)
        x = left
        for pool in pools:
            width = len(pool) * (CELL_WIDTH + 8) + 12
            picture.draw_line(left + CELL_WIDTH / 2, 86, x + width / 2, 110)
            picture.draw_box(x, 110, width, 120, "#f6f8fa", "#d0d7de")
            for column, language in enumerate(pool):
                for row in range(3):
                    place = x + 10 + column * (CELL_WIDTH + 8)
                    picture.draw_text_of_language(place, 120 + row * 35, language, CELL_WIDTH)
            x += width + 45
    return picture.finish()


def draw_rank() -> str:
    """Draws how the rank of an answer is counted: those above, and half of the ties."""
    picture = Picture(900, 310, "The rank of an answer is one, and a place for each passage above")
    rows = (
        (".91", "en", "scores above", True),
        (".88", "de", "scores above", True),
        (".80", "zh", "the answer", False),
        (".80", "ar", "the same score: above or below by chance", True),
        (".75", "de", "scores below: does not count", False),
        (".60", "en", "scores below: does not count", False),
    )
    picture.write(15, 24, "passages, by their score for one question", 14, weight="bold")
    for number, (score, language, words, is_counted) in enumerate(rows):
        y = 40 + number * ROW_HEIGHT
        is_answer = words == "the answer"
        if is_answer:
            picture.draw_box(8, y - 4, 560, ROW_HEIGHT, "#dafbe1", GREEN)
        picture.write(20, y + 18, score, 14)
        picture.draw_text_of_language(70, y, language, CELL_WIDTH)
        weight = "bold" if is_answer else "normal"
        picture.write(135, y + 18, words, 13, GREEN if is_answer else INK, weight=weight)
        if is_counted:
            step = "+ 1/2" if "same" in words else "+ 1"
            picture.write(530, y + 18, step, 14, INK, "end", "bold")
    picture.write(600, 60, "rank = 1 + passages above", 15, weight="bold")
    picture.write(600, 86, "+ what ties are expected to add", 15, weight="bold")
    picture.write(600, 122, "1 + 2 + 1/2 = 3.5", 18, GREEN, weight="bold")
    picture.write(600, 160, "Nothing is sorted and nothing cut off:", 12, GREY)
    picture.write(600, 178, "a count needs no order of documents,", 12, GREY)
    picture.write(600, 196, "and counts of parts of a pool add up.", 12, GREY)
    picture.write(
        15, 274, "Among the passages of its own language alone nothing is above: rank 1.", 12
    )
    words = "One pass counts both pools: mono and cross come from one, multi from the other."
    picture.write(15, 294, words, 12, GREY)
    return picture.finish()


def draw_distance() -> str:
    """Draws two rankings with the same answers, close together and far apart."""
    picture = Picture(900, 250, "Rank distance: places between the first and the last answer")
    rankings = (
        ("without language bias", (1, 2, 3, 4), "rank distance 3: all answers together"),
        ("with language bias", (1, 5, 9, 14), "rank distance 13: German first, Arabic last"),
    )
    languages = ("de", "en", "zh", "ar")
    for number, (name, ranks, words) in enumerate(rankings):
        y = 40 + number * 110
        picture.write(15, y - 14, name, 14, weight="bold")
        for rank in range(1, 17):
            x = 15 + (rank - 1) * 54
            if rank in ranks:
                picture.draw_text_of_language(x, y, languages[ranks.index(rank)], CELL_WIDTH)
            else:
                picture.draw_box(x, y, CELL_WIDTH, CELL_HEIGHT, "#eaeef2")
            picture.write(x + CELL_WIDTH / 2, y + 42, str(rank), 11, GREY, "middle")
        first = 15 + (ranks[0] - 1) * 54 + CELL_WIDTH / 2
        last = 15 + (ranks[-1] - 1) * 54 + CELL_WIDTH / 2
        picture.draw_line(first, y + 52, last, y + 52, GREEN)
        picture.write(15, y + 70, words, 12, GREEN)
    picture.write(
        15,
        240,
        "Four answers that say the same in four languages, to one German question.",
        12,
        GREY,
    )
    return picture.finish()


PICTURES = {
    "batches.svg": draw_batches,
    "views.svg": draw_views,
    "rank.svg": draw_rank,
    "distance.svg": draw_distance,
}


def main() -> None:
    """Writes all pictures beside this file."""
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
