"""The embedded corpus: facts of CLDR as parallel questions and passages, nothing to download."""

from collections.abc import Sequence

import numpy as np

from hybrid_ir.cldr.fact_set import build_fact_set, describe_source
from hybrid_ir.cldr.texts import select_rows
from hybrid_ir.data.corpus import ParallelCorpus


def load(languages: str | Sequence[str] | None = "xquad") -> ParallelCorpus:
    """Training facts only, in `xquad` (11 languages), `all` or a list of codes; hard negatives share the entity."""
    facts = build_fact_set(languages)
    passages = np.flatnonzero(facts.fact_split == "train")
    questions = np.flatnonzero(facts.split == "train")
    new_id = np.full(len(facts.fact_split) + 1, -1)  # the last entry answers the filler -1
    new_id[passages] = np.arange(len(passages))
    pairs = np.stack([np.arange(len(questions)), new_id[facts.question_passage[questions]]], axis=1)
    negatives = new_id[facts.hard_negatives[facts.question_passage[questions]]]
    negatives = np.take_along_axis(
        negatives, np.argsort(negatives < 0, axis=1, kind="stable"), axis=1
    )  # fillers last
    return ParallelCorpus(
        select_rows(facts.questions, questions),
        select_rows(facts.passages, passages),
        pairs,
        describe_source(facts),
        negatives,
    )
