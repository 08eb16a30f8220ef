"""The server over HTTP: exact places, many requests at once, refusals, how it starts and ends."""

import random
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.benchmarks import beir_folder
from hybrid_ir.evaluation.language_bias import compute_one_target
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.index.search_methods import ExactSearch
from hybrid_ir.runs.encoders import load_encoder
from hybrid_ir.serve.access import choose_token, is_loopback
from hybrid_ir.serve.answer_places import find_exact_places
from hybrid_ir.serve.known_questions import KnownQuestions
from hybrid_ir.serve.loading import LoadingState
from tests.serve.conftest import KEYS, PASSAGES, QUESTIONS, SUBJECTS
from tests.support.command_line import wait_until
from tests.support.in_process import hybrid_ir_in_process

QUESTION = QUESTIONS["en"].format(5)
REQUESTS = 50
SCORE_TOLERANCE = 1e-5  # between a text encoded alone and with others


class VectorsInMemory:
    """Vectors in blocks of some rows."""

    def __init__(self, vectors_ND: torch.Tensor, rows: int):
        self.vectors_ND = vectors_ND
        self.width = vectors_ND.shape[1]
        self.rows = rows

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def iterate_blocks(self):
        for start in range(0, len(self), self.rows):
            yield start, self.vectors_ND[start : start + self.rows]

    def take(self, rows_R: np.ndarray) -> torch.Tensor:
        return self.vectors_ND[torch.from_numpy(rows_R)]


@pytest.fixture(scope="module")
def benchmark(served_place):
    cache = served_place / "cache"
    return beir_folder.load(folder=served_place / "benchmark", cache=cache)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), is_filtered=st.booleans())
def test_places_are_those_of_the_complete_exact_search(seed, rows, is_filtered):
    generator = torch.Generator().manual_seed(seed)
    # Few different values, so that there are ties.
    vectors_ND = torch.randint(-1, 2, (40, 3), generator=generator).float() / 3
    query_D = torch.randn(3, generator=generator)
    vectors = VectorsInMemory(vectors_ND, rows)
    is_allowed_N = None
    if is_filtered:
        is_allowed_N = (torch.rand(40, generator=generator) < 0.5).numpy()
        is_allowed_N[0] = True
    _, found = ExactSearch(vectors).search(query_D[None], 40, is_allowed_N)
    complete = [row for row in found[0].tolist() if row >= 0]
    places = find_exact_places(vectors, query_D, np.array(complete), is_allowed_N)
    assert places.tolist() == list(range(1, len(complete) + 1))


def test_answers_have_exact_places_and_the_same_passage_its_place_elsewhere(server):
    answer = server.ask("search", {"question": QUESTION, "k": 100}).json()
    assert answer["is_of_benchmark"]
    assert {one["language"] for one in answer["answers"]} == set(QUESTIONS)
    rank_of = {}
    for model in answer["models"]:
        assert [hit["rank"] for hit in model["hits"]] == list(range(1, 42))
        rank_of[model["model"]] = {hit["id"]: hit["rank"] for hit in model["hits"]}
    first, second = rank_of.values()
    for hit in answer["models"][0]["hits"]:
        assert hit["other_rank"] == second[hit["id"]]
    for one in answer["answers"]:
        for place in one["places"]:
            assert place["rank"] == rank_of[place["model"]][one["id"]]
    assert first != second
    few = server.ask("search", {"question": QUESTION, "k": 2}).json()
    assert few["answers"] == answer["answers"]
    assert few["pool"] == {"ar": SUBJECTS, "de": SUBJECTS, "en": SUBJECTS + 1, "zh": SUBJECTS}


def test_languages_that_are_left_out_take_no_places(server):
    body = {"question": QUESTION, "k": 100, "languages": ["zh", "ar"]}
    answer = server.ask("search", body).json()
    for model in answer["models"]:
        assert model["mix"] == {"ar": SUBJECTS, "zh": SUBJECTS}
        rank_of = {hit["id"]: hit["rank"] for hit in model["hits"]}
        for one in answer["answers"]:
            [place] = [one for one in one["places"] if one["model"] == model["model"]]
            assert place["rank_among_chosen"] == rank_of.get(one["id"])


