"""SQuAD in seven languages: the English one, and MLQA's machine translations of it, joined by their ids."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from hybrid_ir.corpora.sources import squad
from hybrid_ir.corpora.sources.released import build_released_corpus, choose_languages, find_files
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.joining import join_languages
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records, build_pair_records
from hybrid_ir.files.tables import read_parquet_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="mlqa_translate_train",
    description="SQuAD 1.1 in English and MLQA's machine translations of it into 6 languages: questions and paragraphs",
    licence="CC BY-SA 3.0 (the translations), CC BY-SA 4.0 (SQuAD)",
    citation="Lewis et al. 2020, MLQA: Evaluating Cross-lingual Extractive Question Answering, arXiv 1910.07475",
    revision=f"squad {squad.TABLES.source.revision[:7]}",
)
ARCHIVE = RemoteFile(
    "mlqa-translate-train.tar.gz",
    "https://dl.fbaipublicfiles.com/MLQA/mlqa-translate-train.tar.gz",
    63_364_123,
    "e510277b0bc3c0639f53839aba8591aebfe803b8b84c5c2ef0513768b86b7cf9",
)
COUNTS = {
    "ar": 78_058,
    "de": 80_069,
    "en": squad.TABLES.rows,
    "es": 81_810,
    "hi": 82_451,
    "vi": 84_816,
    "zh": 76_285,
}


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """SQuAD for English, and one archive for all others."""
    chosen = choose_languages("mlqa_translate_train", languages, COUNTS)
    return squad.files() * ("en" in chosen) + [ARCHIVE] * bool({*chosen} - {"en"})


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Questions and their paragraphs; a translation that MLQA left out is missing in that language."""
    chosen = choose_languages("mlqa_translate_train", languages, COUNTS)
    places = {path.name: path for path in find_files("mlqa_translate_train", files(chosen), folder)}

    def read(problems: Problems) -> Iterator[Records]:
        readers = {
            code: partial(translated, places[ARCHIVE.path], code, problems)
            for code in chosen
            if code != "en"
        }
        if "en" in chosen:
            readers["en"] = partial(
                read_parquet_records,
                places["train-00000-of-00001.parquet"],
                squad.TABLES.columns,
                problems,
            )
        return join_languages(readers, problems, Path(cache))

    counts = {code: COUNTS[code] for code in chosen}
    return build_released_corpus(
        SOURCE,
        files(chosen),
        folder,
        cache,
        [read],
        counts if require_counts else None,
        {"languages": chosen},
    )


def translated(archive: Path, language: str, problems: Problems) -> Iterator[Records]:
    """The questions of one language, from its file in the archive; the number of a record is the question's in that file."""
    member = f"mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"
    try:
        with (
            tarfile.open(archive) as opened,
            opened.extractfile(
                next(
                    (name for name in opened.getnames() if name.removeprefix("./") == member),
                    member,
                )
            ) as file,
        ):
            paragraphs = [
                paragraph
                for article in json.load(file)["data"]
                for paragraph in article["paragraphs"]
            ]
            rows = [row for paragraph in paragraphs for row in questions(paragraph)]
    except (KeyError, TypeError, ValueError, EOFError, OSError, tarfile.TarError) as error:
        return problems.add(
            f"{archive}: {member} cannot be read ({error}): fetch the archive again",
            whole_file=True,
        )
    yield build_pair_records(
        f"{archive.name}/{member}, question",
        language,
        [(number, *row) for number, row in enumerate(rows, 1)],
    )
    return None


def questions(paragraph: Mapping) -> list[tuple[str, str, str]]:
    return [
        (question["id"], question["question"], paragraph["context"])
        for question in paragraph["qas"]
    ]
