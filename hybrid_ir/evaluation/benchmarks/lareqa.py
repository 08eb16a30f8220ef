"""What XQuAD-R and MLQA-R share: paragraphs with parallel questions (LAReQA, 2004.05484)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_option,
    choose_languages,
    record_choices,
)
from hybrid_ir.evaluation.selection import choose_questions
from hybrid_ir.files.fetching import RemoteFile, describe_github_file
from hybrid_ir.files.lareqa import Paragraph, read_lareqa_folder
from hybrid_ir.types import Benchmark, Source, Text

REPOSITORY = "google-research-datasets/lareqa"
REVISION = "354d67d1cd066854cdfbf5ad0e6105528976141d"
Queries = Literal["all", "distinct_text"]
Candidates = Literal["sentence", "sentence_context_pair", "paragraph"]


@dataclass(frozen=True)
class Counts:
    """How many questions and candidate sentences a language of the released benchmark has."""

    questions: int
    distinct_questions: int
    sentences: int


def list_lareqa_files(
    folder: str, released: Mapping[str, tuple[int, str]], languages: str | Iterable[str] | None
) -> list[RemoteFile]:
    """Lists the licence and the files of the chosen languages in a folder of the repository.

    Args:
        folder: in the repository.
        released: size in bytes and sha256 of each of its files, by name.
        languages: codes to choose; None for all.

    Raises:
        ValueError: a language has no file.
    """
    known = [Path(name).stem for name in released if name.endswith(".json")]
    chosen = choose_languages(folder, languages, known)
    wanted = {"LICENSE", *(f"{language}.json" for language in chosen)}
    return [
        describe_github_file(REPOSITORY, REVISION, f"{folder}/{name}", name, size, sha256)
        for name, (size, sha256) in released.items()
        if name in wanted
    ]


def load_lareqa(
    folder: str,
    source: Source,
    origin: str,
    expected: Mapping[str, Counts],
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    languages: str | Iterable[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads XQuAD-R or MLQA-R.

    Args:
        folder: with a file `{language}.json` of each language.
        source: describes the benchmark on every card.
        origin: where the files can be had, for error messages.
        expected: the released numbers of questions and sentences of every language.
        queries: `distinct_text` asks each question text of a language once.
        candidates: sentences, pairs of a sentence and its paragraph, or paragraphs.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language, the same in every language.

    Raises:
        ValueError: a choice is not allowed, or files are missing, broken or not the released ones.
    """
    errors = check_option("queries", queries, get_args(Queries))
    errors += check_option("candidates", candidates, get_args(Candidates))
    chosen = choose_languages(source.name, languages, expected, max_queries, errors)
    paragraphs = read_lareqa_folder(folder, chosen, origin)
    _require_released_counts(paragraphs, expected, folder, origin)
    source = record_choices(source, queries=queries, candidates=candidates, max_queries=max_queries)
    return build_from_paragraphs(paragraphs, source, queries, candidates, max_queries)


def _require_released_counts(
    paragraphs: Mapping[str, list[Paragraph]],
    expected: Mapping[str, Counts],
    folder: str,
    origin: str,
) -> None:
    """Raises a ValueError that names every language of another size than the released data."""
    differences = []
    for language, language_paragraphs in paragraphs.items():
        counts = _count(language_paragraphs)
        if counts != expected[language]:
            differences.append(f"{language} has {counts}, expected {expected[language]}")
    if differences:
        raise ValueError(
            f"{folder} is not the released data: {'; '.join(differences)}. Download it again from "
            f"{origin}."
        )


def _count(paragraphs: Sequence[Paragraph]) -> Counts:
    texts = []
    sentences = 0
    for paragraph in paragraphs:
        texts += [question.text for question in paragraph.questions]
        sentences += len(paragraph.sentences)
    return Counts(len(texts), len(set(texts)), sentences)


def build_from_paragraphs(
    paragraphs: Mapping[str, list[Paragraph]],
    source: Source,
    queries: Queries = "all",
    candidates: Candidates = "sentence",
    max_queries: int | None = None,
) -> Benchmark:
    """Builds the benchmark of some languages, whose questions are joined by their ids.

    Relevant to a question are its answers in every language that has the question.

    Args:
        paragraphs: those of each language, by its code.
        source: describes the benchmark on every card.
        queries: `distinct_text` asks each question text of a language once, for the answers of all
            its questions.
        candidates: sentences, pairs of a sentence and its paragraph, or paragraphs.
        max_queries: questions to keep of each language, the same in every language.
    """
    builder = BenchmarkBuilder(source)
    for language, language_paragraphs in paragraphs.items():
        for query in _list_queries(language, language_paragraphs, queries, max_queries):
            builder.add_query(query)
        for number, paragraph in enumerate(language_paragraphs):
            for i, (text, question_ids) in enumerate(_list_candidates(paragraph, candidates)):
                builder.add_passage(language, f"{language}:{number}:{i}", text, question_ids)
    return builder.build(tuple(paragraphs))


def _list_queries(
    language: str, paragraphs: Sequence[Paragraph], queries: Queries, max_queries: int | None
) -> Iterator[Query]:
    """Yields the queries of a language; the topics of each are the ids of its questions."""
    questions = []
    for paragraph in paragraphs:
        questions += paragraph.questions
    kept = choose_questions((question.id for question in questions), max_queries)
    questions = [question for question in questions if question.id in kept]

    # equal keys are one query
    questions_by_key: dict[str, list[str]] = {}
    texts = {}
    for question in questions:
        key = question.text if queries == "distinct_text" else question.id
        questions_by_key.setdefault(key, []).append(question.id)
        texts[key] = question.text
    for key, question_ids in questions_by_key.items():
        first_id = question_ids[0]
        yield Query(
            language,
            id=f"{language}:{first_id}",
            text=texts[key],
            question_id=first_id,
            topics=tuple(question_ids),
        )


def _list_candidates(
    paragraph: Paragraph, candidates: Candidates
) -> Iterator[tuple[Text, list[str]]]:
    """Yields the candidates of a paragraph, each with the ids of the questions that it answers.

    A sentence answers a question if it is the same text as the answer sentence.
    """
    if candidates == "paragraph":
        yield paragraph.context, [question.id for question in paragraph.questions]
        return
    questions_by_answer: dict[str, list[str]] = {}
    for question in paragraph.questions:
        answer = paragraph.sentences[question.answer_sentence]
        questions_by_answer.setdefault(answer, []).append(question.id)
    for sentence in paragraph.sentences:
        is_pair = candidates == "sentence_context_pair"
        text = (sentence, paragraph.context) if is_pair else sentence
        yield text, questions_by_answer.get(sentence, [])
