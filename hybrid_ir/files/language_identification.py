"""Which language a text is in, told from its letters by py3langid (extra `translation`)."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hybrid_ir.files.languages import (
    NO_LANGUAGES,
    canonicalize_language,
    explain_wrong_code,
    find_canonical_code,
)

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# What py3langid calls a language -> the language that a text may be asked for as.
IDENTIFIED_AS = {
    "fil": "tl",
    "nb": "no",
    "wuu": "zh",
    "yue": "zh",
    "arz": "ar",
    "ary": "ar",
}


@dataclass(frozen=True)
class LanguageGuess:
    """The likeliest language of a text.

    Args:
        language: its code.
        confidence: the probability of it among the candidates, from 0 to 1.
    """

    language: str
    confidence: float


class LanguageGuesser:
    """Guesses the language of texts, among some candidates.

    Args:
        languages: codes of the candidates; None for all that py3langid knows and that have a code
            of their own in this project.

    Raises:
        ValueError: py3langid is not installed, or a code is unknown to it, or two codes are one
            language to it.
    """

    def __init__(self, languages: Sequence[str] | None = None):
        self._identifier = load_identifier("set language= where all texts are in one")
        self._code_of_label = _choose_labels(self._identifier.labels, languages)
        self._identifier.set_languages(list(self._code_of_label))

    @property
    def languages(self) -> list[str]:
        """The codes of the candidates, sorted."""
        return sorted(set(self._code_of_label.values()))

    def guess(self, text: str) -> LanguageGuess:
        """Returns the likeliest language of a text.

        It is the one of the likeliest label of py3langid; the confidence is the sum over all labels
        that stand for it, such as those of Mandarin, Wu and Cantonese for zh.
        """
        ranking = self._identifier.rank(text)
        language = self._code_of_label[ranking[0][0]]
        confidence = 0.0
        for label, share in ranking:
            if self._code_of_label[label] == language:
                confidence += share
        return LanguageGuess(language, min(1.0, confidence))


def load_identifier(otherwise: str, min_confidence: float | None = None) -> "LanguageIdentifier":
    """Returns an identifier of py3langid whose confidences are probabilities, for one user alone.

    Args:
        otherwise: what can be done without py3langid, for the message.
        min_confidence: below it a language is `und`; None for always the likeliest one.

    Raises:
        ValueError: py3langid is not installed.
    """
    try:
        identifier = copy(_load_model())
    except ImportError as error:
        raise ValueError(
            "telling languages apart needs py3langid: pip install 'hybrid-ir[translation]', or "
            f"{otherwise}"
        ) from error
    identifier.min_confidence = min_confidence
    return identifier


@cache
def _load_model() -> "LanguageIdentifier":
    """Loads the model of py3langid, which takes seconds."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def drop_subtags(language: str) -> str:
    """Returns a language code without script and region."""
    return language.partition("-")[0].partition("_")[0]


def has_letters(text: str) -> bool:
    """Returns whether a text has letters, without which its language cannot be told."""
    return any(character.isalpha() for character in text)


def detect_languages(texts: Sequence[str]) -> list[str]:
    """Guesses the language of each text with py3langid, among all that it knows.

    Raises:
        ValueError: py3langid is not installed.
    """
    guesser = LanguageGuesser()
    return [guesser.guess(text).language for text in texts]


def _choose_labels(labels: Sequence[str], languages: Sequence[str] | None) -> dict[str, str]:
    """Returns the labels of py3langid that may be answers, and the code that each stands for.

    Raises:
        ValueError: see `LanguageGuesser`.
    """
    usual_codes = {}
    for label in labels:
        code = find_canonical_code(IDENTIFIED_AS.get(label, label))
        if code is not None and code not in NO_LANGUAGES:
            usual_codes[label] = code
    if languages is None:
        return usual_codes
    wanted = _name_wanted_languages(languages)
    code_of_label = {}
    for label, usual_code in usual_codes.items():
        # Who asks for yue beside zh means yue by it; who asks for zh alone means both.
        own_code = find_canonical_code(label)
        code = wanted.get(own_code) or wanted.get(usual_code)
        if code is not None:
            code_of_label[label] = code
    unknown = sorted(set(wanted.values()) - set(code_of_label.values()))
    if unknown:
        raise ValueError(
            f"languages: py3langid does not know {', '.join(unknown)}; it knows "
            f"{', '.join(sorted(set(usual_codes.values())))}"
        )
    return code_of_label


def _name_wanted_languages(languages: Sequence[str]) -> dict[str, str]:
    """Returns the codes of candidates in their canonical form, by their languages alone.

    Raises:
        ValueError: a code is wrong, or two are of one language.
    """
    wanted: dict[str, str] = {}
    problems = []
    for language in languages:
        problem = explain_wrong_code(language)
        if problem is not None:
            problems.append(problem)
            continue
        code = canonicalize_language(language)
        base = drop_subtags(code)
        if base == "nb":  # py3langid has one label for both
            base = "no"
        if wanted.setdefault(base, code) != code:
            problems.append(
                f"{wanted[base]} and {code} are one language to py3langid, leave one of them there"
            )
    if problems:
        raise ValueError(f"languages: {'; '.join(problems)}")
    return wanted
