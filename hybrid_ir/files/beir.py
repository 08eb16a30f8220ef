"""The one reader of folders in the form of BEIR (arXiv 2104.08663), for training and evaluation."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.files.columns import simplify_name
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.judgements import (
    PASSAGE_NAMES,
    QRELS,
    QUERY_NAMES,
    SCORE_NAMES,
    Judgement,
    describe_contradiction,
    parse_score,
    read_judgements,
    read_topic_rows,
)
from hybrid_ir.files.languages import explain_wrong_code, find_canonical_code
from hybrid_ir.files.parquet_rows import read_parquet_rows
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import normalize_id

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
    if ".tsv" in path.suffixes:
        for place, cells in read_topic_rows(path, problems):
            text = read_beir_text(cells, place, int(place.rpartition(" ")[2]), problems)
            if text is not None:
                yield text
        return
    rows = read_parquet_rows if path.suffix == ".parquet" else read_objects
    unit = "row" if path.suffix == ".parquet" else "line"
    for line, row in rows(path, problems):
        text = read_beir_text(row, f"{path}, {unit} {line}", line, problems)
        if text is not None:
            yield text


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
    name = get_text_field(row, _find_key(row, ID_KEYS), place, problems)
    text = get_text_field(row, _find_key(row, TEXT_KEYS), place, problems, blank=True)
    title = get_text_field(row, "title", place, problems, default="", blank=True)
    question_id = None
    has_question_id = row.get("question_id") is not None
    if has_question_id:
        question_id = get_text_field(row, "question_id", place, problems)
    language = None
    language_key = _find_key(row, LANGUAGE_KEYS)
    has_language = row.get(language_key) is not None
    if has_language:
        language = _read_language(row, language_key, place, problems)
    if name is None or text is None or title is None:
        return None
    if (has_question_id and question_id is None) or (has_language and language is None):
        return None
    return BeirText(place, line, name, title, text, language, question_id)


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


def read_beir_judgements(path: Path, problems: Problems) -> Iterator[Judgement]:
    """Reads the judgements of a split, from text, Parquet or JSON lines.

    Equal judgements of the same pair come once; a pair that is judged in two ways is a problem.
    """
    if path.suffix == ".parquet" or ".jsonl" in path.suffixes:
        judgements = _read_judgement_rows(path, problems)
    else:
        judgements = read_judgements(path, problems)
    yield from drop_repeated_judgements(judgements, problems)


def drop_repeated_judgements(
    judgements: Iterable[Judgement], problems: Problems
) -> Iterator[Judgement]:
    """Yields equal judgements of a pair once; one that is judged in two ways is a problem."""
    first_judgements: dict[tuple[str, str], Judgement] = {}
    for judgement in judgements:
        pair = (judgement.query_id, judgement.passage_id)
        first = first_judgements.setdefault(pair, judgement)
        if first is judgement:
            yield judgement
            continue
        problem = describe_contradiction(judgement, first)
        if problem:
            problems.add(problem)


def _read_judgement_rows(path: Path, problems: Problems) -> Iterator[Judgement]:
    """Reads judgements that stand in rows under the names of their columns."""
    rows = read_parquet_rows if path.suffix == ".parquet" else read_objects
    unit = "row" if path.suffix == ".parquet" else "line"
    for number, row in rows(path, problems):
        judgement = read_beir_judgement(row, f"{path}, {unit} {number}", problems)
        if judgement is not None:
            yield judgement


def read_beir_judgement(row: Mapping[str, Any], place: str, problems: Problems) -> Judgement | None:
    """Reads a judgement from one row; None after adding a problem.

    Args:
        row: values by the names of their columns.
        place: of the row, for messages.
        problems: gets what is wrong with it.
    """
    values = []
    for names in (QUERY_NAMES, PASSAGE_NAMES, SCORE_NAMES):
        values.append(_find_value(row, names))
    query_id, passage_id, score = values
    if query_id is None or passage_id is None:
        problems.add(
            f"{place}: it needs columns called like query-id, corpus-id and score with "
            f"something in each, there are {', '.join(row)}"
        )
        return None
    problem = _find_score_problem(row)
    if problem is None and parse_score(score) is None:
        problem = f"the score {score!r:.40} is not a number"
    if problem is not None:
        problems.add(f"{place}: {problem}")
        return None
    return Judgement(_to_id(query_id), _to_id(passage_id), parse_score(score), place)


def _find_score_problem(row: Mapping[str, Any]) -> str | None:
    """Returns why nobody can know which column judges, or None."""
    kinds = [QRELS.find_kind(key) for key in row]
    scores = [key for key, kind in zip(row, kinds, strict=True) if kind == "score"]
    if len(scores) > 1:
        return f"any of {', '.join(scores)} may be the score: leave one of them"
    if any(simplify_name(key).startswith("rank") for key in row):
        return "there is a rank: this is a run, the ranking of a system, and no judgements"
    return None


def _to_id(value: Any) -> str:
    """Returns an id as text; pandas makes 11.0 of 11 where some ids are missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normalize_id(str(value))


def _find_value(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Returns the value of the column with the first of these names, however it is spelt."""
    by_name = {simplify_name(key): value for key, value in row.items()}
    for name in names:
        if simplify_name(name) in by_name:
            return by_name[simplify_name(name)]
    return None
