"""The one reader of folders in the form of BEIR (arXiv 2104.08663), for training and evaluation."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.judgements import read_topic_rows
from hybrid_ir.files.languages import explain_wrong_code, find_canonical_code
from hybrid_ir.files.parquet_rows import read_parquet_rows
from hybrid_ir.files.problems import Problems

ROW_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")  # of files of passages and queries
# Of files of judgements.
QREL_ENDINGS = (
    ".tsv",
    ".tsv.gz",
    ".txt",
    ".txt.gz",
    ".qrels",
    ".trec",
    ".csv",
    ".jsonl",
    ".jsonl.gz",
    ".parquet",
)
TOPIC_NAMES = ("queries.tsv", "queries.tsv.gz", "topics.tsv", "topics.tsv.gz")
ID_KEYS = ("_id", "id", "docid", "doc_id", "query_id", "qid")
TEXT_KEYS = ("text", "contents", "content", "query", "question")
LANGUAGE_KEYS = ("language", "lang", "language_code", "lang_code", "locale")
READ_KEYS = {*ID_KEYS, *TEXT_KEYS, *LANGUAGE_KEYS, "title", "question_id"}
FORMAT = (
    "corpus.jsonl with _id, text and optional title and language; queries.jsonl with _id, text and "
    "optional language and question_id; qrels.tsv or qrels/SPLIT.tsv with query-id, corpus-id, "
    "score; or a folder with these for each language"
)


@dataclass(frozen=True)
class BeirText:
    """A passage or a query, as a line of a file has it.

    Args:
        place: file and line, for messages.
        line: number of the line or row.
        id: of the text, normalised.
        title: put in front of a passage; "" for none.
        text: the text; "" if there is nothing to see.
        language: the code that the line names, in its canonical form; None if it names none.
        question_id: shared with translations of a query; None if the line has none.
    """

    place: str
    line: int
    id: str
    title: str
    text: str
    language: str | None
    question_id: str | None


@dataclass(frozen=True)
class BeirFolder:
    """The files of one folder.

    Passages are in `corpus.jsonl`, queries in `queries.jsonl`, each of them gzipped or as Parquet,
    too, or Parquet files in a folder `corpus` or `queries`; queries also in `queries.tsv` or
    `topics.tsv`. Judgements are in `qrels/SPLIT.tsv`, or in `qrels.tsv` if there is one split,
    in the form of BEIR or TREC, as text or Parquet.
    """

    root: Path

    def has_corpus(self) -> bool:
        """Returns whether there are passages, which makes the folder one in the form of BEIR."""
        return bool(self._find_rows("corpus"))

    def list_corpus_files(self) -> list[Path]:
        """Returns the files of the passages; `corpus.jsonl` if there is none at all.

        Raises:
            ValueError: there are passages in two forms.
        """
        return self._require_one_form("corpus", self._find_rows("corpus"))

    def list_query_files(self) -> list[Path]:
        """Returns the files of the queries; `queries.jsonl` if there is none at all.

        Raises:
            ValueError: there are queries in two forms.
        """
        topics = [self.root / name for name in TOPIC_NAMES if (self.root / name).is_file()]
        return self._require_one_form("queries", self._find_rows("queries") + topics)

    def _find_rows(self, name: str) -> list[Path]:
        files = []
        for ending in ROW_ENDINGS:
            file = self.root / f"{name}{ending}"
            if file.is_file():
                files.append(file)
        return files + sorted((self.root / name).glob("*.parquet"))

    def _require_one_form(self, name: str, files: list[Path]) -> list[Path]:
        places = {file.parent if file.parent != self.root else file for file in files}
        if len(places) > 1:
            names = " and ".join(sorted(str(place) for place in places))
            raise ValueError(f"{names} both hold {name}: leave one of them there")
        return files or [self.root / f"{name}.jsonl"]

    def find_qrels(self, split: str, problems: Problems) -> Path | None:
        """Returns the file of the judgements of a split; None after adding a problem.

        Args:
            split: as in the name of its file. A single file `qrels.tsv` is of the splits that its
                readers ask for by default, test and train.
            problems: gets what is missing.
        """
        folder = self.root / "qrels"
        if folder.is_dir():
            return self._find_split(folder, split, problems)
        for ending in QREL_ENDINGS:
            if (self.root / f"qrels{ending}").is_file():
                if split in ("test", "train"):
                    return self.root / f"qrels{ending}"
                problems.add(
                    f"split={split} must be in {folder / split}.tsv, and there is no folder qrels: "
                    f"without one there is a single split, qrels{ending}; leave split out"
                )
                return None
        problems.add(f"{self.root / 'qrels.tsv'} is missing, and so is {folder / split}.tsv")
        return None

    def _find_split(self, folder: Path, split: str, problems: Problems) -> Path | None:
        splits: dict[str, list[Path]] = {}
        for ending in QREL_ENDINGS:
            for file in sorted(folder.glob(f"*{ending}")):
                name = re.sub(r"-\d{5}-of-\d{5}$", "", file.name.removesuffix(ending))
                splits.setdefault(name, []).append(file)
        single = self.root / "qrels.tsv"
        if single.is_file() and split in splits:
            splits[split].append(single)
        if len(splits.get(split, ())) > 1:
            names = " and ".join(str(file) for file in splits[split])
            problems.add(f"{names} may all judge the split {split}: join them, or leave one there")
            return None
        if split not in splits:
            problems.add(
                f"{folder / split}.tsv is missing: split={split} must be one of those there: "
                f"{', '.join(sorted(splits)) or 'none'}"
            )
            return None
        [file] = splits[split]
        return file


def find_language_folders(root: Path) -> dict[str, Path]:
    """Returns the folders of a folder that have passages, by their names."""
    folders = {}
    for place in sorted(root.iterdir()):
        is_part = place.name in ("corpus", "queries", "qrels")
        if place.is_dir() and not is_part and BeirFolder(place).has_corpus():
            folders[place.name] = place
    return folders


def name_folders_by_language(folders: Mapping[str, Path], place: str) -> dict[str, BeirFolder]:
    """Returns folders by the languages that they are named by, in their canonical form.

    Args:
        folders: with passages, by their names.
        place: the key and value that named them, for the message.

    Raises:
        ValueError: a folder is not named by a language, or two are by the same.
    """
    by_language: dict[str, BeirFolder] = {}
    problems = []
    for name, folder in sorted(folders.items()):
        problem = explain_wrong_code(name)
        language = find_canonical_code(name)
        if problem:
            problems.append(
                f"{folder} has passages, but {problem}; name it by its language, or move it away"
            )
        elif language in by_language:
            problems.append(f"{by_language[language].root} and {folder} are of one language")
        else:
            by_language[language] = BeirFolder(folder)
    if problems:
        raise ValueError(f"{place}: {'; '.join(problems)}")
    return by_language


def list_beir_files(
    path: str, folders: Mapping[str, BeirFolder], split: str, language: str | None
) -> list[Path]:
    """Returns all files of the folders of a corpus.

    Args:
        path: the value of `corpus.path`.
        folders: by their languages.
        split: of the judgements.
        language: the value of `corpus.language`, which makes the path a single folder.

    Raises:
        ValueError: some are missing.
    """
    files = []
    problems = Problems(path)
    for folder in folders.values():
        files += folder.list_corpus_files() + folder.list_query_files()
        qrels = folder.find_qrels(split, problems)
        if qrels is not None:
            files.append(qrels)
    for file in files:
        if not file.is_file():
            problems.add(f"{file} is missing")
    if problems.number:
        hint = ""
        if language and find_language_folders(Path(path).expanduser()):
            hint = ", but there are such folders inside: leave language= out"
        raise ValueError(f"corpus.path={path}: {'; '.join(problems.first)}{hint}")
    return files


def read_beir_texts(path: Path, problems: Problems) -> Iterator[BeirText]:
    """Reads passages or queries, from JSON lines, Parquet or topics.

    Args:
        path: the file.
        problems: gets what is wrong with lines; they are left out.
    """
    for place, line, row in read_beir_rows(path, problems):
        text = read_beir_text(row, place, line, problems)
        if text is not None:
            yield text


def read_beir_rows(path: Path, problems: Problems) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Reads the rows of a file of passages or queries with all their values.

    Yields:
        The place of a row for messages, its number, and its values by their names, unchecked.
    """
    if ".tsv" in path.suffixes:
        for place, cells in read_topic_rows(path, problems):
            yield place, int(place.rpartition(" ")[2]), cells
        return
    rows = read_parquet_rows if path.suffix == ".parquet" else read_objects
    unit = "row" if path.suffix == ".parquet" else "line"
    for line, row in rows(path, problems):
        yield f"{path}, {unit} {line}", line, row


