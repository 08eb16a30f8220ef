"""From planned batches to token tensors."""

# G examples of the global batch, B examples of one process, K hard negatives of an example,
# C candidates for them, M texts of an example: its query, or its 1 + K passages

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.content_ids import hash_text
from hybrid_ir.data.corpus import Texts
from hybrid_ir.data.known_positives import pair_equal_values
from hybrid_ir.data.labels import Labels
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.token_store import RaggedTokens, TokenStore, concatenate_tokens
from hybrid_ir.model.tokens import RoleTokenizer
from hybrid_ir.types import Corpus, CorpusPart, PlannedBatch, RandomStream, Role


@dataclass  # not frozen: for double precision, Lightning sets the fields of a batch one by one
class Batch:
    """The slice of a global batch that one process encodes, as tokens.

    Args:
        step: number of the global batch.
        queries: of the examples of this process.
        passages: of the same examples, each positive followed by its hard negatives.
        labels: of all examples of the global batch.
        monolingual_B: whether the query and the passage are in one language, of each of the
            examples of this process.
    """

    step: int
    queries: RaggedTokens
    passages: RaggedTokens
    labels: Labels
    monolingual_B: torch.Tensor

    def to(self, device, non_blocking: bool = False) -> "Batch":
        """Returns the batch on a device."""
        return Batch(
            self.step,
            self.queries.to(device, non_blocking),
            self.passages.to(device, non_blocking),
            self.labels.to(device, non_blocking),
            self.monolingual_B.to(device, non_blocking=non_blocking),
        )


class PlannedBatches(Dataset):
    """`self[k]` is the slice of global batch k that one process encodes, as tokens.

    It has no state, so a loader resumes by starting at batch k.

    Args:
        sampler: plans the batches.
        tokenizers: `query` and `passage`.
        cache: folder for tokenised texts.
        hard_negatives: how many hard negatives each example shows.
        rank_slice: which examples of a global batch are those of this process.
        switching: replaces words of the texts by translations; None leaves them as they are.
    """

    def __init__(
        self,
        sampler: PairBatchSampler,
        tokenizers: Mapping[str, RoleTokenizer],
        cache: Path,
        hard_negatives: int = 0,
        rank_slice: slice = slice(None),
        switching: CodeSwitching | None = None,
    ):
        self.sampler = sampler
        self.corpus = sampler.corpus
        self.tokenizers = tokenizers
        self.hard_negatives = hard_negatives
        self.rank_slice = rank_slice
        self.switching = None
        if switching is not None:
            self.switching = switching.prepare(self.corpus.languages)
        # One store for each part, role and language.
        self.stores: list[dict[Role, list[TokenStore]]] = []
        for part in self.corpus.parts:
            stores_of_part = {
                "query": self._tokenise("query", part.queries, cache),
                "passage": self._tokenise("passage", part.passages, cache),
            }
            self.stores.append(stores_of_part)
            # Read here, so that no worker process makes a list of its own for a corpus without.
            _ = part.index.positives.keys

    def _tokenise(self, role: Role, texts: Texts, cache: Path) -> list[TokenStore]:
        """Returns the tokens of all texts of one role by the number of their language."""
        tokenizer = self.tokenizers[role]
        return [tokenizer.store(texts[language], cache) for language in self.corpus.languages]

    def __getitem__(self, step: int) -> Batch:
        plan = self.sampler[step]
        part = self.corpus.parts[plan.part]
        queries_G1 = np.asarray(part.pairs[plan.pairs, :1], np.int64)
        passages_GM, labels = select_passages(part, plan, self.hard_negatives, self.sampler.seed)
        monolingual_G = np.asarray(plan.query_languages) == np.asarray(plan.passage_languages)
        return Batch(
            step,
            self._collect_tokens("query", plan, plan.query_languages, queries_G1),
            self._collect_tokens("passage", plan, plan.passage_languages, passages_GM),
            replace(labels, first=self.rank_slice.start or 0),
            torch.from_numpy(monolingual_G[self.rank_slice]),
        )

    def _collect_tokens(
        self, role: Role, plan: PlannedBatch, languages_G: np.ndarray, ids_GM: np.ndarray
    ) -> RaggedTokens:
        """Returns the tokens of the texts of this process, some of them code-switched.

        Which texts are switched, and how, is the same for any number of processes.
        """
        stores = self.stores[plan.part][role]
        tokens_of_example: dict[int, list[np.ndarray]] = {}
        for example in range(len(ids_GM))[self.rank_slice]:
            store = stores[languages_G[example]]
            tokens_of_example[example] = [store[row] for row in ids_GM[example]]
        if self.switching is not None and role in self.switching.sides:
            switched = switch_texts(
                self.switching, self.sampler, plan, role, ids_GM, self.rank_slice
            )
            for example, texts in switched.items():
                ids_of_texts, _ = self.tokenizers[role].read(texts)
                tokens_of_example[example] = [np.array(ids, np.int32) for ids in ids_of_texts]
        tokens = []
        for tokens_of_texts in tokens_of_example.values():
            tokens.extend(tokens_of_texts)
        return concatenate_tokens(tokens)


