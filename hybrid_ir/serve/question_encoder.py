"""Encodes the questions of many requests: one thread reads them from a queue, several at once."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread

import torch

from hybrid_ir.types import TextEncoder

TEXTS_AT_ONCE = 32
KEPT_VECTORS = 1024  # of the questions that were asked last


@dataclass(frozen=True)
class EncodedQuestion:
    """The vector of a question (D), and whether the encoder read only its beginning."""

    vector_D: torch.Tensor
    is_cut: bool


class QuestionEncoder:
    """Encodes questions in a thread of its own, those that wait together as one batch.

    The vectors of the last questions are kept, so that a question has the same vector when it is
    asked again with other filters.

    Args:
        encoder: makes the vectors; nobody else may use it at the same time.
    """

    def __init__(self, encoder: TextEncoder):
        self.encoder = encoder
        self._queue: Queue[tuple[str, Future] | None] = Queue()  # None: nothing comes any more
        self._kept: OrderedDict[str, EncodedQuestion] = OrderedDict()
        self._threads = torch.get_num_threads()
        self._thread = Thread(target=self._work, name="encode questions", daemon=True)
        self._thread.start()

    def encode(self, text: str) -> "Future[EncodedQuestion]":
        """Returns at once; the result of the future is the encoded question."""
        future: Future[EncodedQuestion] = Future()
        self._queue.put((text, future))
        return future

    def encode_all(self, texts: Sequence[str]) -> torch.Tensor:
        """Encodes texts, waits for them, and returns their vectors (Q, D)."""
        futures = [self.encode(text) for text in texts]
        return torch.stack([future.result().vector_D for future in futures])

    def stop(self, seconds: float) -> bool:
        """Ends the thread after what it is encoding; questions that wait get no answer.

        Args:
            seconds: how long to wait for it.

        Returns:
            Whether it has ended.
        """
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        # The number of threads of OpenMP belongs to the thread that sets it.
        torch.set_num_threads(self._threads)
        while True:
            jobs = self._take_jobs()
            if None in jobs:
                return
            self._answer(jobs)

    def _take_jobs(self) -> list[tuple[str, Future] | None]:
        """Waits for a job, and returns it with those that wait as well."""
        jobs = [self._queue.get()]
        try:
            while len(jobs) < TEXTS_AT_ONCE:
                jobs.append(self._queue.get_nowait())
        except Empty:
            pass
        return jobs

    def _answer(self, jobs: Sequence[tuple[str, Future]]) -> None:
        """Encodes the texts of some jobs and answers them, whatever happens.

        What fails together is tried one by one, so that a text spoils no answer but its own.
        """
        # A future that was cancelled is left out, and none can be cancelled from here on.
        jobs = [job for job in jobs if job[1].set_running_or_notify_cancel()]
        try:
            self._encode_new({text for text, _ in jobs})
        except Exception:
            for text, future in jobs:
                self._answer_one(text, future)
        else:
            for text, future in jobs:
                future.set_result(self._kept[text])
        while len(self._kept) > KEPT_VECTORS:
            self._kept.popitem(last=False)

    def _answer_one(self, text: str, future: Future) -> None:
        try:
            self._encode_new({text})
        except Exception as error:  # It belongs to the one who waits for the answer.
            future.set_exception(error)
        else:
            future.set_result(self._kept[text])

    def _encode_new(self, texts: set[str]) -> None:
        """Encodes those of some texts that are not kept yet; all of them become the newest."""
        for text in texts & self._kept.keys():
            self._kept.move_to_end(text)
        new = sorted(texts - self._kept.keys())
        if not new:
            return
        items = []
        cut_flags = []
        for text in new:
            cut_before = self.encoder.texts_cut["query"] or 0
            items += self.encoder.read([text], "query")
            cut_flags.append((self.encoder.texts_cut["query"] or 0) > cut_before)
        vectors_QD = self.encoder.encode(items, "query").float().cpu()
        for text, vector_D, is_cut in zip(new, vectors_QD, cut_flags, strict=True):
            self._kept[text] = EncodedQuestion(vector_D, is_cut)
