"""MLQA-R as training data: real questions, each in 2 to 4 of 7 languages, paired with the sentence that answers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.lareqa import MLQA_R_ORIGIN, MLQA_R_SOURCE, Paragraph, read_lareqa_folder
from hybrid_ir.types import parse_languages

LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")
IN_XQUAD_R = ("Prime_number", "Harvard_University")
DESCRIPTION = "MLQA-R: 1,148 questions with their answer sentences, each in English and 1 to 3 of 6 other languages"


def load(
    folder: str,
    exclude_articles: Sequence[str] = IN_XQUAD_R,
    languages: str | Sequence[str] | None = None,
) -> ParallelCorpus:
    """One query id and one passage id per question: the question and its answer sentence in every language it has.

    The excluded articles go by their English titles, spaces or underscores: titles differ by language, but every
    question is in the English file too, so its SQuAD id finds it in all the others. ValueError for broken files,
    unknown languages, and articles that are not there.
    """
    chosen = tuple(sorted(LANGUAGES if languages is None else set(parse_languages(languages))))
    unknown = [language for language in chosen if language not in LANGUAGES]
    if unknown or not chosen:
        raise ValueError(
            f"languages={list(chosen)} of mlqa_r: name at least one and only some of {list(LANGUAGES)}."
        )
    paragraphs = read_lareqa_folder(folder, sorted({*chosen, "en"}), MLQA_R_ORIGIN)
    left_out = questions_of(paragraphs["en"], exclude_articles)
    answered = {language: _answers(paragraphs[language], left_out) for language in chosen}
    ids = list(
        dict.fromkeys(name for language in ("en", *chosen) for name in answered.get(language, ()))
    )
    assert not left_out & set(ids)
    queries = {
        language: [answered[language].get(name, (None, None))[0] for name in ids]
        for language in chosen
    }
    passages = {
        language: [answered[language].get(name, (None, None))[1] for name in ids]
        for language in chosen
    }
    source = replace(
        MLQA_R_SOURCE,
        description=DESCRIPTION,
        choices={"exclude_articles": ", ".join(exclude_articles) or "none"},
    )
    return ParallelCorpus(
        queries, passages, np.repeat(np.arange(len(ids))[:, None], 2, axis=1), source
    )


def questions_of(paragraphs: list[Paragraph], articles: Iterable[str]) -> set[str]:
    """The ids of the questions about the articles; ValueError when an article has none."""
    wanted = {title.replace("_", " ") for title in articles}
    found = {paragraph.article.replace("_", " ") for paragraph in paragraphs}
    if wanted - found:
        raise ValueError(
            f"exclude_articles: {sorted(wanted - found)} not among the {len(found)} English titles of "
            "mlqa_r: give titles as in en.json."
        )
    return {
        question.id
        for paragraph in paragraphs
        if paragraph.article.replace("_", " ") in wanted
        for question in paragraph.questions
    }


def _answers(paragraphs: list[Paragraph], left_out: set[str]) -> dict[str, tuple[str, str]]:
    """Question and answer sentence by question id."""
    return {
        question.id: (question.text, paragraph.sentences[question.answer_sentence])
        for paragraph in paragraphs
        for question in paragraph.questions
        if question.id not in left_out
    }