def switch_texts(
    switching: CodeSwitching,
    sampler: PairBatchSampler,
    plan: PlannedBatch,
    role: Role,
    ids_GM: np.ndarray,
    rank_slice: slice = slice(None),
) -> dict[int, list[str]]:
    """Returns the code-switched texts of a planned batch, by the number of their example.

    Args:
        switching: prepared for the languages of the corpus.
        sampler: that planned the batch.
        plan: the batch.
        role: whether to switch queries or passages.
        ids_GM: the ids of the texts of each example.
        rank_slice: which examples are wanted.
    """
    texts, languages_G = get_side(sampler.corpus.parts[plan.part], plan, role)
    side = 1 if role == "passage" else 0
    key = [sampler.seed, RandomStream.SWITCHING, plan.step, side]
    return switching.switch_batch(texts, languages_G, ids_GM, key, rank_slice)


def get_side(part: CorpusPart, plan: PlannedBatch, role: Role) -> tuple[Texts, list[str]]:
    """Returns the queries or passages of a part, and the language of each example of a batch (G).

    Args:
        part: the part of the corpus that the batch comes from.
        plan: the batch.
        role: queries or passages.
    """
    if role == "query":
        texts = part.queries
        numbers_G = plan.query_languages
    else:
        texts = part.passages
        numbers_G = plan.passage_languages
    return texts, [part.languages[number] for number in numbers_G]


def require_enough_negatives(corpus: Corpus, hard_negatives: int) -> None:
    """Raises a ValueError if no part of a corpus has as many hard negatives per pair."""
    available = max(part.negatives.shape[1] for part in corpus.parts)
    if not 0 <= hard_negatives <= available:
        raise ValueError(
            f"data.hard_negatives={hard_negatives}, but corpus '{corpus.source.name}' has up to "
            f"{available} per question: use 0 to {available}, or have `hybrid-ir mine` find some"
        )


def select_passages(
    part: CorpusPart, plan: PlannedBatch, hard_negatives: int, seed: int
) -> tuple[np.ndarray, Labels]:
    """Selects the passages of a batch, and labels them.

    Where an example has too few hard negatives, its positive stands in for each missing one, and
    the label of such an empty slot is -1.

    Args:
        part: the part of the corpus that the batch comes from.
        plan: the batch.
        hard_negatives: K.
        seed: of the sampler.

    Returns:
        The ids of the passages (G, M), positives first, and the labels of the global batch.
    """
    query_ids, positives = np.asarray(part.pairs[plan.pairs], np.int64).T
    negatives_GK = choose_hard_negatives(part, plan, hard_negatives, seed)
    empty_GK = negatives_GK < 0
    positives_G1 = positives[:, None]
    passages_GM = np.concatenate(
        [positives_G1, np.where(empty_GK, positives_G1, negatives_GK)], axis=1
    )
    content_GM = np.asarray(part.index.content_N[passages_GM], np.int64)
    content_GM[:, 1:][empty_GK] = -1
    query_content_G = np.asarray(part.index.query_content_N[query_ids], np.int64)
    labels = Labels(
        query_G=torch.from_numpy(query_content_G),
        content_N=torch.from_numpy(content_GM.reshape(-1)),
        text_N=torch.tensor(_hash_passages(part, plan, passages_GM), dtype=torch.long),
    )
    return passages_GM, _add_known_positives(labels, part, plan, passages_GM)


