"""Keeps built fact sets on disk: building one takes seconds, reading it a fraction of one."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from babel.core import get_cldr_version
from filelock import FileLock

from hybrid_ir.cldr.fact_set import FactSet
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.files.checksums import hash_values

FOLDER = "cldr_facts"  # in the cache
HEX_DIGITS_OF_NAME = 32
PACKAGE = Path(__file__).parent
# Fields of a FactSet that are arrays, with the types that they are built with.
ARRAYS = {
    "question_passage": np.int64,
    "question_style": np.str_,
    "fact_split": np.str_,
    "hard_negatives": np.int64,
}
TUPLES = ("languages", "question_subject", "fact_kind", "entity")
TEXTS = ("passages", "questions")


def load_or_build(languages: tuple[str, ...], cache: Path, build: Callable[[], FactSet]) -> FactSet:
    """Returns a fact set from the cache; it is built and stored if it is not there, or damaged.

    The name of the file is made of all that the set is built from, so a file can only be of this
    version. Several processes build a set once.

    Args:
        languages: sorted codes of the set.
        cache: folder of all caches.
        build: builds the set.
    """
    folder = cache / FOLDER
    path = folder / f"{hash_recipe(languages)[:HEX_DIGITS_OF_NAME]}.json"
    stored = read_fact_set(path)
    if stored is not None:
        return stored
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        stored = read_fact_set(path)  # another process may have been faster
        if stored is None:
            stored = build()
            write_fact_set(stored, path)
    return stored


def hash_recipe(languages: tuple[str, ...]) -> str:
    """Returns a hash of everything that a set is built from.

    That is the locale data of babel, the code and the templates of this folder, and the languages.

    Args:
        languages: sorted codes of the set.
    """
    code = {}
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("templates/*.yaml")]):
        code[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hash_values([languages, version("babel"), get_cldr_version(), np.__version__, code])


def read_fact_set(path: Path) -> FactSet | None:
    """Reads a stored set; None where there is none, or where its bytes are not those written."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return None
    fields: dict[str, Any] = json.loads(body)
    for name, kind in ARRAYS.items():
        fields[name] = np.array(fields[name], dtype=kind)
    fields["hard_negatives"] = fields["hard_negatives"].reshape(len(fields["fact_split"]), -1)
    for name in TUPLES:
        fields[name] = tuple(fields[name])
    return FactSet(**fields)


def write_fact_set(facts: FactSet, path: Path) -> None:
    """Writes a set: a line with a checksum, then all fields as JSON."""
    fields = {}
    for name in (*TEXTS, *TUPLES):
        fields[name] = getattr(facts, name)
    for name in ARRAYS:
        fields[name] = getattr(facts, name).tolist()
    body = json.dumps(fields, ensure_ascii=False).encode()
    with write_atomically(path) as temporary:
        temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
