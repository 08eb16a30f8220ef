"""The InfoNCE loss over the global batch, and what a loss of your own has to have.

Shapes: B queries of this rank, M its passages, D width of the vectors, G queries and N passages of
the global batch, which is the batches of all ranks in the order of ranks.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from hybrid_ir.data.labels import MASKS, Labels, mark_false_negatives, mark_false_positives
from hybrid_ir.distributed import gather
from hybrid_ir.training.training_metrics import InBatchRanking, rank_positives

# exp(2 / temperature), the range of a softmax over cosines, has to fit into a float64.
LOWEST_TEMPERATURE = 0.005
NEGATIVES = ("in_batch", "explicit")


class RetrievalLoss(Protocol):
    """What Retriever needs of a loss: a torch.nn.Module with this `forward`.

    A loss may have four more attributes, which change no gradient. Where it has none of the first
    three, Retriever and the batch card use the defaults that `read_loss_options` fills in:

    - `temperature`: a number or scalar tensor. Validation reports the InfoNCE loss over the whole
      pool (`val/loss`), with cosines divided by it. Default 1.
    - `mask`: which false negatives the loss leaves out, one of `hybrid_ir.data.labels.MASKS`. It
      decides the logged `train/masked_share`. Default "none".
    - `negatives`: "in_batch" or "explicit", see InfoNCE. It decides how many negatives the batch
      card counts for a query. Default "in_batch".
    - `in_batch_ranking`: an InBatchRanking that `forward` leaves there, from scores that it has
      computed anyway. `train/monolingual/loss` and the other running means over queries are made
      from it, and Retriever sets it to None when it has read it. Without it they are not logged.

    Example, chosen with `loss._target_=my_losses.MarginLoss`:

        class MarginLoss(torch.nn.Module):
            def forward(self, queries_BD, passages_MD, labels):
                positives_BD = passages_MD[:: labels.columns]
                positive_scores_B = (queries_BD * positives_BD).sum(dim=1)
                scores_BN = queries_BD @ hybrid_ir.distributed.gather(passages_MD).T
                return (0.2 + scores_BN - positive_scores_B[:, None]).clamp(min=0).mean()
    """

    def forward(
        self, queries_BD: torch.Tensor, passages_MD: torch.Tensor, labels: Labels
    ) -> torch.Tensor:
        """Returns the mean loss of the rank's queries as a scalar.

        Args:
            queries_BD: unit vectors of the rank's queries.
            passages_MD: unit vectors of the rank's passages, `labels.columns` for each query: its
                positive first, then its hard negatives. `gather` gives those of all ranks (N, D).
            labels: which passages of the global batch are no negatives of a query.
        """


@dataclass(frozen=True)
class LossOptions:
    """The optional attributes of a loss, with defaults for those that it does not have."""

    temperature: float | torch.Tensor
    mask: str
    negatives: str


def read_loss_options(loss: RetrievalLoss) -> LossOptions:
    """Returns the optional attributes of a loss; RetrievalLoss says what they mean."""
    return LossOptions(
        temperature=getattr(loss, "temperature", 1.0),
        mask=getattr(loss, "mask", "none"),
        negatives=getattr(loss, "negatives", "in_batch"),
    )


def take_in_batch_ranking(loss: RetrievalLoss) -> InBatchRanking | None:
    """Returns how the last batch was ranked, and has the loss forget it.

    None for a loss that does not say it, so that a ranking of an earlier batch is never taken for
    one of this.
    """
    ranking = getattr(loss, "in_batch_ranking", None)
    if ranking is not None:
        loss.in_batch_ranking = None
    return ranking


def require_negatives_in_batches(loss: RetrievalLoss, batch_size: int, hard_negatives: int) -> None:
    """Raises ValueError if a loss that needs negatives would find none in any batch.

    Args:
        loss: one without an attribute `negatives` may need none.
        batch_size: examples of a global batch.
        hard_negatives: of each example.
    """
    needs_other_examples = getattr(loss, "negatives", None) == "in_batch"
    if needs_other_examples and batch_size == 1 and hard_negatives == 0:
        raise ValueError(
            "sampler.batch_size=1 leaves a query no negative, so its loss is 0 and nothing is "
            "trained: use a larger sampler.batch_size, or hard negatives (data.hard_negatives=1 or "
            "more, with a corpus that has them)"
        )


class InfoNCE(nn.Module):
    """Minus the log of the positive's share among the passages a query is compared with.

    See equation 1 of arXiv 2408.10536.

    Args:
        temperature: cosines are divided by it; at 1 a cosine barely trains.
        learn_temperature: let the optimiser move the logarithm of the temperature, but not below
            the logarithm of LOWEST_TEMPERATURE.
        negatives: `in_batch` compares a query with every other passage of the global batch;
            `explicit` is equation 1 to the letter, with the hard negatives of all examples and no
            other positive.
        symmetric: add the same loss from each positive to all queries, and take the mean of both.
        mask: which false negatives to leave out, see `labels.mark_false_negatives`.

    Attributes:
        in_batch_ranking: how the queries of the last batch ranked their positives, see
            RetrievalLoss.

    Raises:
        ValueError: a choice that does not exist, or a temperature that no softmax survives.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        negatives: str = "in_batch",
        symmetric: bool = False,
        mask: str = "translations",
    ):
        super().__init__()
        problems = []
        if not LOWEST_TEMPERATURE <= temperature < math.inf:
            problems.append(
                f"temperature={temperature} must be finite and at least {LOWEST_TEMPERATURE} "
                "(0.05 is usual for cosines)"
            )
        if negatives not in NEGATIVES:
            problems.append(f"negatives={negatives!r} must be 'in_batch' or 'explicit'")
        if mask not in MASKS:
            problems.append(f"mask={mask!r} must be one of {MASKS}")
        if problems:
            raise ValueError("loss: " + "; ".join(problems))
        log_temperature = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=learn_temperature)
        self.negatives = negatives
        self.symmetric = symmetric
        self.mask = mask
        self.in_batch_ranking: InBatchRanking | None = None

    def describe(self) -> dict[str, float | bool | str]:
        """Returns the arguments that build this loss, with the temperature it has now."""
        return {
            "temperature": float(self.temperature.detach()),
            "learn_temperature": self.log_temperature.requires_grad,
            "negatives": self.negatives,
            "symmetric": self.symmetric,
            "mask": self.mask,
        }

    @property
    def temperature(self) -> torch.Tensor:
        """The temperature as a scalar tensor; gradients reach its logarithm."""
        return self.log_temperature.clamp(min=math.log(LOWEST_TEMPERATURE)).exp()

    def forward(
        self, queries_BD: torch.Tensor, passages_MD: torch.Tensor, labels: Labels
    ) -> torch.Tensor:
        """Returns the mean loss of the rank's queries among the passages of all ranks.

        It is computed in float32, or in float64 for float64 vectors. RetrievalLoss describes the
        arguments.

        Raises:
            ValueError: explicit negatives without hard negatives in the batch.
        """
        with torch.autocast(queries_BD.device.type, enabled=False):
            dtype = torch.promote_types(queries_BD.dtype, torch.float32)
            queries_BD = queries_BD.to(dtype)
            passages_MD = passages_MD.to(dtype)
            temperature = self.temperature.to(dtype)
            loss = self._compare_queries(queries_BD, passages_MD, labels, temperature)
            if not self.symmetric:
                return loss
            reverse_loss = self._compare_positives(queries_BD, passages_MD, labels, temperature)
            return (loss + reverse_loss) / 2

    def _compare_queries(
        self,
        queries_BD: torch.Tensor,
        passages_MD: torch.Tensor,
        labels: Labels,
        temperature: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the loss of finding each query's positive among the passages of all ranks."""
        positive_B = labels.positives(len(queries_BD))
        left_out_BN = mark_false_negatives(labels, len(queries_BD), self.mask)
        if self.negatives == "explicit":
            left_out_BN = left_out_BN | self._mark_other_positives(labels, positive_B)
        scores_BN = queries_BD @ gather(passages_MD).T / temperature
        scores_BN = scores_BN.masked_fill(left_out_BN, -torch.inf)
        self.in_batch_ranking = rank_positives(scores_BN, positive_B, temperature)
        return F.cross_entropy(scores_BN, positive_B)

    def _compare_positives(
        self,
        queries_BD: torch.Tensor,
        passages_MD: torch.Tensor,
        labels: Labels,
        temperature: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the loss of finding each positive's query among the queries of all ranks."""
        positives_BD = passages_MD[:: labels.columns]
        query_B = labels.positives(len(queries_BD)) // labels.columns
        scores_BG = positives_BD @ gather(queries_BD).T / temperature
        left_out_BG = mark_false_positives(labels, len(queries_BD), self.mask)
        scores_BG = scores_BG.masked_fill(left_out_BG, -torch.inf)
        self._add_reverse_losses(scores_BG, query_B)
        return F.cross_entropy(scores_BG, query_B)

    @torch.no_grad()
    def _add_reverse_losses(self, scores_BG: torch.Tensor, query_B: torch.Tensor) -> None:
        """Makes the losses of the ranking the means of both directions."""
        ranking = self.in_batch_ranking
        own_score_B = scores_BG.gather(1, query_B[:, None])[:, 0]
        reverse_loss_B = scores_BG.logsumexp(dim=1) - own_score_B
        loss_B = (ranking.loss_B + reverse_loss_B) / 2
        self.in_batch_ranking = replace(ranking, loss_B=loss_B)

    def _mark_other_positives(self, labels: Labels, positive_B: torch.Tensor) -> torch.Tensor:
        """Returns True (B, N) for the positives of other queries."""
        if labels.columns == 1:
            raise ValueError(
                "loss.negatives=explicit needs hard negatives: set data.hard_negatives to 1 or "
                "more, with a corpus that has them, or use loss.negatives=in_batch"
            )
        columns_N = torch.arange(len(labels.content_N), device=positive_B.device)
        is_positive_N = columns_N % labels.columns == 0
        return is_positive_N[None, :] & (columns_N[None, :] != positive_B[:, None])
