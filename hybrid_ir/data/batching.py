"""From planned batches to token tensors."""

# B examples of the rank's slice, N passages of the global batch (1 + K per example)

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.content_ids import hash_text
from hybrid_ir.data.corpus import ParallelCorpus, Texts
from hybrid_ir.data.labels import Labels
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.token_store import RaggedTokens, concatenate_tokens
from hybrid_ir.model.tokens import RoleTokenizer
from hybrid_ir.types import PlannedBatch, Role

NEGATIVES, DROPOUT, SWITCHING = 3, 4, 5  # random streams of the seed; the sampler has 0 to 2


@dataclass  # not frozen: Lightning takes what is in a batch apart for double precision
class Batch:
    """The rank's slice of global batch `step`, ready to encode; the labels speak of the whole global batch."""

    step: int
    queries: RaggedTokens
    passages: RaggedTokens
    labels: Labels

    def to(self, device, non_blocking: bool = False) -> "Batch":
        moved = {
            name: getattr(self, name).to(device, non_blocking)
            for name in ("queries", "passages", "labels")
        }
        return replace(self, **moved)


class PlannedBatches(Dataset):
    """`self[k]` is the rank's `own` slice of global batch k as tokens: no state, so a loader resumes by starting at k."""

    def __init__(
        self,
        sampler: PairBatchSampler,
        tokenizers: Mapping[str, RoleTokenizer],
        cache: Path,
        hard_negatives: int = 0,
        own: slice = slice(None),
        switching: CodeSwitching | None = None,
    ):
        self.sampler, self.corpus, self.hard_negatives = sampler, sampler.corpus, hard_negatives
        self.own, self.tokenizers = own, tokenizers
        self.switching = None if switching is None else switching.prepare(self.corpus.languages)
        self.stores = [
            {
                role: [
                    tokenizers[role].store(texts[language], cache)
                    for language in self.corpus.languages
                ]
                for role, texts in (("query", part.queries), ("passage", part.passages))
            }
            for part in self.corpus.parts
        ]

    def __getitem__(self, step: int) -> Batch:
        plan = self.sampler[step]
        corpus = self.corpus.parts[plan.part]
        passages_G1K, labels = select_passages(corpus, plan, self.hard_negatives, self.sampler.seed)
        queries_G1 = np.asarray(corpus.pairs[plan.pairs, :1], np.int64)
        return Batch(
            step,
            self._tokens("query", plan, plan.query_languages, queries_G1),
            self._tokens("passage", plan, plan.passage_languages, passages_G1K),
            replace(labels, first=self.own.start or 0),
        )

    def _tokens(
        self, role: Role, plan: PlannedBatch, languages_G: np.ndarray, ids_GK: np.ndarray
    ) -> RaggedTokens:
        """Of the rank's own texts, some of them code-switched; which ones, and how, does not depend on the rank."""
        stores = self.stores[plan.part][role]
        found = [
            [stores[language][row] for row in rows]
            for language, rows in zip(languages_G[self.own], ids_GK[self.own], strict=True)
        ]
        if self.switching is not None and role in self.switching.sides:
            switched = switch_texts(self.switching, self.sampler, plan, role, ids_GK, self.own)
            for number, texts in switched.items():
                found[number - (self.own.start or 0)] = [
                    np.array(ids, np.int32) for ids in self.tokenizers[role].read(texts)[0]
                ]
        return concatenate_tokens([text for row in found for text in row])


def switch_texts(
    switching: CodeSwitching,
    sampler: PairBatchSampler,
    plan: PlannedBatch,
    role: Role,
    ids_GK: np.ndarray,
    own: slice = slice(None),
) -> dict[int, list[str]]:
    """The code-switched texts of a planned batch, by example."""
    texts, languages_G = get_side(sampler.corpus.parts[plan.part], plan, role)
    return switching.of_batch(
        texts, languages_G, ids_GK, [sampler.seed, SWITCHING, plan.step, role == "passage"], own
    )


