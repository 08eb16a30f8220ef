"""`hybrid-ir search`: the best passages of an index for questions, as tables or lines of JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text as StyledText

from hybrid_ir.cli.config import read_languages
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
    require_values,
)
from hybrid_ir.files.beir import read_beir_texts
from hybrid_ir.files.json_lines import read_lines
from hybrid_ir.files.problems import Problems
from hybrid_ir.index.card import describe_other_backend
from hybrid_ir.index.opened import Hit, PassageIndex
from hybrid_ir.runs.indexes import load_index
from hybrid_ir.system.environment import prepare_process

SHOWN_CHARACTERS = 300  # of a passage in a table
QUESTIONS_AT_ONCE = 256
SEED = 1  # nothing of a search is drawn by chance
WITH_IDS = (".jsonl", ".jsonl.gz", ".parquet", ".tsv", ".tsv.gz")  # files of questions with ids


@dataclass(frozen=True)
class AskedQuestion:
    """A question, and its id where it is from a file."""

    id: str | None
    text: str


def run(cfg: DictConfig) -> None:
    """Searches an index for the questions of a config, or for those that a user types."""
    require_values(cfg, "search", "index")
    _require_valid_values(cfg)
    questions = _list_questions(cfg)
    if not questions and not sys.stdin.isatty():
        raise ValueError(
            'no question: write it behind the command, as in hybrid-ir search index=FOLDER "Who '
            'won?", or give queries=FILE'
        )
    prepare_process(SEED, cfg.threads)
    # Those of the index hold unless the user says otherwise.
    chosen = {} if cfg.backend is None else {"backend": cfg.backend}
    index = load_index(
        cfg.index,
        model=cfg.model,
        method=cfg.method,
        verify=cfg.verify,
        effort=cfg.effort,
        rescore_multiplier=cfg.rescore_multiplier,
        device=cfg.device,
        **chosen,
    )
    note = describe_other_backend(index.encoder, index.card)
    if note is not None:
        print(note, file=sys.stderr)
    if questions:
        _answer(index, questions, cfg)
    else:
        _answer_typed_questions(index, cfg)


def _require_valid_values(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_number_problems(cfg, {"k": 1})
    for key in ("effort", "rescore_multiplier"):
        if cfg[key] is not None:
            problems += find_number_problems(cfg, {key: 1})
    problems += find_boolean_problems(cfg, "json", "verify")
    if problems:
        raise ValueError("; ".join(problems))


def _list_questions(cfg: DictConfig) -> list[AskedQuestion]:
    """Returns the questions of the command line, of `query` and of the file `queries`."""
    texts = list(cfg.questions)
    if cfg.query is not None:
        texts.append(cfg.query)
    if any(not text.strip() for text in texts):
        raise ValueError("a question is empty")
    questions = [AskedQuestion(None, text) for text in texts]
    if cfg.queries is not None:
        questions += read_questions(Path(cfg.queries).expanduser())
    return questions


def read_questions(path: Path) -> list[AskedQuestion]:
    """Reads a file of questions: one on each line, or JSON lines, Parquet or TSV with ids.

    Raises:
        ValueError: with everything that is wrong with its lines, or if it has no question.
    """
    problems = Problems(str(path))
    questions = []
    if path.name.endswith(WITH_IDS):
        for row in read_beir_texts(path, problems):
            if row.text:
                questions.append(AskedQuestion(row.id, row.text))
    else:
        for number, line in read_lines(path, problems):
            questions.append(AskedQuestion(str(number), line.strip()))
    problems.raise_if_any()
    if not questions:
        raise ValueError(f"queries={path} has no question")
    return questions


def _answer(index: PassageIndex, questions: Sequence[AskedQuestion], cfg: DictConfig) -> None:
    languages = read_languages(cfg.languages)
    for start in range(0, len(questions), QUESTIONS_AT_ONCE):
        part = questions[start : start + QUESTIONS_AT_ONCE]
        results = index.search([question.text for question in part], cfg.k, languages)
        for question, hits in zip(part, results, strict=True):
            _print_hits(question, hits, cfg.json)


def _answer_typed_questions(index: PassageIndex, cfg: DictConfig) -> None:
    """Asks for questions until an empty line or the end of the input."""
    print(f"{index!r}; an empty line ends", file=sys.stderr)
    for text in _iterate_typed_questions():
        _answer(index, [AskedQuestion(None, text)], cfg)


def _iterate_typed_questions() -> Iterator[str]:
    while True:
        try:
            text = input("question: ").strip()
        except EOFError:
            print()
            return
        if not text:
            return
        yield text


def _print_hits(question: AskedQuestion, hits: Sequence[Hit], as_json: bool) -> None:
    if as_json:
        for hit in hits:
            line = {"query_id": question.id, "query": question.text, **hit.to_dict()}
            print(json.dumps(line, ensure_ascii=False))
        return
    # Texts are no markup: a passage may hold brackets.
    table = Table(title=StyledText(question.text), title_justify="left", show_lines=True)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    for column in ("language", "id", "text"):
        table.add_column(column, overflow="fold")
    for hit in hits:
        text = " ".join(hit.text.split())
        if len(text) > SHOWN_CHARACTERS:
            text = f"{text[:SHOWN_CHARACTERS]}…"
        table.add_row(
            str(hit.rank),
            f"{hit.score:.4f}",
            hit.language,
            StyledText(hit.id),
            StyledText(text),
        )
    Console().print(table)
