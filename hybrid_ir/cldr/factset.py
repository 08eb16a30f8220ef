"""The embedded parallel set: facts of CLDR as passages and questions in many languages."""

# F facts (= passage ids), Q questions, K hard negatives

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import numpy as np
from babel.core import get_cldr_version

from hybrid_ir.cldr.facts import all_facts
from hybrid_ir.cldr.languages import TOLD_BY_VALUE, XQUAD, resolve
from hybrid_ir.cldr.split import facts_of_same_entity, split_of
from hybrid_ir.cldr.texts import Texts, Written, write
from hybrid_ir.cldr.wording import Keywords, Templates
from hybrid_ir.types import Source

NAMED_IN = 0.5  # share of the languages that a fact needs where holes are allowed


@dataclass(frozen=True)
class FactSet:
    """Question and passage texts whose ids do not know the language; a text is None where a language lacks it.

    No text of a held-out question or passage occurs in training, in any language.
    """

    languages: tuple[str, ...]
    passages: Texts  # F per language
    questions: Texts  # Q per language
    question_passage: np.ndarray  # Q, the fact that answers
    question_style: np.ndarray  # Q: natural, telegraphic, or keywords where there are no templates
    asked_by: tuple[str, ...]  # Q, whom the question names, as "city:Asia/Kabul"
    fact_split: np.ndarray  # F: train, dev or test
    fact_kind: tuple[str, ...]  # F
    entity: tuple[str, ...]  # F, as "territory:AF"
    hard_negatives: np.ndarray  # F, K other facts of the same entity, -1 fills

    @property
    def split(self) -> np.ndarray:
        """train, dev or test for each question (Q): that of its fact."""
        return self.fact_split[self.question_passage]

    @property
    def templated(self) -> bool:
        """Whether the questions are sentences, and no text is missing."""
        return set(self.languages) <= set(XQUAD)

    def evaluated(self, split: str) -> np.ndarray:
        """Ids of the questions of a split that measure: the natural ones, keywords where there are no templates."""
        return np.flatnonzero((self.split == split) & (self.question_style != "telegraphic"))


def build_fact_set(languages: str | Sequence[str] | None = "xquad") -> FactSet:
    """The set in `xquad` (11 languages), `all` (some 130) or a list of codes; always the same for the same languages.

    With templates for every language each text exists in each. Otherwise there are no templates, and holes.
    """
    return _build(resolve(languages))


@lru_cache(maxsize=8)
def _build(languages: tuple[str, ...]) -> FactSet:
    if set(languages) <= set(XQUAD):
        wordings = {language: Templates(language) for language in languages}
        return _assemble(write(all_facts(), wordings, minimum=len(languages)), languages)
    wordings = {language: Keywords(language) for language in languages}
    facts = [fact for fact in all_facts() if fact.kind in TOLD_BY_VALUE]
    return _assemble(
        write(facts, wordings, minimum=max(1, round(NAMED_IN * len(languages)))), languages
    )


def _assemble(written: Written, languages: tuple[str, ...]) -> FactSet:
    facts, questions = written.facts, written.questions
    fact_id = {fact: i for i, fact in enumerate(facts)}
    return FactSet(
        languages=languages,
        passages=written.passages,
        questions=written.asked,
        question_passage=np.array([fact_id[row.fact] for row in questions], dtype=np.int64),
        question_style=np.array([row.style for row in questions]),
        asked_by=tuple(":".join(row.asker) for row in questions),
        fact_split=np.array([split_of()[fact] for fact in facts]),
        fact_kind=tuple(fact.kind for fact in facts),
        entity=tuple(":".join(fact.home) for fact in facts),
        hard_negatives=facts_of_same_entity([fact.home for fact in facts]),
    )


def describe_source(fact_set: FactSet) -> Source:
    """What the cards print; counts move with the version of babel, so they are taken from the set."""
    style = "natural" if fact_set.templated else "keywords"
    return Source(
        name="cldr_facts",
        description=f"{len(fact_set.fact_kind):,} facts of CLDR (territories, cities, languages, scripts, currencies, "
        "time zones, calendar, units) as questions and passages in "
        f"{len(fact_set.languages)} languages, built at run time from the locale data of babel",
        licence="data: Unicode License V3; babel: BSD-3-Clause",
        citation="Unicode Common Locale Data Repository (CLDR), https://cldr.unicode.org, by way of Babel, "
        "https://babel.pocoo.org",
        revision=f"babel {version('babel')}, CLDR {get_cldr_version()}",
        choices={
            "evaluated_questions": style,
            "held_out": "facts: 12 % test, 5 % dev, of known entities",
        },
    )
