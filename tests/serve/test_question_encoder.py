"""Questions of many requests: whatever happens to one, the others get their answers."""

from concurrent.futures import CancelledError
from threading import Event

import pytest
import torch

from hybrid_ir.serve.question_encoder import KEPT_VECTORS, TEXTS_AT_ONCE, QuestionEncoder
from tests.support.command_line import HANG_SECONDS

BAD = "a text that nobody can read"


class LengthEncoder:
    """Encodes a text as its length, as soon as it may; fails for one text.

    Attributes:
        has_begun: is set when it has texts to encode.
        may_begin: is set when it may.
        batches: the texts that were encoded together.
    """

    def __init__(self):
        self.texts_cut = {"query": 0}
        self.has_begun = Event()
        self.may_begin = Event()
        self.batches = []

    def read(self, texts: list[str], role: str) -> list[str]:
        return texts

    def encode(self, texts: list[str], role: str) -> torch.Tensor:
        self.has_begun.set()
        assert self.may_begin.wait(HANG_SECONDS)
        self.batches.append(texts)
        if BAD in texts:
            raise ValueError("it cannot be read")
        return torch.tensor([[len(text)] for text in texts])


@pytest.fixture
def busy():
    """An encoder that is busy with a first text, so that others wait together."""
    questions = QuestionEncoder(LengthEncoder())
    questions.encode("first")
    assert questions.encoder.has_begun.wait(HANG_SECONDS)
    return questions


def get_length(future) -> int:
    return int(future.result(HANG_SECONDS).vector_D)


def test_a_question_that_is_given_up_ends_nothing(busy):
    given_up = busy.encode("given up")
    other = busy.encode("other")
    assert given_up.cancel()
    busy.encoder.may_begin.set()
    assert get_length(other) == 5
    assert get_length(busy.encode("later")) == 5
    with pytest.raises(CancelledError):
        given_up.result(0)


def test_a_text_that_fails_spoils_no_other(busy):
    texts = [f"text {number}" for number in range(TEXTS_AT_ONCE - 1)]
    futures = [busy.encode(text) for text in [*texts[:9], BAD, *texts[9:]]]
    busy.encoder.may_begin.set()
    with pytest.raises(ValueError, match="cannot be read"):
        futures.pop(9).result(HANG_SECONDS)
    assert [get_length(future) for future in futures] == [len(text) for text in texts]
    assert get_length(busy.encode("later")) == 5


def test_questions_that_wait_are_encoded_together_and_kept(busy):
    texts = [f"text {number}" for number in range(5)]
    futures = [busy.encode(text) for text in texts]
    busy.encoder.may_begin.set()
    for future in futures:
        future.result(HANG_SECONDS)
    assert get_length(busy.encode("text 3")) == 6
    assert busy.encoder.batches == [["first"], texts]


def test_the_questions_that_were_asked_last_are_kept(busy):
    busy.encoder.may_begin.set()
    busy.encode_all([f"text {number}" for number in range(KEPT_VECTORS)])
    busy.encode_all(["text 0"])  # again, so that it is no old one
    busy.encode_all([f"new {number}" for number in range(KEPT_VECTORS - 1)])
    before = len(busy.encoder.batches)
    busy.encode_all(["text 0"])
    assert len(busy.encoder.batches) == before
    busy.encode_all(["text 1"])
    assert len(busy.encoder.batches) == before + 1
