"""The token cache holds what the tokenizer gives, under a key of all that decides it."""

import copy
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from hybrid_ir.files.arrow_texts import DiskTexts
from hybrid_ir.model import token_store
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.token_store import TokenStore, concatenate_tokens
from hybrid_ir.model.tokens import CANARY_TEXTS, RoleTokenizer, compute_tokenizer_canary

SENTENCES = ["one two three", None, "Ελλάδα", "中国", "a " * 200, ""]
LISTS = 20  # lists of texts that processes store at once
TEXTS_OF_LARGE_STORE = 2000
TEXTS_PER_SMALL_SHARD = 50


def list_ids(store: TokenStore) -> list[list[int]]:
    return [store[row].tolist() for row in range(len(store))]


def tokenise_plainly(role_tokenizer: RoleTokenizer, text: str | None) -> list[int]:
    """Tokenises a text by the tokenizer's ordinary call."""
    if text is None:
        return []
    prefixed = role_tokenizer.prefix + text
    return role_tokenizer.tokenizer(
        prefixed, truncation=True, max_length=role_tokenizer.max_length
    )["input_ids"]


def list_stores(cache: Path) -> list[Path]:
    return list((cache / "tokens").iterdir())


def find_first_shard(cache: Path) -> Path:
    (store,) = list_stores(cache)
    return store / "00000"


@given(texts=st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_tokens_are_those_of_the_tokenizer(tokenizers, cache, texts):
    store = tokenizers["passage"].store(texts, cache)
    assert list_ids(store) == [tokenise_plainly(tokenizers["passage"], text) for text in texts]


def test_rows_are_taken_in_any_order(tokenizers, cache):
    store = tokenizers["passage"].store(SENTENCES, cache)
    rows = [4, 0, 1, 0]
    tokens = store.take(rows)
    assert tokens.lengths_B.tolist() == store.lengths[rows].tolist()
    assert tokens.ids_T.tolist() == np.concatenate([store[row] for row in rows]).tolist()


def test_ragged_tokens_of_nothing_are_nothing():
    assert len(concatenate_tokens([])) == 0


def test_pairs_are_tokenizer_pairs(tokenizers, cache):
    passage = tokenizers["passage"]
    store = passage.store([("one", "two three"), ("x", "y")], cache)
    expected = passage.tokenizer(passage.prefix + "one", "two three")["input_ids"]
    assert store[0].tolist() == expected


@given(
    pairs=st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=6),
    length=st.integers(5, 30),
    side=st.sampled_from(["left", "right"]),
)
@settings(max_examples=40, deadline=None)
def test_pairs_are_cut_as_the_tokenizer_cuts_them(tokenizers, pairs, length, side):
    tokenizer = copy.deepcopy(tokenizers["passage"].tokenizer)
    tokenizer.truncation_side = side
    ids, _ = RoleTokenizer(tokenizer, "p: [SEP] ", length).read(pairs)
    expected = tokenizer(
        [f"p: [SEP] {first}" for first, _ in pairs],
        [second for _, second in pairs],
        truncation=True,
        max_length=length,
    )
    assert ids == expected["input_ids"]


def test_tokens_that_are_cut_on_the_other_side_are_others(tokenizers, tmp_path):
    right = tokenizers["passage"].tokenizer
    left = copy.deepcopy(right)
    left.truncation_side = "left"
    texts = ["one two three four"]
    cut_right = RoleTokenizer(right, "", 4).store(texts, tmp_path)
    cut_left = RoleTokenizer(left, "", 4).store(texts, tmp_path)
    assert list_ids(cut_right) != list_ids(cut_left)


def test_truncated_texts_are_counted(tokenizers, cache):
    card = tokenizers["passage"].store(SENTENCES, cache).card
    assert card == {"texts": 6, "truncated": 1}


def test_the_second_time_nothing_is_tokenised(tokenizers, cache, monkeypatch):
    first = tokenizers["query"].store(SENTENCES, cache)
    monkeypatch.setattr(token_store, "write_shard", lambda *_: pytest.fail("tokenised again"))
    second = tokenizers["query"].store(list(SENTENCES), cache)
    assert list_ids(first) == list_ids(second)


