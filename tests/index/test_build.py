"""Indexes are the same however they were interrupted or shared, and never of two models."""

import errno
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_ir.corpora.dataset_corpus import import_dataset
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.index.card import CARD, read_index_card
from hybrid_ir.index.layout import IndexSettings
from hybrid_ir.index.opened import IndexedPassages
from hybrid_ir.index.passages import (
    read_passage_files,
    take_benchmark_passages,
    take_corpus_passages,
)
from hybrid_ir.index.vectors import FloatVectors
from hybrid_ir.runs.encoders import load_encoder
from hybrid_ir.types import Benchmark, Source
from tests.index.conftest import PASSAGES, READING
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines


def read_files(folder: Path) -> dict[str, bytes]:
    """Returns all files of an index but for its card, which has a date."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CARD}


def read_vectors(folder: Path) -> torch.Tensor:
    vectors = FloatVectors(sorted(folder.glob("vectors-*")))
    return vectors.take(np.arange(len(vectors)))


def test_rows_have_the_vectors_of_their_texts(make_index, plain, tmp_path):
    folder = make_index(tmp_path / "index")
    passages = IndexedPassages.load(folder / "passages.arrow")
    card = read_index_card(folder)
    assert card["passages"] == len(passages) == PASSAGES + 1
    assert card["languages"] == {"de": 10, "en": 21}
    assert card["passages_left_out"] == 1
    encoder = load_encoder(plain, **READING)
    texts = list(passages.texts)
    assert texts[0] == "T de tells 0 of it"
    assert {passages.get_language(row) for row in range(10)} == {"de"}
    assert torch.allclose(read_vectors(folder), encoder.encode_passages(texts), atol=1e-6)
    assert not list(tmp_path.glob(".index*"))
    # The file has the same text twice, in two languages, and so in two shards.
    rows = [list(passages.ids).index(name) for name in ("p0", "again")]
    assert rows[0] // 7 != rows[1] // 7
    vectors = read_vectors(folder)
    assert torch.equal(vectors[rows[0]], vectors[rows[1]])


def test_half_precision_is_half_as_large_and_nearly_equal(make_index, tmp_path):
    single = make_index(tmp_path / "single")
    half = make_index(tmp_path / "half", dtype="float16")
    assert torch.allclose(read_vectors(single), read_vectors(half), atol=1e-3)
    sizes = []
    for folder in (single, half):
        sizes.append((folder / "vectors-00000.safetensors").stat().st_size)
    assert sizes[0] - sizes[1] == 7 * 16 * 2


def test_an_interrupted_index_goes_on_and_has_equal_bits(make_index, make_job, tmp_path):
    expected = read_files(make_index(tmp_path / "expected", quantise="int8"))
    job = make_job(tmp_path / "index", quantise="int8")
    job.begin()
    encode = job.encoder.encode
    calls = []

    def encode_twice(items, role):
        calls.append(role)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return encode(items, role)

    job.encoder.encode = encode_twice
    with pytest.raises(OSError, match="No space left"):
        job.work()
    done = {path.name: path.stat().st_mtime_ns for path in job.building.glob("vectors-*")}
    assert len(done) == 2
    assert not job.to.exists()
    (job.building / ".vectors-00002.safetensors.writing").write_bytes(b"half of it")
    make_index(tmp_path / "index", quantise="int8")
    for name, changed in done.items():
        assert (job.to / name).stat().st_mtime_ns == changed or name == "vectors-00001.safetensors"
    assert read_files(job.to) == expected
    assert not list(tmp_path.glob(".index*"))


def test_a_full_disk_leaves_no_half_file(make_job, tmp_path, monkeypatch):
    job = make_job(tmp_path / "index")
    job.begin()
    write_bytes = Path.write_bytes

    def fill_disk(path: Path, content: bytes) -> int:
        if "00002" in path.name:
            write_bytes(path, content[:50])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        job.work()
    names = sorted(path.name for path in job.building.iterdir())
    assert names == ["job.json", "vectors-00000.safetensors", "vectors-00001.safetensors"]


def test_two_processes_give_equal_bits_as_one(make_index, make_job, tmp_path):
    expected = read_files(make_index(tmp_path / "expected"))
    job = make_job(tmp_path / "index")
    job.begin()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=job.work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    assert len(list(job.building.glob("vectors-*"))) == 5
    make_index(tmp_path / "index")
    assert read_files(tmp_path / "index") == expected


def test_shards_of_another_index_are_refused(make_job, other, json_lines, tmp_path):
    to = tmp_path / "index"
    make_job(to).begin()
    changed = tmp_path / "changed.jsonl"
    lines = json_lines.read_text().splitlines()
    lines[4] = lines[4].replace("tells", "told")
    changed.write_text("\n".join(lines))
    others = {
        "model": make_job(to, model=other),
        "reading": make_job(to, reading={"passage_prefix": "Q "}),
        "passages": make_job(to, path=changed),
        "dtype": make_job(to, dtype="float16"),
        "texts_per_shard": make_job(to, texts_per_shard=9),
    }
    for key, job in others.items():
        with pytest.raises(ValueError, match=rf"shards of another index \({key} differ\): delete"):
            job.begin()
    make_job(to).begin()


def test_a_complete_index_is_kept_and_another_one_refused(make_index, make_job, tmp_path):
    folder = make_index(tmp_path / "index")
    card = (folder / CARD).read_bytes()
    make_index(tmp_path / "index")
    assert (folder / CARD).read_bytes() == card
    with pytest.raises(ValueError, match=r"another index \(quantise differ\): name a new folder"):
        make_index(tmp_path / "index", quantise="binary")
    with pytest.raises(ValueError, match=r"another index \(texts_per_shard differ\)"):
        make_index(tmp_path / "index", texts_per_shard=9)


def test_all_wrong_settings_are_named_at_once():
    with pytest.raises(ValueError, match=r"dtype='int4'.*quantise='x'.*texts_per_shard=0"):
        IndexSettings(dtype="int4", quantise="x", texts_per_shard=0)
    with pytest.raises(ValueError, match="two ways to search"):
        IndexSettings(quantise="int8", faiss="hnsw")


def test_vectors_that_are_not_finite_are_refused(make_job, tmp_path):
    job = make_job(tmp_path / "index")
    job.begin()
    job.encoder.encode = lambda items, role: torch.full((len(items), 16), torch.nan)
    with pytest.raises(ValueError, match="NaN or infinity"):
        job.work()


def test_a_beir_folder_gives_the_passages_of_its_benchmark(tmp_path):
    passages = [{"_id": "1", "title": "A", "text": "one"}, {"_id": "2", "text": " ", "title": ""}]
    queries = [{"_id": "1", "text": "what"}]
    for language in ("de", "en"):
        write_beir_folder(tmp_path / "folder" / language, passages, queries, "1\t1\t1\n")
    read = read_passage_files(tmp_path / "folder", tmp_path / "cache")
    assert list(read.ids) == ["de:1", "en:1"]
    assert list(read.texts) == ["A one", "A one"]
    assert [read.languages[code] for code in read.codes_N] == ["de", "en"]
    assert read.left_out == 2
    assert read.find_first_rows().tolist() == [0, 0]
    single = read_passage_files(tmp_path / "folder" / "en", tmp_path / "cache", "en", title=False)
    assert list(single.texts) == ["one"]


def test_what_is_wrong_with_files_is_said_with_the_line(tmp_path):
    path = tmp_path / "passages.jsonl"
    write_json_lines(path, {"id": "1", "text": "a"}, {"id": "1", "text": "b"}, {"text": "c"})
    with pytest.raises(ValueError, match=r"line 2: the id '1' is also in .*line 1") as error:
        read_passage_files(path, tmp_path / "cache")
    assert "line 3: no key" in str(error.value)
    for bad, message in (("nowhere", "does not exist"), ("", "has no corpus.jsonl")):
        with pytest.raises(ValueError, match=message):
            read_passage_files(tmp_path / bad, tmp_path / "cache")
    write_json_lines(path, {"id": "1", "text": " "})
    with pytest.raises(ValueError, match="there is no passage with a text"):
        read_passage_files(path, tmp_path / "cache")


def test_a_corpus_gives_its_passages_in_all_languages():
    rows = [
        {"query_en": "q", "passage_en": "one", "passage_de": "eins"},
        {"query_en": "r", "passage_en": "two", "passage_de": None},
    ]
    datasets = pytest.importorskip("datasets")
    corpus = import_dataset(datasets.Dataset.from_list(rows), languages=None)
    assert isinstance(corpus, ParallelCorpus)
    passages = take_corpus_passages(corpus)
    texts = dict(zip(passages.ids, passages.texts, strict=True))
    assert sorted(texts.values()) == ["eins", "one", "two"]
    for passage_id, text in texts.items():
        language, number = passage_id.split(":")
        assert corpus.passages[language][int(number)] == text
    assert passages.count_languages() == {"de": 1, "en": 2}
    assert passages.compute_fingerprint() == take_corpus_passages(corpus).compute_fingerprint()


def test_a_benchmark_keeps_its_order_and_pairs_of_texts():
    benchmark = Benchmark(
        languages=("de", "en"),
        queries=["q"],
        query_languages=np.array([0]),
        question_ids=["q"],
        passages=[("a", "b"), "c"],
        passage_languages=np.array([1, 0]),
        passage_ids=["x", "y"],
        relevant=[np.array([0])],
        source=Source("pairs", "", "", ""),
    )
    passages = take_benchmark_passages(benchmark)
    assert list(passages.ids) == ["x", "y"]
    assert passages.texts[0] == ("a", "b")


def test_a_job_that_was_noted_half_is_noted_again(make_job, tmp_path):
    job = make_job(tmp_path / "index")
    job.begin()
    noted = json.loads((job.building / "job.json").read_text())
    assert noted == job.choices
    shutil.rmtree(job.building)
    job.begin()
    assert json.loads((job.building / "job.json").read_text()) == noted
