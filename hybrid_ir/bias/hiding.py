"""Which languages stand at the top where an answer in another language than the question is hidden.

Shapes: Q queries, K places at the top of a ranking, L languages, P pairs of a query and an answer.
"""

from dataclasses import dataclass

import numpy as np

from hybrid_ir.bias.answer_places import HIDDEN, AnswerPlaces
from hybrid_ir.evaluation.top_k import TopK


@dataclass(frozen=True)
class HidingLanguages:
    """Whose passages stand at the top of rankings in which an answer is hidden.

    Attributes:
        shares_LL: by query language, the share of each language among the first places, without
            answers, as the mean over the hidden answers; NaN in the row of a language whose
            questions have none.
        answers_L: the number of hidden answers of each query language.
    """

    shares_LL: np.ndarray
    answers_L: np.ndarray

    def compute_own_share(self) -> float:
        """Returns the share of the question's language over all hidden answers, NaN without any."""
        if not self.answers_L.any():
            return float("nan")
        own_L = np.nan_to_num(np.diag(self.shares_LL))
        return float(np.average(own_L, weights=self.answers_L))


def find_hiding_languages(places: AnswerPlaces, top: TopK, languages: int) -> HidingLanguages:
    """Finds whose passages stand at the top instead of hidden answers in other languages.

    Args:
        places: of the answers.
        top: the first passages of each query in the mixed collection.
        languages: number of languages.
    """
    answers_of_query: dict[int, set[int]] = {}
    for query, row in zip(places.query_P.tolist(), places.row_P.tolist(), strict=True):
        answers_of_query.setdefault(query, set()).add(row)
    is_hidden_P = (places.fate_P == HIDDEN) & places.is_across_P
    sums_LL = np.zeros((languages, languages))
    answers_L = np.zeros(languages, np.int64)
    shares_of_query: dict[int, np.ndarray | None] = {}
    for pair in np.flatnonzero(is_hidden_P):
        query = int(places.query_P[pair])
        if query not in shares_of_query:
            shares_of_query[query] = _share_top(
                top, query, answers_of_query[query], places.depth, languages
            )
        shares_L = shares_of_query[query]
        if shares_L is None:
            continue
        language = places.query_language_P[pair]
        sums_LL[language] += shares_L
        answers_L[language] += 1
    means_LL = sums_LL / np.maximum(answers_L, 1)[:, None]
    return HidingLanguages(np.where(answers_L[:, None] > 0, means_LL, np.nan), answers_L)


def _share_top(
    top: TopK, query: int, answers: set[int], depth: int, languages: int
) -> np.ndarray | None:
    """Returns the share of each language at the top of a query without its answers (L)."""
    rows = top.rows_QK[query].tolist()
    codes = top.languages_QK[query].tolist()
    others = []
    for row, code in zip(rows, codes, strict=True):
        if row >= 0 and row not in answers:
            others.append(code)
    if not others:
        return None
    counts_L = np.bincount(others[:depth], minlength=languages)
    return counts_L / counts_L.sum()
