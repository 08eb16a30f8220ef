"""MLQA-R as training data: real questions in 2 to 4 of 7 languages, with their answer sentences."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.languages import match_languages
from hybrid_ir.files.lareqa import MLQA_R_ORIGIN, MLQA_R_SOURCE, Paragraph, read_lareqa_folder
from hybrid_ir.types import parse_languages

LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")
IN_XQUAD_R = ("Prime_number", "Harvard_University")
DESCRIPTION = (
    "MLQA-R: 1,148 questions with their answer sentences, each in English and 1 to 3 of 6 other "
    "languages"
)


def load(
    folder: str,
    exclude_articles: Sequence[str] = IN_XQUAD_R,
    languages: str | Sequence[str] | None = None,
) -> ParallelCorpus:
    """Loads the corpus: a query id and a passage id for each question.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        exclude_articles: articles to leave out, by their English titles with spaces or
            underscores. Titles differ by language, but every question is in the English file too,
            so its id finds it in all others.
        languages: the languages to use, all by default.

    Raises:
        ValueError: for broken files, unknown languages, and articles that are not there.
    """
    chosen = _choose_languages(languages)
    paragraphs = read_lareqa_folder(folder, sorted({*chosen, "en"}), MLQA_R_ORIGIN)
    left_out = _find_question_ids(paragraphs["en"], exclude_articles)
    answers = {}
    for language in chosen:
        answers[language] = _collect_answers(paragraphs[language], left_out)
    # English first, where it is chosen; a dict, as it keeps the order.
    ids: dict[str, None] = {}
    for language in ("en", *chosen):
        ids.update(dict.fromkeys(answers.get(language, ())))
    assert not left_out & set(ids)

    queries: dict[str, list[str | None]] = {}
    passages: dict[str, list[str | None]] = {}
    for language in chosen:
        rows = [answers[language].get(question_id, (None, None)) for question_id in ids]
        queries[language] = [question for question, _ in rows]
        passages[language] = [sentence for _, sentence in rows]
    source = replace(
        MLQA_R_SOURCE,
        description=DESCRIPTION,
        choices={"exclude_articles": ", ".join(exclude_articles) or "none"},
    )
    pairs = np.repeat(np.arange(len(ids))[:, None], 2, axis=1)
    return ParallelCorpus(queries, passages, pairs, source)


def _choose_languages(languages: str | Sequence[str] | None) -> list[str]:
    if languages is None:
        return list(LANGUAGES)
    codes = parse_languages(languages)
    chosen, unknown = match_languages(codes, LANGUAGES)
    if unknown or not chosen:
        raise ValueError(
            f"languages={sorted(codes)} of mlqa_r: name at least one and only some of "
            f"{list(LANGUAGES)}."
        )
    return sorted(chosen)


def _find_question_ids(paragraphs: Sequence[Paragraph], articles: Sequence[str]) -> set[str]:
    """Returns the ids of the questions about articles. Raises ValueError for an unknown article."""
    wanted = {_clean_title(title) for title in articles}
    titles = {_clean_title(paragraph.article) for paragraph in paragraphs}
    unknown = wanted - titles
    if unknown:
        raise ValueError(
            f"exclude_articles: {sorted(unknown)} not among the {len(titles)} English titles of "
            "mlqa_r: give titles as in en.json."
        )
    ids = set()
    for paragraph in paragraphs:
        if _clean_title(paragraph.article) in wanted:
            ids.update(question.id for question in paragraph.questions)
    return ids


def _clean_title(title: str) -> str:
    return title.replace("_", " ")


def _collect_answers(
    paragraphs: Sequence[Paragraph], left_out: set[str]
) -> dict[str, tuple[str, str]]:
    """Returns question and answer sentence by question id."""
    answers = {}
    for paragraph in paragraphs:
        for question in paragraph.questions:
            if question.id not in left_out:
                sentence = paragraph.sentences[question.answer_sentence]
                answers[question.id] = (question.text, sentence)
    return answers