def read_beir_text(
    row: Mapping[str, Any], place: str, line: int, problems: Problems
) -> BeirText | None:
    """Reads a passage or query from one row; None after adding a problem.

    Args:
        row: values by the names of their columns.
        place: of the row, for messages.
        line: its number.
        problems: gets what is wrong with it.
    """
    problem = _find_capital_key(row)
    if problem:
        problems.add(f"{place}: {problem}")
        return None
    name = get_text_field(row, _find_key(row, ID_KEYS), place, problems)
    text = get_text_field(row, _find_key(row, TEXT_KEYS), place, problems, blank=True)
    title = get_text_field(row, "title", place, problems, default="", blank=True)
    question_id = None
    has_question_id = row.get("question_id") is not None
    if has_question_id:
        question_id = get_text_field(row, "question_id", place, problems)
    language = None
    language_key = find_language_key(row)
    has_language = row.get(language_key) is not None
    if has_language:
        language = _read_language(row, language_key, place, problems)
    if name is None or text is None or title is None:
        return None
    if (has_question_id and question_id is None) or (has_language and language is None):
        return None
    return BeirText(place, line, name, title, text, language, question_id)


def find_language_key(row: Mapping[str, Any]) -> str:
    """Returns the key under which a row names its language, or would do so."""
    return _find_key(row, LANGUAGE_KEYS)


def _find_capital_key(row: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with a key such as Title, which would be passed over, or None."""
    for key in row:
        if key != key.lower() and key.lower() in READ_KEYS:
            return f"the key {key!r} is not read, write {key.lower()!r}"
    return None


def _find_key(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Returns the first of several keys that a row has, or the usual one."""
    for key in keys:
        if key in row:
            return key
    return keys[0]


def _read_language(row: Mapping[str, Any], key: str, place: str, problems: Problems) -> str | None:
    code = get_text_field(row, key, place, problems)
    if code is None:
        return None
    problem = explain_wrong_code(code)
    if problem:
        problems.add(f"{place}: {key!r}: {problem}")
        return None
    return find_canonical_code(code)
