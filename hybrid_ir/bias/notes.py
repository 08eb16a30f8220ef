"""What the texts of a diagnosis cannot tell, and what to mind."""

import numpy as np

from hybrid_ir.bias.answer_places import DEPTH, AnswerPlaces
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark

# Smaller collections of a language say little: chance alone finds much in them.
SMALLEST_COLLECTION = 10 * DEPTH
# Where fewer queries have an answer in every language, texts are no translations of each other.
SHARE_OF_PARALLEL_QUERIES = 0.5


def list_notes(results: Results, places: AnswerPlaces) -> list[str]:
    """Lists what these texts cannot tell, and what to mind.

    Args:
        results: of the evaluation.
        places: of the known answers that count.
    """
    benchmark = results.benchmark
    notes = []
    if not places.is_across_P.any():
        notes.append(
            "No question has a known answer in another language, so nothing can be said of how "
            "well answers are found across languages. What is measured is whether answers in the "
            "question's own language are hidden by passages in others."
        )
    if _share_of_parallel_queries(results, places) < SHARE_OF_PARALLEL_QUERIES:
        notes.append(
            "Most questions do not have a known answer in every language. Where the languages "
            "speak of different things, or a passage that nobody has judged answers as well, an "
            "answer counts as hidden without any bias of the model: compare models on these texts "
            "rather than trust the grade."
        )
    small = [name for name, size in results.pool_sizes.items() if size < SMALLEST_COLLECTION]
    if small:
        notes.append(
            f"There are fewer than {SMALLEST_COLLECTION} passages in {', '.join(small)}: the first "
            f"{DEPTH} of so few are found by chance, so these shares say little."
        )
    missing = benchmark.count_missing_passages()
    if missing:
        notes.append(
            f"{missing:,} known answers are not in the collection. They count as never found in "
            "mAP, and are left out of the shares of found and hidden answers."
        )
    own_texts = _count_queries_that_are_answers(benchmark, places)
    if own_texts:
        notes.append(
            f"{own_texts:,} queries have the very text of one of their answers, which is found "
            "without any understanding: give role=query and role=passage to different texts."
        )
    without = len(benchmark.queries) - len(np.unique(places.query_P))
    if without:
        notes.append(f"{without:,} of {len(benchmark.queries):,} queries have no known answer.")
    return notes


def _share_of_parallel_queries(results: Results, places: AnswerPlaces) -> float:
    """Returns how many queries with an answer have one in each language that has passages."""
    languages = sum(size > 0 for size in results.pool_sizes.values())
    pairs = np.unique(np.stack([places.query_P, places.answer_language_P]), axis=1)
    _, counts = np.unique(pairs[0], return_counts=True)
    return float((counts == languages).mean())


def _count_queries_that_are_answers(benchmark: Benchmark, places: AnswerPlaces) -> int:
    """Returns how many queries have the text of a passage that answers them."""
    queries = set()
    for query, row in zip(places.query_P.tolist(), places.row_P.tolist(), strict=True):
        if benchmark.passages[row] == benchmark.queries[query]:
            queries.add(query)
    return len(queries)
