"""Bands around the scores of the relevant passages: a matrix product decides what is outside, inside is in doubt.

Shapes: B queries of a block, R relevant passages, N passages, T = 2 R band edges, P doubtful pairs.
"""

import torch


class ScoreBands:
    """The intervals (score - margin, score + margin] around each query's relevant scores, +inf fills short rows."""

    def __init__(self, scores_BR: torch.Tensor, margin_B1: torch.Tensor):
        upper_BR = scores_BR + margin_B1
        edges_BT, order_BT = torch.cat([scores_BR - margin_B1, upper_BR], dim=1).sort(dim=1)
        opened_BT = torch.where(order_BT < scores_BR.shape[1], 1, -1).cumsum(1)
        self.edges_BT = edges_BT
        # bucket i holds the scores between edge i-1 and edge i; it is in doubt while some band is open
        self.doubt_BT = torch.nn.functional.pad(opened_BT, (1, 0)) > 0
        self.first_above_BR = torch.searchsorted(edges_BT, upper_BR, right=True)

    def count(self, scores_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How many scores are above each band, in none (B, R), and the pairs inside a band (P, 2: query, passage)."""
        bucket_BN = torch.searchsorted(self.edges_BT, scores_BN, out_int32=True)
        buckets = self.doubt_BT.shape[1]
        start_B1 = (
            torch.arange(len(scores_BN), dtype=torch.int32, device=scores_BN.device)[:, None]
            * buckets
        )
        counts = torch.bincount((bucket_BN + start_B1).flatten(), minlength=len(start_B1) * buckets)
        counts_BT = counts.view(-1, buckets)
        settled_BT = counts_BT.masked_fill(self.doubt_BT, 0)
        from_here_BT = settled_BT.flip(1).cumsum(1).flip(1)
        unsettled_B = (counts_BT != settled_BT).any(1).nonzero()[:, 0]
        inside = self.doubt_BT[unsettled_B].gather(1, bucket_BN[unsettled_B].long()).nonzero()
        inside[:, 0] = unsettled_B[inside[:, 0]]
        return from_here_BT.gather(1, self.first_above_BR), inside
