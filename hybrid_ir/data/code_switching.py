"""Code switching: words of training texts replaced by their translations (arXiv 2305.05295)."""

# G examples of a global batch, M texts of an example

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_ir.cldr.names import collect_lexicon_names
from hybrid_ir.data.corpus import Texts
from hybrid_ir.files.languages import (
    canonicalize_language,
    explain_wrong_code,
    match_languages,
)
from hybrid_ir.types import parse_languages

LONGEST_PHRASE = 4  # words
SIDES = ("query", "passage")
CLDR = "cldr"  # the lexicon that comes with babel
# Language -> phrase -> other language -> translations.
Entries = dict[str, dict[str, dict[str, list[str]]]]


# Scripts that are written without blanks between words, as ranges of a regular expression.
SCRIPTS_WITHOUT_BLANKS = {
    "Han": r"\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff",
    "Hiragana and Katakana": r"\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Thai": r"\u0e01-\u0e3a\u0e40-\u0e4e",
    "Lao": r"\u0e81-\u0ece\u0edc-\u0edf",
    "Myanmar": r"\u1000-\u103f\u1050-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f",
    "Khmer": r"\u1780-\u17d3\u17d7\u17dc-\u17dd",
}
# Signs behind which the next letter belongs to the same syllable: of Khmer and of Myanmar.
JOINING_SIGNS = r"\u17d2\u1039"
# Letters that are no marks to Unicode, but never begin a syllable: AM of Thai and of Lao.
FOLLOWING_LETTERS = r"\u0e33\u0eb3"


def _list_marks() -> str:
    r"""Returns the vowel signs of Hindi, Thai and others, for the inside of a character class.

    Python's \w does not match such marks, which would cut these words into pieces.
    """
    characters = map(chr, range(1 << 16))
    marks = [letter for letter in characters if unicodedata.category(letter).startswith("M")]
    return "".join(map(re.escape, marks))


def _compile_syllable_pattern(marks: str) -> re.Pattern:
    """Compiles the pattern of a letter of a script without blanks, with all that hangs on it."""
    letters = "".join(SCRIPTS_WITHOUT_BLANKS.values())
    return re.compile(rf"[{letters}](?:[{JOINING_SIGNS}]\w|[{marks}{FOLLOWING_LETTERS}])*")


MARKS = _list_marks()
WORD = re.compile(rf"[\w{MARKS}]+")
SYLLABLE_WITHOUT_BLANKS = _compile_syllable_pattern(MARKS)


@dataclass(frozen=True)
class _Unit:
    """The smallest piece of a text that a phrase of a lexicon may begin or end with.

    It is a word; or, in a script without blanks, a letter with its marks, since a run of these
    letters is any number of words.

    Args:
        start: position of its first character in the text.
        stop: position behind its last one.
        word: number of the word, or of the run of letters, that it belongs to.
    """

    start: int
    stop: int
    word: int


def _split_into_units(text: str, splits_words: bool) -> list[_Unit]:
    """Returns the units of a text, which are its words unless these are to be split."""
    units = []
    for number, word in enumerate(WORD.finditer(text)):
        spans = _split_word(word) if splits_words else [word.span()]
        for start, stop in spans:
            units.append(_Unit(start, stop, number))
    return units


def _split_word(word: re.Match) -> Iterator[tuple[int, int]]:
    """Yields the start and the end of every unit of a word."""
    reached = word.start()
    for syllable in SYLLABLE_WITHOUT_BLANKS.finditer(word.string, word.start(), word.end()):
        if syllable.start() > reached:
            yield reached, syllable.start()
        yield syllable.span()
        reached = syllable.end()
    if reached < word.end():
        yield reached, word.end()


