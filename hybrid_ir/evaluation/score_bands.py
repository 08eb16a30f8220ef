"""Counts the scores above relevant passages where rounding cannot decide, and finds the others.

Shapes: Q queries of a block, R relevant passages of a query, T = 2R edges of bands, C cells,
N passages, P pairs of a query and a passage.
"""

import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.sorted_rows import find_true, is_above, search_rows, sum_from_each_on

CELLS_PER_EDGE = 8
FEWEST_CELLS = 256
MOST_CELLS = 1 << 14
# The map from scores to cells is at most so steep that the place of an edge, which float32 holds
# with 24 bits, is right to a fraction of a cell.
FINEST_CELL = 2.0**-18  # as a share of the largest edge
# up to this share of scores above the lowest edge, these are counted one by one
LARGEST_SHARE_OF_PAIRS = 1 / 8
LARGEST_SCALE = 1e30  # of cells in a unit of scores, where all edges are near 0


class ScoreBands:
    """The intervals around the scores of relevant passages in which rounding could decide a rank.

    A score above a band is above the relevant passage for certain, a score below it is not. What
    lies inside must be computed exactly.

    The edges of the bands are sorted once, and cut the scores of a query into buckets. A search
    among the edges for every score would cost more than the score itself. So the scores are first
    counted in cells of equal width. A cell without an edge lies in one bucket, and only scores in
    the other cells, few of them, are searched. The map from scores to cells rounds, but never
    turns two scores around, and edges go through the same map: nothing rests on its rounding.

    Args:
        scores_QR: exact scores of the relevant passages of some queries, in float64; +inf fills
            short rows.
        margin_Q1: half the width of the bands of a query, above 0.
        dtype: of the scores to count.
    """

    def __init__(self, scores_QR: torch.Tensor, margin_Q1: torch.Tensor, dtype: torch.dtype):
        lower_QR, self.upper_QR = _round_outwards(scores_QR, margin_Q1, dtype)
        edges_QT, order_QT = torch.cat([lower_QR, self.upper_QR], dim=1).sort(dim=1)
        is_lower_edge_QT = order_QT < scores_QR.shape[1]
        open_bands_QT = torch.where(is_lower_edge_QT, 1, -1).cumsum(1)
        self.edges_QT = edges_QT
        # bucket i holds the scores between edge i-1 and edge i; it is in doubt while a band is open
        self.is_in_doubt_QT = F.pad(open_bands_QT, (1, 0)) > 0
        self.first_bucket_above_QR = torch.searchsorted(edges_QT, self.upper_QR, right=True)
        self.counts_QT = torch.zeros_like(self.is_in_doubt_QT, dtype=torch.int64)
        self._build_cells()

    def _build_cells(self) -> None:
        """Cuts the range of the edges of each query into cells, and notes what is in each."""
        queries, edges = self.edges_QT.shape
        self.cells = min(max(CELLS_PER_EDGE * edges, FEWEST_CELLS), MOST_CELLS)
        is_real_QT = self.edges_QT < torch.inf
        lowest_Q1 = self.edges_QT[:, :1]
        highest_Q1 = self.edges_QT.masked_fill(~is_real_QT, -torch.inf).amax(1, keepdim=True)
        largest_Q1 = torch.maximum(lowest_Q1.abs(), highest_Q1.abs())
        scale_Q1 = (self.cells - 4) / (highest_Q1 - lowest_Q1)
        scale_Q1 = torch.minimum(scale_Q1, 1 / (FINEST_CELL * largest_Q1))
        has_edges_Q1 = is_real_QT[:, :1]
        self.scale_Q1 = torch.where(has_edges_Q1, scale_Q1.clamp(max=LARGEST_SCALE), 1.0)
        # the first and the last cells have no edges: they take what is below and above all of them
        self.shift_Q1 = torch.where(has_edges_Q1, 1.5 - lowest_Q1 * self.scale_Q1, 0.0)
        rows_Q1 = torch.arange(queries, dtype=torch.int32, device=self.edges_QT.device)[:, None]
        # one cell more than scores can reach is for the edges of filling
        self.first_cell_Q1 = rows_Q1 * (self.cells + 1)
        cell_QT = self._find_cells(self.edges_QT).masked_fill_(~is_real_QT, self.cells)
        edges_in_cell_QC = torch.zeros(
            queries, self.cells + 1, dtype=torch.int64, device=self.edges_QT.device
        )
        edges_in_cell_QC.scatter_add_(1, cell_QT.long(), torch.ones_like(cell_QT.long()))
        bucket_above_QC = edges_in_cell_QC.cumsum(1)
        self.edges_in_cell_QC = edges_in_cell_QC
        self.first_bucket_QC = bucket_above_QC - edges_in_cell_QC
        is_in_doubt_QC = self.is_in_doubt_QT.gather(1, self.first_bucket_QC)
        self.is_searched_QC = (edges_in_cell_QC > 0) | is_in_doubt_QC
        self.counts_QC = torch.zeros_like(edges_in_cell_QC)

    def _find_cells(self, scores_QN: torch.Tensor) -> torch.Tensor:
        """Returns the cell of each score (Q, N), int32."""
        scaled_QN = scores_QN.mul(self.scale_Q1).add_(self.shift_Q1)
        return scaled_QN.clamp_(0, self.cells - 1).int()

    def add(self, scores_QN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Counts some scores.

        Returns:
            The queries and the columns (P each) of the scores that lie inside some band.
        """
        # what is below all bands counts for none of them, and is most of a pool as a rule
        is_counted_QN = is_above(scores_QN, self.edges_QT[:, :1])
        if is_counted_QN.sum() < LARGEST_SHARE_OF_PAIRS * scores_QN.numel():
            query_P, column_P = find_true(is_counted_QN)
            cell_P = self._find_cells_of_pairs(query_P, scores_QN[query_P, column_P])
            self._count_cells(cell_P)
            is_searched_P = self.is_searched_QC.flatten()[cell_P]
            query_P = query_P[is_searched_P]
            column_P = column_P[is_searched_P]
            cell_P = cell_P[is_searched_P]
        else:
            cell_QN = self._find_cells(scores_QN).add_(self.first_cell_Q1)
            cells = cell_QN.flatten()
            self._count_cells(cells)
            is_searched = self.is_searched_QC.flatten().index_select(0, cells)
            query_P, column_P = find_true(is_searched.view_as(scores_QN))
            cell_P = cell_QN[query_P, column_P]
        low_P = self.first_bucket_QC.flatten()[cell_P]
        high_P = low_P + self.edges_in_cell_QC.flatten()[cell_P]
        score_P = scores_QN[query_P, column_P]
        bucket_P = search_rows(self.edges_QT, query_P, score_P, low_P, high_P)
        place_P = query_P * self.counts_QT.shape[1] + bucket_P
        counts = torch.bincount(place_P, minlength=self.counts_QT.numel())
        self.counts_QT += counts.view_as(self.counts_QT)
        is_in_doubt_P = self.is_in_doubt_QT.flatten()[place_P]
        return query_P[is_in_doubt_P], column_P[is_in_doubt_P]

    def _find_cells_of_pairs(self, query_P: torch.Tensor, score_P: torch.Tensor) -> torch.Tensor:
        """Returns the cell of each score (P), by the same arithmetic as `_find_cells`."""
        scaled_P = score_P.mul_(self.scale_Q1[query_P, 0]).add_(self.shift_Q1[query_P, 0])
        return scaled_P.clamp_(0, self.cells - 1).int().add_(self.first_cell_Q1[query_P, 0])

    def _count_cells(self, cells: torch.Tensor) -> None:
        counts = torch.bincount(cells, minlength=self.counts_QC.numel())
        self.counts_QC += counts.view_as(self.counts_QC)

    def count_above(self) -> torch.Tensor:
        """Counts the scores above each band that are inside no other one (Q, R)."""
        certain_QC = self.counts_QC.masked_fill(self.is_searched_QC, 0)
        counts_QT = self.counts_QT.scatter_add(1, self.first_bucket_QC, certain_QC)
        certain_QT = counts_QT.masked_fill(self.is_in_doubt_QT, 0)
        return sum_from_each_on(certain_QT).gather(1, self.first_bucket_above_QR)


def _round_outwards(
    scores_QR: torch.Tensor, margin_Q1: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the lower and the upper edges of bands in a type, none of them further inside."""
    lower_QR = (scores_QR - margin_Q1).to(dtype)
    upper_QR = (scores_QR + margin_Q1).to(dtype)
    lower_QR = torch.nextafter(lower_QR, torch.full_like(lower_QR, -torch.inf))
    # the edges of filling stay where nothing is above them
    lower_QR = torch.where(scores_QR == torch.inf, upper_QR, lower_QR)
    return lower_QR, torch.nextafter(upper_QR, torch.full_like(upper_QR, torch.inf))
