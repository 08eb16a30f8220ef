"""What a search costs: average precision of the three views, for each language, against exact.

A search finds so many passages and no more: a relevant passage that is not among them counts as
never found. So the exact search is measured at the same depth, and as a complete ranking, too.

Shapes: Q queries, B queries of a block, R relevant passages of a query (short rows are filled),
N passages, P passages of a pool, K found, C candidates, D width.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hybrid_ir.evaluation.encoding import EncodedRows, mark_relevant
from hybrid_ir.evaluation.metrics import OUTSIDE_POOL
from hybrid_ir.evaluation.rank_table import (
    ALL_LANGUAGES,
    MULTILINGUAL,
    OWN_LANGUAGE,
    VIEWS,
    RankTable,
    pad_rows,
)
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.top_k import DIGITS, TopK
from hybrid_ir.index.search_methods import FaissSearch
from hybrid_ir.index.vectors import VectorSource
from hybrid_ir.types import Benchmark

COMPLETE = "exact, complete ranking"
EXACT = "exact"
OVERLAP_DEPTH = 10  # of the passages at the top that are compared with those of exact search
SCORES_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class SearchesToMeasure:
    """The ways to search one index.

    Args:
        vectors: the float vectors.
        codes: of the passages; None where there are none.
        codes_name: `int8` or `binary`.
        multiplier: candidates for each result of a search by codes.
        faiss: a search by FAISS; None where there is none.
        faiss_name: its kind.
    """

    vectors: VectorSource
    codes: VectorSource | None = None
    codes_name: str = ""
    multiplier: int = 1
    faiss: FaissSearch | None = None
    faiss_name: str = ""


class FoundRelevant:
    """At which places one search has found the relevant passages of a benchmark.

    Args:
        benchmark: that is searched.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark
        self.relevant_QR = pad_rows(benchmark.relevant)
        codes_N = np.asarray(benchmark.passage_languages)
        self.languages_QR = np.where(self.relevant_QR >= 0, codes_N[self.relevant_QR], -1)
        self.above_QR2 = np.full((*self.relevant_QR.shape, 2), OUTSIDE_POOL, np.int32)
        self.top_rows = np.full((len(benchmark.queries), OVERLAP_DEPTH), -1)

    def add(self, start: int, language: int, rows_BK: np.ndarray) -> None:
        """Takes in what was found for a block of queries.

        Args:
            start: row of the first query.
            language: of the passages that were searched, MULTILINGUAL for all.
            rows_BK: what was found, best first.
        """
        block = slice(start, start + len(rows_BK))
        relevant_BR = self.relevant_QR[block]
        is_asked_BR = self.languages_QR[block] >= 0
        pool = ALL_LANGUAGES
        if language != MULTILINGUAL:
            is_asked_BR = self.languages_QR[block] == language
            pool = OWN_LANGUAGE
        for place in range(relevant_BR.shape[1]):
            is_it_BK = rows_BK == relevant_BR[:, place, None]
            is_found_B = is_it_BK.any(1) & is_asked_BR[:, place]
            queries = start + np.flatnonzero(is_found_B)
            self.above_QR2[queries, place, pool] = is_it_BK[is_found_B].argmax(1)
        if language == MULTILINGUAL:
            width = min(OVERLAP_DEPTH, rows_BK.shape[1])
            self.top_rows[block, :width] = rows_BK[:, :width]

    def compute_results(self) -> Results:
        """Computes average precision, with what was not found as never found."""
        benchmark = self.benchmark
        codes_N = np.asarray(benchmark.passage_languages)
        table = RankTable(
            above=self.above_QR2,
            tied=np.zeros_like(self.above_QR2),
            relevant=self.relevant_QR,
            relevant_languages=self.languages_QR,
            scores=np.where(self.relevant_QR >= 0, 0.0, np.inf),
            query_languages=np.asarray(benchmark.query_languages),
            pool_sizes=np.bincount(codes_N, minlength=len(benchmark.languages)),
            languages=tuple(benchmark.languages),
        )
        return Results.from_table(table, benchmark, ("map",), ())


