"""Where each known answer stands among its own language, and where in the mixed collection.

A collection of several languages is longer than the part of it in one language, so an answer moves
down when languages are mixed. Without bias it moves down in proportion: the first ten places of a
tenth of the collection are worth the first hundred of all of it. Whatever moves down further is
hidden by passages that owe their place to their language.

Shapes: Q queries, R relevant passages of a query, P pairs of a query and a relevant passage, L
languages.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, OWN_LANGUAGE, RankTable
from hybrid_ir.evaluation.sorted_rows import NO_GROUP, count_higher_and_equal

DEPTH = 10  # places that a reader looks at in a collection of one language
# What becomes of an answer.
FATES = ("found", "hidden", "not_found")
FOUND, HIDDEN, NOT_FOUND = range(len(FATES))


@dataclass(frozen=True)
class AnswerPlaces:
    """The places of pairs of a query and an answer of it, in two collections.

    Other answers of the same query are taken out of both, so that translations of an answer do not
    count against it. Passages with equal scores share the mean of their places.

    Attributes:
        query_P: row of the query.
        query_language_P: its language.
        answer_language_P: language of the answer.
        row_P: row of the answer in the corpus.
        own_place_P: among the passages in the language of the answer, from 1.
        mixed_place_P: among the passages of all languages.
        fair_depth_P: how many places of the mixed collection are worth DEPTH of the language alone.
    """

    query_P: np.ndarray
    query_language_P: np.ndarray
    answer_language_P: np.ndarray
    row_P: np.ndarray
    own_place_P: np.ndarray
    mixed_place_P: np.ndarray
    fair_depth_P: np.ndarray

    @classmethod
    def from_table(cls, table: RankTable, depth: int = DEPTH) -> "AnswerPlaces":
        """Reads the places off the counts of a benchmark.

        Args:
            table: the counts.
            depth: places that a reader looks at in a collection of one language.
        """
        is_answer_QR = table.relevant_languages >= 0
        query_P, place_P = is_answer_QR.nonzero()
        answer_language_P = table.relevant_languages[query_P, place_P].astype(np.int64)
        own_group_QR = np.where(is_answer_QR, table.relevant_languages, NO_GROUP)
        mixed_group_QR = np.where(is_answer_QR, 0, NO_GROUP)
        own_place_QR = _find_places_alone(table, own_group_QR, OWN_LANGUAGE)
        mixed_place_QR = _find_places_alone(table, mixed_group_QR, ALL_LANGUAGES)
        sizes_L = np.maximum(table.pool_sizes, 1)
        fair_depth_L = depth * table.pool_sizes.sum() / sizes_L
        return cls(
            query_P=query_P,
            query_language_P=np.asarray(table.query_languages)[query_P].astype(np.int64),
            answer_language_P=answer_language_P,
            row_P=table.relevant[query_P, place_P],
            own_place_P=own_place_QR[query_P, place_P],
            mixed_place_P=mixed_place_QR[query_P, place_P],
            fair_depth_P=fair_depth_L[answer_language_P],
        )

    def decide_fates(self, depth: int = DEPTH) -> np.ndarray:
        """Returns what becomes of each answer (P), an index into FATES.

        An answer is found if it is within its fair depth of the mixed collection. It is hidden if
        it is not, but is within `depth` among its own language. Otherwise it is not found, with or
        without other languages.

        Args:
            depth: that the places were computed for.
        """
        is_found_P = self.mixed_place_P <= self.fair_depth_P
        is_found_alone_P = self.own_place_P <= depth
        return np.where(is_found_P, FOUND, np.where(is_found_alone_P, HIDDEN, NOT_FOUND))

    @property
    def is_across_P(self) -> np.ndarray:
        """Whether the answer is in another language than the question (P)."""
        return self.query_language_P != self.answer_language_P


def _find_places_alone(table: RankTable, groups_QR: np.ndarray, pool: int) -> np.ndarray:
    """Returns the place of each answer in a pool without the other answers of its group (Q, R)."""
    scores_QR = torch.from_numpy(np.ascontiguousarray(table.scores))
    groups_QR = torch.from_numpy(np.ascontiguousarray(groups_QR).astype(np.int64))
    higher_QR, equal_QR = count_higher_and_equal(scores_QR, groups_QR)
    above_QR = table.above[:, :, pool].astype(np.int64) - higher_QR.numpy()
    tied_QR = table.tied[:, :, pool].astype(np.int64) - equal_QR.numpy()
    return 1 + above_QR + tied_QR / 2


def share_by_languages(
    is_counted_P: np.ndarray, places: AnswerPlaces, languages: int
) -> np.ndarray:
    """Returns the share of answers that are counted, by query and answer language (L, L).

    NaN stands in a cell without answers.

    Args:
        is_counted_P: of each answer.
        places: the languages of the answers.
        languages: their number.
    """
    cell_P = places.query_language_P * languages + places.answer_language_P
    answers = np.bincount(cell_P, minlength=languages * languages)
    counted = np.bincount(cell_P, is_counted_P.astype(float), languages * languages)
    shares = np.where(answers > 0, counted / np.maximum(answers, 1), np.nan)
    return shares.reshape(languages, languages)
