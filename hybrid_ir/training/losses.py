"""InfoNCE over the global batch."""

# B queries of this rank, M its passages, D width; G queries and N passages of the global batch, those of all ranks

import math

import torch
import torch.nn.functional as F
from torch import nn

from hybrid_ir.data.labels import MASKS, Labels, mark_false_negatives, mark_false_positives
from hybrid_ir.distributed import gather

LOWEST_TEMPERATURE = 0.005  # temperature: exp(2 / temperature), the range of a softmax over cosines, has to fit into a float64


class InfoNCE(nn.Module):
    """-log of the positive's share among the passages a query is compared with (arXiv 2408.10536, eq. 1).

    Args:
        temperature: cosines are divided by it; at 1 a cosine barely trains.
        learn_temperature: let the optimiser move its logarithm, but not below LOWEST.
        negatives: `in_batch` compares with every other passage of the global batch; `explicit` is eq. 1 to the letter,
            with the hard negatives of all examples and no other positive.
        symmetric: add the same loss from each positive to all queries, and take the mean of the two.
        mask: which false negatives to leave out, see `labels.false_negatives`.
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
        wrong = []
        if not LOWEST_TEMPERATURE <= temperature < math.inf:
            wrong.append(
                f"temperature={temperature} must be finite and at least {LOWEST_TEMPERATURE} (0.05 is usual for cosines)"
            )
        if negatives not in ("in_batch", "explicit"):
            wrong.append(f"negatives={negatives!r} must be 'in_batch' or 'explicit'")
        if mask not in MASKS:
            wrong.append(f"mask={mask!r} must be one of {MASKS}")
        if wrong:
            raise ValueError("loss: " + "; ".join(wrong))
        log_temperature = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=learn_temperature)
        self.negatives, self.symmetric, self.mask = negatives, symmetric, mask

    @property
    def temperature(self) -> torch.Tensor:
        return self.log_temperature.clamp(min=math.log(LOWEST_TEMPERATURE)).exp()

    def forward(
        self, queries_BD: torch.Tensor, passages_MD: torch.Tensor, labels: Labels
    ) -> torch.Tensor:
        """Mean loss of the rank's queries among the passages of all ranks, in float32 (float64 for float64 vectors)."""
        with torch.autocast(queries_BD.device.type, enabled=False):
            exact = torch.promote_types(queries_BD.dtype, torch.float32)
            queries_BD, passages_MD, temperature = (
                queries_BD.to(exact),
                passages_MD.to(exact),
                self.temperature.to(exact),
            )
            positive_B = labels.positives(len(queries_BD))
            left_out_BN = mark_false_negatives(
                labels, len(queries_BD), self.mask
            ) | self._uncompared(labels, positive_B)
            scores_BN = queries_BD @ gather(passages_MD).T / temperature
            loss = F.cross_entropy(scores_BN.masked_fill(left_out_BN, -torch.inf), positive_B)
            if self.symmetric:
                scores_BG = passages_MD[:: labels.columns] @ gather(queries_BD).T / temperature
                left_out_BG = mark_false_positives(labels, len(queries_BD), self.mask)
                loss = (
                    loss
                    + F.cross_entropy(
                        scores_BG.masked_fill(left_out_BG, -torch.inf), positive_B // labels.columns
                    )
                ) / 2
        return loss

    def _uncompared(self, labels: Labels, positive_B: torch.Tensor) -> torch.Tensor:
        """True (B, N) for the positives of others where only explicit negatives count."""
        if self.negatives == "in_batch":
            return torch.zeros((), dtype=torch.bool, device=positive_B.device)
        if labels.columns == 1:
            raise ValueError(
                "loss.negatives=explicit needs hard negatives: set data.hard_negatives to 1 or more, "
                "with a corpus that has them, or use loss.negatives=in_batch"
            )
        columns_N = torch.arange(len(labels.content_N), device=positive_B.device)
        return (columns_N % labels.columns == 0)[None, :] & (
            columns_N[None, :] != positive_B[:, None]
        )
