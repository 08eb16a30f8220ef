"""Facts on disk: the same to the last bit as those that are built, whatever happens to the file."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from hybrid_ir.cldr import fact_set, stored_facts
from hybrid_ir.cldr.fact_set import FactSet, build_fact_set

WAIT_AND_BUILD = """
import sys, time
from pathlib import Path
from hybrid_ir.cldr import fact_set
build = fact_set._build_fact_set
def build_slowly(languages):
    print("built", flush=True)
    time.sleep(1)
    return build(languages)
fact_set._build_fact_set = build_slowly
fact_set.build_fact_set(["de", "en"], sys.argv[1])
"""


@pytest.fixture
def forget():
    """Forgets the sets that this process holds, so that files are read."""
    fact_set._REMEMBERED_SETS.clear()
    yield fact_set._REMEMBERED_SETS.clear
    fact_set._REMEMBERED_SETS.clear()


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> tuple[Path, FactSet]:
    """A cache with one set, and the set as it was built."""
    fact_set._REMEMBERED_SETS.clear()
    cache = tmp_path_factory.mktemp("cache")
    built = build_fact_set(["de", "en"], cache)
    return cache, built


def list_files(cache: Path) -> list[Path]:
    return sorted((cache / "cldr_facts").glob("*.json"))


def require_equal(one: FactSet, other: FactSet) -> None:
    for field in fields(FactSet):
        left = getattr(one, field.name)
        right = getattr(other, field.name)
        assert type(left) is type(right), field.name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype and left.shape == right.shape, field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


@pytest.mark.parametrize("languages", [["de", "th"], ["sw", "zu"]], ids=["sentences", "gaps"])
def test_a_stored_set_is_the_built_one_to_the_last_bit(tmp_path, forget, languages):
    built = build_fact_set(languages, tmp_path)
    forget()
    read = build_fact_set(languages, tmp_path)
    assert read is not built
    require_equal(read, built)
    assert list(read.passages) == list(built.passages)  # the order of languages, too


def test_a_stored_set_is_not_built_again(stored, forget, monkeypatch):
    cache, built = stored

    def refuse(languages):
        raise AssertionError("built again")

    monkeypatch.setattr(fact_set, "_build_fact_set", refuse)
    require_equal(build_fact_set(["en", "de"], cache), built)


@pytest.mark.parametrize("damage", ["short", "changed", "empty", "no checksum"])
def test_a_damaged_file_is_built_again(stored, forget, damage):
    cache, built = stored
    (path,) = list_files(cache)
    whole = path.read_bytes()
    damaged = {
        "short": whole[:-1000],
        "changed": whole.replace(b"Berlin", b"Bremen"),
        "empty": b"",
        "no checksum": whole.partition(b"\n")[2],
    }
    path.write_bytes(damaged[damage])
    require_equal(build_fact_set(["de", "en"], cache), built)
    assert path.read_bytes() == whole


def test_a_process_loads_a_set_of_a_cache_once(tmp_path, forget):
    assert build_fact_set(["de", "en"], tmp_path) is build_fact_set(["en", "de"], str(tmp_path))
    build_fact_set(["de", "en"], tmp_path / "other")
    assert any((tmp_path / "other").glob("*/*.json"))
    for language in ("de", "en", "el", "es", "ru", "th", "tr", "vi"):
        build_fact_set([language])
    assert len(fact_set._REMEMBERED_SETS) == fact_set.MOST_REMEMBERED_SETS


def test_other_data_code_or_languages_have_files_of_their_own(monkeypatch, tmp_path):
    names = {stored_facts.hash_recipe(("de", "en")), stored_facts.hash_recipe(("de", "fr"))}
    monkeypatch.setattr(stored_facts, "version", lambda package: "0.0")
    names.add(stored_facts.hash_recipe(("de", "en")))
    monkeypatch.undo()
    (tmp_path / "names.py").write_text("another rule")
    monkeypatch.setattr(stored_facts, "PACKAGE", tmp_path)
    names.add(stored_facts.hash_recipe(("de", "en")))
    assert len(names) == 4


def test_processes_at_the_same_time_build_a_set_once(tmp_path):
    command = [sys.executable, "-c", WAIT_AND_BUILD, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert "".join(printed) == "built\n"
    assert len(list_files(tmp_path)) == 1
