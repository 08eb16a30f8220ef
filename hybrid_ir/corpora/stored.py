"""A corpus in a folder, memory-mapped and never read whole.

- `corpus.json` is the card: languages, sizes, source, and the size and hash of every file.
- `query-LL.arrow` and `passage-LL.arrow` hold the texts of a language by id, null for none.
- `pairs.npy` holds the ids of query and passage of each pair.
- `negative_ids.npy` and `negative_starts.npy` hold hard negatives (see `HardNegatives`).
- `positives.npy` lists the passages of queries that have several (see `KnownPositives`). A folder
  that was written before there was this file is read as well: the list is then made in memory.
- The other arrays hold what follows from the texts (see `CorpusIndex`).

`CorpusWriter` writes such a folder.
"""

# R runs of pairs in the same languages, C bytes of a set of languages

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from hybrid_ir.corpora.text_columns import get_column_path, read_text_column
from hybrid_ir.corpora.writing import (
    CARD,
    VERSION,
    CorpusWriter,
    flatten_build_key,
    hash_build_key,
)
from hybrid_ir.data.availability import Availability, LanguageSets, unpack_language_bits
from hybrid_ir.data.corpus import CorpusIndex, ParallelCorpus
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.data.known_positives import POSITIVES, KnownPositives
from hybrid_ir.files.arrow_texts import DiskTexts
from hybrid_ir.types import Source

WEEK = 7 * 24 * 3600  # seconds


def load_corpus_folder(folder: str | Path) -> ParallelCorpus:
    """Loads the corpus of a folder. Raises ValueError if it is no corpus, or not complete."""
    folder = Path(folder).expanduser()
    card = read_corpus_card(folder)
    _require_complete(folder, card)
    queries = {}
    passages = {}
    for language in card["languages"]:
        queries[language] = _load_texts(folder, "query", language, card)
        passages[language] = _load_texts(folder, "passage", language, card)
    pairs = _load_array(folder, "pairs")
    index = _load_index(folder, card, pairs)
    negatives = None
    if card["most_negatives"]:
        negatives = HardNegatives(
            _load_array(folder, "negative_ids"),
            _load_array(folder, "negative_starts"),
            card["most_negatives"],
        )
    source = Source(**card["source"])
    return ParallelCorpus(queries, passages, pairs, source, negatives, index)


