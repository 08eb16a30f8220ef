"""Texts of facts, aligned over languages: one row per fact or question, None where a language lacks it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hybrid_ir.cldr.entities import Entity
from hybrid_ir.cldr.facts import Fact
from hybrid_ir.cldr.wording import Keywords, Templates, questions

Texts = dict[str, list[str | None]]  # language -> text by row


class Question(NamedTuple):
    """Whom a row of questions asks about; the texts are in every language."""

    fact: int
    style: str
    asker: Entity


def write(wordings: Mapping[str, Templates | Keywords], facts: Sequence[Fact]) -> tuple[Texts, list[Question], Texts]:
    """Passages by fact, the questions, and their texts by question."""
    passages = {language: [wording.passage(fact) for fact in facts] for language, wording in wordings.items()}
    first = next(iter(wordings.values()))
    rows = [Question(i, style, asker) for i, fact in enumerate(facts) for style, asker, _ in questions(first, fact)]
    asked = {language: [text for fact in facts for _, _, text in questions(wording, fact)]
             for language, wording in wordings.items()}
    return passages, rows, asked


def drop_shared(texts: Texts, owners: Sequence[int]) -> None:
    """Remove every text that two owners share, in one language or two, and repetitions of one owner in a language.

    "Which country is Saint John's in?" has two answers; a held-out text must not be seen in training as another's.
    """
    owner_of: dict[str, int] = {}
    for rows in texts.values():
        for owner, text in zip(owners, rows):
            if text is not None and owner_of.setdefault(text.casefold(), owner) != owner:
                owner_of[text.casefold()] = -1
    for rows in texts.values():
        seen: set[str] = set()
        for i, text in enumerate(rows):
            if text is not None and (text.casefold() in seen or owner_of[text.casefold()] == -1):
                rows[i] = None
            elif text is not None:
                seen.add(text.casefold())


def rows_in(texts: Texts, minimum: int) -> list[int]:
    """Rows with a text in at least so many languages."""
    return [i for i, row in enumerate(zip(*texts.values())) if sum(text is not None for text in row) >= minimum]


def take(texts: Texts, rows: Iterable[int]) -> Texts:
    rows = list(rows)
    return {language: [column[i] for i in rows] for language, column in texts.items()}
