"""Which machine translations are worth training on: a reason to reject one, or none."""

# T texts of a unit of work

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hybrid_ir.files.language_identification import IDENTIFIED_AS, drop_subtags, load_identifier
from hybrid_ir.translation.families import Translation

REPEATED_PIECE = re.compile(r"(.{1,40}?)\1{4,}", re.DOTALL)


@dataclass(frozen=True)
class QualityFilters:
    """Finds reasons to reject translations.

    Args:
        length_ratio: how many times longer or shorter than is typical of its unit of work a
            translation may be; 0 for any length.
        language_letters: the letters from which on a text must be identified as of its language;
            0 for no identification.
        copied: the share of the words of the source from which on a translation is a copy of it;
            0 for no check.
        repeated: the characters of one repeated piece from which on a translation is a loop; 0 for
            no check.
        identical: the number of different sources in a unit of work from which on their common
            translation is rejected; 0 for no check.
        languages: the languages of the job; a text is identified as one of them.
    """

    length_ratio: float = 3.0
    language_letters: int = 20
    copied: float = 0.8
    repeated: int = 20
    identical: int = 5
    languages: tuple[str, ...] = ()

    @cached_property
    def identifier(self):
        """The LanguageIdentifier of py3langid, among the languages of the job."""
        identifier = load_identifier("language_letters=0 does without", min_confidence=0.2)
        bases = {drop_subtags(language) for language in self.languages}
        known = bases & set(identifier.nb_classes)
        identifier.set_languages([*known, "zxx"])
        return identifier

    def find_reasons(
        self, sources: Sequence[str], translations: Sequence[Translation], language: str
    ) -> list[str | None]:
        """Returns why each translation of a unit of work is rejected, None where it is not.

        Args:
            sources: the texts that were translated (T).
            translations: their translations (T).
            language: the language of the translations.
        """
        ratios_T = self._compute_length_ratios(sources, translations)
        source_counts = _count_sources(sources, translations)
        reasons = []
        for source, translation, ratio in zip(sources, translations, ratios_T, strict=True):
            reason = self._find_reason(source, translation, language, ratio)
            if reason is None and 0 < self.identical <= source_counts[translation.text]:
                reason = "same as others"
            reasons.append(reason)
        return reasons

    def _compute_length_ratios(
        self, sources: Sequence[str], translations: Sequence[Translation]
    ) -> np.ndarray:
        """Returns how long each translation is beside its source; 1 is typical of them (T)."""
        ratios = []
        usable_ratios = []
        for source, translation in zip(sources, translations, strict=True):
            ratio = (len(translation.text) + 1) / (len(source) + 1)
            ratios.append(ratio)
            if translation.is_complete and translation.text:
                usable_ratios.append(ratio)
        typical = float(np.median(usable_ratios)) if usable_ratios else 1.0
        return np.array(ratios) / typical

    def _find_reason(
        self, source: str, translation: Translation, language: str, length_ratio: float
    ) -> str | None:
        text = translation.text
        if not translation.is_complete:
            return "too long"
        if not text.strip():
            return "empty"
        if self.repeated and self._repeats_itself(text) and not self._repeats_itself(source):
            return "repetition"
        if self.length_ratio and not 1 / self.length_ratio <= length_ratio <= self.length_ratio:
            return "length"
        if self.copied and is_copy(source, text, self.copied):
            return "copied source"
        if self.language_letters and not self._is_in_language(text, language):
            return "language"
        return None

    def _repeats_itself(self, text: str) -> bool:
        return len(find_repetition(text)) >= self.repeated

    def _is_in_language(self, text: str, language: str) -> bool:
        """Returns whether a text is in a language, as far as that can be told.

        True for a text with few letters, for a language that the identifier does not know, and
        where it cannot tell.
        """
        letters = sum(character.isalpha() for character in text)
        base = drop_subtags(language)
        if letters < self.language_letters or base not in self.identifier.nb_classes:
            return True
        identified = self.identifier.classify(text)[0]
        return IDENTIFIED_AS.get(identified, identified) in (base, "und", "zxx")


def find_repetition(text: str) -> str:
    """Returns the longest stretch of a text that is one piece five times or more, or ''."""
    stretches = [match.group(0) for match in REPEATED_PIECE.finditer(text)]
    return max(stretches, key=len, default="")


def is_copy(source: str, text: str, share: float) -> bool:
    """Returns whether a translation has at least a share of the words of its source.

    A source of a few words, such as a name or a number, has no copy.
    """
    words = [word for word in source.casefold().split() if len(word) > 2 and word.isalpha()]
    copied = [word for word in words if word in text.casefold()]
    return len(words) > 3 and len(copied) >= share * len(words)


def _count_sources(sources: Sequence[str], translations: Sequence[Translation]) -> Counter[str]:
    """Counts how many sources, which differ by more than case, have each translation."""
    pairs = set()
    for source, translation in zip(sources, translations, strict=True):
        pairs.add((source.casefold(), translation.text))
    return Counter(text for _, text in pairs)
