"""Which translations are worth training on: a reason to reject one, or none."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

REPEATED = re.compile(r"(.{1,40}?)\1{4,}", re.DOTALL)
OTHER_NAMES = {
    "fil": "tl",
    "nb": "no",
    "wuu": "zh",
    "yue": "zh",
    "arz": "ar",
    "ary": "ar",
}  # of the identifier's languages


@dataclass(frozen=True)
class QualityFilters:
    """Reasons to reject a translation.

    Args:
        length_ratio: a translation may be so many times longer or shorter than is typical of its unit of work; 0 for any.
        language_letters: letters from which on a text must be identified as of its language; 0 for no identification.
        copied: share of the source's words from which on a translation counts as a copy of it; 0 for no check.
        identical: different sources of a unit of work with one translation from which on it counts as none; 0 for no check.
        repeated: characters of one repeated piece from which on a translation counts as a loop; 0 for no check.
        languages: of the job; the identification is among them.
    """

    length_ratio: float = 3.0
    language_letters: int = 20
    copied: float = 0.8
    repeated: int = 20
    identical: int = 5
    languages: tuple[str, ...] = ()

    @cached_property
    def identifier(self):
        """A LanguageIdentifier of py3langid among the languages of the job."""
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            raise ValueError(
                "telling languages apart needs py3langid: pip install 'hybrid-ir[translation]', or "
                "language_letters=0 does without"
            ) from error
        found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=0.2)
        known = {language.partition("-")[0].partition("_")[0] for language in self.languages} & set(
            found.nb_classes
        )
        found.set_languages([*known, "zxx"])
        return found

    def reasons(
        self, sources: Sequence[str], translations: Sequence[tuple[str, bool]], language: str
    ) -> list[str | None]:
        """Why each translation is rejected, None where it is not."""
        ratios = np.array(
            [
                (len(text) + 1) / (len(source) + 1)
                for source, (text, _) in zip(sources, translations, strict=True)
            ]
        )
        whole = np.array([bool(whole and text) for text, whole in translations], bool)
        typical = float(np.median(ratios[whole])) if whole.any() else 1.0
        sources_of = Counter(
            text
            for _, text in {
                (source.casefold(), text)
                for source, (text, _) in zip(sources, translations, strict=True)
            }
        )
        return [
            self.reason(source, text, whole, language, ratio / typical)
            or ("same as others" if 0 < self.identical <= sources_of[text] else None)
            for source, (text, whole), ratio in zip(sources, translations, ratios, strict=True)
        ]

    def reason(
        self, source: str, text: str, whole: bool, language: str, ratio: float
    ) -> str | None:
        if not whole:
            return "too long"
        if not text.strip():
            return "empty"
        if self.repeated and len(loop(text)) >= self.repeated > len(loop(source)):
            return "repetition"
        if self.length_ratio and not 1 / self.length_ratio <= ratio <= self.length_ratio:
            return "length"
        if self.copied and is_copy(source, text, self.copied):
            return "copied source"
        if (
            self.language_letters
            and sum(map(str.isalpha, text)) >= self.language_letters
            and not self._is_in(text, language)
        ):
            return "language"
        return None

    def _is_in(self, text: str, language: str) -> bool:
        """True as well where the identifier does not know the language, or cannot tell."""
        base = language.partition("-")[0].partition("_")[0]
        if base not in self.identifier.nb_classes:
            return True
        found = self.identifier.classify(text)[0]
        return OTHER_NAMES.get(found, found) in (base, "und", "zxx")


def loop(text: str) -> str:
    """The longest stretch that is one piece five times or more."""
    return max((match.group(0) for match in REPEATED.finditer(text)), key=len, default="")


def is_copy(source: str, text: str, share: float) -> bool:
    """Whether so large a share of the source's words is in the text as well; a name or a number alone is no copy."""
    words = [word for word in source.casefold().split() if len(word) > 2 and word.isalpha()]
    return len(words) > 3 and sum(word in text.casefold() for word in words) >= share * len(words)
