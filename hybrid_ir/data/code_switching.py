"""Code switching: words of training texts replaced by their translations (arXiv 2305.05295)."""

# G examples of a global batch, M texts of an example

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hybrid_ir.cldr.names import collect_lexicon_names
from hybrid_ir.data.corpus import Texts
from hybrid_ir.files.languages import explain_wrong_code

LONGEST_PHRASE = 4  # words
SIDES = ("query", "passage")
CLDR = "cldr"  # the lexicon that comes with babel
# Language -> phrase -> other language -> translations.
Entries = dict[str, dict[str, dict[str, list[str]]]]


def _compile_word_pattern() -> re.Pattern:
    r"""Compiles the pattern of a word, with the vowel signs of Hindi, Thai and others.

    Python's \w does not match such marks, which would cut these words into pieces.
    """
    characters = map(chr, range(1 << 16))
    marks = [letter for letter in characters if unicodedata.category(letter).startswith("M")]
    return re.compile(rf"[\w{''.join(map(re.escape, marks))}]+")


WORD = _compile_word_pattern()


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
        self.languages = None if languages is None else set(languages)
        self.entries: Entries | None = None  # see prepare
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
        language that is drawn for it.
        """
        phrases = self.entries.get(language, {})
        words = list(WORD.finditer(text))
        pieces = []
        copied_to = 0  # position in the text up to which the pieces reach
        first = 0  # number of the word at which a phrase may begin
        while first < len(words):
            length = _count_words_of_phrase(text, words[first : first + LONGEST_PHRASE], phrases)
            if length and rng.random() < self.words:
                start = words[first].start()
                stop = words[first + length - 1].end()
                translations = phrases[text[start:stop].casefold()]
                pieces.append(text[copied_to:start])
                pieces.append(_draw_translation(translations, rng))
                copied_to = stop
            first += max(1, length)
        pieces.append(text[copied_to:])
        return "".join(pieces)


def _count_words_of_phrase(text: str, words: Sequence[re.Match], phrases: Collection[str]) -> int:
    """Returns how many of the words the longest phrase has that they begin with, 0 if none does."""
    for count in range(len(words), 0, -1):
        phrase = text[words[0].start() : words[count - 1].end()]
        if phrase.casefold() in phrases:
            return count
    return 0


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
        if language not in languages or other not in targets:
            continue
        for number, phrase, translation in _read_lexicon_lines(path):
            if not translation:
                raise ValueError(
                    f"data.code_switching: {path}, line {number}: {phrase!r:.60} has no "
                    "translation beside it"
                )
            phrases = entries.setdefault(language, {})
            translations = phrases.setdefault(phrase.casefold(), {})
            translations.setdefault(other, []).append(translation)
    return entries


def _read_lexicon_lines(path: Path) -> Iterable[tuple[int, str, str]]:
    """Yields number, phrase and translation of every line that is not blank."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            separator = "\t" if "\t" in line else " "
            phrase, _, translation = line.strip().partition(separator)
            yield number, phrase.strip(), translation.strip()
