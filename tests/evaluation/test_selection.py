"""Parts of a benchmark: what is kept has the judgements that it had."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.selection import limit_questions, select_languages, select_queries
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import LANGUAGES, random_problem


def build_graded(seed: int) -> Benchmark:
    """A random benchmark with a grade for each judgement, and passages that are queries."""
    rng = np.random.default_rng(seed)
    benchmark, _, _ = random_problem(seed)
    grades = [rng.integers(1, 4, len(rows)).astype(float) for rows in benchmark.relevant]
    own = []
    for rows in benchmark.relevant:
        others = np.setdiff1d(np.arange(len(benchmark.passages)), rows)
        own.append(int(rng.choice(others)))
    return replace(benchmark, grades=grades, own_passages=np.array(own))


def list_judgements(benchmark: Benchmark) -> set[tuple[str, str, str, str, float]]:
    """The texts, the languages and the grade of each judgement."""
    judgements = set()
    for query, rows in enumerate(benchmark.relevant):
        for place, row in enumerate(rows):
            judgements.add(
                (
                    benchmark.queries[query],
                    benchmark.languages[benchmark.query_languages[query]],
                    benchmark.passages[int(row)],
                    benchmark.languages[benchmark.passage_languages[int(row)]],
                    float(benchmark.grades[query][place]),
                )
            )
    return judgements


def list_own_passages(benchmark: Benchmark) -> dict[str, str]:
    """The text of the passage that is the query itself, by the text of the query."""
    texts = {}
    for query, row in zip(benchmark.queries, benchmark.own_passages, strict=True):
        if row >= 0:
            texts[query] = benchmark.passages[int(row)]
    return texts


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), kept=st.sets(st.sampled_from(LANGUAGES), min_size=1))
def test_some_languages_have_the_judgements_between_them(seed, kept):
    benchmark = build_graded(seed)
    selected = select_languages(benchmark, sorted(kept))
    expected = set()
    for judgement in list_judgements(benchmark):
        if judgement[1] in kept and judgement[3] in kept:
            expected.add(judgement)
    assert list_judgements(selected) == expected
    own = list_own_passages(benchmark)
    texts = set(selected.passages)
    expected_own = {query: own[query] for query in selected.queries if own[query] in texts}
    assert list_own_passages(selected) == expected_own


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), most=st.integers(1, 5))
def test_fewer_questions_keep_all_passages_and_their_translations(seed, most):
    benchmark = build_graded(seed)
    limited = limit_questions(benchmark, most)
    assert list(limited.passages) == list(benchmark.passages)
    assert len(set(limited.question_ids)) == min(most, len(set(benchmark.question_ids)))
    for name in set(limited.question_ids):
        assert limited.question_ids.count(name) == benchmark.question_ids.count(name)
    assert list_judgements(limited) <= list_judgements(benchmark)
    rows = [
        place
        for place, name in enumerate(benchmark.question_ids)
        if name in set(limited.question_ids)
    ]
    assert list_judgements(select_queries(benchmark, rows)) == list_judgements(limited)
    assert list_own_passages(limited).items() <= list_own_passages(benchmark).items()
