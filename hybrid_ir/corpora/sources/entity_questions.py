"""EntityQuestions: simple questions about entities, paired with passages of a corpus that you give."""

import csv
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    describe_files,
    require_counts_of_release,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.json_lines import read_lines
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records, build_pair_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="entity_questions",
    description="EntityQuestions, training set, in English, without passages: each question gets the first of your corpus whose "
    "title is the entity that it names and whose text has an answer",
    licence="MIT; the passages are yours",
    citation="Sciavolino et al. 2021, Simple Entity-Centric Questions Challenge Dense Retrievers, arXiv 2109.08535",
)
ARCHIVE = RemoteFile(
    "dataset.zip", "https://nlp.cs.princeton.edu/projects/entity-questions/dataset.zip"
)
COUNT = 176_560  # questions
WORDS = re.compile(r"\w+|[^\w\s]")
TEMPLATES = {  # by the relation of Wikidata that a file is about
    "P17": "Which country is [X] located in?",
    "P19": "Where was [X] born?",
    "P20": "Where did [X] die?",
    "P26": "Who is [X] married to?",
    "P36": "What is the capital of [X]?",
    "P40": "Who is [X]'s child?",
    "P50": "Who is the author of [X]?",
    "P69": "Where was [X] educated?",
    "P106": "What kind of work does [X] do?",
    "P112": "Who founded [X]?",
    "P127": "Who owns [X]?",
    "P131": "Where is [X] located?",
    "P136": "What type of music does [X] play?",
    "P159": "Where is the headquarter of [X]?",
    "P170": "Who was [X] created by?",
    "P175": "Who performed [X]?",
    "P176": "Which company is [X] produced by?",
    "P264": "What music label is [X] represented by?",
    "P276": "Where is [X] located?",
    "P407": "Which language was [X] written in?",
    "P413": "What position does [X] play?",
    "P495": "Which country was [X] created in?",
    "P740": "Where was [X] founded?",
    "P800": "What is [X] famous for?",
}


@dataclass(frozen=True)
class Question:
    """A question, what may be the entity that it asks about, and its answers as `plain` texts."""

    name: str
    text: str
    entities: list[str]
    answers: list[str]


def files() -> list[RemoteFile]:
    """The questions."""
    return [ARCHIVE]


def load(
    folder: str,
    cache: str,
    passages: str,
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """English alone, so it serves monolingual batches; questions that no passage is found for are left out.

    `passages` is a file of lines with id, text and title between tabs, quoted where they have quotes, a header on top, as the
    psgs_w100.tsv of DPR.
    """
    place = Path(passages).expanduser()
    if not place.is_file():
        raise ValueError(
            f"corpus.passages={passages} is no file: it must have id, text and title between tabs on each line"
        )

    def read(problems: Problems) -> Iterator[Records]:
        questions = list(asked(Path(folder) / ARCHIVE.path, problems))
        require_counts_of_release(
            SOURCE.name,
            {"en": len(questions)},
            {"en": COUNT} if require_counts and not problems.files else None,
        )
        rows = [
            (line, question.name, question.text, text)
            for question, line, text in found(questions, place, problems)
        ]
        yield build_pair_records(f"{place}, line", "en", rows)

    return build_released_corpus(
        SOURCE,
        files(),
        folder,
        cache,
        [read],
        key={"passages": describe_files([place]), "counts": require_counts},
        languages=languages,
    )


def asked(archive: Path, problems: Problems) -> Iterator[Question]:
    """The training questions of every relation."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                if (
                    "/train/" not in f"/{name}"
                    or not name.endswith(".train.json")
                    or name.startswith("__MACOSX/")
                ):
                    continue
                relation = Path(name).name.removesuffix(".train.json")
                for number, row in enumerate(json.loads(opened.read(name)), 1):
                    yield Question(
                        f"{relation} {number}",
                        row["question"],
                        entities(relation, row["question"]),
                        [plain(one) for one in row["answers"]],
                    )
    except (AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        problems.add(
            f"{archive}: not the questions of EntityQuestions ({error}): fetch it again",
            whole_file=True,
        )


def found(
    questions: Sequence[Question], passages: Path, problems: Problems
) -> list[tuple[Question, int, str]]:
    """Each question that has one with line and text of its passage: the first titled with its entity that has an answer.

    Of several titles the longest.
    """
    waiting: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        for entity in question.entities:
            waiting.setdefault(entity, []).append(number)
    best: dict[int, tuple[int, str, int]] = {}
    for line, row in read_lines(passages, problems):
        try:
            _, text, title = next(csv.reader([row], delimiter="\t", strict=True))
        except (ValueError, csv.Error) as error:
            problems.add(
                f"{passages}, line {line}: need id, text and title between tabs ({error}): {row!r:.60}"
            )
            continue
        if numbers := waiting.get(composed(title)):
            words = plain(text)
            for number in [
                number
                for number in numbers
                if any(answer in words for answer in questions[number].answers)
            ]:
                numbers.remove(number)
                if number not in best or len(title) > best[number][2]:
                    best[number] = line, f"{title} {text}", len(title)
    return [(questions[number], line, text) for number, (line, text, _) in sorted(best.items())]


def entities(relation: str, question: str) -> list[str]:
    """What the question asks about by the template of its relation; of one in another form, every stretch of its words."""
    before, after = TEMPLATES.get(relation, "[X]").split("[X]")
    entity = question.removeprefix(before).removesuffix(after)
    if relation in TEMPLATES and question == f"{before}{entity}{after}":
        return [composed(entity)]
    words = composed(question).rstrip("?").split()
    return list(
        dict.fromkeys(
            " ".join(words[start:stop]) for start, stop in combinations(range(len(words) + 1), 2)
        )
    )


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def plain(text: str) -> str:
    """Words and signs of a text without case, with blanks around each, so that whole words are found in it."""
    return f" {' '.join(WORDS.findall(composed(text).casefold()))} "
