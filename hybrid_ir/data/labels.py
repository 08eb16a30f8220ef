"""Which passages of a global batch are no negatives of a query."""

# G queries of the global batch, N passages of it (one positive and K hard negatives per query), B queries of a rank

from dataclasses import dataclass

import torch

MASKS = ("translations", "exact", "none")


@dataclass  # not frozen: Lightning takes what is in a batch apart for double precision
class Labels:
    """Language-free ids of all examples of a global batch; every rank plans them, so nobody gathers them.

    Passages lie example by example: the positive of query g is column g * (1 + K), its hard negatives follow.
    """

    query_G: torch.Tensor  # content id of each query
    content_N: (
        torch.Tensor
    )  # content id of each passage, -1 where a slot for a hard negative is empty
    text_N: torch.Tensor  # hash of the very text
    first: int = 0  # the rank's first query

    @property
    def columns(self) -> int:
        """1 + K, passages per query."""
        return len(self.content_N) // len(self.query_G)

    def to(self, device, non_blocking: bool = False) -> "Labels":
        moved = (
            t.to(device, non_blocking=non_blocking)
            for t in (self.query_G, self.content_N, self.text_N)
        )
        return Labels(*moved, first=self.first)

    def positives(self, queries: int) -> torch.Tensor:
        """Column of the positive of each of the rank's queries (B)."""
        return (
            torch.arange(self.first, self.first + queries, device=self.query_G.device)
            * self.columns
        )


def compute_masked_share(labels: Labels, queries: int, mask: str, negatives: str) -> torch.Tensor:
    """Share of the passages that `negatives` (see InfoNCE) would compare a query with that the mask leaves out."""
    there_BN, marked_BN = (
        mark_compared(labels, queries, negatives),
        mark_false_negatives(labels, queries, mask),
    )
    return (there_BN & marked_BN).sum() / there_BN.sum().clamp(min=1)


def mark_compared(labels: Labels, queries: int, negatives: str) -> torch.Tensor:
    """True (B, N) for the passages that a query would be compared with if none were masked: no empty slots, not its positive."""
    columns_N = torch.arange(len(labels.content_N), device=labels.content_N.device)
    there_N = labels.content_N >= 0
    if negatives == "explicit":
        there_N = there_N & (columns_N % labels.columns > 0)
    return there_N[None, :] & (columns_N[None, :] != labels.positives(queries)[:, None])


def mark_false_negatives(labels: Labels, queries: int, mask: str) -> torch.Tensor:
    """True (B, N) where a passage must not count as a negative; the query's own positive is never marked.

    `translations` marks passages with the content of the query's positive, in whatever language, `exact` only those with
    its very text, both also the positives of other occurrences of the query. `none` marks nothing but empty slots.
    """
    positive_B = labels.positives(queries)
    marked_BN = (labels.content_N < 0)[None, :].expand(queries, -1).clone()
    if mask != "none":
        ids_N = labels.content_N if mask == "translations" else labels.text_N
        marked_BN |= ids_N[positive_B][:, None] == ids_N[None, :]
        mine_B = labels.query_G[labels.first : labels.first + queries]
        marked_BN[:, :: labels.columns] |= mine_B[:, None] == labels.query_G[None, :]
    marked_BN[torch.arange(queries, device=marked_BN.device), positive_B] = False
    return marked_BN


def mark_false_positives(labels: Labels, queries: int, mask: str) -> torch.Tensor:
    """True (B, G) where query g must not count against the positive of the rank's query b: `false_negatives`, seen from there."""
    own = slice(labels.first, labels.first + queries)
    marked_BG = torch.zeros(
        queries, len(labels.query_G), dtype=torch.bool, device=labels.query_G.device
    )
    if mask != "none":
        ids_G = (labels.content_N if mask == "translations" else labels.text_N)[:: labels.columns]
        marked_BG |= (ids_G[own, None] == ids_G[None, :]) | (
            labels.query_G[own, None] == labels.query_G[None, :]
        )
    marked_BG[torch.arange(queries), torch.arange(labels.first, labels.first + queries)] = False
    return marked_BG