def replace_rules(tokenizer: PreTrainedTokenizerBase, **rules) -> PreTrainedTokenizerBase:
    """Returns a copy of a tokenizer with other rules."""
    backend = tokenizer.backend_tokenizer
    changed = json.loads(backend.to_str()) | rules
    return type(tokenizer)(
        tokenizer_object=backend.from_str(json.dumps(changed)), **tokenizer.special_tokens_map
    )


def test_everything_that_changes_tokens_changes_the_key(tokenizers, tmp_path):
    query = tokenizers["query"]
    query.store(["a b", "c"], tmp_path)
    query.store(["a b", "d"], tmp_path)
    query.store(["a", "b c"], tmp_path)
    RoleTokenizer(query.tokenizer, "other: ", query.max_length).store(["a b", "c"], tmp_path)
    RoleTokenizer(query.tokenizer, query.prefix, 9).store(["a b", "c"], tmp_path)
    assert len(list_stores(tmp_path)) == 5
    changed = replace_rules(query.tokenizer, normalizer=None)
    assert RoleTokenizer(changed, query.prefix, query.max_length).fingerprint != query.fingerprint
    assert compute_tokenizer_canary(changed) != compute_tokenizer_canary(query.tokenizer)


def test_the_key_does_not_know_what_was_tokenised_before(recipe, cache):
    def load_tokenizer() -> RoleTokenizer:
        encoder = BiEncoder(recipe, passage_max_length=64, texts=CANARY_TEXTS, cache=cache)
        return encoder.tokenizers["query"]

    fresh = load_tokenizer()
    used = load_tokenizer()
    used.tokenizer("x " * 99, truncation=True, max_length=7, padding="max_length")
    assert fresh.fingerprint == used.fingerprint


@pytest.mark.parametrize("file", ["ids.bin", "offsets.npy", "card.json"])
def test_a_damaged_cache_is_written_again(tokenizers, tmp_path, file):
    query = tokenizers["query"]
    expected = list_ids(query.store(SENTENCES, tmp_path))
    path = find_first_shard(tmp_path) / file
    path.write_bytes(path.read_bytes()[:3])
    assert list_ids(query.store(SENTENCES, tmp_path)) == expected


def test_a_cache_cut_between_two_tokens_is_written_again(tokenizers, tmp_path):
    query = tokenizers["query"]
    expected = list_ids(query.store(["a b c", "d"], tmp_path))
    path = find_first_shard(tmp_path) / "ids.bin"
    path.write_bytes(path.read_bytes()[:-4])
    assert list_ids(query.store(["a b c", "d"], tmp_path)) == expected
    assert len(list_stores(tmp_path)) == 1


def test_an_interrupted_write_keeps_complete_shards_only(tokenizers, tmp_path, monkeypatch):
    query = tokenizers["query"]
    texts = ["a", "b", "c", "stop", "e"]
    texts_on_disk = DiskTexts(pa.chunked_array([texts]), "fingerprint")
    read = RoleTokenizer.read

    def read_until_stop(role_tokenizer: RoleTokenizer, some_texts: list[str]):
        if some_texts[0] == "stop":
            raise KeyboardInterrupt
        return read(role_tokenizer, some_texts)

    monkeypatch.setattr(token_store, "TEXTS_PER_SHARD", 2)
    monkeypatch.setattr(token_store, "TEXTS_PER_CALL", 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RoleTokenizer, "read", read_until_stop)
        query.store(texts_on_disk, tmp_path)
    folders = [path.name for path in tmp_path.glob("tokens/*/*") if path.is_dir()]
    assert folders == ["00000"]
    kept_inode = find_first_shard(tmp_path).stat().st_ino

    store = query.store(texts_on_disk, tmp_path)

    assert find_first_shard(tmp_path).stat().st_ino == kept_inode
    assert store.card["texts"] == 5
    assert list_ids(store) == [tokenise_plainly(query, text) for text in texts]


def test_moving_tokens_keeps_their_lengths(tokenizers, cache):
    tokens = tokenizers["query"].store(SENTENCES, cache).take([0, 2]).to("meta")
    assert tokens.ids_T.device.type == "meta"
    assert tokens.lengths_B.device.type == "cpu"


