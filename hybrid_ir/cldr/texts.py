"""Texts of facts and questions in many languages: one row per fact or question."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_ir.cldr.facts import Fact, keep_trained_entities
from hybrid_ir.cldr.names import Entity
from hybrid_ir.cldr.wording import Keywords, Templates

TextsByLanguage = dict[str, list[str | None]]  # None where a language lacks a text


class Question(NamedTuple):
    """What a question asks, in every language.

    Args:
        fact: the answer.
        subject: the entity that the question names.
        style: of the wording.
    """

    fact: Fact
    subject: Entity
    style: str


class FactTexts(NamedTuple):
    """Facts and questions with their texts in every language.

    Args:
        facts: the facts, each a row of `passages`.
        questions: the questions, each a row of `question_texts`.
        passages: the sentence of each fact by language.
        question_texts: the text of each question by language.
    """

    facts: list[Fact]
    questions: list[Question]
    passages: TextsByLanguage
    question_texts: TextsByLanguage


def write_texts(
    facts: Sequence[Fact], wordings: Mapping[str, Templates | Keywords], minimum: int
) -> FactTexts:
    """Writes facts and questions that at least `minimum` languages can say without ambiguity.

    A fact without a question is left out.

    Args:
        facts: to write.
        wordings: language -> how it puts facts into words; all of them in the same way.
        minimum: number of languages.
    """
    questions = _list_questions(facts, wordings)
    passages: TextsByLanguage = {}
    for language, wording in wordings.items():
        passages[language] = [wording.write_passage(fact) for fact in facts]
    _drop_shared_texts(passages, facts)

    question_texts: TextsByLanguage = {}
    for language, wording in wordings.items():
        written = {
            fact for fact, text in zip(facts, passages[language], strict=True) if text is not None
        }
        column = []
        for question in questions:
            # Where the passage is missing, the question would ask for nothing.
            text = wording.write_question(*question) if question.fact in written else None
            column.append(text)
        question_texts[language] = column
    _drop_shared_texts(question_texts, [question.fact for question in questions])
    return _drop_rare_rows(FactTexts(list(facts), questions, passages, question_texts), minimum)


def _list_questions(
    facts: Sequence[Fact], wordings: Mapping[str, Templates | Keywords]
) -> list[Question]:
    """Returns all questions: every style of the wordings for every subject of a fact."""
    first_wording = next(iter(wordings.values()))
    questions = []
    for fact in facts:
        for subject in fact.question_subjects:
            for style in first_wording.styles:
                questions.append(Question(fact, subject, style))
    return questions


def _drop_shared_texts(texts: TextsByLanguage, facts: Sequence[Fact]) -> None:
    """Removes texts that two facts share in any languages, and repetitions in one language.

    "Which country is Saint John's in?" has two answers; and a held-out text must not be seen in
    training as the text of another fact.

    Args:
        texts: changed in place.
        facts: the fact of each row.
    """
    keys_by_language: TextsByLanguage = {}
    for language, column in texts.items():
        keys_by_language[language] = [None if text is None else text.casefold() for text in column]
    fact_of_key: dict[str, Fact] = {}
    shared = set()
    for keys in keys_by_language.values():
        for fact, key in zip(facts, keys, strict=True):
            if key is not None and fact_of_key.setdefault(key, fact) is not fact:
                shared.add(key)
    for language, keys in keys_by_language.items():
        seen: set[str] = set()
        for row, key in enumerate(keys):
            if key is None:
                continue
            if key in shared or key in seen:
                texts[language][row] = None
            seen.add(key)


def _drop_rare_rows(texts: FactTexts, minimum: int) -> FactTexts:
    """Keeps rows in at least `minimum` languages.

    Facts without a question, and entities without a fact to train on, are dropped as well.
    """
    common_facts = {texts.facts[row] for row in _find_common_rows(texts.passages, minimum)}
    question_rows = []
    for row in _find_common_rows(texts.question_texts, minimum):
        if texts.questions[row].fact in common_facts:
            question_rows.append(row)
    facts_with_question = {texts.questions[row].fact for row in question_rows}
    facts = keep_trained_entities([fact for fact in texts.facts if fact in facts_with_question])

    kept = set(facts)
    question_rows = [row for row in question_rows if texts.questions[row].fact in kept]
    row_of_fact = {fact: row for row, fact in enumerate(texts.facts)}
    fact_rows = [row_of_fact[fact] for fact in facts]
    return FactTexts(
        facts,
        [texts.questions[row] for row in question_rows],
        select_rows(texts.passages, fact_rows),
        select_rows(texts.question_texts, question_rows),
    )


def _find_common_rows(texts: TextsByLanguage, minimum: int) -> list[int]:
    """Returns the rows that have a text in at least `minimum` languages."""
    rows = []
    for row, translations in enumerate(zip(*texts.values(), strict=True)):
        if sum(text is not None for text in translations) >= minimum:
            rows.append(row)
    return rows


def select_rows(texts: TextsByLanguage, rows: Sequence[int]) -> TextsByLanguage:
    """Returns the texts of some rows in all languages."""
    selected = {}
    for language, column in texts.items():
        selected[language] = [column[row] for row in rows]
    return selected
