"""How the queries of training batches rank their positives, as running means by kind of example.

Shapes: B queries of this rank, N passages of the global batch, K names of values, W steps of the
window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchmetrics import Metric, MetricCollection

WINDOW = 50  # optimiser steps that a running mean is taken over
LOSSES_OF_KINDS = ("train/monolingual/loss", "train/cross_lingual/loss")
# Means over queries. Those of kinds come in pairs: of monolingual and of cross-lingual examples.
QUERY_MEANS = (
    *LOSSES_OF_KINDS,
    "train/monolingual/accuracy",
    "train/cross_lingual/accuracy",
    "train/monolingual/mrr",
    "train/cross_lingual/mrr",
    "train/positive_similarity",
    "train/hardest_negative_similarity",
)
# Means over optimiser steps.
STEP_MEANS = ("train/running/masked_share", "train/running/gradient_norm")
RUNNING_MEANS = frozenset((*QUERY_MEANS, *STEP_MEANS))


@dataclass(frozen=True)
class InBatchRanking:
    """How the queries of a batch rank their positives among the passages they are compared with.

    All tensors have an entry for each query of this rank (B), and carry no gradient.

    Args:
        loss_B: the loss of each query; their mean is the loss of the rank.
        candidates_B: passages that each query is compared with, besides its positive.
        rank_B: 1 + the number of these that score as high as the positive, or higher.
        positive_similarity_B: similarity of the query and its positive.
        hardest_negative_similarity_B: of the query and its most similar candidate besides the
            positive; -inf where there is none.
    """

    loss_B: torch.Tensor
    candidates_B: torch.Tensor
    rank_B: torch.Tensor
    positive_similarity_B: torch.Tensor
    hardest_negative_similarity_B: torch.Tensor


@torch.no_grad()
def rank_positives(
    scores_BN: torch.Tensor, positive_B: torch.Tensor, temperature: torch.Tensor
) -> InBatchRanking:
    """Ranks the positive of each query by the scores that a softmax loss has computed.

    Args:
        scores_BN: similarities divided by the temperature, -inf for passages that are left out.
        positive_B: column of each query's positive.
        temperature: of the loss.
    """
    column_B1 = positive_B[:, None]
    positive_score_B1 = scores_BN.gather(1, column_B1)
    negatives_BN = scores_BN.scatter(1, column_B1, -torch.inf)
    return InBatchRanking(
        loss_B=scores_BN.logsumexp(dim=1) - positive_score_B1[:, 0],
        candidates_B=(negatives_BN > -torch.inf).sum(dim=1),
        rank_B=1 + (negatives_BN >= positive_score_B1).sum(dim=1),
        positive_similarity_B=positive_score_B1[:, 0] * temperature,
        hardest_negative_similarity_B=negatives_BN.amax(dim=1) * temperature,
    )


@torch.no_grad()
def sum_by_kind(ranking: InBatchRanking, monolingual_B: torch.Tensor) -> torch.Tensor:
    """Sums the values of queries by kind of example.

    A query without a candidate besides its positive counts for the loss and the similarity of its
    positive, as it does in the loss itself; it ranks nothing and has no hardest negative.

    Args:
        ranking: of a batch.
        monolingual_B: whether the query and the passage of an example are in one language.

    Returns:
        (2, K) for the K names of QUERY_MEANS: sums, and how many queries were summed. Both add up
        over ranks and batches, and a mean is one by the other.
    """
    kinds_2B = torch.stack([monolingual_B, ~monolingual_B])
    has_negatives_B = ranking.candidates_B > 0
    ranked_2B = kinds_2B & has_negatives_B
    reciprocal_rank_B = 1 / ranking.rank_B
    hardest_B = ranking.hardest_negative_similarity_B.masked_fill(~has_negatives_B, 0)
    sums = [
        (ranking.loss_B * kinds_2B).sum(dim=1),
        ((ranking.rank_B == 1) & ranked_2B).sum(dim=1),
        (reciprocal_rank_B * ranked_2B).sum(dim=1),
        ranking.positive_similarity_B.sum(dim=0, keepdim=True),
        hardest_B.sum(dim=0, keepdim=True),
    ]
    queries_2 = kinds_2B.sum(dim=1)
    ranked_2 = ranked_2B.sum(dim=1)
    weights = [
        queries_2,
        ranked_2,
        ranked_2,
        queries_2.sum(dim=0, keepdim=True),
        ranked_2.sum(dim=0, keepdim=True),
    ]
    return torch.stack([torch.cat(sums).float(), torch.cat(weights).float()])


class RunningMeans(Metric):
    """Weighted means of named values over the last steps of a training.

    torchmetrics.RunningMean holds one value in two tensors for each step of its window, and loses
    its place in the window with a checkpoint. This holds all values in one tensor, the oldest step
    first, so that a resumed run goes on with the means that it had.

    Args:
        names: of the K values.
        window: how many steps W the means are taken over.
    """

    full_state_update = False

    def __init__(self, names: Sequence[str], window: int = WINDOW):
        # What comes in is reduced over ranks already.
        super().__init__(sync_on_compute=False)
        self.names = tuple(names)
        self.add_state("totals_W2K", torch.zeros(window, 2, len(names)), dist_reduce_fx=None)

    def update(self, totals_2K: torch.Tensor) -> None:
        """Adds a step, and forgets the oldest one.

        Args:
            totals_2K: sums, and the weights by which their means are divided.
        """
        newest_12K = totals_2K.to(self.totals_W2K)[None]
        self.totals_W2K = torch.cat([self.totals_W2K[1:], newest_12K])

    def compute(self) -> dict[str, torch.Tensor]:
        """Returns each mean as a scalar, NaN for what has not come in the window."""
        sums_K, weights_K = self.totals_W2K.sum(dim=0)
        return dict(zip(self.names, (sums_K / weights_K).unbind(), strict=True))


class TrainingMetrics(MetricCollection):
    """The running means of a training: over queries by kind of example, and over steps."""

    def __init__(self):
        super().__init__(
            {"queries": RunningMeans(QUERY_MEANS), "steps": RunningMeans(STEP_MEANS)},
            compute_groups=False,
        )

    def add_step(
        self,
        query_totals_2K: torch.Tensor | None,
        masked_share: torch.Tensor,
        gradient_norm: torch.Tensor | None,
    ) -> None:
        """Adds an optimiser step, whose values are equal on all ranks.

        Args:
            query_totals_2K: `sum_by_kind` over all batches and ranks of the step; None for a loss
                that ranks nothing.
            masked_share: mean over the batches of the step.
            gradient_norm: before clipping; None where it is unknown.
        """
        if query_totals_2K is not None:
            self["queries"].update(query_totals_2K)
        known = torch.ones_like(masked_share)
        unknown = torch.zeros_like(masked_share)
        if gradient_norm is None:
            sums_2 = torch.stack([masked_share, unknown])
            weights_2 = torch.stack([known, unknown])
        else:
            sums_2 = torch.stack([masked_share, gradient_norm.to(masked_share)])
            weights_2 = torch.stack([known, known])
        self["steps"].update(torch.stack([sums_2, weights_2]))

    def compute_means(self, has_query_means: bool = True) -> dict[str, torch.Tensor]:
        """Returns the running means, NaN for what has not come in the window.

        Args:
            has_query_means: False leaves out the means over queries, as for a loss that ranks
                nothing.
        """
        means = {}
        if has_query_means:
            means.update(self["queries"].compute())
        means.update(self["steps"].compute())
        return means

    def get_windows(self) -> dict[str, torch.Tensor]:
        """Returns the steps of the windows, as plain tensors for a checkpoint."""
        return {name: metric.totals_W2K.cpu() for name, metric in self.items()}

    def set_windows(self, windows: dict[str, torch.Tensor]) -> None:
        """Goes on with the steps of a checkpoint; other windows than the present ones are ignored.

        Args:
            windows: as `get_windows` has returned them.
        """
        for name, metric in self.items():
            window = windows.get(name)
            if window is not None and window.shape == metric.totals_W2K.shape:
                metric.totals_W2K = window.to(metric.totals_W2K)
