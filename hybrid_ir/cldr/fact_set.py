"""The embedded parallel set: facts of CLDR as passages and questions in many languages."""

# F facts (= passage ids), Q questions, K hard negatives

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from babel.core import get_cldr_version

from hybrid_ir.cldr.facts import assign_splits, collect_facts, find_facts_of_same_entity
from hybrid_ir.cldr.languages import KINDS_KNOWN_BY_VALUE, XQUAD, resolve_languages
from hybrid_ir.cldr.texts import FactTexts, TextsByLanguage, write_texts
from hybrid_ir.cldr.wording import Keywords, Templates
from hybrid_ir.types import Source

# Where texts may be missing: the share of the languages that a fact or question must be in.
REQUIRED_SHARE_OF_LANGUAGES = 0.5
# Sets that this process has loaded: the corpus and both benchmarks of a run share one.
MOST_REMEMBERED_SETS = 8
# By their languages and the folder that keeps them.
_REMEMBERED_SETS: dict[tuple[tuple[str, ...], str], "FactSet"] = {}


@dataclass(frozen=True)
class FactSet:
    """Questions and passages whose ids do not depend on the language.

    No text of a held-out question or passage occurs in training, in any language.

    Args:
        languages: codes.
        passages: language -> F texts; None where the language lacks a text.
        questions: language -> Q texts, likewise.
        question_passage: (Q), the fact that answers.
        question_style: (Q), natural, telegraphic, or keywords where there are no templates.
        question_subject: Q entities that the questions name, as "city:Asia/Kabul".
        fact_split: (F), train, dev or test.
        fact_kind: F kinds of facts.
        entity: F entities that the facts belong to, as "territory:AF".
        hard_negatives: (F, K), other facts of the same entity, -1 fills the rows.
    """

    languages: tuple[str, ...]
    passages: TextsByLanguage
    questions: TextsByLanguage
    question_passage: np.ndarray
    question_style: np.ndarray
    question_subject: tuple[str, ...]
    fact_split: np.ndarray
    fact_kind: tuple[str, ...]
    entity: tuple[str, ...]
    hard_negatives: np.ndarray

    @property
    def split(self) -> np.ndarray:
        """The split of each question (Q): that of its fact."""
        return self.fact_split[self.question_passage]

    @property
    def has_templates(self) -> bool:
        """Whether questions and passages are sentences; then no text is missing."""
        return set(self.languages) <= set(XQUAD)

    def find_evaluated_questions(self, split: str) -> np.ndarray:
        """Returns the questions of a split to evaluate on: natural ones, or keywords."""
        is_evaluated = (self.split == split) & (self.question_style != "telegraphic")
        return np.flatnonzero(is_evaluated)


def build_fact_set(
    languages: str | Sequence[str] | None = "xquad", cache: str | Path | None = None
) -> FactSet:
    """Builds the set; it is always the same for the same languages.

    If there are templates for every language, each text exists in each of them. Otherwise no
    templates are used, and texts may be missing.

    Args:
        languages: `xquad` (11 languages), `all` (some 130), or a list of codes.
        cache: folder where the set is kept once it is built; None keeps it in memory alone.

    Raises:
        ValueError: If CLDR does not name enough of the facts in a language.
    """
    codes = resolve_languages(languages)
    key = (codes, str(cache))
    if key not in _REMEMBERED_SETS:
        while len(_REMEMBERED_SETS) >= MOST_REMEMBERED_SETS:
            oldest = next(iter(_REMEMBERED_SETS))
            del _REMEMBERED_SETS[oldest]
        _REMEMBERED_SETS[key] = _load_fact_set(codes, cache)
    return _REMEMBERED_SETS[key]


def _load_fact_set(languages: tuple[str, ...], cache: str | Path | None) -> FactSet:
    """Returns the set of sorted codes from the cache, or builds it."""
    if cache is None:
        return _build_fact_set(languages)
    from hybrid_ir.cldr.stored_facts import load_or_build  # It knows this file.

    return load_or_build(languages, Path(cache), lambda: _build_fact_set(languages))


def _build_fact_set(languages: tuple[str, ...]) -> FactSet:
    """Builds the set of sorted codes."""
    if set(languages) <= set(XQUAD):
        wordings = {language: Templates(language) for language in languages}
        texts = write_texts(collect_facts(), wordings, minimum=len(languages))
    else:
        wordings = {language: Keywords(language) for language in languages}
        facts = [fact for fact in collect_facts() if fact.kind in KINDS_KNOWN_BY_VALUE]
        minimum = max(1, round(REQUIRED_SHARE_OF_LANGUAGES * len(languages)))
        texts = write_texts(facts, wordings, minimum)
    return _assemble_fact_set(texts, languages)


def _assemble_fact_set(texts: FactTexts, languages: tuple[str, ...]) -> FactSet:
    """Numbers facts and questions, and adds what follows from the facts."""
    splits = assign_splits()
    id_of_fact = {fact: fact_id for fact_id, fact in enumerate(texts.facts)}
    question_passage = [id_of_fact[question.fact] for question in texts.questions]
    entities = [fact.entity for fact in texts.facts]
    return FactSet(
        languages=languages,
        passages=texts.passages,
        questions=texts.question_texts,
        question_passage=np.array(question_passage, dtype=np.int64),
        question_style=np.array([question.style for question in texts.questions]),
        question_subject=tuple(str(question.subject) for question in texts.questions),
        fact_split=np.array([splits[fact] for fact in texts.facts]),
        fact_kind=tuple(fact.kind for fact in texts.facts),
        entity=tuple(map(str, entities)),
        hard_negatives=find_facts_of_same_entity(entities),
    )


def describe_source(fact_set: FactSet) -> Source:
    """Returns what cards say of the set; it counts the facts, which change with babel."""
    style = "natural" if fact_set.has_templates else "keywords"
    return Source(
        name="cldr_facts",
        description=f"{len(fact_set.fact_kind):,} facts of CLDR (territories, cities, languages, "
        "scripts, currencies, time zones, calendar, units) as questions and passages in "
        f"{len(fact_set.languages)} languages, built at run time from the locale data of babel",
        licence="data: Unicode License V3; babel: BSD-3-Clause",
        citation="Unicode Common Locale Data Repository (CLDR), https://cldr.unicode.org, "
        "by way of Babel, https://babel.pocoo.org",
        revision=f"babel {version('babel')}, CLDR {get_cldr_version()}",
        choices={
            "evaluated_questions": style,
            "held_out": "facts: 12 % test, 5 % dev, of known entities",
        },
    )
