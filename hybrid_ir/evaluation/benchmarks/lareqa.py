"""What XQuAD-R and MLQA-R share: from paragraphs in several languages to a Benchmark."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from hybrid_ir.files.fetching import RemoteFile, github_file
from hybrid_ir.files.lareqa import Paragraph, Question, read_lareqa_folder
from hybrid_ir.types import Benchmark, Source, Text, parse_languages

REPOSITORY, REVISION = "google-research-datasets/lareqa", "354d67d1cd066854cdfbf5ad0e6105528976141d"
Queries = Literal["all", "distinct_text"]
Candidates = Literal["sentence", "sentence_context_pair", "paragraph"]


@dataclass(frozen=True)
class Counts:
    """What a language of the released benchmark holds."""

    questions: int
    distinct_questions: int
    sentences: int


def lareqa_files(
    folder: str, known: Mapping[str, tuple[int, str]], languages: str | Iterable[str] | None
) -> list[RemoteFile]:
    """Files of a folder of the repository, with the size and sha256 that are known; those of all languages or only some."""
    wanted = (
        None
        if languages is None
        else {"LICENSE", *(f"{language}.json" for language in parse_languages(languages))}
    )
    if wanted is not None and wanted - set(known):
        raise ValueError(
            f"languages={list(parse_languages(languages))} must be some of {[Path(name).stem for name in known][1:]}"
        )
    return [
        github_file(REPOSITORY, REVISION, f"{folder}/{name}", name, size, sha256)
        for name, (size, sha256) in known.items()
        if wanted is None or name in wanted
    ]


def load_lareqa(
    folder: str,
    source: Source,
    origin: str,
    expected: Mapping[str, Counts],
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: Iterable[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """The benchmark in the folder; `max_queries` keeps that many a language, the same questions in every language."""
    wrong = (
        [f"queries={queries} must be all or distinct_text"]
        if queries not in ("all", "distinct_text")
        else []
    )
    if candidates not in ("sentence", "sentence_context_pair", "paragraph"):
        wrong.append(
            f"candidates={candidates} must be sentence, sentence_context_pair or paragraph"
        )
    chosen = tuple(sorted(expected if languages is None else set(parse_languages(languages))))
    unknown = [language for language in chosen if language not in expected]
    if unknown or not chosen:
        wrong.append(
            f"languages={list(chosen)} must be at least one and only some of {sorted(expected)}"
        )
    if max_queries is not None and max_queries < 1:
        wrong.append(f"max_queries={max_queries} must be at least 1, or null for all")
    if wrong:
        raise ValueError(f"{source.name}: " + "; ".join(wrong))
    paragraphs = read_lareqa_folder(folder, chosen, origin)
    require_counts(paragraphs, expected, folder, origin)
    choices = {
        "queries": queries,
        "candidates": candidates,
        "max_queries": str(max_queries or "all"),
    }
    return assemble(paragraphs, replace(source, choices=choices), queries, candidates, max_queries)


def require_counts(
    paragraphs: Mapping[str, list[Paragraph]],
    expected: Mapping[str, Counts],
    folder: str,
    origin: str,
) -> None:
    """ValueError naming every language whose numbers of questions or sentences are not the released ones."""
    wrong = []
    for language, rows in paragraphs.items():
        texts = [question.text for row in rows for question in row.questions]
        found = Counts(len(texts), len(set(texts)), sum(len(row.sentences) for row in rows))
        if found != expected[language]:
            wrong.append(f"{language} has {found}, expected {expected[language]}")
    if wrong:
        found = "; ".join(wrong)
        raise ValueError(
            f"{folder} is not the released data: {found}. Download it again from {origin}."
        )


def assemble(
    paragraphs: Mapping[str, list[Paragraph]],
    source: Source,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    max_queries: int | None = None,
) -> Benchmark:
    """Join the languages by question id: relevant are the answer sentences of the id in every language that has it."""
    names = tuple(paragraphs)
    places = [
        (language, number, paragraph)
        for language, name in enumerate(names)
        for number, paragraph in enumerate(paragraphs[name])
    ]
    texts = [_candidates(paragraph, candidates) for _, _, paragraph in places]
    firsts = np.cumsum([0, *map(len, texts)])  # row of the first candidate of each paragraph
    answers: dict[str, list[int]] = {}  # question id -> relevant rows, all languages
    for (_, _, paragraph), first in zip(places, firsts, strict=False):
        for question in paragraph.questions:
            answers.setdefault(question.id, []).extend(
                first + _relevant(paragraph, question, candidates)
            )
    asked = [
        (language, *query)
        for language, name in enumerate(names)
        for query in _asked(paragraphs[name], queries, max_queries)
    ]
    return Benchmark(
        languages=names,
        queries=[text for _, text, _ in asked],
        query_languages=np.array([language for language, _, _ in asked]),
        question_ids=[ids[0] for _, _, ids in asked],
        passages=[text for candidate_texts in texts for text in candidate_texts],
        passage_languages=np.repeat([language for language, _, _ in places], np.diff(firsts)),
        passage_ids=[
            f"{names[language]}:{number}:{i}"
            for (language, number, _), first, end in zip(
                places, firsts[:-1], firsts[1:], strict=True
            )
            for i in range(end - first)
        ],
        relevant=[
            np.unique(np.concatenate([answers[name] for name in ids])) for _, _, ids in asked
        ],
        source=source,
    )


def _asked(
    paragraphs: list[Paragraph], queries: Queries, max_queries: int | None
) -> list[tuple[str, list[str]]]:
    """The texts to ask in one language, each with the question ids that it stands for."""
    ids_of_query: dict[str, list[str]] = {}
    texts = {}
    asked = [question for paragraph in paragraphs for question in paragraph.questions]
    # by a hash of the id: the same questions in every language, from all articles
    kept = {q.id for q in sorted(asked, key=lambda q: zlib.crc32(q.id.encode()))[:max_queries]}
    for question in asked:
        if question.id in kept:
            texts[question.id] = question.text
            ids_of_query.setdefault(
                question.text if queries == "distinct_text" else question.id, []
            ).append(question.id)
    return [(texts[ids[0]], ids) for ids in ids_of_query.values()]


def _candidates(paragraph: Paragraph, candidates: Candidates) -> list[Text]:
    if candidates == "paragraph":
        return [paragraph.context]
    if candidates == "sentence_context_pair":
        return [(sentence, paragraph.context) for sentence in paragraph.sentences]
    return list(paragraph.sentences)


def _relevant(paragraph: Paragraph, question: Question, candidates: Candidates) -> np.ndarray:
    """Candidates of the paragraph that answer: the answer sentence and each with the same text."""
    if candidates == "paragraph":
        return np.array([0])
    answer = paragraph.sentences[question.answer_sentence]
    return np.array([i for i, sentence in enumerate(paragraph.sentences) if sentence == answer])
