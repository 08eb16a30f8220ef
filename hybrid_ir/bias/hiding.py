"""Which languages stand at the top where an answer is hidden.

Shapes: Q queries, K places at the top of a ranking, L languages, P pairs of a query and an answer.
"""

import numpy as np

from hybrid_ir.bias.answer_places import HIDDEN, AnswerPlaces
from hybrid_ir.evaluation.top_k import TopK


def find_hiding_languages(
    places: AnswerPlaces, fate_P: np.ndarray, top: TopK, depth: int, languages: int
) -> np.ndarray:
    """Returns whose passages stand at the top instead of hidden answers (L, L).

    A row is the language of questions. It has the share of each language among the first places of
    their rankings, without answers, as the mean over the hidden answers. NaN stands in the row of
    a language whose questions have no hidden answers.

    Args:
        places: of the answers.
        fate_P: what becomes of each.
        top: the first passages of each query in the mixed collection.
        depth: how many of them are looked at.
        languages: number of languages.
    """
    answers_of_query: dict[int, set[int]] = {}
    for query, row in zip(places.query_P.tolist(), places.row_P.tolist(), strict=True):
        answers_of_query.setdefault(query, set()).add(row)
    sums_LL = np.zeros((languages, languages))
    hidden_L = np.zeros(languages, np.int64)
    shares_of_query: dict[int, np.ndarray | None] = {}
    for pair in np.flatnonzero(fate_P == HIDDEN):
        query = int(places.query_P[pair])
        if query not in shares_of_query:
            shares_of_query[query] = _share_top(
                top, query, answers_of_query[query], depth, languages
            )
        shares_L = shares_of_query[query]
        if shares_L is None:
            continue
        language = places.query_language_P[pair]
        sums_LL[language] += shares_L
        hidden_L[language] += 1
    means_LL = sums_LL / np.maximum(hidden_L, 1)[:, None]
    return np.where(hidden_L[:, None] > 0, means_LL, np.nan)


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