def test_cells_of_the_heat_map_are_those_of_an_evaluation(server, served_place, benchmark):
    wait_until(lambda: server.ask("heat-map").json()["status"] == "ready")
    heat_map = server.ask("heat-map").json()
    assert heat_map["languages"] == list(benchmark.languages)
    for one in heat_map["maps"]:
        encoder = load_encoder(served_place / one["model"], pooling="mean", device="cpu")
        table = rank_benchmark(
            encoder.encode_queries(benchmark.queries),
            encoder.encode_passages(benchmark.passages),
            benchmark,
        )
        np.testing.assert_allclose(one["cells"], compute_one_target(table), atol=0.02)


def test_questions_are_suggested_in_their_languages(server, benchmark):
    first = server.ask("questions").json()
    assert [one["language"] for one in first] == list(benchmark.languages)
    arabic = server.ask("questions?text=%D8%B9%D8%A7%D8%B5%D9%85%D8%A9").json()
    assert {one["language"] for one in arabic} == {"ar"}
    questions = KnownQuestions(benchmark)
    assert questions.suggest("CAPITAL of", 3)[0].language == "en"
    rows = questions.find_relevant_rows(f"  {QUESTION.upper()} ")
    assert len(rows) == len(QUESTIONS)
    assert questions.find_relevant_rows("another") is None


def list_new_questions(count: int) -> list[str]:
    """Returns questions that nobody has asked, in many words, whose vectors are far apart."""
    draw = random.Random(3)
    words = " ".join(
        form.format(7, 7) for form in (*QUESTIONS.values(), *PASSAGES.values())
    ).split()
    return [" ".join(draw.choices(words, k=draw.randint(2, 12))) for _ in range(count)]


def test_fifty_requests_at_once_get_the_answers_of_single_ones(
    server, served_place, benchmark, capsys
):
    questions = list_new_questions(REQUESTS)

    def ask(question: str) -> tuple[float, dict]:
        start = time.monotonic()
        answer = server.ask("search", {"question": question})
        assert answer.status == 200
        return time.monotonic() - start, answer.json()

    with ThreadPoolExecutor(REQUESTS) as pool:
        together = list(pool.map(ask, questions))
    seconds = sorted(one[0] for one in together)
    with capsys.disabled():
        print(f"\n{REQUESTS} requests at once: p95 {1000 * seconds[int(0.95 * REQUESTS)]:.0f} ms")
    assert [answer["question"] for _, answer in together] == questions
    for number, name in enumerate(("first", "second")):
        encoder = load_encoder(served_place / name, pooling="mean", device="cpu")
        passages_ND = encoder.encode_passages(benchmark.passages)
        for (_, answer), question in zip(together, questions, strict=True):
            scores_N = encoder.encode_queries([question])[0] @ passages_ND.T
            best = scores_N.topk(10).values
            found = [hit["score"] for hit in answer["models"][number]["hits"]]
            np.testing.assert_allclose(found, best, atol=SCORE_TOLERANCE)
            row_of_id = {id: row for row, id in enumerate(benchmark.passage_ids)}
            rows = [row_of_id[hit["id"]] for hit in answer["models"][number]["hits"]]
            np.testing.assert_allclose(found, scores_N[rows], atol=SCORE_TOLERANCE)
        # An answer to any other of the questions would be seen.
        scores_QN = encoder.encode_queries(questions) @ passages_ND.T
        differences_QQ = torch.cdist(scores_QN, scores_QN, p=float("inf"))
        differences_QQ.fill_diagonal_(1)
        assert differences_QQ.min() > 10 * SCORE_TOLERANCE


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"question": ""}, 422, "question_empty", "empty"),
        ({"question": " \n"}, 422, "question_empty", "empty"),
        ({"question": "a\ud800b"}, 422, "question_no_text", "half of a character"),
        ({"question": "x" * 100_000}, 422, "question_too_long", "100,000 characters"),
        ({"question": "x" * 2_000_000}, 413, "request_too_long", "bytes"),
        ({"question": "x", "languages": []}, 422, "languages_empty", "at least one"),
        ({"question": "x", "languages": ["xx"]}, 422, "languages_unknown", "ar, de, en, zh"),
        ({"question": "x", "k": 0}, 422, "request_invalid", "k: "),
        ({"question": "x", "other": 1}, 422, "request_invalid", "other: "),
        ({}, 422, "request_invalid", "question: "),
    ],
)
def test_a_bad_request_gets_one_clear_problem(server, body, status, code, words):
    answer = server.ask("search", body)
    assert answer.status == status
    assert answer.json()["error"]["code"] == code
    assert words in answer.json()["error"]["message"]
    assert len(answer.body) < 500


