"""One pass over a benchmark's texts: everything once, nothing held, equal texts with equal vectors; and what is built on it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.encoding import EncodingPass
from hybrid_ir.evaluation.evaluate import (
    EvaluationSettings,
    evaluate_with_corrections,
    select_questions,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.encoding import read_shards
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from tests.support.small_run import PAIRS


class FromDisk(Sequence[str]):
    """Texts that must be read in slices or one by one, and never all at once."""

    def __init__(self, texts: list[str], most: int):
        self.texts, self.most = texts, most

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, key):
        if isinstance(key, slice):
            assert len(range(*key.indices(len(self)))) <= self.most
        return self.texts[key]

    def __iter__(self):
        raise AssertionError("the whole corpus was read at once")


@pytest.fixture(scope="module")
def texts(recipe, cache, numbers_corpus) -> BiEncoderAdapter:
    model = BiEncoder(
        recipe,
        query_max_length=32,
        passage_max_length=32,
        texts=numbers_corpus.texts(),
        cache=cache,
    )
    return BiEncoderAdapter(model, "small")


def vectors_of(benchmark, encoder, **choices) -> tuple[torch.Tensor, torch.Tensor]:
    made = {
        "query": torch.full((len(benchmark.queries), 32), torch.nan),
        "passage": torch.full((len(benchmark.passages), 32), torch.nan),
    }
    for part in EncodingPass(benchmark, encoder, **choices):
        rows = torch.from_numpy(part.rows_N)
        assert made[part.role][rows].isnan().all() and len(np.unique(part.rows_N)) == len(
            part.rows_N
        )
        made[part.role][rows] = part.vectors_ND
    return made["query"], made["passage"]


@given(size=st.integers(1, 90))
@settings(max_examples=8, deadline=None)
def test_every_text_is_encoded_once_in_slices(numbers_benchmark, texts, size):
    lazy = replace(numbers_benchmark, passages=FromDisk(numbers_benchmark.passages, size))
    queries, passages = vectors_of(lazy, texts, texts_per_chunk=size)
    expected = texts.encode(texts.read(numbers_benchmark.passages, "passage"), "passage")
    torch.testing.assert_close(passages, expected, atol=1e-6, rtol=0)
    assert not queries.isnan().any()


def test_a_passage_that_reads_like_a_relevant_one_gets_its_very_vector(numbers_benchmark, texts):
    """Whatever its chunk and its neighbours there: else rounding would decide a tie."""
    benchmark = replace(
        numbers_benchmark,
        passages=[
            *numbers_benchmark.passages,
            *(["a long text " * 4] * 3),
            numbers_benchmark.passages[5],
        ],
        passage_languages=np.append(numbers_benchmark.passage_languages, [0, 0, 0, 0]),
        passage_ids=[*numbers_benchmark.passage_ids, "x", "y", "z", "twin"],
    )
    _, passages = vectors_of(benchmark, texts, texts_per_chunk=7)
    assert torch.equal(passages[-1], passages[5]) and torch.equal(passages[-2], passages[-3])
    results = next(
        evaluate_with_corrections(benchmark, texts, EvaluationSettings(texts_per_chunk=7))
    ).results
    assert results.table.tied.max() == 1


def test_evaluate_is_encode_and_rank(numbers_benchmark, texts, tmp_path):
    queries, passages = vectors_of(numbers_benchmark, texts)
    expected = Results.from_table(rank_benchmark(queries, passages, numbers_benchmark), numbers_benchmark)
    for folder in (None, tmp_path / "kept"):  # streamed, and by way of files
        found = next(
            evaluate_with_corrections(
                numbers_benchmark, texts, EvaluationSettings(), tmp_path, folder
            )
        ).results
        assert found.macro("multi") == pytest.approx(expected.macro("multi"), abs=1e-9)
        assert found.geometry["language_mix@10"] and found.geometry["uniformity"] < 0
    kept = list(read_shards(tmp_path / "kept"))
    assert sum(len(part.rows_N) for part in kept) == len(numbers_benchmark.queries) + len(
        numbers_benchmark.passages
    )


def test_corrections_share_one_encoding(numbers_benchmark, texts):
    before = dict(texts.texts_read)
    found = list(
        evaluate_with_corrections(
            numbers_benchmark, texts, EvaluationSettings(postprocess=("shift", "none", "center"))
        )
    )
    assert found[1].estimated_from["query"] == {"de": PAIRS, "en": PAIRS, "zh": PAIRS}
    assert [measured.postprocess for measured in found] == ["none", "center", "shift"]
    assert [measured.estimated_on for measured in found] == [None, "test", "test"]
    assert texts.texts_read["passage"] - before["passage"] == len(numbers_benchmark.passages)
    assert len({measured.results.macro("multi")["map"] for measured in found}) == 3


def test_some_questions_come_with_all_translations_and_only_their_answers(numbers_benchmark):
    part = select_questions(numbers_benchmark, 5)
    assert len(set(part.question_ids)) == 5 and len(part.queries) == len(part.passages) == 15
    for query, language, rows in zip(
        part.queries, part.query_languages, part.relevant, strict=True
    ):
        row = numbers_benchmark.queries.index(query)
        assert numbers_benchmark.query_languages[row] == language
        assert [part.passages[r] for r in rows] == [
            numbers_benchmark.passages[r] for r in numbers_benchmark.relevant[row]
        ]
    assert select_questions(numbers_benchmark, 10 * PAIRS).passages == list(
        numbers_benchmark.passages
    )


def test_the_hash_of_a_benchmark_sees_texts_languages_and_judgements(numbers_benchmark):
    benchmark = numbers_benchmark
    changed = [
        replace(benchmark, queries=["other", *benchmark.queries[1:]]),
        replace(benchmark, passages=["other", *benchmark.passages[1:]]),
        replace(benchmark, passage_languages=np.roll(benchmark.passage_languages, 1)),
        replace(benchmark, relevant=[benchmark.relevant[0][:1], *benchmark.relevant[1:]]),
        replace(benchmark, question_ids=["other", *benchmark.question_ids[1:]]),
        replace(benchmark, grades=[2.0 * np.ones(len(rows)) for rows in benchmark.relevant]),
    ]
    hashes = [hash_benchmark(each) for each in (benchmark, *changed)]
    assert len(set(hashes)) == 7 and hashes[0] == hash_benchmark(replace(benchmark))