def test_the_canary_is_of_many_scripts(encoder):
    assert len(CANARY_TEXTS) >= 50
    assert len(compute_tokenizer_canary(encoder.tokenizer)) == 16
    blocks = set()
    for character in "".join(CANARY_TEXTS):
        if ord(character) > 0x24F:  # beyond the Latin letters
            blocks.add(ord(character) // 128)
    assert len(blocks) >= 20


def test_no_texts_and_no_tokens_are_stored(tokenizers, tmp_path):
    query = tokenizers["query"]
    assert len(query.store([], tmp_path)) == 0
    tokens = query.store([None], tmp_path).take([0])
    assert torch.equal(tokens.lengths_B, torch.tensor([0]))


def test_more_texts_than_one_call_takes(tokenizers, tmp_path, monkeypatch):
    monkeypatch.setattr(token_store, "TEXTS_PER_CALL", 3)
    query = tokenizers["query"]
    texts = [f"text {i}" for i in range(8)]
    store = query.store(texts, tmp_path)
    assert list_ids(store) == [tokenise_plainly(query, text) for text in texts]


def run_at_once(
    processes: int, work: Callable, role_tokenizer: RoleTokenizer, folder: Path, messages: int
) -> list:
    """Runs a function in several processes, which must end well, and returns their messages."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(processes)
    queue = fork.Queue()
    workers = []
    for _ in range(processes):
        worker = fork.Process(target=work, args=(role_tokenizer, folder, barrier, queue))
        worker.start()
        workers.append(worker)
    received = [queue.get(timeout=600) for _ in range(messages)]
    for worker in workers:
        worker.join(600)
        assert worker.exitcode == 0
    assert queue.empty()
    return received


def store_many_lists(role_tokenizer: RoleTokenizer, folder: Path, barrier, outcomes) -> None:
    for number in range(LISTS):
        barrier.wait()
        try:
            store = role_tokenizer.store([f"text {number} {i}" for i in range(20)], folder)
            outcomes.put(f"{len(store)} texts stored")
        except Exception as error:  # whatever it is, the parent shall see it
            outcomes.put(repr(error))


def test_processes_may_store_the_same_texts_at_once(tokenizers, tmp_path):
    outcomes = run_at_once(3, store_many_lists, tokenizers["query"], tmp_path, messages=3 * LISTS)
    assert set(outcomes) == {"20 texts stored"}
    assert len(list_stores(tmp_path)) == LISTS


def test_an_error_of_a_process_that_stores_is_seen(tokenizers, tmp_path):
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    outcomes = run_at_once(
        2, store_many_lists, tokenizers["query"], not_a_folder, messages=2 * LISTS
    )
    assert len(outcomes) == 2 * LISTS
    assert all("NotADirectoryError" in outcome for outcome in outcomes)


def store_in_small_shards(role_tokenizer: RoleTokenizer, folder: Path, barrier, written) -> None:
    """Stores many texts, and says which shards this process writes.

    The first shard of a process waits until the other one is writing a shard, too.
    """
    token_store.TEXTS_PER_SHARD = TEXTS_PER_SMALL_SHARD
    token_store.TEXTS_PER_CALL = 10
    write_shard = token_store.write_shard
    first_rows = []

    def write_and_say_so(texts, rows: range, tokenise, place: Path) -> None:
        written.put((os.getpid(), rows.start))
        if not first_rows:
            barrier.wait()
        first_rows.append(rows.start)
        write_shard(texts, rows, tokenise, place)

    token_store.write_shard = write_and_say_so
    texts = [f"text {i}" for i in range(TEXTS_OF_LARGE_STORE)]
    store = role_tokenizer.store(DiskTexts(pa.chunked_array([texts]), "fingerprint"), folder)
    assert len(store) == TEXTS_OF_LARGE_STORE


def test_processes_share_the_shards_of_a_large_store(tokenizers, tmp_path):
    first_rows = list(range(0, TEXTS_OF_LARGE_STORE, TEXTS_PER_SMALL_SHARD))
    written = run_at_once(
        2, store_in_small_shards, tokenizers["query"], tmp_path, messages=len(first_rows)
    )
    assert sorted(first_row for _, first_row in written) == first_rows  # each shard once
    assert len({process for process, _ in written}) == 2