def read_corpus_card(folder: Path) -> dict[str, Any]:
    """Reads `corpus.json` of a corpus. Raises ValueError if the folder has none of this version."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{folder} is no corpus: it has no {CARD}; `hybrid-ir data import` writes one"
        ) from error
    if not isinstance(card, dict) or card.get("version") != VERSION:
        raise ValueError(
            f"{folder / CARD} is not of version {VERSION} of the corpus format: import the data "
            "again"
        )
    return card


def build_cached_corpus(
    cache: str | Path, name: str, key: Mapping[str, Any], build: Callable[[CorpusWriter], None]
) -> ParallelCorpus:
    """Loads a corpus from the cache, and builds it first if it is not there.

    Of several processes one builds, and the others wait. A stopped build is resumed.

    Args:
        cache: the cache folder.
        name: the name of the corpus.
        key: everything that decides what `build` writes; another key is another corpus.
        build: writes the corpus, and calls `finish` at the end.
    """
    key_hash = hash_build_key(key)
    folder = Path(cache).absolute() / "corpora" / f"{name}-{key_hash}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / CARD).exists():
            # A folder without its card is no corpus.
            shutil.rmtree(folder, ignore_errors=True)
            _delete_old_builds(folder, name)
            _run_build(folder, key_hash, build)
    return load_corpus_folder(folder)


def write_corpus(
    folder: str,
    build: Callable[[CorpusWriter], None],
    key: Mapping[str, Any] | None = None,
    choices: Mapping[str, Any] | None = None,
) -> ParallelCorpus:
    """Writes a corpus to a new folder, and loads it.

    Args:
        folder: where the corpus shall be.
        build: writes the corpus, and calls `finish` at the end.
        key: everything that decides what `build` writes. With it a stopped build is resumed, and
            a folder with the corpus of the same key is loaded instead of refused.
        choices: what was chosen, for the card; by default what the key says.

    Raises:
        ValueError: if the folder exists already, or another process is writing it.
    """
    place = Path(folder).expanduser().absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    key_hash = None if key is None else hash_build_key(key)
    lock_file = place.with_name(f".{place.name}.lock")
    lock = FileLock(lock_file, timeout=0)
    lock_file.touch()  # where that is not allowed, its error says why
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"to={folder}: another process is writing it") from error
    try:
        if not place.exists():
            if choices is None and key is not None:
                choices = flatten_build_key(key)
            _run_build(place, key_hash, build, choices)
        elif not _has_key(place, key_hash):
            raise ValueError(
                f"to={folder} is there already: name a new folder, nothing is overwritten"
                + _describe_other_choices(place, key or {})
            )
    finally:
        # The file is deleted while the lock is held, so that nobody else loses theirs.
        lock_file.unlink(missing_ok=True)
        lock.release()
    return load_corpus_folder(place)


def _run_build(
    folder: Path,
    key_hash: str | None,
    build: Callable[[CorpusWriter], None],
    choices: Mapping[str, Any] | None = None,
) -> None:
    with CorpusWriter(folder, key_hash, choices) as writer:
        if not writer.is_finished:
            build(writer)


def _has_key(folder: Path, key_hash: str | None) -> bool:
    """Returns whether a folder holds the corpus of a key.

    The same command may have been stopped after it had written the corpus, before it could say so.
    """
    if key_hash is None or not (folder / CARD).exists():
        return False
    return read_corpus_card(folder).get("key") == key_hash


def _describe_other_choices(folder: Path, key: Mapping[str, Any]) -> str:
    """Says which choices a corpus was made with that are not those of a build key."""
    if not (folder / CARD).exists():
        return ""
    made_with = read_corpus_card(folder).get("choices") or {}
    differences = []
    for name, value in flatten_build_key(key).items():
        if name in made_with and made_with[name] != value:
            shown = name.removeprefix("rules.")
            if name == "files":
                differences.append("of other files, or files that have changed since")
            else:
                differences.append(f"with {shown}={made_with[name]}, not {shown}={value}")
    if not differences:
        return ""
    return f". It was made {'; '.join(differences)}"


def _delete_old_builds(folder: Path, name: str) -> None:
    """Deletes stopped builds of a name whose data has changed since, once they are a week old."""
    for build_folder in folder.parent.glob(f".{name}-*.building"):
        age = time.time() - build_folder.stat().st_mtime
        if build_folder.name != f".{folder.name}.building" and age > WEEK:
            shutil.rmtree(build_folder, ignore_errors=True)


def _require_complete(folder: Path, card: Mapping[str, Any]) -> None:
    damages = []
    for name, size in card["files"].items():
        path = folder / name
        if not path.exists():
            damages.append(f"{name} has no bytes, not {size}")
        elif path.stat().st_size != size:
            damages.append(f"{name} has {path.stat().st_size} bytes, not {size}")
    if damages:
        raise ValueError(
            f"corpus {folder} is damaged: {'; '.join(damages[:3])}: delete the folder, then build "
            "it again"
        )


def _load_index(folder: Path, card: Mapping[str, Any], pairs: np.ndarray) -> CorpusIndex:
    languages = len(card["languages"])
    query_content_N = _load_array(folder, "query_content")
    content_N = _load_array(folder, "content")
    positives_path = folder / POSITIVES if POSITIVES in card["files"] else None
    run_sets_R2C = _load_array(folder, "run_languages")
    availability = Availability(
        np.array(_load_array(folder, "runs")),
        unpack_language_bits(run_sets_R2C[:, 0], languages),
        unpack_language_bits(run_sets_R2C[:, 1], languages),
        len(pairs),
    )
    return CorpusIndex(
        LanguageSets(_load_array(folder, "query_languages"), np.arange(languages)),
        LanguageSets(_load_array(folder, "passage_languages"), np.arange(languages)),
        availability,
        query_content_N,
        content_N,
        KnownPositives(pairs, query_content_N, content_N, positives_path),
    )


def _load_array(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _load_texts(folder: Path, role: str, language: str, card: Mapping[str, Any]) -> DiskTexts:
    path = get_column_path(folder, role, language)
    return DiskTexts(read_text_column(path), card["sha256"][path.name])
