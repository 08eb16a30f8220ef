"""One rule for what an empty text is, and one for which ids are the same."""

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# Characters that show nothing, as first and last code points: control characters, blanks, format
# characters and other ones that Unicode calls ignorable, and letters that are drawn as blanks.
INVISIBLE_RANGES = (
    (0x0000, 0x0020),
    (0x007F, 0x00A0),
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),  # fillers of Hangul
    (0x1680, 0x1680),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2000, 0x200F),  # zero-width space, joiners, marks of direction
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0x2800, 0x2800),  # an empty pattern of Braille
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


def _write_character_class() -> str:
    ranges = []
    for first, last in INVISIBLE_RANGES:
        ranges.append(f"{re.escape(chr(first))}-{re.escape(chr(last))}")
    return f"[{''.join(ranges)}]"


_INVISIBLE_TEXT = re.compile(f"{_write_character_class()}*")


def is_blank(text: str) -> bool:
    """Returns whether a text shows nothing: it is empty, or has invisible characters alone."""
    return _INVISIBLE_TEXT.fullmatch(text) is not None


def find_blank_texts(texts: "pa.Array") -> "pa.BooleanArray":
    """Returns for each text of an array whether it is there and shows nothing, see `is_blank`."""
    import pyarrow.compute as pc  # Here, since Hydra loads this file at every start.

    # The same class as above, in the way in which Arrow's expressions write characters.
    pattern = "".join(f"\\x{{{a:x}}}-\\x{{{b:x}}}" for a, b in INVISIBLE_RANGES)
    return pc.fill_null(pc.match_substring_regex(texts, rf"\A[{pattern}]*\z"), False)


def normalize_id(value: str) -> str:
    """Returns an id in Unicode's form NFC, without blanks and invisible characters around it.

    Ids that look the same are the same: an accent may be a character of its own or part of a
    letter, and files of tables have blanks at the ends of cells.
    """
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    start = _INVISIBLE_TEXT.match(value).end()
    end = len(value)
    while end > start and is_blank(value[end - 1]):
        end -= 1
    return unicodedata.normalize("NFC", value[start:end])


def normalize_ids(ids: "pa.Array") -> "pa.Array":
    """Returns ids as `normalize_id` does; null stays null."""
    import pyarrow as pa  # Here, since Hydra loads this file at every start.

    values: list[Any] = []
    for value in ids.to_pylist():
        values.append(None if value is None else normalize_id(value))
    return pa.array(values, ids.type)
