"""Vectors for the texts of a benchmark without any encoder, spread about as an encoder does it."""

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.types import Benchmark

WIDTH = 384
# lengths of what all texts, a language, a meaning and a text have for themselves; with these the
# measures of XQuAD-R are near those of multilingual-e5-small
COMMON = 2.0
LANGUAGE = 0.5
MEANING = 1.0
NOISE = 1.5


def make_up_vectors(
    benchmark: Benchmark, width: int = WIDTH, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Makes up vectors of queries and passages, which are near where one answers the other."""
    rng = np.random.default_rng(seed)
    questions = {name: place for place, name in enumerate(dict.fromkeys(benchmark.question_ids))}
    meaning_Q = np.array([questions[name] for name in benchmark.question_ids])
    # a passage means what some question asks that it answers, or something of its own
    meaning_N = len(questions) + np.arange(len(benchmark.passages))
    for meaning, rows in zip(meaning_Q, benchmark.relevant, strict=True):
        meaning_N[rows] = meaning
    meanings = rng.normal(size=(len(questions) + len(benchmark.passages), width))
    languages = rng.normal(size=(len(benchmark.languages), width))
    common = rng.normal(size=width)

    def join(meaning_A: np.ndarray, language_A: np.ndarray) -> torch.Tensor:
        vectors_AD = COMMON * common + LANGUAGE * languages[language_A]
        vectors_AD = vectors_AD + MEANING * meanings[meaning_A]
        vectors_AD = vectors_AD + NOISE * rng.normal(size=vectors_AD.shape)
        return F.normalize(torch.from_numpy(vectors_AD).float(), dim=1)

    queries_QD = join(meaning_Q, np.asarray(benchmark.query_languages))
    return queries_QD, join(meaning_N, np.asarray(benchmark.passage_languages))
