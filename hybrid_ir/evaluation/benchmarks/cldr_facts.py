"""The embedded benchmark: held-out facts of CLDR, asked in every language over the passages of every language."""

# F facts, Q queries, N passages

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybrid_ir.cldr.fact_set import FactSet, build_fact_set, describe_source
from hybrid_ir.types import Benchmark

SUBSET_SEED = 11


def load(
    split: str = "test",
    languages: str | Sequence[str] | None = "xquad",
    max_queries: int | None = None,
    pool: str = "all",
) -> Benchmark:
    """Natural questions of the `dev` or `test` facts in all languages; each has its passage in all languages.

    Args:
        split: `dev` or `test`.
        languages: `xquad` (11 languages), `all` or a list of codes, as in training.
        max_queries: only so many questions, each with all its translations: a fixed draw, for quick validation.
        pool: `all` searches the passages of all facts, `split` only those of the split, which is much easier.
    """
    if split not in ("dev", "test"):
        raise ValueError(f"split={split}: the held-out facts are in 'dev' and 'test'.")
    if pool not in ("all", "split"):
        raise ValueError(f"pool={pool}: search 'all' passages or those of the 'split'.")
    if max_queries is not None and max_queries < 1:
        raise ValueError(
            f"max_queries={max_queries}: ask at least 1 question, or null for all of them."
        )
    facts = build_fact_set(languages)
    searched = (
        np.arange(len(facts.fact_split))
        if pool == "all"
        else np.flatnonzero(facts.fact_split == split)
    )
    benchmark = _benchmark(facts, _questions(facts, split, max_queries), searched)
    choices = benchmark.source.choices | {"split": split, "pool": pool}
    return replace(benchmark, source=replace(benchmark.source, choices=choices))


def _questions(facts: FactSet, split: str, max_queries: int | None) -> np.ndarray:
    """Question ids; subsets of different size nest, so a longer check contains the shorter one."""
    ids = facts.find_evaluated_questions(split)
    drawn = np.random.default_rng(SUBSET_SEED).permutation(ids)
    return np.sort(drawn[:max_queries])


def _benchmark(facts: FactSet, questions: np.ndarray, searched: np.ndarray) -> Benchmark:
    """Language by language; texts that a language lacks are left out."""
    passages = [
        (language, fact)
        for language in range(len(facts.languages))
        for fact in searched
        if facts.passages[facts.languages[language]][fact] is not None
    ]
    queries = [
        (language, question)
        for language in range(len(facts.languages))
        for question in questions
        if facts.questions[facts.languages[language]][question] is not None
    ]
    rows: dict[int, list[int]] = {}
    for row, (_, fact) in enumerate(passages):
        rows.setdefault(int(fact), []).append(row)
    relevant = {fact: np.array(found, dtype=np.int64) for fact, found in rows.items()}
    return Benchmark(
        languages=facts.languages,
        queries=[
            facts.questions[facts.languages[language]][question] for language, question in queries
        ],
        query_languages=np.array([language for language, _ in queries], dtype=np.int64),
        question_ids=[str(question) for _, question in queries],
        passages=[facts.passages[facts.languages[language]][fact] for language, fact in passages],
        passage_languages=np.array([language for language, _ in passages], dtype=np.int64),
        passage_ids=[f"{facts.languages[language]}:{fact}" for language, fact in passages],
        relevant=[relevant[int(facts.question_passage[question])] for _, question in queries],
        source=describe_source(facts),
    )
