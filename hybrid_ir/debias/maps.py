"""The maps that take language out of vectors: each of them is one linear layer.

Shapes: N vectors, D their width, L languages, K directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hybrid_ir.evaluation.postprocess import ROLES, EstimationSplit, Moments
from hybrid_ir.types import Role

METHODS = ("subspace", "center", "lir", "shift")
# Directions whose singular value is below this share of the largest one are rounding.
SMALLEST_SHARE = 1e-6
# Ridge of the regression that guesses a language, as a share of the mean variance: small
# variances of a few thousand texts are noise.
RIDGE = 1.0


@dataclass(frozen=True)
class AffineMap:
    """The map v -> weight v + bias, in float64.

    Attributes:
        weight_DD: of a linear layer, applied from the left.
        bias_D: added to it; None for none.
    """

    weight_DD: torch.Tensor
    bias_D: torch.Tensor | None = None

    def __call__(self, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Returns the mapped vectors (N, D), float64."""
        mapped_ND = vectors_ND.double() @ self.weight_DD.T
        return mapped_ND if self.bias_D is None else mapped_ND + self.bias_D


def identity_map(width: int) -> AffineMap:
    """Returns the map that changes nothing."""
    return AffineMap(torch.eye(width, dtype=torch.float64))


def fit_subspace(split: EstimationSplit, components: int | None = None) -> AffineMap:
    """Fits the projection v -> v - U U' v, which needs no language of a text.

    The columns of U span the mean vectors of all languages, of queries and of passages. Behind the
    map each of these means is zero, and everything orthogonal to them is as it was. The map is its
    own square and symmetric, so the inner product of a corrected and an uncorrected vector is that
    of two corrected ones. Spanning the means rather than their differences takes the mean of all
    texts as well.

    Args:
        split: with the moments of at least two languages.
        components: the K strongest directions; None takes all, at most 2 L.

    Raises:
        ValueError: fewer than two languages, or components is out of range.
    """
    languages = {language for _, language in split.moments}
    if len(languages) < 2:
        raise ValueError(
            f"on={split.name} has texts in {', '.join(sorted(languages)) or 'no language'}: the "
            "bias between languages needs at least two"
        )
    means = [stack_means(split, role) for role in ROLES if list_languages(split, role)]
    directions_DK = find_directions(torch.cat(means))
    most = min(directions_DK.shape[1], len(directions_DK) - 1)
    if components is None:
        components = most
    if not 1 <= components <= most:
        raise ValueError(
            f"components={components} must be from 1 to {most}, the directions of the mean "
            "vectors of the languages"
        )
    return project_out(directions_DK[:, :components])


def project_out(directions_DK: torch.Tensor) -> AffineMap:
    """Returns the projection along orthonormal directions."""
    identity_DD = torch.eye(len(directions_DK), dtype=torch.float64)
    return AffineMap(identity_DD - directions_DK @ directions_DK.T)


def find_directions(vectors_LD: torch.Tensor) -> torch.Tensor:
    """Returns orthonormal directions (D, K) that span some vectors, the strongest ones first."""
    left_DK, values_K, _ = torch.linalg.svd(vectors_LD.double().T, full_matrices=False)
    is_real_K = values_K > SMALLEST_SHARE * values_K[0]
    return left_DK[:, is_real_K]


def list_languages(split: EstimationSplit, role: Role) -> list[str]:
    """Returns the languages of the texts of a role, sorted."""
    return sorted(language for name, language in split.moments if name == role)


def stack_means(split: EstimationSplit, role: Role) -> torch.Tensor:
    """Returns the mean vector of each language of a role (L, D)."""
    means = []
    for language in list_languages(split, role):
        moments = split.moments[role, language]
        means.append(moments.sum_D / moments.count)
    return torch.stack(means) if means else torch.zeros(0, 0, dtype=torch.float64)


def guess_offset(
    split: EstimationSplit, role: Role, offsets_LD: torch.Tensor, ridge: float = RIDGE
) -> AffineMap:
    """Returns v -> v - (the offset that a linear regression expects for v).

    The regression guesses from the vector of which language it is. For a vector that is surely of
    one language this is about the offset of that language.

    Args:
        split: with the moments of the role.
        role: of the vectors.
        offsets_LD: of the languages, in the order of `list_languages`.
        ridge: added to the variances, as a share of their mean.
    """
    all_moments = []
    for language in list_languages(split, role):
        all_moments.append(split.moments[role, language])
    means_LD = stack_means(split, role)
    mean_D = means_LD.mean(0)
    covariance_DD = _average_covariance(all_moments, mean_D)
    width = len(mean_D)
    ridge_DD = ridge * covariance_DD.trace() / width * torch.eye(width, dtype=torch.float64)
    # every language counts alike, whatever its number of texts
    to_languages_DL = (means_LD - mean_D).T / len(means_LD)
    guess_DL = torch.linalg.solve(covariance_DD + ridge_DD, to_languages_DL)
    # guess of language l: 1 / L + guess_l . (v - mean)
    weight_DD = torch.eye(width, dtype=torch.float64) - offsets_LD.T @ guess_DL.T
    bias_D = offsets_LD.T @ (guess_DL.T @ mean_D) - offsets_LD.mean(0)
    return AffineMap(weight_DD, bias_D)


def _average_covariance(all_moments: Sequence[Moments], mean_D: torch.Tensor) -> torch.Tensor:
    """Returns the mean over languages of the second moments around a mean (D, D)."""
    covariances = []
    for moments in all_moments:
        language_mean_D = moments.sum_D / moments.count
        cross_DD = torch.outer(language_mean_D, mean_D)
        outer_DD = moments.outer_DD / moments.count
        covariances.append(outer_DD - cross_DD - cross_DD.T + torch.outer(mean_D, mean_D))
    return torch.stack(covariances).mean(0)
