"""The embedded corpus: facts of CLDR as parallel questions and passages, without a download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybrid_ir.cldr.fact_set import build_fact_set, describe_source
from hybrid_ir.cldr.texts import select_rows
from hybrid_ir.data.corpus import ParallelCorpus


def load(
    languages: str | Sequence[str] | None = "xquad", cache: str | Path | None = None
) -> ParallelCorpus:
    """Loads the training facts; the hard negatives of a pair are other facts of the same entity.

    Args:
        languages: `xquad` (11 languages), `all`, or a list of codes.
        cache: folder where the facts are kept once they are built.
    """
    facts = build_fact_set(languages, cache)
    passages = np.flatnonzero(facts.fact_split == "train")
    questions = np.flatnonzero(facts.split == "train")
    # The last entry is for -1, which fills short rows of negatives.
    new_ids = np.full(len(facts.fact_split) + 1, -1)
    new_ids[passages] = np.arange(len(passages))
    old_passages = facts.question_passage[questions]
    pairs = np.stack([np.arange(len(questions)), new_ids[old_passages]], axis=1)
    negatives = new_ids[facts.hard_negatives[old_passages]]
    fillers_last = np.argsort(negatives < 0, axis=1, kind="stable")
    return ParallelCorpus(
        select_rows(facts.questions, questions),
        select_rows(facts.passages, passages),
        pairs,
        describe_source(facts),
        np.take_along_axis(negatives, fillers_last, axis=1),
    )