def _add_known_positives(
    labels: Labels, part: CorpusPart, plan: PlannedBatch, passages_GM: np.ndarray
) -> Labels:
    """Returns labels that tell which passages answer a query by any pair of the corpus."""
    query_contents_Q, query_of_row_G = np.unique(labels.query_G.numpy(), return_inverse=True)
    queries_E, positive_ids_E = part.index.positives.find_passages(query_contents_Q)
    if not len(positive_ids_E):
        return labels
    # Every passage of the batch that has the content of such a positive, for each query with it.
    content_N = labels.content_N.numpy()
    positive_contents_E = np.asarray(part.index.content_N[positive_ids_E], np.int64)
    entries, columns = pair_equal_values(positive_contents_E, content_N)
    matches_T, rows_T = pair_equal_values(queries_E[entries], query_of_row_G)
    ids_T = positive_ids_E[entries[matches_T]]
    columns_T = columns[matches_T]
    is_own_T = columns_T == rows_T * labels.columns
    cells_T = (rows_T * len(content_N) + columns_T)[~is_own_T]
    is_text_T = _compare_texts(labels, part, plan, passages_GM, cells_T, ids_T[~is_own_T])
    # Several positives of a query may have the content of one passage.
    cells_E, cell_T = np.unique(cells_T, return_inverse=True)
    is_text_E = np.zeros(len(cells_E), bool)
    is_text_E[cell_T[is_text_T]] = True
    known_2E = np.stack([cells_E // len(content_N), cells_E % len(content_N)])
    return replace(
        labels, known_2E=torch.from_numpy(known_2E), is_known_text_E=torch.from_numpy(is_text_E)
    )


def _compare_texts(
    labels: Labels,
    part: CorpusPart,
    plan: PlannedBatch,
    passages_GM: np.ndarray,
    cells_T: np.ndarray,
    ids_T: np.ndarray,
) -> np.ndarray:
    """Returns whether passages of a batch have the text of a positive in their language (T).

    The positive of an example in another language than the example shows it in does not count. A
    passage that is a known positive itself needs no comparison.

    Args:
        labels: of the batch.
        part: the part of the corpus that the batch comes from.
        plan: the batch.
        passages_GM: ids of the passages of the batch.
        cells_T: number of an example * N + number of a passage.
        ids_T: id of a positive of the example's query that has the content of the passage.
    """
    content_N = labels.content_N.numpy()
    text_N = labels.text_N.numpy()
    rows_T = cells_T // len(content_N)
    columns_T = cells_T % len(content_N)
    languages_T = plan.passage_languages[columns_T // labels.columns]
    is_other_language_T = languages_T != plan.passage_languages[rows_T]
    is_same_content_T = content_N[columns_T] == content_N[rows_T * labels.columns]
    is_translation_T = is_same_content_T & is_other_language_T

    is_text_T = ids_T == passages_GM.reshape(-1)[columns_T]
    is_open_T = ~is_translation_T & ~np.isin(cells_T, cells_T[is_text_T])
    for place in np.flatnonzero(is_open_T):
        text = part.passages[part.languages[languages_T[place]]][ids_T[place]]
        is_text_T[place] = text is not None and hash_text(text) == text_N[columns_T[place]]
    return is_text_T & ~is_translation_T


def _hash_passages(part: CorpusPart, plan: PlannedBatch, passages_GM: np.ndarray) -> list[int]:
    """Returns the hash of every passage of a batch, example by example."""
    texts, languages_G = get_side(part, plan, "passage")
    hashes = []
    for language, rows in zip(languages_G, passages_GM, strict=True):
        for row in rows:
            hashes.append(hash_text(texts[language][row]))
    return hashes


def choose_hard_negatives(
    part: CorpusPart, plan: PlannedBatch, count: int, seed: int
) -> np.ndarray:
    """Draws distinct hard negatives for each example, in the language of its positive.

    A candidate that says the same as a known positive of the query is not drawn.

    Args:
        part: the part of the corpus that the batch comes from.
        plan: the batch.
        count: K.
        seed: of the sampler.

    Returns:
        Ids of passages (G, K), -1 where an example has too few.
    """
    if not count:
        return np.empty((len(plan.pairs), 0), np.int64)
    candidates_GC = np.asarray(part.negatives[plan.pairs], np.int64)
    # Another part of a mixture may have more candidates: C is at least K.
    missing = max(0, count - candidates_GC.shape[1])
    candidates_GC = np.concatenate(
        [candidates_GC, np.full((len(candidates_GC), missing), -1)], axis=1
    )
    languages_G1 = plan.passage_languages[:, None]
    has_text_GC = part.index.passage_languages.has(candidates_GC, languages_G1)
    pairs_G2 = np.asarray(part.pairs[plan.pairs], np.int64)
    is_positive_GC = part.index.positives.mark_positives(pairs_G2, candidates_GC)
    usable_GC = (candidates_GC >= 0) & has_text_GC & ~is_positive_GC
    rng = np.random.default_rng([seed, RandomStream.NEGATIVES, plan.step])
    random_GC = rng.random(candidates_GC.shape)
    # Usable candidates come first, in random order.
    chosen_GK = np.argsort(np.where(usable_GC, random_GC, random_GC + 1), axis=1)[:, :count]
    is_usable_GK = np.take_along_axis(usable_GC, chosen_GK, 1)
    return np.where(is_usable_GK, np.take_along_axis(candidates_GC, chosen_GK, 1), -1)


def describe_batch(corpus: Corpus, plan: PlannedBatch) -> dict:
    """Returns the texts and languages of a planned batch, for a file that people read."""
    part = corpus.parts[plan.part]
    shown = []
    for pair, query_language, passage_language in zip(
        plan.pairs, plan.query_languages, plan.passage_languages, strict=True
    ):
        query_id, passage_id = part.pairs[pair]
        query_code = corpus.languages[query_language]
        passage_code = corpus.languages[passage_language]
        shown.append(
            {
                "pair": int(pair),
                "query_language": query_code,
                "query": part.queries[query_code][query_id],
                "passage_language": passage_code,
                "passage": part.passages[passage_code][passage_id],
            }
        )
    return {"batch": plan.step, "corpus": part.source.name, "picks": shown}