def get_side(part: ParallelCorpus, plan: PlannedBatch, role: Role) -> tuple[Texts, list[str]]:
    """Queries or passages of a part by language, and the language of each example of a batch in them."""
    texts, numbers_G = (
        (part.queries, plan.query_languages)
        if role == "query"
        else (part.passages, plan.passage_languages)
    )
    return texts, [part.languages[number] for number in numbers_G]


def require_enough_negatives(corpus: ParallelCorpus, hard_negatives: int) -> None:
    """ValueError for more than any part of a corpus has."""
    available = max(part.negatives.shape[1] for part in corpus.parts)
    if not 0 <= hard_negatives <= available:
        raise ValueError(
            f"data.hard_negatives={hard_negatives}, but corpus '{corpus.source.name}' has up to {available} per "
            f"question: use 0 to {available}, or have `hybrid-ir mine` find some"
        )


def select_passages(
    corpus: ParallelCorpus, plan: PlannedBatch, hard_negatives: int, seed: int
) -> tuple[np.ndarray, Labels]:
    """Passage ids to encode (B, 1 + K), and the labels of the batch; an empty slot repeats the positive, labelled -1.

    The corpus is the part of a mixture that the plan is of.
    """
    query_ids, positives = np.asarray(corpus.pairs[plan.pairs], np.int64).T
    chosen_BK = choose_hard_negatives(corpus, plan, hard_negatives, seed)
    passages_BN = np.concatenate(
        [positives[:, None], np.where(chosen_BK < 0, positives[:, None], chosen_BK)], axis=1
    )
    content_BN = np.asarray(corpus.content[passages_BN], np.int64)
    content_BN[:, 1:][chosen_BK < 0] = -1
    texts = [
        corpus.passages[corpus.languages[language]][row]
        for language, rows in zip(plan.passage_languages, passages_BN, strict=True)
        for row in rows
    ]
    return passages_BN, Labels(
        query_G=torch.from_numpy(np.asarray(corpus.query_content[query_ids], np.int64)),
        content_N=torch.from_numpy(content_BN.reshape(-1)),
        text_N=torch.tensor([hash_text(text) for text in texts], dtype=torch.long),
    )


def choose_hard_negatives(
    corpus: ParallelCorpus, plan: PlannedBatch, count: int, seed: int
) -> np.ndarray:
    """Up to `count` distinct hard negatives per example (B, K), in the language of its positive; -1 where there are too few."""
    if not count:
        return np.empty((len(plan.pairs), 0), np.int64)
    candidates_BC = np.asarray(corpus.negatives[plan.pairs], np.int64)
    missing = np.full(
        (len(candidates_BC), max(0, count - candidates_BC.shape[1])), -1
    )  # another part of a mixture has more
    candidates_BC = np.concatenate([candidates_BC, missing], axis=1)
    usable_BC = (candidates_BC >= 0) & corpus.index.passage_languages.has(
        candidates_BC, plan.passage_languages[:, None]
    )
    order_BC = (
        np.random.default_rng([seed, NEGATIVES, plan.step]).random(candidates_BC.shape) + ~usable_BC
    )
    first_BK = np.argsort(order_BC, axis=1)[:, :count]
    return np.where(
        np.take_along_axis(usable_BC, first_BK, 1),
        np.take_along_axis(candidates_BC, first_BK, 1),
        -1,
    )


def describe_batch(corpus: ParallelCorpus, plan: PlannedBatch) -> dict:
    """What a planned batch shows, in words."""
    part, shown = corpus.parts[plan.part], []
    for pair, asked, told in zip(
        plan.pairs, plan.query_languages, plan.passage_languages, strict=True
    ):
        query, passage = part.pairs[pair]
        languages = corpus.languages[asked], corpus.languages[told]
        shown.append(
            {
                "pair": int(pair),
                "query_language": languages[0],
                "query": part.queries[languages[0]][query],
                "passage_language": languages[1],
                "passage": part.passages[languages[1]][passage],
            }
        )
    return {"batch": plan.step, "corpus": part.source.name, "picks": shown}
