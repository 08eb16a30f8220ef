"""The token cache: what it gives is what the tokenizer gives, and its key is honest."""

import copy
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files.arrow_texts import DiskTexts
from hybrid_ir.model import token_store
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.token_store import TokenStore
from hybrid_ir.model.tokens import CANARY_TEXTS, RoleTokenizer, compute_tokenizer_canary


def ids_of(store: TokenStore) -> list[int]:
    return np.concatenate([store[row] for row in range(len(store))]).tolist()


SENTENCES = ["one two three", None, "Ελλάδα", "中国", "a " * 200, ""]


@given(texts=st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_tokens_are_the_tokenizers_own(tokenizers, cache, texts):
    role = tokenizers["passage"]
    store = role.store(texts, cache)
    assert len(store) == len(texts)
    for row, text in enumerate(texts):
        expected = (
            []
            if text is None
            else role.tokenizer(role.prefix + text, truncation=True, max_length=64)["input_ids"]
        )
        assert store[row].tolist() == expected
    rows = list(range(len(texts)))[::-1]
    taken = store.take(rows)
    assert (
        taken.lengths_B.tolist() == store.lengths[rows].tolist()
        and len(taken.ids_T) == taken.lengths_B.sum()
    )


def test_pairs_are_tokenizer_pairs(tokenizers, cache):
    role = tokenizers["passage"]
    store = role.store([("one", "two three"), ("x", "y")], cache)
    assert store[0].tolist() == role.tokenizer(role.prefix + "one", "two three")["input_ids"]


@given(
    pairs=st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=6),
    length=st.integers(5, 30),
    side=st.sampled_from(["left", "right"]),
)
@settings(max_examples=40, deadline=None)
def test_pairs_are_cut_as_the_tokenizer_cuts_them(tokenizers, pairs, length, side):
    tokenizer = copy.deepcopy(tokenizers["passage"].tokenizer)
    tokenizer.truncation_side = side
    found, _ = RoleTokenizer(tokenizer, "p: [SEP] ", length).read(pairs)
    whole = tokenizer(
        [f"p: [SEP] {first}" for first, _ in pairs],
        [second for _, second in pairs],
        truncation=True,
        max_length=length,
    )
    assert found == whole["input_ids"]


def test_tokens_that_are_cut_on_the_other_side_are_others(tokenizers, tmp_path):
    left = copy.deepcopy(tokenizers["passage"].tokenizer)
    left.truncation_side = "left"
    stores = [
        RoleTokenizer(tokenizer, "", 4).store(["one two three four"], tmp_path)
        for tokenizer in (tokenizers["passage"].tokenizer, left)
    ]
    assert stores[0][0].tolist() != stores[1][0].tolist()


def test_truncation_is_counted(tokenizers, cache):
    assert tokenizers["passage"].store(SENTENCES, cache).card == {"texts": 6, "truncated": 1}


def test_the_second_time_nothing_is_tokenised(tokenizers, cache, monkeypatch):
    first = tokenizers["query"].store(SENTENCES, cache)
    monkeypatch.setattr(token_store, "write_shard", lambda *_: pytest.fail("tokenised again"))
    again = tokenizers["query"].store(list(SENTENCES), cache)
    assert ids_of(first) == ids_of(again)


def test_everything_that_changes_tokens_changes_the_key(tokenizers, tmp_path):
    role = tokenizers["query"]
    variants = [
        role,
        RoleTokenizer(role.tokenizer, "other: ", role.max_length),
        RoleTokenizer(role.tokenizer, role.prefix, 9),
    ]
    for variant in variants:
        variant.store(["a b", "c"], tmp_path)
    role.store(["a b", "d"], tmp_path)
    role.store(["a", "b c"], tmp_path)
    assert len(list((tmp_path / "tokens").iterdir())) == 5
    rules = json.loads(role.tokenizer.backend_tokenizer.to_str())
    rules["normalizer"] = None
    changed = type(role.tokenizer)(
        tokenizer_object=role.tokenizer.backend_tokenizer.from_str(json.dumps(rules)),
        **role.tokenizer.special_tokens_map,
    )
    assert RoleTokenizer(changed, role.prefix, role.max_length).fingerprint != role.fingerprint
    assert compute_tokenizer_canary(changed) != compute_tokenizer_canary(role.tokenizer)


@pytest.mark.parametrize("damage", ["ids.bin", "offsets.npy", "card.json"])
def test_a_damaged_cache_is_made_anew(tokenizers, tmp_path, damage):
    role = tokenizers["query"]
    whole = role.store(SENTENCES, tmp_path)
    expected = ids_of(whole)
    path = next((tmp_path / "tokens").iterdir()) / "00000" / damage
    path.write_bytes(path.read_bytes()[:3])
    assert ids_of(role.store(SENTENCES, tmp_path)) == expected


