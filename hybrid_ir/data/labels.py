"""Which passages of a global batch must not count as negatives of a query."""

# G queries of the global batch, N passages of it (one positive and K hard negatives per query),
# B queries of one process, E known positives among the passages of the batch

from dataclasses import dataclass, field

import torch

MASKS = ("translations", "exact", "none")


@dataclass  # not frozen: for double precision, Lightning sets the fields of a batch one by one
class Labels:
    """Ids of all queries and passages of a global batch, which do not depend on the language.

    Every process plans the whole batch, so they need not be gathered. The passages lie example by
    example: the positive of query g is column g * (1 + K), and its hard negatives follow.

    Args:
        query_G: content id of each query.
        content_N: content id of each passage, -1 for an empty slot of a hard negative.
        text_N: hash of the text of each passage, which is another one in every language.
        first: number of the first query of this process.
        known_2E: numbers of a query and of a passage that is a known positive of it, by any pair of
            the corpus. Those that the ids above show already may be missing.
        is_known_text_E: whether the passage has the very text of such a positive, in the language
            that the batch shows it in. A translation of the query's own positive does not count.
    """

    query_G: torch.Tensor
    content_N: torch.Tensor
    text_N: torch.Tensor
    first: int = 0
    known_2E: torch.Tensor = field(default_factory=lambda: torch.empty(2, 0, dtype=torch.long))
    is_known_text_E: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    @property
    def columns(self) -> int:
        """The number of passages per query, 1 + K."""
        return len(self.content_N) // len(self.query_G)

    def to(self, device, non_blocking: bool = False) -> "Labels":
        """Returns the labels on a device."""
        return Labels(
            self.query_G.to(device, non_blocking=non_blocking),
            self.content_N.to(device, non_blocking=non_blocking),
            self.text_N.to(device, non_blocking=non_blocking),
            first=self.first,
            known_2E=self.known_2E.to(device, non_blocking=non_blocking),
            is_known_text_E=self.is_known_text_E.to(device, non_blocking=non_blocking),
        )

    def positives(self, queries: int) -> torch.Tensor:
        """Returns the column of the positive of each query of this process (B).

        Args:
            queries: B.
        """
        numbers_B = torch.arange(self.first, self.first + queries, device=self.query_G.device)
        return numbers_B * self.columns

    def get_passage_ids(self, mask: str) -> torch.Tensor:
        """Returns the ids (N) that a mask compares: of contents, or of the very texts."""
        return self.content_N if mask == "translations" else self.text_N


@dataclass(frozen=True)
class NegativeCounts:
    """How many negatives the queries of a process have.

    Args:
        present_B: passages that each query is compared with, besides its positive.
        kept_B: of these, those that the mask leaves.
    """

    present_B: torch.Tensor
    kept_B: torch.Tensor

    @property
    def masked_share(self) -> torch.Tensor:
        """The share of all negatives that the mask leaves out, as a scalar."""
        present = self.present_B.sum()
        return (present - self.kept_B.sum()) / present.clamp(min=1)

    @property
    def share_without(self) -> torch.Tensor:
        """The share of queries that have no negative left: their loss is 0 and trains nothing."""
        return (self.kept_B == 0).float().mean()


def count_negatives(labels: Labels, queries: int, mask: str, negatives: str) -> NegativeCounts:
    """Counts the negatives of the queries of a process.

    Args:
        labels: of the global batch.
        queries: B, how many of its queries this process has.
        mask: see `mark_false_negatives`.
        negatives: which passages a query is compared with, see InfoNCE.
    """
    compared_BN = mark_compared(labels, queries, negatives)
    kept_BN = compared_BN & ~mark_false_negatives(labels, queries, mask)
    return NegativeCounts(compared_BN.sum(dim=1), kept_BN.sum(dim=1))


