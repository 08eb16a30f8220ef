"""EntityQuestions: simple questions about entities, paired with passages of your own corpus."""

import csv
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    require_release_counts,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.checksums import list_file_states
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.json_lines import read_lines
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records, build_pair_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="entity_questions",
    description="EntityQuestions, training set, in English, without passages: each question gets "
    "the first of your corpus whose title is the entity that it names and whose text has an answer",
    licence="MIT; the passages are yours",
    citation="Sciavolino et al. 2021, Simple Entity-Centric Questions Challenge Dense Retrievers, "
    "arXiv 2109.08535",
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
class EntityQuestion:
    """A question about an entity.

    Args:
        id: relation and number of the question.
        text: the question.
        entities: what may be the entity that it asks about.
        answers: the answers, as `_split_words` returns them.
    """

    id: str
    text: str
    entities: list[str]
    answers: list[str]


@dataclass(frozen=True)
class EntityPassage:
    """A passage that answers a question: its line in the file, its title and its text."""

    line: int
    title: str
    text: str


def list_files() -> list[RemoteFile]:
    """Lists the archive of the questions."""
    return [ARCHIVE]


def load(
    folder: str,
    cache: str,
    passages: str,
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the questions for which a passage is found, in English: for monolingual batches alone.

    Args:
        folder: where `hybrid-ir data fetch` has put the questions.
        cache: the cache folder.
        passages: a file like the psgs_w100.tsv of DPR. Each line has id, text and title between
            tabs, quoted where they have quotes; the first line is a header.
        languages: the languages to use; English is all there is.
        require_counts: whether to refuse another number of questions than released.
    """
    passages_path = Path(passages).expanduser()
    if not passages_path.is_file():
        raise ValueError(
            f"corpus.passages={passages} is no file: it must have id, text and title between tabs "
            "on each line"
        )

    def read_pairs(problems: Problems) -> Iterator[Records]:
        questions = list(_read_questions(Path(folder) / ARCHIVE.path, problems))
        if require_counts and not problems.unreadable_files:
            require_release_counts(SOURCE.name, {"en": len(questions)}, {"en": COUNT})
        found = _find_passages(questions, passages_path, problems)
        rows = []
        for number, passage in sorted(found.items()):
            question = questions[number]
            text = f"{passage.title} {passage.text}"
            rows.append((passage.line, question.id, question.text, text))
        yield build_pair_records(f"{passages_path}, line", "en", rows)

    return build_released_corpus(
        SOURCE,
        list_files(),
        folder,
        cache,
        [read_pairs],
        key={"passages": list_file_states([passages_path]), "counts": require_counts},
        languages=languages,
    )


def _read_questions(archive: Path, problems: Problems) -> Iterator[EntityQuestion]:
    """Yields the training questions of every relation."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                if _is_training_file(name):
                    relation = Path(name).name.removesuffix(".train.json")
                    for number, row in enumerate(json.loads(opened.read(name)), 1):
                        yield EntityQuestion(
                            f"{relation} {number}",
                            row["question"],
                            _find_entities(relation, row["question"]),
                            [_split_words(answer) for answer in row["answers"]],
                        )
    except (AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        problems.add(
            f"{archive}: not the questions of EntityQuestions ({error}): fetch it again",
            file_unreadable=True,
        )


def _is_training_file(name: str) -> bool:
    if name.startswith("__MACOSX/"):
        return False
    return "/train/" in f"/{name}" and name.endswith(".train.json")


def _find_passages(
    questions: Sequence[EntityQuestion], path: Path, problems: Problems
) -> dict[int, EntityPassage]:
    """Finds the passage of each question: the first titled with its entity that has an answer.

    Of passages with several titles that may be the entity, the one with the longest title counts.

    Returns:
        The passage by the number of its question, for those that have one.
    """
    waiting: dict[str, list[int]] = {}  # numbers of questions by the entity
    for number, question in enumerate(questions):
        for entity in question.entities:
            waiting.setdefault(entity, []).append(number)
    best: dict[int, EntityPassage] = {}
    for line, row in read_lines(path, problems):
        try:
            _, text, title = next(csv.reader([row], delimiter="\t", strict=True))
        except (ValueError, csv.Error) as error:
            problems.add(
                f"{path}, line {line}: need id, text and title between tabs ({error}): {row!r:.60}"
            )
            continue
        entity = _compose_characters(title)
        if not waiting.get(entity):
            continue
        words = _split_words(text)
        still_waiting = []
        for number in waiting[entity]:
            if not any(answer in words for answer in questions[number].answers):
                still_waiting.append(number)
            elif number not in best or len(title) > len(best[number].title):
                best[number] = EntityPassage(line, title, text)
        waiting[entity] = still_waiting
    return best


def _find_entities(relation: str, question: str) -> list[str]:
    """Returns what a question may ask about.

    The template of the relation tells; if the question is in another form, it is every stretch of
    its words.
    """
    if relation in TEMPLATES:
        before, after = TEMPLATES[relation].split("[X]")
        entity = question.removeprefix(before).removesuffix(after)
        if question == f"{before}{entity}{after}":
            return [_compose_characters(entity)]
    words = _compose_characters(question).rstrip("?").split()
    stretches = []
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            stretches.append(" ".join(words[start:stop]))
    return list(dict.fromkeys(stretches))


def _compose_characters(text: str) -> str:
    """Returns a text in Unicode's normal form C, so that equal texts compare as equal."""
    return unicodedata.normalize("NFC", text)


def _split_words(text: str) -> str:
    """Returns the words and signs of a text in lower case with a blank around each.

    So a text has an answer as whole words if it contains the answer in this form.
    """
    return f" {' '.join(WORDS.findall(_compose_characters(text).casefold()))} "
