"""EntityQuestions: simple questions about entities, paired with passages of a corpus that you give."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sources.released import released, states
from hybrid_ir.formats.files import RemoteFile
from hybrid_ir.formats.jsonl import lines
from hybrid_ir.formats.problems import Problems
from hybrid_ir.formats.records import Records, of_pairs
from hybrid_ir.types import Source

SOURCE = Source(
    name="entity_questions",
    description="EntityQuestions, training set, in English, without passages: each question gets the first of your corpus whose "
                "title is the entity that it names and whose text has an answer",
    licence="MIT; the passages are yours",
    citation="Sciavolino et al. 2021, Simple Entity-Centric Questions Challenge Dense Retrievers, arXiv 2109.08535",
)
ARCHIVE = RemoteFile("dataset.zip", "https://nlp.cs.princeton.edu/projects/entity-questions/dataset.zip")
Question = tuple[str, str, list[str]]  # id, text, answers


def files() -> list[RemoteFile]:
    """The questions."""
    return [ARCHIVE]


def load(folder: str, cache: str, passages: str, languages: str | Sequence[str] | None = None) -> ParallelCorpus:
    """English alone, so it serves monolingual batches; questions that no passage is found for are left out.

    `passages` is a file of lines with id, text and title between tabs, a header on top, as the psgs_w100.tsv of DPR.
    """
    place = Path(passages).expanduser()
    if not place.is_file():
        raise ValueError(f"corpus.passages={passages} is no file: it must have id, text and title between tabs on each line")

    def read(problems: Problems) -> Iterator[Records]:
        questions = list(asked(Path(folder) / ARCHIVE.path, problems))
        rows = [(line, *questions[number][:2], text) for number, (line, text) in found(questions, place, problems).items()]
        yield of_pairs(f"{place}, line", "en", rows)
    return released(SOURCE, files(), folder, cache, read, key={"passages": states([place])}, languages=languages)


def asked(archive: Path, problems: Problems) -> Iterator[Question]:
    """The training questions of every relation."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                if "/train/" in f"/{name}" and name.endswith(".train.json"):
                    for number, row in enumerate(json.loads(opened.read(name))):
                        yield f"{Path(name).name.split('.')[0]} {number}", row["question"], row["answers"]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        problems.add(f"{archive}: not the questions of EntityQuestions ({error}): fetch it again", whole_file=True)


def found(questions: list[Question], passages: Path, problems: Problems) -> dict[int, tuple[int, str]]:
    """Line and text of the passage of each question that has one; of several titles in a question the longest."""
    by_title: dict[str, list[int]] = {}
    for number, (_, question, _) in enumerate(questions):
        words = question.rstrip("?").split()
        for start in range(len(words)):
            for stop in range(start + 1, len(words) + 1):
                by_title.setdefault(" ".join(words[start:stop]), []).append(number)
    best: dict[int, tuple[int, int, str]] = {}
    for line, row in lines(passages, problems):
        columns = row.split("\t")
        if len(columns) != 3:
            problems.add(f"{passages}, line {line}: {len(columns)} columns, need id, text and title between tabs")
            continue
        text, title = columns[1].strip('"'), columns[2].strip('"')
        for number in by_title.get(title, ()):
            if len(title) > best.get(number, (0,))[0] and any(answer in text for answer in questions[number][2]):
                best[number] = len(title), line, f"{title} {text}"
    return {number: (line, text) for number, (_, line, text) in sorted(best.items())}
