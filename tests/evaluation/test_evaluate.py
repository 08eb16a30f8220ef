"""Evaluating an encoder: in a notebook, with corrections, and everything on the card."""

import contextlib
import doctest
import io
import json
import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.encoding import EncodingPass, TextChunks
from hybrid_ir.evaluation.evaluate import (
    Evaluation,
    EvaluationSettings,
    evaluate,
    evaluate_with_corrections,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.report import describe_exclusions, write_result_files
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.vector_shards import read_shards
from hybrid_ir.types import Benchmark, Role, Text
from tests.support.small_run import PAIRS


class BagOfLetters:
    """An encoder of someone else: the counts of the letters of a text."""

    name = "letters"
    device = torch.device("cpu")
    precision = "fp32"
    similarity = "cosine"

    def __init__(self):
        self.texts_read: dict[Role, int] = {"query": 0, "passage": 0}
        self.texts_cut: dict[Role, int | None] = {"query": None, "passage": None}

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        self.texts_read[role] += len(texts)
        return [str(text) for text in texts]

    def tensors(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        counts = torch.zeros(len(items), 64)
        for row, text in enumerate(items):
            for letter in text:
                counts[row, ord(letter) % 64] += 1
        return counts

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.normalize(inputs, dim=1)

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        return self.forward(self.tensors(items, role))

    def windows(self, text: Text, overlap: float) -> list[Text]:
        return [text]

    def reading(self) -> dict[str, Any]:
        return {"pooling": "sum"}


@pytest.fixture
def encoder() -> BagOfLetters:
    return BagOfLetters()


@pytest.fixture(scope="module")
def evaluation(numbers_benchmark) -> Evaluation:
    return evaluate(BagOfLetters(), numbers_benchmark)


def rank_all_at_once(benchmark: Benchmark, encoder: BagOfLetters) -> Results:
    """The results of all vectors of a pass, ranked in memory."""
    vectors = {
        "query": torch.empty(len(benchmark.queries), 64),
        "passage": torch.empty(len(benchmark.passages), 64),
    }
    for encoded in EncodingPass(TextChunks(benchmark, encoder)):
        vectors[encoded.role][torch.from_numpy(encoded.rows_N)] = encoded.vectors_ND
    table = rank_benchmark(vectors["query"], vectors["passage"], benchmark)
    return Results.from_table(table, benchmark)


def evaluate_silently(*arguments, **choices) -> Evaluation:
    """Without the line that a progress bar prints where there is no terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate(*arguments, **choices)


def test_the_example_of_the_docstring_runs(encoder, tmp_path):
    names = {"encoder": encoder, "evaluate": evaluate_silently, "folder": tmp_path}
    example = doctest.DocTestFinder().find(evaluate, "evaluate", globs=names)[0]
    result = doctest.DocTestRunner().run(example)
    assert result.attempted > 5
    assert result.failed == 0
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.parametrize("kept", [False, True])
def test_to_evaluate_is_to_encode_and_rank(numbers_benchmark, encoder, tmp_path, kept):
    """Whether vectors are streamed or go by way of files."""
    expected = rank_all_at_once(numbers_benchmark, encoder)
    embeddings = tmp_path / "embeddings" if kept else None
    evaluation = evaluate(encoder, numbers_benchmark, embeddings=embeddings)
    assert evaluation.results.macro("multi") == pytest.approx(expected.macro("multi"), abs=1e-9)
    assert evaluation.results.geometry["language_mix@10"]
    assert evaluation.results.geometry["uniformity"] < 0
    if kept:
        rows = sum(len(encoded.rows_N) for encoded in read_shards(embeddings))
        assert rows == len(numbers_benchmark.queries) + len(numbers_benchmark.passages)


def test_the_summary_has_the_macro_means(evaluation):
    expected = evaluation.results.macro("multi")["map"]
    assert evaluation.summary()["multi/map"] == expected


def test_settings_have_a_row_for_each_pair_of_languages(evaluation):
    table = evaluation.settings()
    counts = table["view"].value_counts().to_dict()
    assert counts == {"mono": 3, "cross": 6, "multi": 3}
    assert set(table["passage_language"][table["view"] == "multi"]) == {"all"}
    macro = evaluation.results.macro("cross")["map"]
    assert table["map"][table["view"] == "cross"].mean() == pytest.approx(macro)
    assert (table["queries"] == PAIRS).all()


def test_every_query_has_a_row_in_each_pool_that_it_asks(evaluation, numbers_benchmark):
    table = evaluation.per_query()
    queries = len(numbers_benchmark.queries)
    assert len(table) == queries + 2 * queries + queries
    micro = evaluation.results.micro("mono")["recall@1"]
    assert table["recall@1"][table["view"] == "mono"].mean() == pytest.approx(micro)


def test_without_pandas_tables_are_those_of_pyarrow(evaluation, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # then it cannot be imported
    assert isinstance(evaluation.per_query(), pa.Table)
    assert evaluation.settings().num_rows == 12


def test_saved_files_hold_the_numbers_and_what_decides_them(evaluation, tmp_path):
    evaluation.save(tmp_path / "results")
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {
        "metrics.json",
        "per_query.parquet",
        "evaluation_card.json",
        "heat_map.png",
        "one_target.png",
    }
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    card = json.loads((tmp_path / "results" / "evaluation_card.json").read_text())
    expected = pytest.approx(evaluation.summary()["multi/map"])
    assert metrics["macro_over_settings"]["multi"]["map"] == expected
    assert card["model"] == {"name": "letters", "kind": "encoder"}
    assert card["benchmark"]["sha256"] == hash_benchmark(evaluation.results.benchmark)
    assert card["texts_cut"] == {"query": None, "passage": None}
    assert card["postprocess"]["name"] == "none"
    assert card["reading"]["pooling"] == "sum"
    assert card["precision"] == "fp32"
    assert card["long_passages"] == {"policy": "truncate", "window_overlap": None, "windows": 0}


def test_runs_are_saved_where_they_are_asked_for(numbers_benchmark, encoder, tmp_path):
    evaluate(encoder, numbers_benchmark, run_depth=3).save(tmp_path)
    lines = (tmp_path / "run.multi.trec").read_text().splitlines()
    assert len(lines) == 3 * len(numbers_benchmark.queries)
    assert lines[0].endswith("letters")
    assert (tmp_path / "qrels.mono.trec").is_file()


def test_a_correction_names_its_split_on_the_card(numbers_benchmark, encoder):
    other = replace(numbers_benchmark, source=replace(numbers_benchmark.source, name="other"))
    on_other = evaluate(encoder, numbers_benchmark, postprocess="center", postprocess_on=other)
    on_itself = evaluate(
        encoder, numbers_benchmark, postprocess="lir", postprocess_on=numbers_benchmark
    )
    assert on_other.build_card()["postprocess"]["estimated_on"] == "other"
    assert on_itself.build_card()["postprocess"]["estimated_on"] == "test"
    assert on_itself.build_card()["postprocess"]["components"] == 1


def test_settings_that_make_no_sense_are_all_named(numbers_benchmark, encoder):
    with pytest.raises(ValueError) as error:
        evaluate(
            encoder,
            numbers_benchmark,
            postprocess_components=0,
            window_overlap=1.0,
            run_depth=-1,
            texts_per_chunk=0,
        )
    for setting in ("postprocess_components=0", "window_overlap=1.0", "run_depth=-1"):
        assert setting in str(error.value)
    assert "texts_per_chunk=0 must be a whole number from 1" in str(error.value)
    with pytest.raises(ValueError, match="postprocess_on is missing"):
        evaluate(encoder, numbers_benchmark, postprocess="center")
    with pytest.raises(ValueError, match="window_overlap='half' must be"):
        evaluate(encoder, numbers_benchmark, window_overlap="half")
    with pytest.raises(ValueError, match="benchmark='numbers' is no Benchmark"):
        evaluate(encoder, "numbers")


def test_corrections_share_one_encoding(numbers_benchmark, encoder):
    settings = EvaluationSettings(postprocess=("shift", "none", "center"))
    evaluations = list(evaluate_with_corrections(numbers_benchmark, encoder, settings))
    names = [evaluation.postprocess for evaluation in evaluations]
    values = {evaluation.summary()["multi/map"] for evaluation in evaluations}
    assert names == ["none", "center", "shift"]
    assert [evaluation.estimated_on for evaluation in evaluations] == [None, "test", "test"]
    assert evaluations[1].estimated_from["query"] == {"de": PAIRS, "en": PAIRS, "zh": PAIRS}
    assert encoder.texts_read["passage"] == len(numbers_benchmark.passages)
    assert len(values) == 3


def test_passages_of_equal_tokens_tie(numbers_benchmark, encoder):
    benchmark = replace(
        numbers_benchmark,
        passages=[*numbers_benchmark.passages, numbers_benchmark.passages[5]],
        passage_languages=np.append(numbers_benchmark.passage_languages, 0),
        passage_ids=[*numbers_benchmark.passage_ids, "twin"],
    )
    table = evaluate(encoder, benchmark, texts_per_chunk=7).results.table
    is_passage_with_twin = table.relevant == 5
    assert (table.tied[is_passage_with_twin] == 1).all()


def test_the_hash_of_a_benchmark_sees_texts_languages_and_judgements(numbers_benchmark):
    benchmark = numbers_benchmark
    queries = len(benchmark.queries)
    no_passages = np.full(queries, -1)
    changed = [
        replace(benchmark, queries=["other", *benchmark.queries[1:]]),
        replace(benchmark, passages=["other", *benchmark.passages[1:]]),
        replace(benchmark, passage_languages=np.roll(benchmark.passage_languages, 1)),
        replace(benchmark, relevant=[benchmark.relevant[0][:1], *benchmark.relevant[1:]]),
        replace(benchmark, question_ids=["other", *benchmark.question_ids[1:]]),
        replace(benchmark, grades=[2.0 * np.ones(len(rows)) for rows in benchmark.relevant]),
        replace(benchmark, missing_grades=[np.ones(1)] * queries),
        replace(benchmark, missing_grades=[np.ones(1)] * queries, count_missing=False),
        replace(benchmark, own_passages=np.append(len(benchmark.passages) - 1, no_passages[1:])),
        replace(benchmark, least_relevant_grade=1.0),
    ]
    unused = replace(
        benchmark,
        missing_grades=[np.zeros(0)] * queries,
        count_missing=False,
        own_passages=no_passages,
    )
    hashes = {hash_benchmark(benchmark)}
    for each in changed:
        hashes.add(hash_benchmark(each))
    assert len(hashes) == 11
    assert hash_benchmark(benchmark) == hash_benchmark(replace(benchmark))
    assert hash_benchmark(benchmark) == hash_benchmark(unused)


def test_both_numbers_of_missing_passages_are_printed_and_written(
    numbers_benchmark, encoder, tmp_path
):
    queries = len(numbers_benchmark.queries)
    missing_grades = [np.ones(2), *[np.zeros(0)] * (queries - 1)]
    plain = evaluate(encoder, numbers_benchmark)
    expected = plain.summary()
    assert "unknown_passages" not in plain.build_card()["benchmark"]
    for count_missing in (True, False):
        benchmark = replace(
            numbers_benchmark, missing_grades=missing_grades, count_missing=count_missing
        )
        evaluation = evaluate(encoder, benchmark)
        card = evaluation.build_card()
        write_result_files(evaluation.results, card, tmp_path)
        is_same = evaluation.summary() == expected
        assert is_same == (not count_missing)
        record = json.loads((tmp_path / "metrics.json").read_text())["unknown_passages"]
        assert card["benchmark"]["unknown_passages"] == record
        assert record["judgements"] == 2
        assert record["queries"] == 1
        assert record["main"] == ("counted_as_missed" if count_missing else "left_out")
        left_out = record["left_out"]["macro_over_settings"]["multi"]["map"]
        counted = record["counted_as_missed"]["macro_over_settings"]["multi"]["map"]
        assert left_out == expected["multi/map"] > counted
        printed = describe_exclusions(evaluation.results)[-1]
        assert printed.startswith("unknown passages: 2 judgements of 1 queries; counted as missed")
        assert f"left out mAP mono {expected['mono/map']:.4f}" in printed
