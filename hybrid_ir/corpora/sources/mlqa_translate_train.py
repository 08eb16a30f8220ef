"""SQuAD in seven languages: in English, and in MLQA's machine translations, joined by their ids."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.sources import squad
from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    choose_training_languages,
    require_files,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.joining import join_languages
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records, build_pair_records
from hybrid_ir.files.tables import read_parquet_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="mlqa_translate_train",
    description="SQuAD 1.1 in English and MLQA's machine translations of it into 6 languages: "
    "questions and paragraphs",
    licence="CC BY-SA 3.0 (the translations), CC BY-SA 4.0 (SQuAD)",
    citation="Lewis et al. 2020, MLQA: Evaluating Cross-lingual Extractive Question Answering, "
    "arXiv 1910.07475",
    revision=f"squad {squad.SOURCE.revision[:7]}",
)
ARCHIVE = RemoteFile(
    "mlqa-translate-train.tar.gz",
    "https://dl.fbaipublicfiles.com/MLQA/mlqa-translate-train.tar.gz",
    63_364_123,
    "e510277b0bc3c0639f53839aba8591aebfe803b8b84c5c2ef0513768b86b7cf9",
)
COUNTS = {  # questions
    "ar": 78_058,
    "de": 80_069,
    "en": squad.TABLES.rows,
    "es": 81_810,
    "hi": 82_451,
    "vi": 84_816,
    "zh": 76_285,
}


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists SQuAD for English, and one archive for all other languages."""
    chosen = choose_training_languages("mlqa_translate_train", languages, COUNTS)
    files = []
    if "en" in chosen:
        files += squad.list_files()
    if set(chosen) - {"en"}:
        files.append(ARCHIVE)
    return files


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the corpus; a question that MLQA has not translated is missing in that language.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        languages: the languages to use, all by default.
        require_counts: whether to refuse another number of questions than released.
    """
    chosen = choose_training_languages("mlqa_translate_train", languages, COUNTS)
    files = list_files(chosen)
    require_files("mlqa_translate_train", files, folder)

    def read_all(problems: Problems) -> Iterator[Records]:
        readers = {}
        for language in chosen:
            if language != "en":
                archive = Path(folder) / ARCHIVE.path
                readers[language] = partial(_read_translations, archive, language, problems)
        if "en" in chosen:
            path = Path(folder) / squad.TABLES.paths[0]
            columns = squad.TABLES.columns
            readers["en"] = partial(read_parquet_records, path, columns, problems)
        return join_languages(readers, problems, Path(cache))

    counts = {language: COUNTS[language] for language in chosen} if require_counts else None
    return build_released_corpus(
        SOURCE, files, folder, cache, [read_all], counts, key={"languages": chosen}
    )


def _read_translations(archive: Path, language: str, problems: Problems) -> Iterator[Records]:
    """Yields the questions of one language, numbered in the order of their file in the archive."""
    member = f"mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"
    try:
        rows = _list_questions(_read_json_member(archive, member))
    except (KeyError, TypeError, ValueError, EOFError, OSError, tarfile.TarError) as error:
        problems.add(
            f"{archive}: {member} cannot be read ({error}): fetch the archive again",
            file_unreadable=True,
        )
        return
    yield build_pair_records(f"{archive.name}/{member}, question", language, rows)


def _read_json_member(archive: Path, member: str) -> Any:
    with tarfile.open(archive) as opened:
        for name in opened.getnames():
            if name.removeprefix("./") == member:
                with opened.extractfile(name) as file:
                    return json.load(file)
    raise KeyError(f"filename '{member}' not found")


def _list_questions(content: Mapping[str, Any]) -> list[tuple[int, str, str, str]]:
    """Returns number, id, question and paragraph of each question of a file in SQuAD's form."""
    rows = []
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                number = len(rows) + 1
                rows.append((number, question["id"], question["question"], paragraph["context"]))
    return rows
