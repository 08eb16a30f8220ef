"""Reader of the LAReQA format: SQuAD's JSON whose paragraphs are cut into sentences, one file per language."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from hybrid_ir.types import Source

SHOWN = 10  # errors listed before the rest is only counted
MLQA_R_ORIGIN = "https://github.com/google-research-datasets/lareqa at commit 354d67d (folder mlqa-r, later removed)"
MLQA_R_SOURCE = Source(  # a corpus and a benchmark are made of it, each describes its own part
    name="mlqa_r",
    description="MLQA-R",
    licence="CC BY-NC 4.0",
    citation="Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, arXiv 2004.05484",
    revision="google-research-datasets/lareqa@354d67d mlqa-r",
)
CURE = "The files must be as released: download them again."


@dataclass(frozen=True)
class Question:
    """A question and the sentence of its paragraph in which the answer starts."""

    id: str  # SQuAD's, the same in every language
    text: str
    answer_sentence: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of an article; `sentences` are the candidates."""

    article: str
    context: str
    sentences: tuple[str, ...]
    questions: tuple[Question, ...]


def read_lareqa_folder(
    folder: str | Path, languages: Iterable[str], origin: str
) -> dict[str, list[Paragraph]]:
    """The paragraphs of `folder/{language}.json`, in the order of the file.

    `origin` says where the files can be had. Everything wrong in all files is reported as one ValueError.
    """
    if not Path(folder).is_dir():
        raise ValueError(
            f"there is no folder {folder}: get the data from {origin}, or correct the path."
        )
    wrong: list[str] = []
    paragraphs = {
        language: _read(Path(folder) / f"{language}.json", origin, wrong) for language in languages
    }
    if wrong:
        rest = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        lines = "\n  ".join(wrong[:SHOWN] + rest)
        raise ValueError(f"{len(wrong)} errors in {folder}:\n  {lines}")
    return paragraphs


def _read(path: Path, origin: str, wrong: list[str]) -> list[Paragraph]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        wrong.append(
            f"{path} is missing: get it from {origin}, or name only the languages you have."
        )
    except json.JSONDecodeError as error:
        wrong.append(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}). {CURE}"
        )
    except UnicodeDecodeError as error:
        wrong.append(f"{path}: not UTF-8 ({error}). {CURE}")
    else:
        return _paragraphs(_get(raw, "data", list, str(path), wrong) or [], path, wrong)
    return []


def _paragraphs(articles: list, path: Path, wrong: list[str]) -> list[Paragraph]:
    paragraphs, number, seen = [], count(), {}
    for article in articles:
        for raw in _get(article, "paragraphs", list, f"{path}, an article", wrong) or []:
            where = f"{path}, paragraph {next(number)}"
            before = len(wrong)
            context, sentences, breaks, questions = (
                _get(raw, key, kind, where, wrong)
                for key, kind in (
                    ("context", str),
                    ("sentences", list),
                    ("sentence_breaks", list),
                    ("qas", list),
                )
            )
            if len(wrong) > before:
                continue
            if len(sentences) != len(breaks):
                wrong.append(
                    f"{where}: {len(sentences)} sentences but {len(breaks)} sentence_breaks. {CURE}"
                )
                continue
            if not all(isinstance(pair, list) and len(pair) == 2 for pair in breaks):
                wrong.append(
                    f"{where}: sentence_breaks must be pairs [start, end], got {breaks!r:.80}. {CURE}"
                )
                continue
            empty = [i for i, sentence in enumerate(sentences) if not _text(sentence)]
            wrong += [
                f"{where}, sentence {i}: {sentences[i]!r} is not a text. {CURE}" for i in empty
            ]
            read = tuple(_question(question, breaks, where, seen, wrong) for question in questions)
            title = article.get("title", "")
            paragraphs.append(
                Paragraph(title, context, tuple(sentences), tuple(q for q in read if q is not None))
            )
    return paragraphs


def _question(
    raw: dict, breaks: list, where: str, seen: dict[str, str], wrong: list[str]
) -> Question | None:
    """The question, or None after naming what is wrong; `seen` maps the ids of this file to their places."""
    name = _get(raw, "id", str, where, wrong)
    here = f"{where}, question {name!r}"
    text, answers = _get(raw, "question", str, here, wrong), _get(raw, "answers", list, here, wrong)
    if name is None or text is None or answers is None:
        return None
    if name in seen:
        wrong.append(
            f"{here}: the id is also in {seen[name]}; an id belongs to one question of a language. {CURE}"
        )
        return None
    seen[name] = where
    start = _get(answers[0], "answer_start", int, here, wrong) if answers else None
    if start is None:
        if not answers:
            wrong.append(f"{here}: no answer. {CURE}")
        return None
    sentence = next((i for i, (first, end) in enumerate(breaks) if first <= start < end), None)
    if sentence is None:
        wrong.append(
            f"{here}: answer_start={start} is in none of the {len(breaks)} sentences {breaks}. {CURE}"
        )
        return None
    return Question(name, text, sentence)


def _get(raw: dict, key: str, kind: type, where: str, wrong: list[str]):
    """The value of a key, or None after naming what is wrong with it."""
    if not isinstance(raw, dict) or key not in raw:
        wrong.append(f"{where}: no key '{key}'. {CURE}")
    elif not isinstance(raw[key], kind) or (kind is str and not _text(raw[key])):
        wrong.append(
            f"{where}: '{key}' is {raw[key]!r:.80}, need a {'text' if kind is str else kind.__name__}. {CURE}"
        )
    else:
        return raw[key]
    return None


def _text(value) -> bool:
    return isinstance(value, str) and bool(value.strip())
