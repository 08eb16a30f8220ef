"""Where each known answer stands among its own language, and where in the mixed collection.

A collection of several languages is longer than the part of it in one language, so an answer moves
down when languages are mixed. Without bias it moves down in proportion: the first ten places of a
tenth of the collection are worth the first hundred of all of it. Whatever moves down further is
hidden by passages in other languages.

Some answers at the edge would be hidden by luck even if languages played no role. How many is
known: the languages of a ranking would then be a shuffle, and those of the passages before an
answer a draw without replacement.

Shapes: Q queries, R relevant passages of a query, P pairs of a query and a relevant passage, L
languages.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import stats

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
        own_size_P: how many passages the first of these collections has.
        mixed_size_P: and the second.
        fair_depth_P: how many places of the mixed collection are worth `depth` of the language
            alone.
        depth: places that a reader looks at in a collection of one language.
    """

    query_P: np.ndarray
    query_language_P: np.ndarray
    answer_language_P: np.ndarray
    row_P: np.ndarray
    own_place_P: np.ndarray
    mixed_place_P: np.ndarray
    own_size_P: np.ndarray
    mixed_size_P: np.ndarray
    fair_depth_P: np.ndarray
    depth: int = DEPTH

    @classmethod
    def from_table(cls, table: RankTable, depth: int = DEPTH) -> "AnswerPlaces":
        """Reads the places off the counts of a benchmark.

        Args:
            table: the counts.
            depth: places that a reader looks at in a collection of one language.
        """
        is_answer_QR = table.relevant_languages >= 0
        query_P, column_P = is_answer_QR.nonzero()
        answer_language_P = table.relevant_languages[query_P, column_P].astype(np.int64)
        own_group_QR = np.where(is_answer_QR, table.relevant_languages, NO_GROUP)
        mixed_group_QR = np.where(is_answer_QR, 0, NO_GROUP)
        own_place_QR = _find_places_alone(table, own_group_QR, OWN_LANGUAGE)
        mixed_place_QR = _find_places_alone(table, mixed_group_QR, ALL_LANGUAGES)
        sizes_L = np.asarray(table.pool_sizes, np.int64)
        languages = len(sizes_L)
        answers_QL = np.zeros((len(is_answer_QR), languages), np.int64)
        np.add.at(answers_QL, (query_P, answer_language_P), 1)
        fair_depth_L = depth * sizes_L.sum() / np.maximum(sizes_L, 1)
        return cls(
            query_P=query_P,
            query_language_P=np.asarray(table.query_languages)[query_P].astype(np.int64),
            answer_language_P=answer_language_P,
            row_P=table.relevant[query_P, column_P],
            own_place_P=own_place_QR[query_P, column_P],
            mixed_place_P=mixed_place_QR[query_P, column_P],
            own_size_P=1 + (sizes_L - answers_QL)[query_P, answer_language_P],
            mixed_size_P=1 + sizes_L.sum() - answers_QL.sum(1)[query_P],
            fair_depth_P=fair_depth_L[answer_language_P],
            depth=depth,
        )

    @cached_property
    def fate_P(self) -> np.ndarray:
        """What becomes of each answer (P), an index into FATES.

        An answer is found if it is within its fair depth of the mixed collection. It is hidden if
        it is not, but is within `depth` among its own language. Otherwise it is not found, with or
        without other languages.
        """
        is_found_P = self.mixed_place_P <= self.fair_depth_P
        is_found_alone_P = self.own_place_P <= self.depth
        return np.where(is_found_P, FOUND, np.where(is_found_alone_P, HIDDEN, NOT_FOUND))

    @cached_property
    def chance_P(self) -> np.ndarray:
        """How probably each answer (P) would be hidden if languages played no role.

        The ranking of all passages stays, and their languages are shuffled. How many of those
        before an answer are of its language is then hypergeometric, and the answer is hidden if it
        is below its fair depth while these are fewer than `depth`. An answer that shares a place
        lies between two of them; where many passages share places, as in a collapsed model, this
        is a little too high. The sum over answers is what is expected whatever is asked, since
        nothing is assumed of where answers are.
        """
        lower_P = self._compute_chances_at(np.floor(self.mixed_place_P))
        upper_P = self._compute_chances_at(np.ceil(self.mixed_place_P))
        is_found_P = self.mixed_place_P <= self.fair_depth_P
        return np.where(is_found_P, 0.0, (lower_P + upper_P) / 2)

    def _compute_chances_at(self, mixed_place_P: np.ndarray) -> np.ndarray:
        """Returns how probably `depth` passages of the answer's language are not before it (P)."""
        # Many answers have the same numbers, and the distribution costs more than finding them.
        cases = np.stack([mixed_place_P - 1, self.mixed_size_P - 1, self.own_size_P - 1], 1)
        cases_U3, case_P = np.unique(cases.astype(np.int64), axis=0, return_inverse=True)
        before_U, others_U, own_U = cases_U3.T
        chances_U = stats.hypergeom.cdf(self.depth - 1, others_U, own_U, before_U)
        return chances_U[case_P.reshape(-1)]

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
