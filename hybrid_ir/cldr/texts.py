"""Texts of facts, aligned over languages: one row per fact or question, None where a language lacks it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_ir.cldr.entities import Entity
from hybrid_ir.cldr.facts import Fact
from hybrid_ir.cldr.split import with_training_fact
from hybrid_ir.cldr.wording import Keywords, Templates

Texts = dict[str, list[str | None]]  # language -> text by row


class Question(NamedTuple):
    """What a row of questions asks; the words are in every language."""

    fact: Fact
    asker: Entity
    style: str


class Written(NamedTuple):
    """Facts and questions in words: `passages[language]` lies along `facts`, `asked[language]` along `questions`."""

    facts: list[Fact]
    questions: list[Question]
    passages: Texts
    asked: Texts


def write(
    facts: Sequence[Fact], wordings: Mapping[str, Templates | Keywords], minimum: int
) -> Written:
    """All that at least `minimum` languages can say without ambiguity; a fact that nobody can ask for is left out."""
    styles = next(iter(wordings.values())).styles
    questions = [
        Question(fact, asker, style) for fact in facts for asker in fact.askers for style in styles
    ]
    passages = {
        language: [words.passage(fact) for fact in facts] for language, words in wordings.items()
    }
    drop_shared(passages, facts)
    asked: Texts = {}
    for (
        language,
        words,
    ) in wordings.items():  # where the passage is missing, the question asks for nothing
        answered = {
            fact for fact, text in zip(facts, passages[language], strict=True) if text is not None
        }
        asked[language] = [
            words.question(*row) if row.fact in answered else None for row in questions
        ]
    drop_shared(asked, [row.fact for row in questions])
    return keep(Written(list(facts), questions, passages, asked), minimum)


def drop_shared(texts: Texts, owners: Sequence[Fact]) -> None:
    """Remove every text that two facts share, in one language or two, and what one fact repeats in a language.

    "Which country is Saint John's in?" has two answers; a held-out text must not be seen in training as another's.
    """
    keys = {
        language: [text and text.casefold() for text in column]
        for language, column in texts.items()
    }
    owner_of: dict[str, Fact | None] = {}
    for column in keys.values():
        for owner, key in zip(owners, column, strict=True):
            if key is not None and owner_of.setdefault(key, owner) is not owner:
                owner_of[key] = None
    for language, column in keys.items():
        seen: set[str] = set()
        for i, key in enumerate(column):
            if key is not None and (key in seen or owner_of[key] is None):
                texts[language][i] = None
            seen.add(key)


def keep(written: Written, minimum: int) -> Written:
    """Only rows in at least `minimum` languages, facts with a question, and entities with a fact to train on."""
    known = {written.facts[i] for i in rows_in(written.passages, minimum)}
    rows = [i for i in rows_in(written.asked, minimum) if written.questions[i].fact in known]
    asked_for = {written.questions[i].fact for i in rows}
    facts = with_training_fact([fact for fact in written.facts if fact in asked_for])
    fact_set, position = set(facts), {fact: i for i, fact in enumerate(written.facts)}
    rows = [i for i in rows if written.questions[i].fact in fact_set]
    passages = take(written.passages, [position[fact] for fact in facts])
    return Written(facts, [written.questions[i] for i in rows], passages, take(written.asked, rows))


def rows_in(texts: Texts, minimum: int) -> list[int]:
    """Rows with a text in at least so many languages."""
    rows = zip(*texts.values(), strict=True)
    return [i for i, row in enumerate(rows) if sum(text is not None for text in row) >= minimum]


def take(texts: Texts, rows: Sequence[int]) -> Texts:
    return {language: [column[i] for i in rows] for language, column in texts.items()}
