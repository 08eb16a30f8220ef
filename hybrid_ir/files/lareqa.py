"""Reads the LAReQA format: SQuAD's JSON for each language, with paragraphs cut into sentences."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank
from hybrid_ir.types import Source

MLQA_R_ORIGIN = (
    "https://github.com/google-research-datasets/lareqa at commit 354d67d (folder mlqa-r, later "
    "removed)"
)
# A corpus and a benchmark are built from MLQA-R, and each describes its part of it.
MLQA_R_SOURCE = Source(
    name="mlqa_r",
    description="MLQA-R",
    licence="CC BY-NC 4.0",
    citation=(
        "Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, "
        "arXiv 2004.05484"
    ),
    revision="google-research-datasets/lareqa@354d67d mlqa-r",
)
CURE = "The files must be as released: download them again."


@dataclass(frozen=True)
class LareqaQuestion:
    """A question and the sentence of its paragraph in which the answer starts."""

    id: str  # SQuAD's, the same in every language
    text: str
    answer_sentence: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of an article. Its sentences are the candidates for an answer."""

    article: str
    context: str
    sentences: tuple[str, ...]
    questions: tuple[LareqaQuestion, ...]


def read_lareqa_folder(
    folder: str | Path, languages: Iterable[str], origin: str
) -> dict[str, list[Paragraph]]:
    """Reads the files `{language}.json` of a folder.

    Args:
        folder: the folder.
        languages: the codes of the languages to read.
        origin: where the files can be had, for error messages.

    Returns:
        The paragraphs of each language, in the order of its file.

    Raises:
        ValueError: with everything that is wrong in all the files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}: get the data from {origin}, or correct the path."
        )
    problems = Problems(str(folder))
    paragraphs = {}
    for language in languages:
        reader = _FileReader(folder / f"{language}.json", problems)
        paragraphs[language] = reader.read(origin)
    problems.raise_if_any()
    return paragraphs


class _FileReader:
    """Reads the file of one language and adds what is wrong with it to the problems."""

    def __init__(self, path: Path, problems: Problems):
        self.path = path
        self.problems = problems
        self.place_of_id: dict[str, str] = {}  # the paragraph of each question that was read

    def read(self, origin: str) -> list[Paragraph]:
        """Returns the paragraphs in the order of the file."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.problems.add(
                f"{self.path} is missing: get it from {origin}, or name only the languages you "
                "have."
            )
            return []
        except json.JSONDecodeError as error:
            place = f"{self.path}, line {error.lineno}, column {error.colno}"
            self._add(place, f"not JSON ({error.msg})")
            return []
        except UnicodeDecodeError as error:
            self._add(str(self.path), f"not UTF-8 ({error})")
            return []
        return self._read_articles(self._get(content, "data", list, str(self.path)) or [])

    def _read_articles(self, articles: Sequence[Any]) -> list[Paragraph]:
        paragraphs = []
        number = 0
        for article in articles:
            place = f"{self.path}, an article"
            for raw in self._get(article, "paragraphs", list, place) or []:
                title = article.get("title", "")
                paragraph = self._read_paragraph(raw, title, f"{self.path}, paragraph {number}")
                number += 1
                if paragraph is not None:
                    paragraphs.append(paragraph)
        return paragraphs

    def _read_paragraph(self, raw: Any, title: str, place: str) -> Paragraph | None:
        context = self._get(raw, "context", str, place)
        sentences = self._get(raw, "sentences", list, place)
        breaks = self._get(raw, "sentence_breaks", list, place)
        raw_questions = self._get(raw, "qas", list, place)
        if None in (context, sentences, breaks, raw_questions):
            return None
        if len(sentences) != len(breaks):
            self._add(place, f"{len(sentences)} sentences but {len(breaks)} sentence_breaks")
            return None
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in breaks):
            self._add(place, f"sentence_breaks must be pairs [start, end], got {breaks!r:.80}")
            return None
        for number, sentence in enumerate(sentences):
            if not _is_text(sentence):
                self._add(f"{place}, sentence {number}", f"{sentence!r} is not a text")
        questions = []
        for raw_question in raw_questions:
            question = self._read_question(raw_question, breaks, place)
            if question is not None:
                questions.append(question)
        return Paragraph(title, context, tuple(sentences), tuple(questions))

    def _read_question(
        self, raw: Any, breaks: Sequence[Sequence[int]], paragraph_place: str
    ) -> LareqaQuestion | None:
        question_id = self._get(raw, "id", str, paragraph_place)
        place = f"{paragraph_place}, question {question_id!r}"
        text = self._get(raw, "question", str, place)
        answers = self._get(raw, "answers", list, place)
        if None in (question_id, text, answers):
            return None
        if question_id in self.place_of_id:
            self._add(
                place,
                f"the id is also in {self.place_of_id[question_id]}; an id belongs to one question "
                "of a language",
            )
            return None
        self.place_of_id[question_id] = paragraph_place
        if not answers:
            self._add(place, "no answer")
            return None
        start = self._get(answers[0], "answer_start", int, place)
        if start is None:
            return None
        sentence = _find_sentence(start, breaks)
        if sentence is None:
            self._add(
                place,
                f"answer_start={start} is in none of the {len(breaks)} sentences {breaks}",
            )
            return None
        return LareqaQuestion(question_id, text, sentence)

    def _get(self, raw: Any, key: str, kind: type, place: str) -> Any:
        """Returns the value of a key, or None after adding what is wrong with it."""
        if not isinstance(raw, dict) or key not in raw:
            self._add(place, f"no key '{key}'")
            return None
        value = raw[key]
        is_right = _is_text(value) if kind is str else isinstance(value, kind)
        if not is_right:
            expected = "text" if kind is str else kind.__name__
            self._add(place, f"'{key}' is {value!r:.80}, need a {expected}")
            return None
        return value

    def _add(self, place: str, problem: str) -> None:
        self.problems.add(f"{place}: {problem}. {CURE}")


def _find_sentence(start: int, breaks: Sequence[Sequence[int]]) -> int | None:
    """Returns the first sentence that holds a character, or None.

    Args:
        start: the place of the character in the paragraph.
        breaks: first character and end of each sentence.
    """
    for number, (first, end) in enumerate(breaks):
        if first <= start < end:
            return number
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not is_blank(value)
