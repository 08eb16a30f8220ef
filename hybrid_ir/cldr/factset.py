"""The embedded parallel set: facts of CLDR as passages and questions in many languages."""

# F facts (= passage ids), Q questions, K hard negatives

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import numpy as np
from babel.core import get_cldr_version

from hybrid_ir.cldr.facts import Fact, all_facts
from hybrid_ir.cldr.languages import TOLD_BY_VALUE, XQUAD, resolve
from hybrid_ir.cldr.split import facts_of_same_entity, split_facts
from hybrid_ir.cldr.texts import Question, Texts, drop_shared, rows_in, take, write
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

    def evaluated(self, split: str) -> np.ndarray:
        """Ids of the questions of a split that measure: those in whole sentences, where there are any."""
        return np.flatnonzero((self.split == split) & (self.question_style != "telegraphic"))


def build_fact_set(languages: str | Sequence[str] = "xquad") -> FactSet:
    """The set in `xquad` (11 languages), `all` (some 130) or a list of codes; always the same for the same languages.

    With templates for every language each text exists in each. Otherwise there are no templates, and holes.
    """
    return _build(resolve(languages))


@lru_cache(maxsize=4)
def _build(languages: tuple[str, ...]) -> FactSet:
    templated = set(languages) <= set(XQUAD)
    wordings = {language: (Templates if templated else Keywords)(language) for language in languages}
    facts = [fact for fact in all_facts() if templated or fact.kind in TOLD_BY_VALUE]
    minimum = len(languages) if templated else max(1, round(NAMED_IN * len(languages)))
    return _assemble(*_unambiguous(facts, *write(wordings, facts), minimum), languages)


def _unambiguous(facts: Sequence[Fact], passages: Texts, questions: Sequence[Question], asked: Texts, minimum: int):
    """Keep facts and questions with texts of their own in enough languages, and facts that a question asks for."""
    drop_shared(passages, range(len(facts)))
    drop_shared(asked, [question.fact for question in questions])
    for language, rows in asked.items():  # a question without its passage in this language asks for nothing
        asked[language] = [text if passages[language][questions[i].fact] else None for i, text in enumerate(rows)]
    known = set(rows_in(passages, minimum))
    rows = [i for i in rows_in(asked, minimum) if questions[i].fact in known]
    kept = sorted({questions[i].fact for i in rows})
    new_id = {fact: i for i, fact in enumerate(kept)}
    questions = [questions[i]._replace(fact=new_id[questions[i].fact]) for i in rows]
    return [facts[i] for i in kept], take(passages, kept), questions, take(asked, rows)


def _assemble(facts: Sequence[Fact], passages: Texts, questions: Sequence[Question], asked: Texts,
              languages: tuple[str, ...]) -> FactSet:
    homes = [":".join(fact.home) for fact in facts]
    return FactSet(
        languages=languages, passages=passages, questions=asked,
        question_passage=np.array([question.fact for question in questions], dtype=np.int64),
        question_style=np.array([question.style for question in questions]),
        asked_by=tuple(":".join(question.asker) for question in questions),
        fact_split=split_facts(homes), fact_kind=tuple(fact.kind for fact in facts), entity=tuple(homes),
        hard_negatives=facts_of_same_entity(homes))


def source(fact_set: FactSet) -> Source:
    """What the cards print; counts move with the version of babel, so they are taken from the set."""
    return Source(
        name="cldr_facts",
        description=f"{len(fact_set.fact_kind):,} facts of CLDR (territories, cities, languages, scripts, currencies, time "
                    f"zones, calendar, units) as questions and passages in {len(fact_set.languages)} languages, built at "
                    "run time from the locale data of babel",
        licence="data: Unicode License V3; babel: BSD-3-Clause",
        citation="Unicode Common Locale Data Repository (CLDR), https://cldr.unicode.org, by way of Babel, "
                 "https://babel.pocoo.org",
        revision=f"babel {version('babel')}, CLDR {get_cldr_version()}",
        choices={"questions": "natural and telegraphic, by name and by city", "evaluated": "natural"}
        if set(fact_set.languages) <= set(XQUAD) else {"questions": "keywords", "evaluated": "keywords"})
