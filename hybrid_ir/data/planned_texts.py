"""PlannedTexts: the planned batches as texts and labels, for trainers that are not ours."""

# G examples of the global batch, K hard negatives of an example

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from hybrid_ir.data.batching import get_side, require_enough_negatives, select_passages
from hybrid_ir.data.labels import Labels
from hybrid_ir.data.sampling import PairBatchSampler


@dataclass(frozen=True)
class TextBatch:
    """A global batch as texts.

    Args:
        step: number of the batch in the plan.
        queries: G texts.
        passages: G * (1 + K) texts: each positive, followed by its hard negatives.
        labels: which passages are no negatives of a query, as every loss of hybrid-ir takes them.
    """

    step: int
    queries: list[str]
    passages: list[str]
    labels: Labels


class PlannedTexts(Dataset):
    """`self[k]` is global batch k of a plan, as texts and labels.

    It has no state, so a training resumes by starting at batch k. The batches are those that
    `RetrievalData` tokenises for our own trainer.

    Args:
        sampler: plans the batches.
        hard_negatives: K, how many hard negatives each example shows.

    Raises:
        ValueError: If the corpus has fewer hard negatives.

    Example:
        >>> from hybrid_ir import PairBatchSampler, load_corpus
        >>> corpus = load_corpus("cldr_facts", languages=["en", "de"])
        >>> batches = PlannedTexts(PairBatchSampler(corpus, batch_size=4))
        >>> len(batches[0].queries), len(batches[0].passages)
        (4, 4)
    """

    def __init__(self, sampler: PairBatchSampler, hard_negatives: int = 0):
        require_enough_negatives(sampler.corpus, hard_negatives)
        self.sampler = sampler
        self.hard_negatives = hard_negatives

    def __getitem__(self, step: int) -> TextBatch:
        plan = self.sampler[step]
        part = self.sampler.corpus.parts[plan.part]
        passages_GM, labels = select_passages(part, plan, self.hard_negatives, self.sampler.seed)
        query_texts, query_languages_G = get_side(part, plan, "query")
        passage_texts, passage_languages_G = get_side(part, plan, "passage")
        query_ids_G = np.asarray(part.pairs[plan.pairs, 0], np.int64)
        queries = []
        passages = []
        for example, query_id in enumerate(query_ids_G):
            queries.append(query_texts[query_languages_G[example]][query_id])
            for passage_id in passages_GM[example]:
                passages.append(passage_texts[passage_languages_G[example]][passage_id])
        return TextBatch(step, queries, passages, labels)

    def iterate_rows(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the examples of batch `first` and all later ones, without an end.

        A loader that takes them in their order, `sampler.batch_size` at a time, has the planned
        batches. Each row has a `query`, a `passage`, `negative_1` and so on for its hard negatives,
        and the number of its batch as its `label`.

        Args:
            first: number of the first batch.
        """
        step = first
        while True:
            batch = self[step]
            columns = 1 + self.hard_negatives
            for example, query in enumerate(batch.queries):
                texts = batch.passages[example * columns : (example + 1) * columns]
                row = {"query": query, "passage": texts[0]}
                for number, text in enumerate(texts[1:], start=1):
                    row[f"negative_{number}"] = text
                yield {**row, "label": step}
            step += 1