class CodeSwitching:
    """Replaces words of texts by their translations in other languages, from a bilingual lexicon.

    Every batch draws anew, from the seed and its step.

    Args:
        lexicon: `cldr`, which has the names of territories, languages, currencies, months and days,
            or a folder with files XX-YY.tsv (or .txt) that have a phrase and its translation on
            each line, between them a tab or a blank, like those of MUSE.
        share: of the texts of a batch that are switched.
        words: probability that a phrase of the lexicon is replaced.
        sides: `query`, `passage` or both.
        languages: to switch into; all of the lexicon by default.

    Raises:
        ValueError: If a choice is not valid; all problems are named at once.
    """

    def __init__(
        self,
        lexicon: str = CLDR,
        share: float = 0.5,
        words: float = 0.5,
        sides: str | Sequence[str] = ("query",),
        languages: Sequence[str] | None = None,
    ):
        self.lexicon = lexicon
        self.share = share
        self.words = words
        self.sides = (sides,) if isinstance(sides, str) else tuple(sides)
        codes = parse_languages(languages)
        self.languages = None if codes is None else set(codes)
        self.entries: Entries | None = None  # see prepare
        self.longest_phrases: dict[str, int] = {}  # characters, by language
        self.languages_without_blanks: set[str] = set()  # of which a phrase has such letters
        self._require_valid()

    def _require_valid(self) -> None:
        """Raises a ValueError that names everything that is wrong with the choices."""
        problems = []
        for key, value in (("share", self.share), ("words", self.words)):
            if not 0 <= value <= 1:
                problems.append(f"{key}={value} is a probability: use 0 to 1")
        if not self.sides or set(self.sides) - set(SIDES):
            problems.append(f"sides={list(self.sides)} must be among {list(SIDES)}")
        if self.lexicon != CLDR and not Path(self.lexicon).expanduser().is_dir():
            problems.append(
                f"lexicon={self.lexicon!r} must be cldr, or a folder with files like en-de.tsv"
            )
        if problems:
            raise ValueError("data.code_switching: " + "; ".join(problems))

    def prepare(self, languages: Collection[str]) -> "CodeSwitching":
        """Reads the lexicon for the languages of a corpus, and returns itself.

        Raises:
            ValueError: If the lexicon has no phrase for these languages.
        """
        targets = set(languages) if self.languages is None else self.languages
        if self.languages is not None:
            targets = {canonicalize_language(code) for code in self.languages}
        if self.lexicon == CLDR:
            self.entries = _collect_names({*languages, *targets}, targets)
        else:
            folder = Path(self.lexicon).expanduser()
            self.entries = _read_lexicon_files(folder, languages, targets)
        if not any(self.entries.values()):
            raise ValueError(
                f"data.code_switching: the lexicon {self.lexicon!r} has nothing to switch between "
                f"{sorted(languages)} and {sorted(targets)}"
            )
        for language, phrases in self.entries.items():
            self.longest_phrases[language] = max(map(len, phrases), default=0)
            if any(SYLLABLE_WITHOUT_BLANKS.search(phrase) for phrase in phrases):
                self.languages_without_blanks.add(language)
        return self

    def switch_batch(
        self,
        texts: Texts,
        languages_G: Sequence[str],
        ids_GM: np.ndarray,
        key: Sequence[int],
        rank_slice: slice,
    ) -> dict[int, list[str]]:
        """Draws examples of a batch, and switches the texts of those in the slice of a process.

        Which examples are drawn, and how they are switched, is the same for any slice.

        Args:
            texts: the queries or passages of the corpus.
            languages_G: the language of each example.
            ids_GM: the ids of the texts of each example.
            key: of the random numbers of this batch.
            rank_slice: the examples of this process.

        Returns:
            The M texts of every example that was drawn, by its number.
        """
        drawn_G = np.random.default_rng(key).random(len(languages_G)) < self.share
        switched = {}
        for example in range(len(languages_G))[rank_slice]:
            if not drawn_G[example]:
                continue
            language = languages_G[example]
            rng = np.random.default_rng([*key, example])
            switched[example] = [
                self.switch_words(texts[language][int(row)], language, rng)
                for row in ids_GM[example]
            ]
        return switched

    def switch_words(self, text: str, language: str, rng: np.random.Generator) -> str:
        """Returns the text with some of its phrases in other languages.

        The longest phrase of the lexicon that begins at a word is replaced, by a translation in a
        language that is drawn for it. In a language whose phrases have letters of a script that is
        written without blanks, a phrase may begin and end at any of these letters.
        """
        phrases = self.entries.get(language, {})
        longest = self.longest_phrases.get(language, 0)
        units = _split_into_units(text, language in self.languages_without_blanks)
        pieces = []
        copied_to = 0  # position in the text up to which the pieces reach
        first = 0  # number of the unit at which a phrase may begin
        while first < len(units):
            length = _count_units_of_phrase(text, units, first, phrases, longest)
            if length and rng.random() < self.words:
                start = units[first].start
                stop = units[first + length - 1].stop
                translations = phrases[text[start:stop].casefold()]
                pieces.append(text[copied_to:start])
                pieces.append(_draw_translation(translations, rng))
                copied_to = stop
            first += max(1, length)
        pieces.append(text[copied_to:])
        return "".join(pieces)


