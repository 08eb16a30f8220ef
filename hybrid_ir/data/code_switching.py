"""Code switching: words of training texts replaced by their translations, as a value of the training (2305.05295)."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hybrid_ir.cldr.lexicon import names_in
from hybrid_ir.data.corpus import Texts
from hybrid_ir.files.languages import explain_wrong_code

MARKS = "".join(
    map(
        re.escape,
        (chr(code) for code in range(1 << 16) if unicodedata.category(chr(code)).startswith("M")),
    )
)
WORDS = re.compile(
    rf"[\w{MARKS}]+"
)  # with the vowel signs of Hindi, Thai and others, which \w has not
LONGEST = 4  # words of a phrase
SIDES = ("query", "passage")
Entries = Mapping[
    str, Mapping[str, Mapping[str, Sequence[str]]]
]  # language -> phrase -> other language -> translations


class CodeSwitching:
    """Puts words of other languages into texts, from a bilingual lexicon; every batch draws anew, by seed and step.

    Args:
        lexicon: `cldr`, the names of territories, languages, currencies, months and days in CLDR, or a folder with files
            XX-YY.tsv (or .txt) that have a phrase and a translation on each line, between tabs or a blank, as MUSE's.
        share: of the texts of a batch that are switched.
        words: probability that a phrase which the lexicon knows is replaced.
        sides: `query`, `passage` or both.
        languages: to switch into; all of the lexicon by default.
    """

    def __init__(
        self,
        lexicon: str = "cldr",
        share: float = 0.5,
        words: float = 0.5,
        sides: str | Sequence[str] = ("query",),
        languages: Sequence[str] | None = None,
    ):
        self.share, self.words, self.lexicon = share, words, lexicon
        self.sides = (sides,) if isinstance(sides, str) else tuple(sides)
        self.languages = None if languages is None else set(languages)
        wrong = [
            f"{key}={value} is a probability: use 0 to 1"
            for key, value in (("share", share), ("words", words))
            if not 0 <= value <= 1
        ]
        if not self.sides or set(self.sides) - {*SIDES}:
            wrong.append(f"sides={list(self.sides)} must be among {list(SIDES)}")
        if lexicon != "cldr" and not Path(lexicon).expanduser().is_dir():
            wrong.append(f"lexicon={lexicon!r} must be cldr, or a folder with files like en-de.tsv")
        if wrong:
            raise ValueError("data.code_switching: " + "; ".join(wrong))
        self.entries: Entries | None = None

    def prepare(self, languages: Collection[str]) -> "CodeSwitching":
        """Read the lexicon for the languages of a corpus; ValueError where it has no phrase for them."""
        targets = set(languages) if self.languages is None else self.languages
        if self.lexicon == "cldr":
            self.entries = build_entries_from_names(
                {language: names_in(language) for language in sorted({*languages, *targets})},
                targets,
            )
        else:
            self.entries = read_entries_from_files(
                Path(self.lexicon).expanduser(), languages, targets
            )
        if not any(self.entries.values()):
            raise ValueError(
                f"data.code_switching: the lexicon {self.lexicon!r} has nothing to switch between "
                f"{sorted(languages)} and {sorted(targets)}"
            )
        return self

    def of_batch(
        self,
        texts: Texts,
        languages_G: Sequence[str],
        ids_GK: np.ndarray,
        seed: Sequence[int],
        own: slice,
    ) -> dict[int, list[str]]:
        """The texts (K) of those examples of a rank's slice that are drawn; which ones, and how, does not depend on the rank."""
        chosen_G = np.random.default_rng(seed).random(len(languages_G)) < self.share
        found = {}
        for number in np.arange(len(languages_G))[own][chosen_G[own]]:
            language, rng = languages_G[number], np.random.default_rng([*seed, number])
            found[int(number)] = [
                self.switched(texts[language][int(row)], language, rng) for row in ids_GK[number]
            ]
        return found

    def switched(self, text: str, language: str, rng: np.random.Generator) -> str:
        """The text with some of its phrases in other languages, each in one that is drawn for it; longest phrases first."""
        known, found, end = self.entries.get(language, {}), [], 0
        words = list(WORDS.finditer(text))
        number = 0
        while number < len(words):
            for length in range(min(LONGEST, len(words) - number), 0, -1):
                start, stop = words[number].start(), words[number + length - 1].end()
                if translations := known.get(text[start:stop].casefold()):
                    if rng.random() < self.words:
                        options = translations[str(rng.choice(sorted(translations)))]
                        found += [text[end:start], options[int(rng.integers(len(options)))]]
                        end = stop
                    number += length
                    break
            else:
                number += 1
        return "".join([*found, text[end:]])


def build_entries_from_names(names: Mapping[str, Mapping], targets: Collection[str]) -> Entries:
    """Phrases that name a thing in one language, with its names in others."""
    entries: dict[str, dict[str, dict[str, list[str]]]] = {}
    for language, own in names.items():
        phrases = entries.setdefault(language, {})
        for entity, phrase in own.items():
            others = {
                other: [names[other][entity]]
                for other in sorted(targets)
                if other != language
                and entity in names.get(other, {})
                and names[other][entity] != phrase
            }
            if others:
                phrases.setdefault(phrase.casefold(), others)
    return entries


def read_entries_from_files(
    folder: Path, languages: Collection[str], targets: Collection[str]
) -> Entries:
    entries: dict[str, dict[str, dict[str, list[str]]]] = {}
    files = sorted(
        path for path in folder.iterdir() if path.suffix in (".tsv", ".txt") and "-" in path.stem
    )
    for path in files:
        language, other = path.stem.split("-", 1)
        if told := explain_wrong_code(language) or explain_wrong_code(other):
            raise ValueError(f"data.code_switching: {path}: {told}")
        if language in languages and other in targets:
            for number, phrase, translation in read_lexicon_lines(path):
                if not translation:
                    raise ValueError(
                        f"data.code_switching: {path}, line {number}: {phrase!r:.60} has no translation beside it"
                    )
                entries.setdefault(language, {}).setdefault(phrase.casefold(), {}).setdefault(
                    other, []
                ).append(translation)
    return entries


def read_lexicon_lines(path: Path) -> Iterable[tuple[int, str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            phrase, _, translation = line.strip().partition("\t" if "\t" in line else " ")
            yield number, phrase.strip(), translation.strip()
