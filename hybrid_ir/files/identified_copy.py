"""A copy of texts in which every line names its language: the likeliest one where it named none."""

import gzip
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from hybrid_ir.files.atomic import (
    hold_new_folder,
    require_new_folder,
    write_atomically,
    write_folder_atomically,
)
from hybrid_ir.files.beir import (
    ID_KEYS,
    BeirFolder,
    BeirText,
    find_language_folders,
    find_language_key,
    read_beir_rows,
    read_beir_text,
)
from hybrid_ir.files.language_identification import LanguageGuess, LanguageGuesser, has_letters
from hybrid_ir.files.problems import Problems
from hybrid_ir.system.progress import LongWork, show_progress
from hybrid_ir.types import Role

LINE_ENDINGS = (".jsonl", ".jsonl.gz")
CONFIDENCE_KEY = "language_confidence"
CONFIDENCE_DECIMALS = 3
UNKNOWN = "und"  # a line that says so names no language
SHOWN_UNCERTAIN = 5
SMALL = 20_000  # lines that are done in a few seconds
ROLES: tuple[Role, ...] = ("query", "passage")
FORMS = (
    "a folder with corpus.jsonl and, where there are queries, queries.jsonl, as in BEIR, or a file "
    "of JSON lines with text"
)


@dataclass(frozen=True)
class UncertainLine:
    """A line whose language was guessed, and may well be wrong.

    Args:
        place: file and line in the copy.
        text: that it holds.
        guess: what it was given.
    """

    place: str
    text: str
    guess: LanguageGuess


@dataclass
class IdentificationReport:
    """What a copy of texts holds.

    Attributes:
        lines: all of them.
        identified: lines that named no language and got one.
        texts: how many texts each role has, by language. A line without a role counts as both.
        uncertain: identified lines without letters or of low confidence, by language.
        first_uncertain: the first of them.
    """

    lines: int = 0
    identified: int = 0
    texts: dict[Role, Counter[str]] = field(
        default_factory=lambda: {"query": Counter(), "passage": Counter()}
    )
    uncertain: Counter[str] = field(default_factory=Counter)
    first_uncertain: list[UncertainLine] = field(default_factory=list)

    @property
    def languages(self) -> list[str]:
        """The codes of all languages, sorted."""
        return sorted({*self.texts["query"], *self.texts["passage"]})


@dataclass(frozen=True)
class _Part:
    """Lines of one kind: where they are, and the file of the copy that they go to.

    Args:
        sources: files of JSON lines, Parquet or topics.
        name: of the file in the copy; "" for a copy that is one file.
        role: of all lines; None where each line may name its own.
    """

    sources: Sequence[Path]
    name: str
    role: Role | None


def write_identified_copy(
    path: Path, to: Path, guesser: LanguageGuesser, least_confidence: float
) -> IdentificationReport:
    """Writes a copy of texts in which every line names its language.

    A line that names one is kept. Any other gets `language`, and `language_confidence` behind all
    its other values, which stay as they are. All lines are checked before the first is written.

    Args:
        path: a folder in the form of BEIR, or a file of JSON lines. Passages as Parquet and topics
            become JSON lines; files that are neither passages nor queries are copied.
        to: the new folder or file.
        guesser: with the languages that a line may get.
        least_confidence: below it a line is uncertain.

    Raises:
        ValueError: everything that is wrong with the lines, or the path; or `to` exists, or is
            inside of the path.
    """
    parts = _list_parts(path)
    _require_new_place(path, to)
    problems = Problems(str(path))
    total = 0
    for part in parts:
        for _ in _read_part(part, problems):
            total += 1
    problems.raise_if_any()
    title = "identify languages"
    with hold_new_folder(to), show_progress(title, total, is_small=total < SMALL) as work:
        copier = _Copier(guesser, least_confidence, problems, work)
        if path.is_file():
            with write_atomically(to) as temporary:
                copier.copy(parts[0], temporary, to)
                problems.raise_if_any()
        else:
            with write_folder_atomically(to) as temporary:
                for part in parts:
                    copier.copy(part, temporary / part.name, to / part.name)
                problems.raise_if_any()
                _copy_others(path, parts, temporary)
    return copier.report


def _list_parts(path: Path) -> list[_Part]:
    """Returns the parts of a path.

    Raises:
        ValueError: there are no texts there, or folders name their languages.
    """
    if path.is_file():
        if not path.name.endswith(LINE_ENDINGS):
            raise ValueError(f"path={path} must end in {' or '.join(LINE_ENDINGS)}: need {FORMS}")
        return [_Part([path], "", None)]
    if not path.is_dir():
        raise ValueError(f"path={path} does not exist: need {FORMS}")
    folder = BeirFolder(path)
    if not folder.has_corpus():
        names = ", ".join(find_language_folders(path))
        if names:
            raise ValueError(
                f"path={path}: the languages are the names of its folders ({names}), so that "
                "nothing is to be identified; give one of them, if its name is wrong"
            )
        raise ValueError(f"path={path} has no corpus.jsonl: need {FORMS}")
    parts = [_name_part("corpus", folder.list_corpus_files(), "passage")]
    query_files = [file for file in folder.list_query_files() if file.is_file()]
    if query_files:
        parts.append(_name_part("queries", query_files, "query"))
    return parts