def test_an_interrupted_write_leaves_nothing_that_looks_whole(tokenizers, tmp_path, monkeypatch):
    def stop(self, texts, read=RoleTokenizer.read):
        if texts[0] == "stop":
            raise KeyboardInterrupt
        return read(self, texts)

    monkeypatch.setattr(token_store, "TEXTS_PER_SHARD", 2)
    monkeypatch.setattr(token_store, "TEXTS_PER_CALL", 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RoleTokenizer, "read", stop)
        stored("f", ["a", "b", "c", "stop", "e"], tokenizers["query"], tmp_path)
    assert [path.name for path in tmp_path.glob("tokens/*/*") if path.is_dir()] == [
        "00000"
    ]  # the whole shard stays
    first = next(tmp_path.glob("tokens/*/00000")).stat().st_ino
    store = stored("f", ["a", "b", "c", "stop", "e"], tokenizers["query"], tmp_path)
    assert next(tmp_path.glob("tokens/*/00000")).stat().st_ino == first and len(store) == 5
    role = tokenizers["query"]
    assert [store[row].tolist() for row in range(5)] == [
        role.tokenizer(role.prefix + t)["input_ids"] for t in ("a", "b", "c", "stop", "e")
    ]


def stored(fingerprint: str, texts: list[str], role: RoleTokenizer, cache: Path) -> TokenStore:
    known = DiskTexts(pa.chunked_array([texts]), fingerprint)
    assert role.store(known, cache).card["texts"] == len(texts)
    return role.store(known, cache)


def test_moving_tokens_keeps_their_lengths(tokenizers, cache):
    tokens = tokenizers["query"].store(SENTENCES, cache).take([0, 2]).to("meta")
    assert tokens.ids_T.device.type == "meta" and tokens.lengths_B.device.type == "cpu"


def test_the_canary_sings_in_many_scripts(encoder):
    assert len(CANARY_TEXTS) >= 50
    assert (
        compute_tokenizer_canary(encoder.tokenizer) == compute_tokenizer_canary(encoder.tokenizer)
        and len(compute_tokenizer_canary(encoder.tokenizer)) == 16
    )
    scripts = {chr(ord(c) & ~0x7F) for text in CANARY_TEXTS for c in text if ord(c) > 0x24F}
    assert len(scripts) >= 20


def test_store_of_nothing(tokenizers, tmp_path):
    assert len(tokenizers["query"].store([], tmp_path)) == 0
    assert isinstance(tokenizers["query"].store([None], tmp_path), TokenStore)
    assert torch.equal(
        tokenizers["query"].store([None], tmp_path).take([0]).lengths_B, torch.tensor([0])
    )


def test_a_cache_cut_at_a_whole_token_is_made_anew(tokenizers, tmp_path):
    role = tokenizers["query"]
    expected = ids_of(role.store(["a b c", "d"], tmp_path))
    path = next((tmp_path / "tokens").iterdir()) / "00000" / "ids.bin"
    path.write_bytes(path.read_bytes()[:-4])
    assert ids_of(role.store(["a b c", "d"], tmp_path)) == expected
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_more_texts_than_one_call_takes(tokenizers, tmp_path, monkeypatch):
    monkeypatch.setattr(token_store, "TEXTS_PER_CALL", 3)
    role, texts = tokenizers["query"], [f"text {i}" for i in range(8)]
    store = role.store(texts, tmp_path)
    assert [store[i].tolist() for i in range(8)] == [
        role.tokenizer(role.prefix + text)["input_ids"] for text in texts
    ]


def test_the_key_does_not_know_what_was_tokenised_before(recipe, cache):
    fresh, used = (
        BiEncoder(recipe, passage_max_length=64, texts=CANARY_TEXTS, cache=cache).tokenizers[
            "query"
        ]
        for _ in range(2)
    )
    used.tokenizer("x " * 99, truncation=True, max_length=7, padding="max_length")
    assert fresh.fingerprint == used.fingerprint


def at_once(count: int, work, role: RoleTokenizer, folder: Path, messages: int) -> list:
    """So many messages of so many processes, which must end well and say no more."""
    fork = multiprocessing.get_context("fork")
    barrier, said = fork.Barrier(count), fork.Queue()
    workers = [fork.Process(target=work, args=(role, folder, barrier, said)) for _ in range(count)]
    for worker in workers:
        worker.start()
    found = [said.get(timeout=60) for _ in range(messages)]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * count and said.empty()
    return found


def store_all(role: RoleTokenizer, folder: Path, barrier, failures) -> None:
    for i in range(40):
        barrier.wait()
        try:
            role.store([f"text {i} {j}" for j in range(20)], folder)
        except Exception as error:  # whatever it is, the parent shall see it
            failures.put(repr(error))


def test_processes_that_store_the_same_texts_at_once(tokenizers, tmp_path):
    assert at_once(3, store_all, tokenizers["query"], tmp_path, messages=0) == []
    assert len(list((tmp_path / "tokens").iterdir())) == 40


def take_part(role: RoleTokenizer, folder: Path, barrier, written) -> None:
    token_store.TEXTS_PER_SHARD, token_store.TEXTS_PER_CALL = 50, 10
    write = token_store.write_shard

    def counted(texts, rows, read, place):
        written.put((os.getpid(), rows.start))
        return write(texts, rows, read, place)

    token_store.write_shard = counted
    texts = DiskTexts(
        pa.chunked_array([[f"some text {i} that takes a moment" for i in range(2000)]]), "known"
    )
    barrier.wait()
    assert len(role.store(texts, folder)) == 2000


def test_processes_share_the_shards_of_a_large_store(tokenizers, tmp_path):
    made = at_once(2, take_part, tokenizers["query"], tmp_path, messages=40)
    assert sorted(start for _, start in made) == list(range(0, 2000, 50))  # each once
    assert len({process for process, _ in made}) == 2
