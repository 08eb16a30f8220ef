"""RankTable: the counts from which every measure follows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankTable:
    """For each relevant passage of each query, the passages of every language that outrank it.

    Shapes: Q queries, R relevant passages (short rows are filled), L languages.
    """

    above: np.ndarray  # Q, R, L int32: passages of language l that score strictly above relevant passage r
    tied: np.ndarray  # Q, R, L int32: other passages of language l with exactly the score of r
    relevant: np.ndarray  # Q, R rows of the corpus, filled with -1
    relevant_languages: np.ndarray  # Q, R, filled with -1
    scores: np.ndarray  # Q, R float64, filled with +inf
    query_languages: np.ndarray  # Q
    pool_sizes: np.ndarray  # L
    languages: tuple[str, ...]
    losses: np.ndarray | None = None  # Q, InfoNCE over the whole corpus; NaN for a query without relevant passages