def _name_part(name: str, sources: Sequence[Path], role: Role) -> _Part:
    """Returns a part whose file keeps its name if it has JSON lines."""
    has_json_lines = sources[0].name.endswith(LINE_ENDINGS)
    return _Part(sources, sources[0].name if has_json_lines else f"{name}.jsonl", role)


def _require_new_place(path: Path, to: Path) -> None:
    """Raises ValueError unless a copy of a path can be written."""
    if to.resolve().is_relative_to(path.resolve()):
        raise ValueError(f"to={to} is inside of path={path}: give a place beside it")
    if path.is_file() and not to.name.endswith(LINE_ENDINGS):
        raise ValueError(
            f"to={to} must end in {' or '.join(LINE_ENDINGS)}, as it is a copy of the file {path}"
        )
    require_new_folder(to)


def _read_part(
    part: _Part, problems: Problems
) -> Iterator[tuple[str, Mapping[str, Any], BeirText]]:
    """Yields the place of each row, its values, and what they say; wrong rows are left out."""
    for source in part.sources:
        for place, line, row in read_beir_rows(source, problems):
            checked_row = row
            if part.role is None:
                if "role" in row and row["role"] not in ROLES:
                    problems.add(
                        f"{place}: role={row['role']!r:.40} must be query or passage, or be left "
                        "out for both"
                    )
                    continue
                if not any(key in row for key in ID_KEYS):
                    checked_row = {"id": str(line), **row}  # texts need none in such a file
            text = read_beir_text(checked_row, place, line, problems)
            if text is not None:
                yield place, row, text


class _Copier:
    """Copies lines, and gives those a language that name none.

    Args:
        guesser: see `write_identified_copy`, like `least_confidence`.
        least_confidence: below it a line is uncertain.
        problems: gets rows that cannot be written.
        work: is told how many lines are done.
    """

    def __init__(
        self,
        guesser: LanguageGuesser,
        least_confidence: float,
        problems: Problems,
        work: LongWork,
    ):
        self.guesser = guesser
        self.least_confidence = least_confidence
        self.problems = problems
        self.work = work
        self.report = IdentificationReport()

    def copy(self, part: _Part, target: Path, final: Path) -> None:
        """Copies the lines of a part.

        Args:
            part: to copy.
            target: the file to write.
            final: what the file will be called in the end, for messages.
        """
        number = 0
        with _open_to_write(target, is_gzipped=final.suffix == ".gz") as file:
            for place, row, text in _read_part(part, self.problems):
                number += 1
                language = text.language
                if language is None or language == UNKNOWN:
                    guess = self._guess(text, f"{final}, line {number}")
                    language = guess.language
                    row = _add_language(row, guess)
                self._count(row, part.role, language)
                try:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                except TypeError as error:
                    self.problems.add(f"{place}: {error}: leave the column out")
                self.work.advance()

    def _guess(self, text: BeirText, place: str) -> LanguageGuess:
        whole_text = f"{text.title} {text.text}".strip()
        guess = self.guesser.guess(whole_text)
        self.report.identified += 1
        if guess.confidence < self.least_confidence or not has_letters(whole_text):
            self.report.uncertain[guess.language] += 1
            if len(self.report.first_uncertain) < SHOWN_UNCERTAIN:
                self.report.first_uncertain.append(UncertainLine(place, whole_text, guess))
        return guess

    def _count(self, row: Mapping[str, Any], role: Role | None, language: str) -> None:
        self.report.lines += 1
        own_role = role or row.get("role")
        for counted_role in ROLES:
            if own_role is None or own_role == counted_role:
                self.report.texts[counted_role][language] += 1


def _add_language(row: Mapping[str, Any], guess: LanguageGuess) -> dict[str, Any]:
    """Returns a row with its language, in the place where it has an empty one, or at the end."""
    return {
        **row,
        find_language_key(row): guess.language,
        CONFIDENCE_KEY: round(guess.confidence, CONFIDENCE_DECIMALS),
    }


@contextmanager
def _open_to_write(path: Path, is_gzipped: bool) -> Iterator[TextIO]:
    """Opens a file for lines in UTF-8; the same lines give the same bytes."""
    with open(path, "wb") as raw:
        if not is_gzipped:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
                yield file
            return
        # Neither its name nor the time is in it.
        with (
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
        ):
            yield file


def _copy_others(path: Path, parts: Sequence[_Part], folder: Path) -> None:
    """Copies what a folder has besides its texts, such as judgements, but no hidden files."""
    replaced = set()
    for part in parts:
        for source in part.sources:
            replaced.add(source.relative_to(path).parts[0])
    for place in sorted(path.iterdir()):
        if place.name in replaced or place.name.startswith(".") or not place.exists():
            continue
        if place.is_dir():
            shutil.copytree(place, folder / place.name, ignore_dangling_symlinks=True)
        else:
            shutil.copy(place, folder / place.name)
