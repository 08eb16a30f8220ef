"""Which of the passages that an encoder finds for a query are hard negatives of it."""

# Q queries, D candidates of each, K hard negatives

import numpy as np

FROM = ("same", "other", "any")


def list_searched_languages(language: int, languages: int, where: str) -> list[int]:
    """The languages whose passages are searched for queries in a language."""
    if where not in FROM:
        raise ValueError(f"languages={where!r} must be one of {', '.join(FROM)}")
    return [
        other
        for other in range(languages)
        if where == "any" or (other == language) == (where == "same")
    ]


def select_hard_negatives(
    ids_QD: np.ndarray,
    scores_QD: np.ndarray,
    allowed_QD: np.ndarray,
    content_N: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The ids and scores of the best allowed candidates (Q, K), each content once; -1 and -inf where there are fewer.

    Candidates come best first, an id of -1 is none.
    """
    allowed_QD = allowed_QD & (ids_QD >= 0)
    content_QD = np.where(allowed_QD, content_N[ids_QD], -1)
    order = np.argsort(content_QD, axis=1, kind="stable")
    ordered = np.take_along_axis(content_QD, order, 1)
    first = np.ones_like(allowed_QD)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    np.put_along_axis(allowed_QD, order, np.take_along_axis(allowed_QD, order, 1) & first, 1)
    place_QD = np.argsort(~allowed_QD, axis=1, kind="stable")[:, :count]
    there_QK = np.take_along_axis(allowed_QD, place_QD, 1)
    return (
        np.where(there_QK, np.take_along_axis(ids_QD, place_QD, 1), -1),
        np.where(there_QK, np.take_along_axis(scores_QD, place_QD, 1), -np.inf),
    )


def merge_candidates(ids_QD: np.ndarray, scores_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of several searches, best first."""
    order = np.argsort(-scores_QD, axis=1, kind="stable")
    return np.take_along_axis(ids_QD, order, 1), np.take_along_axis(scores_QD, order, 1)


def group_positives(
    query_content_P: np.ndarray, passage_content_P: np.ndarray
) -> dict[int, np.ndarray]:
    """The contents of all passages that answer a question, by the content of the question."""
    order = np.argsort(query_content_P, kind="stable")
    keys, first = np.unique(query_content_P[order], return_index=True)
    return dict(zip(keys.tolist(), np.split(passage_content_P[order], first[1:]), strict=True))