def mark_compared(labels: Labels, queries: int, negatives: str) -> torch.Tensor:
    """Marks the passages (B, N) that would be negatives of a query if none were masked.

    These are all but its positive and empty slots, or for `explicit` negatives only the hard
    negatives of any query.

    Args:
        labels: of the global batch.
        queries: B, how many of its queries this process has.
        negatives: which passages a query is compared with, see InfoNCE.
    """
    columns_N = torch.arange(len(labels.content_N), device=labels.content_N.device)
    filled_N = labels.content_N >= 0
    if negatives == "explicit":
        filled_N = filled_N & (columns_N % labels.columns > 0)
    is_other_BN = columns_N[None, :] != labels.positives(queries)[:, None]
    return filled_N[None, :] & is_other_BN


def mark_false_negatives(labels: Labels, queries: int, mask: str) -> torch.Tensor:
    """Marks the passages (B, N) that must not count as negatives of a query.

    Args:
        labels: of the global batch.
        queries: B, how many of its queries this process has.
        mask: `translations` marks passages with the content of a known positive of the query, in
            any language. `exact` marks those with the very text of a known positive in their
            language, and leaves translations of the query's own positive as negatives. Both mark
            the positives of other occurrences of the query. `none` marks nothing but empty slots.

    Returns:
        Booleans; the query's own positive is never marked.
    """
    positive_B = labels.positives(queries)
    empty_N = labels.content_N < 0
    marked_BN = empty_N[None, :].expand(queries, -1).clone()
    if mask != "none":
        ids_N = labels.get_passage_ids(mask)
        marked_BN |= ids_N[positive_B][:, None] == ids_N[None, :]
        query_B = labels.query_G[labels.first : labels.first + queries]
        is_same_query_BG = query_B[:, None] == labels.query_G[None, :]
        marked_BN[:, :: labels.columns] |= is_same_query_BG
        known_rows_E, known_columns_E = labels.known_2E
        _mark_cells(
            marked_BN,
            known_rows_E - labels.first,
            known_columns_E,
            _select_known(labels, mask),
        )
    marked_BN[torch.arange(queries, device=marked_BN.device), positive_B] = False
    return marked_BN


def mark_false_positives(labels: Labels, queries: int, mask: str) -> torch.Tensor:
    """Marks the queries (B, G) that must not count as negatives of the positive of a query.

    This is `mark_false_negatives` seen from the passages, for a symmetric loss.

    Args:
        labels: of the global batch.
        queries: B, how many of its queries this process has.
        mask: see `mark_false_negatives`.

    Returns:
        Booleans; the query itself is never marked.
    """
    rank_slice = slice(labels.first, labels.first + queries)
    device = labels.query_G.device
    marked_BG = torch.zeros(queries, len(labels.query_G), dtype=torch.bool, device=device)
    if mask != "none":
        positive_G = labels.get_passage_ids(mask)[:: labels.columns]
        marked_BG |= positive_G[rank_slice, None] == positive_G[None, :]
        marked_BG |= labels.query_G[rank_slice, None] == labels.query_G[None, :]
        known_queries_E, known_columns_E = labels.known_2E
        is_positive_E = known_columns_E % labels.columns == 0
        _mark_cells(
            marked_BG,
            known_columns_E // labels.columns - labels.first,
            known_queries_E,
            _select_known(labels, mask) & is_positive_E,
        )
    numbers_B = torch.arange(queries)
    marked_BG[numbers_B, numbers_B + labels.first] = False
    return marked_BG


def _select_known(labels: Labels, mask: str) -> torch.Tensor:
    """Returns which of the known positives a mask marks (E)."""
    if mask == "exact":
        return labels.is_known_text_E
    return torch.ones_like(labels.is_known_text_E)


def _mark_cells(
    marked: torch.Tensor,
    rows_E: torch.Tensor,
    columns_E: torch.Tensor,
    is_selected_E: torch.Tensor,
) -> None:
    """Sets the selected cells of a table to True; cells of other rows than it has are ignored."""
    if not len(rows_E):
        return
    is_inside_E = is_selected_E & (rows_E >= 0) & (rows_E < len(marked))
    # What is not marked goes to a row that is thrown away: a GPU need not count the rest.
    extended = torch.zeros(len(marked) + 1, marked.shape[1], dtype=torch.bool, device=marked.device)
    extended[torch.where(is_inside_E, rows_E, len(marked)), columns_E] = True
    marked |= extended[:-1]