def measure_searches(
    benchmark: Benchmark, queries: VectorSource, searches: SearchesToMeasure, depth: int
) -> dict[str, Any]:
    """Measures all ways to search an index of a benchmark, as plain values.

    Args:
        benchmark: whose passages are in the index, in their order.
        queries: the vectors of its queries.
        searches: the ways to search.
        depth: passages that are found for a query in each view.

    Returns:
        For each search `map` by view and `own_language_first` (the share of queries whose first
        passage of all is in their language), both also `by_language` of the query, and `overlap`,
        the share of the first 10 passages of the exact search that are among its first 10.
    """
    names = [EXACT]
    if searches.codes is not None:
        names += [searches.codes_name, _name_rescored(searches.codes_name)]
    if searches.faiss is not None:
        names.append(searches.faiss_name)
    found = {name: FoundRelevant(benchmark) for name in names}
    for start, queries_BD in _iterate_queries(queries, len(searches.vectors)):
        for name, language, rows_BK in _search_block(benchmark, searches, start, queries_BD, depth):
            found[name].add(start, language, rows_BK)
    complete = _rank_completely(benchmark, queries, searches.vectors)
    exact_rows = found[EXACT].top_rows
    methods = {COMPLETE: _summarise(complete, exact_rows, exact_rows)}
    for name in names:
        results = found[name].compute_results()
        methods[name] = _summarise(results, found[name].top_rows, exact_rows)
    return {
        "benchmark": benchmark.name,
        "queries": len(benchmark.queries),
        "passages": len(benchmark.passages),
        "depth": depth,
        "rescore_multiplier": searches.multiplier if searches.codes is not None else None,
        "searches": methods,
    }


def _name_rescored(name: str) -> str:
    return f"{name}, rescored"


