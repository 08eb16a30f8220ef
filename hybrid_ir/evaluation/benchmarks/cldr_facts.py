"""The embedded benchmark: held-out facts of CLDR, asked and answered in every language."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybrid_ir.cldr.fact_set import FactSet, build_fact_set, describe_source
from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    check_option,
    raise_errors,
    record_choices,
)
from hybrid_ir.types import Benchmark

SUBSET_SEED = 11
SPLITS = ("dev", "test")
POOLS = ("all", "split")


def load(
    split: str = "test",
    languages: str | Sequence[str] | None = "xquad",
    max_queries: int | None = None,
    pool: str = "all",
    cache: str | Path | None = None,
) -> Benchmark:
    """Loads questions about held-out facts, each with the passages of its fact in all languages.

    Args:
        split: `dev` or `test`.
        languages: `xquad` (11 languages), `all` or a list of codes, as in training.
        max_queries: questions to keep, each with all its translations: a fixed draw.
        pool: `all` searches the passages of all facts, `split` only those of the split, which is
            much easier.
        cache: folder where the facts are kept once they are built.
    """
    errors = check_option("split", split, SPLITS) + check_option("pool", pool, POOLS)
    raise_errors("cldr_facts", errors + check_max_queries(max_queries))
    fact_set = build_fact_set(languages, cache)
    source = record_choices(describe_source(fact_set), split=split, pool=pool)
    builder = BenchmarkBuilder(source)
    _add_passages(builder, fact_set, None if pool == "all" else split)
    _add_queries(builder, fact_set, _draw_questions(fact_set, split, max_queries))
    # CLDR has gaps: of a few questions a language may lack every one
    return builder.build(fact_set.languages, languages_may_be_empty=True)


def _draw_questions(fact_set: FactSet, split: str, max_queries: int | None) -> np.ndarray:
    """Returns question ids, sorted; a smaller draw is part of a larger one."""
    question_ids = fact_set.find_evaluated_questions(split)
    shuffled = np.random.default_rng(SUBSET_SEED).permutation(question_ids)
    return np.sort(shuffled[:max_queries])


def _add_passages(builder: BenchmarkBuilder, fact_set: FactSet, split: str | None) -> None:
    """Adds the passages of the facts of a split, or of all facts, except texts that are missing."""
    facts = np.arange(len(fact_set.fact_split))
    if split is not None:
        facts = np.flatnonzero(fact_set.fact_split == split)
    for language in fact_set.languages:
        for fact in facts:
            text = fact_set.passages[language][fact]
            if text is not None:
                builder.add_passage(language, f"{language}:{fact}", text, [str(fact)])


def _add_queries(builder: BenchmarkBuilder, fact_set: FactSet, question_ids: np.ndarray) -> None:
    """Adds the questions in every language, except texts that are missing."""
    for language in fact_set.languages:
        for question in question_ids:
            text = fact_set.questions[language][question]
            if text is None:
                continue
            topics = (str(fact_set.question_passage[question]),)
            query_id = f"{language}:{question}"
            builder.add_query(Query(language, query_id, text, str(question), topics=topics))