def _count_units_of_phrase(
    text: str, units: Sequence[_Unit], first: int, phrases: Collection[str], longest: int
) -> int:
    """Returns how many units the longest phrase has that begins with a unit, 0 if none does.

    Args:
        text: the text.
        units: of the text.
        first: number of the unit at which the phrase begins.
        phrases: of the lexicon, as `str.casefold` returns them.
        longest: characters of the longest of them.
    """
    length = 0
    for last in range(first, len(units)):
        if units[last].word - units[first].word >= LONGEST_PHRASE:
            break
        phrase = text[units[first].start : units[last].stop].casefold()
        if len(phrase) > longest:
            break
        if phrase in phrases:
            length = last - first + 1
    return length


def _draw_translation(translations: Mapping[str, list[str]], rng: np.random.Generator) -> str:
    """Draws a language, and one of the translations into it."""
    language = str(rng.choice(sorted(translations)))
    options = translations[language]
    return options[int(rng.integers(len(options)))]


def _collect_names(languages: Collection[str], targets: Collection[str]) -> Entries:
    """Returns the names in CLDR of things in some languages, with their names in the targets."""
    names = {language: collect_lexicon_names(language) for language in sorted(languages)}
    entries: Entries = {}
    for language, names_of_language in names.items():
        phrases = entries.setdefault(language, {})
        for entity, phrase in names_of_language.items():
            translations = {}
            for other in sorted(targets):
                name = names[other].get(entity)
                if other != language and name is not None and name != phrase:
                    translations[other] = [name]
            # Two things can have one name; the first one counts.
            if translations and phrase.casefold() not in phrases:
                phrases[phrase.casefold()] = translations
    return entries


def _read_lexicon_files(
    folder: Path, languages: Collection[str], targets: Collection[str]
) -> Entries:
    """Returns the phrases of the files XX-YY of a folder that lead from a language to a target.

    Raises:
        ValueError: If a file is not named by two language codes, or a phrase has no translation.
    """
    entries: Entries = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".tsv", ".txt") or "-" not in path.stem:
            continue
        language, other = path.stem.split("-", 1)
        explanation = explain_wrong_code(language) or explain_wrong_code(other)
        if explanation:
            raise ValueError(f"data.code_switching: {path}: {explanation}")
        sources, _ = match_languages([language], languages)
        others, _ = match_languages([other], targets)
        if not sources or not others:
            continue
        for number, phrase, translation in _read_lexicon_lines(path):
            if not translation:
                raise ValueError(
                    f"data.code_switching: {path}, line {number}: {phrase!r:.60} has no "
                    "translation beside it"
                )
            phrases = entries.setdefault(sources[0], {})
            translations = phrases.setdefault(phrase.casefold(), {})
            translations.setdefault(others[0], []).append(translation)
    return entries


def _read_lexicon_lines(path: Path) -> Iterable[tuple[int, str, str]]:
    """Yields number, phrase and translation of every line that is not blank."""
    for number, line in enumerate(_read_lexicon(path).splitlines(), 1):
        if line.strip():
            separator = "\t" if "\t" in line else " "
            phrase, _, translation = line.strip().partition(separator)
            if "\t" in translation:
                raise ValueError(
                    f"data.code_switching: {path}, line {number}: {line!r:.60} has more than a "
                    "phrase and its translation between a tab"
                )
            yield number, phrase.strip(), translation.strip()


def _read_lexicon(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # it may begin with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"data.code_switching: {path} is not UTF-8 ({error})") from error
