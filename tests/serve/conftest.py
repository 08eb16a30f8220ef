"""Small models, a benchmark in four languages, and a server of them as a process of its own."""

import json
import re
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hybrid_ir.model.backbone import FromScratch
from tests.support.benchmarks import write_beir_folder
from tests.support.command_line import (
    HANG_SECONDS,
    StartedProcess,
    read_output,
    start_hybrid_ir,
    wait_until,
)

MARKUP = "<img src=x onerror=\"document.title='run'\"><b>bold</b> & co"
QUESTIONS = {
    "ar": "ما هي عاصمة البلد رقم {}؟",
    "de": "Was ist die Hauptstadt von Land {}?",
    "en": "What is the capital of country {}?",
    "zh": "第{}个国家的首都是什么？",
}
PASSAGES = {
    "ar": "عاصمة البلد رقم {} هي المدينة {}.",
    "de": "Die Hauptstadt von Land {} ist Stadt {}.",
    "en": "The capital of country {} is city {}.",
    "zh": "第{}个国家的首都是城市{}。",
}
SUBJECTS = 10
KEYS = ("benchmark=beir_folder", "benchmark.folder=benchmark", "pooling=mean", "port=0")


@dataclass
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Returns the body as plain values."""
        return json.loads(self.body)


@dataclass
class RunningServer:
    """A server that runs as a process."""

    process: StartedProcess
    url: str

    def ask(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Asks for a path; with a body as POST."""
        data = None if body is None else json.dumps(body).encode()
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as response:
                return Answer(response.status, response.read(), dict(response.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))

    def wait_until_ready(self) -> None:
        """Waits until questions are answered."""

        def is_ready() -> bool:
            assert self.process.poll() is None, read_output(self.process)
            return self.ask("health").json()["status"] == "ready"

        wait_until(is_ready)


def start_server(place: Path, *arguments: str, **variables: str) -> RunningServer:
    """Starts `hybrid-ir serve`, and returns as soon as it answers."""
    process = start_hybrid_ir(place, "serve", *arguments, **variables)

    def find_url() -> re.Match | None:
        assert process.poll() is None, read_output(process)
        return re.search(r"http://127\.0\.0\.1:\d+/", read_output(process))

    wait_until(lambda: find_url() is not None)
    return RunningServer(process, find_url().group())


def stop_server(server: RunningServer) -> int:
    """Ends a server as Ctrl-C does, and returns its exit code."""
    server.process.send_signal(signal.SIGINT)
    return server.process.wait(HANG_SECONDS)


def write_benchmark(folder: Path) -> list[str]:
    """Writes a benchmark in four languages, of which one passage holds markup. Returns texts."""
    texts = []
    queries = []
    passages = []
    qrels = ""
    for language in QUESTIONS:
        for number in range(SUBJECTS):
            name = f"{language}-{number}"
            query = QUESTIONS[language].format(number)
            passage = PASSAGES[language].format(number, number)
            queries.append({"_id": f"q-{name}", "text": query, "language": language})
            passages.append({"_id": name, "text": passage, "language": language})
            texts += [query, passage]
            for other in QUESTIONS:
                qrels += f"q-{name}\t{other}-{number}\t1\n"
    passages.append({"_id": "markup", "text": MARKUP, "language": "en"})
    write_beir_folder(folder, passages, queries, qrels)
    return texts


@pytest.fixture(scope="session")
def served_place(tmp_path_factory) -> Path:
    """A folder with two small untrained encoders and a benchmark."""
    place = tmp_path_factory.mktemp("serve")
    texts = write_benchmark(place / "benchmark")
    for seed, name in ((1, "first"), (2, "second")):
        recipe = FromScratch(
            vocab_size=500,
            width=16,
            layers=1,
            heads=2,
            intermediate=16,
            max_positions=64,
            seed=seed,
        )
        shutil.copytree(recipe.build(texts, place / "backbones"), place / name)
    return place


@pytest.fixture(scope="session")
def server(served_place) -> Iterator[RunningServer]:
    """A server of two models on a benchmark, which is ready."""
    server = start_server(served_place, "model=[first,second]", "max_characters=500", *KEYS)
    server.wait_until_ready()
    yield server
    assert stop_server(server) == 0, read_output(server.process)
    assert read_output(server.process).endswith("hybrid-ir serve: ended\n")
