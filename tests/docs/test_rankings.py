"""The picture of two rankings: how its question is chosen, and that it shows its record."""

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.evaluate import Evaluation, evaluate
from tests.support.command_line import ROOT
from tests.support.comparison_results import build_benchmark

FIGURES = ROOT / "docs/figures"
SPECIFICATION = importlib.util.spec_from_file_location("rankings", FIGURES / "draw_rankings.py")
rankings = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(rankings)


class HashedTexts:
    """An encoder whose vectors mean nothing: each text has random ones of its own."""

    device = torch.device("cpu")
    precision = "fp32"
    similarity = "cosine"

    def __init__(self, name: str):
        self.name = name
        self.texts_read = {"query": 0, "passage": 0}
        self.texts_cut = {"query": None, "passage": None}

    def read(self, texts, role):
        self.texts_read[role] += len(texts)
        return [str(text) for text in texts]

    def tensors(self, items, role):
        rows = []
        for text in items:
            seed = int.from_bytes(f"{self.name}{text}".encode()[-8:], "big") % 2**31
            rows.append(torch.randn(16, generator=torch.Generator().manual_seed(seed)))
        return torch.stack(rows)

    def forward(self, inputs):
        return F.normalize(inputs, dim=1)

    def encode(self, items, role):
        return self.forward(self.tensors(items, role))

    def windows(self, text, overlap):
        return [text]

    def reading(self):
        return {}


BENCHMARK = build_benchmark(8)


def measure(name: str) -> Evaluation:
    """Returns what `evaluate` returns for an encoder of some name."""
    return evaluate(HashedTexts(name), BENCHMARK, run_depth=rankings.PLACES)


def test_the_committed_picture_shows_its_record():
    record = (FIGURES / "rankings.json").read_text(encoding="utf-8")

    drawn = rankings.draw(rankings.read_picture(record))

    assert drawn == (FIGURES / "rankings.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(drawn)


def test_the_committed_picture_is_of_the_benchmark(shared):
    record = rankings.read_picture((FIGURES / "rankings.json").read_text(encoding="utf-8"))
    whole_benchmark = rankings.load(shared / "data/xquad-r")
    collection = rankings.select_questions(whole_benchmark, rankings.QUESTIONS_OF_COLLECTION)
    query = [str(text) for text in collection.queries].index(record.question)

    assert record.passages == len(collection.passages)
    assert record.languages == len(collection.languages)
    assert rankings.has_every_language(query, collection)
    beginnings = set()
    for row in collection.relevant[query]:
        language = collection.languages[collection.passage_languages[int(row)]]
        beginnings.add((language, str(collection.passages[int(row)])[:20]))
    for ranking in record.rankings:
        for place in ranking.places:
            assert ((place.language, place.text[:20]) in beginnings) == place.is_answer


def test_names_and_numbers_are_those_of_what_was_measured():
    measured = {"before: <first>": measure("first"), "after: second": measure("second")}

    picture = rankings.build_picture(measured, BENCHMARK)

    drawn = rankings.draw(picture)
    assert ">before: &lt;first&gt;</text>" in drawn
    assert ">after: second</text>" in drawn
    assert f"{len(BENCHMARK.passages):,} passages in 4 languages" in drawn
    for ranking in picture.rankings:
        answers = sum(place.is_answer for place in ranking.places)
        assert f">{answers} of the first 11 are answers</text>" in drawn
    assert len(re.findall("<rect x=", drawn)) == 2 * rankings.PLACES


@pytest.mark.parametrize(
    ("training", "words"),
    [(None, "multilingual-e5-small"), ({"sampler": "x_y"}, "x_y training")],
)
def test_a_model_is_called_by_its_training_or_its_name(training, words):
    model = {"name": "intfloat/multilingual-e5-small"}
    loaded = rankings.LoadedEncoder(encoder=None, model=model, training=training)

    assert rankings.describe_model(loaded) == words


def test_the_question_has_an_answer_in_every_language_and_the_median_gain():
    english = np.flatnonzero(BENCHMARK.query_languages == BENCHMARK.languages.index("en"))
    relevant = list(BENCHMARK.relevant)
    for query in english[3:]:
        relevant[query] = relevant[query][:-1]
    benchmark = replace(BENCHMARK, relevant=relevant)
    gain_Q = np.zeros(len(BENCHMARK.queries))
    gain_Q[english] = -np.arange(len(english))

    assert rankings.choose_query(gain_Q, benchmark) == english[1]

    without = [rows[:-1] for rows in BENCHMARK.relevant]
    with pytest.raises(ValueError, match="no English question has an answer in every language"):
        rankings.choose_query(gain_Q, replace(BENCHMARK, relevant=without))