def _iterate_queries(queries: VectorSource, passages: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Yields blocks of queries that are so small that all their scores fit into memory."""
    step = max(1, min(512, SCORES_AT_ONCE // passages))
    for start, block in queries.iterate_blocks():
        for first in range(0, len(block), step):
            yield start + first, block[first : first + step]


@torch.inference_mode()
def _search_block(
    benchmark: Benchmark,
    searches: SearchesToMeasure,
    start: int,
    queries_BD: torch.Tensor,
    depth: int,
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yields name, language of the pool and rows (B, K) of every search of a block of queries."""
    ranking = _BlockRanking(benchmark, searches, start, queries_BD)
    codes_N = np.asarray(benchmark.passage_languages)
    pools = [(MULTILINGUAL, np.arange(len(codes_N)))]
    for language in range(len(benchmark.languages)):
        pools.append((language, np.flatnonzero(codes_N == language)))
    for language, rows_P in pools:
        if len(rows_P) == 0:
            continue
        yield EXACT, language, ranking.rank(ranking.exact_BN, rows_P, depth)
        if searches.codes is not None:
            candidates_BC = ranking.rank(ranking.coded_BN, rows_P, depth * searches.multiplier)
            yield searches.codes_name, language, candidates_BC[:, :depth]
            rescored_BK = ranking.rescore(candidates_BC)[:, :depth]
            yield _name_rescored(searches.codes_name), language, rescored_BK
        if searches.faiss is not None:
            is_allowed_N = None
            if language != MULTILINGUAL:
                is_allowed_N = codes_N == language
            # One more, since the passage that is the query itself is left out.
            _, rows_BK = searches.faiss.search(queries_BD, depth + 1, is_allowed_N)
            yield searches.faiss_name, language, ranking.rescore(rows_BK)[:, :depth]


class _BlockRanking:
    """All scores of a block of queries, and rankings by them.

    Attributes:
        exact_BN: scores by the float vectors.
        coded_BN: scores by the codes, where there are some.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        searches: SearchesToMeasure,
        start: int,
        queries_BD: torch.Tensor,
    ):
        self.left_out_B = np.full(len(queries_BD), -1)
        if benchmark.own_passages is not None:
            self.left_out_B = np.asarray(benchmark.own_passages)[start : start + len(queries_BD)]
        self.exact_BN = self._score(queries_BD, searches.vectors)
        if searches.codes is not None:
            self.coded_BN = self._score(queries_BD, searches.codes)

    def _score(self, queries_BD: torch.Tensor, vectors: VectorSource) -> torch.Tensor:
        scores_BN = torch.empty(len(queries_BD), len(vectors), dtype=torch.float64)
        for start, block in vectors.iterate_blocks():
            scores_BN[:, start : start + len(block)] = queries_BD.double() @ block.double().T
        has_own_B = self.left_out_B >= 0
        scores_BN[has_own_B, self.left_out_B[has_own_B]] = -torch.inf
        return scores_BN

    def rank(self, scores_BN: torch.Tensor, rows_P: np.ndarray, depth: int) -> np.ndarray:
        """Returns the rows of the best passages of a pool (B, K), best first."""
        rows = torch.from_numpy(rows_P)
        top = TopK(len(scores_BN), min(depth, len(rows_P)))
        scores_BP = scores_BN if len(rows_P) == scores_BN.shape[1] else scores_BN[:, rows]
        top.take(0, scores_BP, rows, 0)
        return top.rows_QK.numpy()

    def rescore(self, rows_BC: np.ndarray) -> np.ndarray:
        """Returns candidates (B, C) in the order of their exact scores; -1 stands at the end."""
        places_BC = torch.from_numpy(np.maximum(rows_BC, 0))
        scores_BC = self.exact_BN.gather(1, places_BC).round(decimals=DIGITS).numpy()
        scores_BC = np.where(rows_BC >= 0, scores_BC, -np.inf)
        order_BC = np.lexsort((rows_BC, -scores_BC), axis=-1)
        return np.take_along_axis(rows_BC, order_BC, 1)


def _rank_completely(benchmark: Benchmark, queries: VectorSource, vectors: VectorSource) -> Results:
    """Ranks all passages by the float vectors, as an evaluation does."""
    ranking = StreamedRanking(benchmark)
    for start, block_BD in queries.iterate_blocks():
        ranking.add(EncodedRows("queries", np.arange(start, start + len(block_BD)), block_BD))
    is_relevant_N = mark_relevant(benchmark)
    relevant_rows = np.flatnonzero(is_relevant_N)
    ranking.add(EncodedRows("relevant", relevant_rows, vectors.take(relevant_rows)))
    for start, block_BD in vectors.iterate_blocks():
        places = np.flatnonzero(~is_relevant_N[start : start + len(block_BD)])
        if len(places):
            ranking.add(EncodedRows("others", start + places, block_BD[torch.from_numpy(places)]))
    return ranking.results()


def _summarise(results: Results, top_rows: np.ndarray, exact_rows: np.ndarray) -> dict[str, Any]:
    """Returns what `quality.json` says of a search, rounded to six decimals."""
    benchmark = results.benchmark
    query_languages_Q = np.asarray(benchmark.query_languages)
    codes_N = np.asarray(benchmark.passage_languages)
    is_own_first_Q = (codes_N[top_rows[:, 0]] == query_languages_Q) & (top_rows[:, 0] >= 0)
    by_language = {}
    for code, language in enumerate(benchmark.languages):
        is_asked_Q = query_languages_Q == code
        if not is_asked_Q.any():
            continue
        values: dict[str, float | None] = {}
        for view in VIEWS:
            means = []
            for setting in results.settings:
                if setting.view == view and setting.query_language == language:
                    means.append(setting.means["map"])
            values[view] = _round(np.mean(means)) if means else None
        values["own_language_first"] = _round(is_own_first_Q[is_asked_Q].mean())
        by_language[language] = values
    return {
        "map": {view: _round(results.macro(view)["map"]) for view in VIEWS},
        "own_language_first": _round(is_own_first_Q.mean()),
        "overlap": _round(_compute_overlap(top_rows, exact_rows)),
        "by_language": by_language,
    }


def _compute_overlap(rows_QK: np.ndarray, exact_QK: np.ndarray) -> float:
    """Averages the share of the first passages of the exact search that another one has, too."""
    is_there_QK = exact_QK >= 0
    is_found_QK = (exact_QK[:, :, None] == rows_QK[:, None, :]).any(2) & is_there_QK
    return float(is_found_QK.sum() / max(1, is_there_QK.sum()))


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def compare_with_exact(quality: Mapping[str, Any], name: str) -> dict[str, dict[str, float | None]]:
    """Returns by language what a search gains (or loses, below 0) against the exact one.

    Args:
        quality: what `measure_searches` returned.
        name: of the search.
    """
    exact = quality["searches"][EXACT]["by_language"]
    changes = {}
    for language, values in quality["searches"][name]["by_language"].items():
        change = {}
        for key, value in values.items():
            is_there = value is not None and exact[language][key] is not None
            change[key] = value - exact[language][key] if is_there else None
        changes[language] = change
    return changes
