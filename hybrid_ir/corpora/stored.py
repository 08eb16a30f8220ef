"""A corpus in a folder of its own: Arrow files of texts and arrays of numbers, all memory-mapped, never read whole.

corpus.json says what is there; `query-LL.arrow` and `passage-LL.arrow` hold the texts of a language by id (null where it
lacks one), `pairs.npy` ids, `negative_ids.npy` and `negative_starts.npy` hard negatives (see Negatives), and the other arrays
what follows from the texts (see CorpusIndex).
`CorpusWriter` writes it.
"""

# R runs of pairs in the same languages, C bytes of a set of languages

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from hybrid_ir.corpora.writing import CARD, VERSION, CorpusWriter, hash_build_key
from hybrid_ir.data.availability import Availability, LanguageSets, unpack_language_bits
from hybrid_ir.data.corpus import CorpusIndex, ParallelCorpus
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.files.arrow_texts import DiskTexts
from hybrid_ir.types import Source

WEEK = 7 * 24 * 3600  # seconds


def load_corpus_folder(folder: str | Path) -> ParallelCorpus:
    """The corpus of a folder; ValueError where it is none, or not whole."""
    folder = Path(folder).expanduser()
    card = read_corpus_card(folder)
    wrong = [
        f"{name} has {(folder / name).stat().st_size if (folder / name).exists() else 'no'} bytes, not {size}"
        for name, size in card["files"].items()
        if not (folder / name).exists() or (folder / name).stat().st_size != size
    ]
    if wrong:
        raise ValueError(
            f"corpus {folder} is damaged: {'; '.join(wrong[:3])}: delete the folder, then build it again"
        )
    languages, pairs = card["languages"], load_array(folder, "pairs")
    texts = {
        role: {language: load_texts(folder, role, language, card) for language in languages}
        for role in ("query", "passage")
    }
    sets_R2C = load_array(folder, "run_languages")
    runs = Availability(
        np.array(load_array(folder, "runs")),
        unpack_language_bits(sets_R2C[:, 0], len(languages)),
        unpack_language_bits(sets_R2C[:, 1], len(languages)),
        len(pairs),
    )
    sets = (
        LanguageSets(load_array(folder, f"{role}_languages"), np.arange(len(languages)))
        for role in texts
    )
    index = CorpusIndex(
        *sets, runs, load_array(folder, "query_content"), load_array(folder, "content")
    )
    negatives = None
    if card["most_negatives"]:
        negatives = HardNegatives(
            load_array(folder, "negative_ids"),
            load_array(folder, "negative_starts"),
            card["most_negatives"],
        )
    return ParallelCorpus(
        texts["query"], texts["passage"], pairs, Source(**card["source"]), negatives, index=index
    )


def build_cached_corpus(
    cache: str | Path, name: str, key: Mapping[str, Any], build: Callable[[CorpusWriter], None]
) -> ParallelCorpus:
    """The corpus that `build` writes, from the cache where one with the same key was built before.

    Of several processes one builds, and the others wait. A build that was stopped goes on where its writer says so.
    """
    hashed = hash_build_key(key)
    folder = Path(cache).absolute() / "corpora" / f"{name}-{hashed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / CARD).exists():
            shutil.rmtree(folder, ignore_errors=True)  # without its card it is none
            for left in folder.parent.glob(
                f".{name}-*.building"
            ):  # stopped, and the data has changed since
                if (
                    left != folder.with_name(f".{folder.name}.building")
                    and time.time() - left.stat().st_mtime > WEEK
                ):
                    shutil.rmtree(left, ignore_errors=True)
            with CorpusWriter(folder, hashed) as writer:
                if not writer.placed:
                    build(writer)
    return load_corpus_folder(folder)


def write_corpus(
    folder: str, build: Callable[[CorpusWriter], None], key: Mapping[str, Any] | None = None
) -> ParallelCorpus:
    """The corpus that `build` writes to a folder that is not there yet; with a `key`, one that was stopped goes on."""
    place = Path(folder).expanduser().absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.with_name(f".{place.name}.lock")
    held = FileLock(lock, timeout=0)
    lock.touch()  # where that cannot be done, this error says why
    try:
        held.acquire()
    except Timeout as error:
        raise ValueError(f"to={folder}: another process is writing it") from error
    try:
        if place.exists():
            if (
                key is not None
                and (place / CARD).exists()
                and read_corpus_card(place).get("key") == hash_build_key(key)
            ):
                return load_corpus_folder(
                    place
                )  # by the same command, which was stopped before it could say so
            raise ValueError(
                f"to={folder} is there already: name a new folder, nothing is overwritten"
            )
        with CorpusWriter(place, None if key is None else hash_build_key(key)) as writer:
            if not writer.placed:
                build(writer)
    finally:
        lock.unlink(missing_ok=True)  # while it is held, so that nobody else loses one
        held.release()
    return load_corpus_folder(place)


def read_corpus_card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{folder} is no corpus: it has no {CARD}; `hybrid-ir data import` writes one"
        ) from error
    if not isinstance(card, dict) or card.get("version") != VERSION:
        raise ValueError(
            f"{folder / CARD} is not of version {VERSION} of the corpus format: import the data again"
        )
    return card


def load_array(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def load_texts(folder: Path, role: str, language: str, card: Mapping[str, Any]) -> DiskTexts:
    name = f"{role}-{language}.arrow"
    column = pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all()["text"]
    return DiskTexts(column, card["sha256"][name])
