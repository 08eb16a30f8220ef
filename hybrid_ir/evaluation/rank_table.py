"""RankTable: the counts from which every measure follows."""

from dataclasses import dataclass

import numpy as np

OWN, EVERY = (
    0,
    1,
)  # the two pools in which a relevant passage is ranked: its own language's, and all languages'


@dataclass(frozen=True)
class RankTable:
    """For each relevant passage of each query, the passages of its own language, and of all languages, that outrank it.

    The first gives the monolingual and the cross-lingual rankings, the second the multilingual one.
    Shapes: Q queries, R relevant passages (short rows are filled), L languages, P = 2 pools, OWN and EVERY.
    """

    above: (
        np.ndarray
    )  # Q, R, P int32: passages of the pool that score strictly above relevant passage r
    tied: np.ndarray  # Q, R, P int32: other passages of the pool with exactly the score of r
    relevant: np.ndarray  # Q, R rows of the corpus, filled with -1
    relevant_languages: np.ndarray  # Q, R, filled with -1
    scores: np.ndarray  # Q, R float64, filled with +inf
    query_languages: np.ndarray  # Q
    pool_sizes: np.ndarray  # L
    languages: tuple[str, ...]
    grades: np.ndarray | None = None  # Q, R float64, gains of nDCG; None: all the same
    losses: np.ndarray | None = (
        None  # Q, InfoNCE over the whole corpus; NaN for a query without relevant passages
    )