def test_pages_of_other_sites_can_neither_ask_nor_load_anything(server):
    assert server.ask("health", Host="evil.example:80").status == 400
    headers = server.ask("").headers
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert server.ask("nowhere").json()["error"]["code"] == "not_possible"


def test_tokens_are_for_hosts_that_others_reach():
    assert choose_token("127.0.0.1", None) is None
    assert choose_token("::1", None) is None
    assert len(choose_token("0.0.0.0", None)) >= 32
    assert not is_loopback("example.org")
    with pytest.raises(ValueError, match="at least 16"):
        choose_token("127.0.0.1", "short")


def test_progress_has_a_count_and_an_estimate():
    state = LoadingState()
    state.begin("encoding", "model 1 of 2")
    state.count(100, 400)
    assert (state.look().part, state.look().stage) == ("model 1 of 2", "encoding")
    assert state.look().seconds_left is None  # these were encoded before
    state.count(200, 400)
    assert state.look().seconds_left >= 0
    state.fail("it is damaged")
    assert (state.look().status, state.look().stage) == ("failed", "it is damaged")


@pytest.fixture(scope="module")
def index(served_place):
    """The folder of an index of the first model."""
    keys = ("model=first", "pooling=mean", "path=benchmark", "to=index")
    made = hybrid_ir_in_process(served_place, "index", *keys)
    assert made.returncode == 0, made.stderr
    return served_place / "index"


def get_error(ended) -> str:
    """Returns the one line of an error, after checking that it ended the program as a mistake."""
    assert ended.returncode == 2, ended.stderr
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_a_damaged_index_is_refused_at_the_start(served_place, index):
    damaged = served_place / "damaged"
    shutil.copytree(index, damaged)
    with open(damaged / "vectors-00000.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    ended = hybrid_ir_in_process(served_place, "serve", "index=damaged", "port=0")
    assert "has other bytes than when the index was made: the index is damaged" in get_error(ended)


def test_a_model_that_did_not_make_the_index_is_refused(served_place, index):
    keys = ("index=index", "model=second", "port=0")
    ended = hybrid_ir_in_process(served_place, "serve", *keys)
    assert "second cannot search it: give the model that made it" in get_error(ended)


def test_a_port_in_use_is_one_clear_error(served_place, index):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = hybrid_ir_in_process(served_place, "serve", "index=index", f"port={port}")
    assert f"port={port} is in use on 127.0.0.1" in get_error(ended)


def test_all_wrong_values_are_named_at_once(served_place):
    keys = ("model=[a,b,c]", "port=70000", "k=0", "verify=1")
    error = get_error(hybrid_ir_in_process(served_place, "serve", *keys))
    for words in (
        "names 3",
        "port=70000",
        "k=0",
        "verify=1",
        "index=FOLDER, corpus=FOLDER and benchmark=NAME",
    ):
        assert words in error


def test_without_the_extra_the_error_says_what_to_install(served_place):
    def find_some(name: str):
        return None if name == "uvicorn" else find_spec(name)

    with mock.patch("hybrid_ir.cli.serve.find_spec", find_some):
        ended = hybrid_ir_in_process(served_place, "serve", *KEYS)
    assert get_error(ended).endswith("needs uvicorn: pip install 'hybrid-ir[serve]'")
