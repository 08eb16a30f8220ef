"""Draws docs/figures/rankings.svg: one question and its multilingual ranking by two models.

    python docs/figures/draw_rankings.py data/xquad-r intfloat/multilingual-e5-small RUN

The question is a typical one: of the English questions that have an answer in every language, it
has the median gain in the number of answers among the first places.
"""

import argparse
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_ir import load_encoder
from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.evaluation.selection import limit_questions, select_questions
from hybrid_ir.types import Benchmark

PLACES = 11  # of a ranking that are drawn
QUESTIONS = 40  # in each language
QUESTIONS_OF_COLLECTION = 150  # whose answers are the collection
ROW_HEIGHT = 24
COLUMN_WIDTH = 452
CHARACTERS = 42  # of a passage
HEADER = 84
# Of an answer and of any other passage: paper, edge and letters.
ANSWER_COLOURS = ("#d9f2e3", "#2e7d4f", "#123d26")
OTHER_COLOURS = ("#f4f4f6", "#c3c5cc", "#4a4d57")


@dataclass(frozen=True)
class Place:
    """A passage in a ranking."""

    language: str
    text: str
    is_answer: bool


def rank_passages(model: str, benchmark: Benchmark, prefixes: bool) -> np.ndarray:
    """Returns the rows of the first passages of each query by a model (Q, PLACES)."""
    settings = {"query_prefix": "query: ", "passage_prefix": "passage: "} if prefixes else {}
    encoder = load_encoder(model, **settings)
    evaluation = evaluate(encoder, benchmark, run_depth=PLACES)
    print(model, evaluation.summary()["multi/map"])
    return evaluation.runs["multi"].rows_QK.numpy()


def count_answers(rows_QK: np.ndarray, benchmark: Benchmark) -> np.ndarray:
    """Returns how many answers each query has among its first passages (Q)."""
    counts = []
    for rows_K, answers in zip(rows_QK, benchmark.relevant, strict=True):
        counts.append(np.isin(rows_K, answers).sum())
    return np.array(counts)


def choose_query(gain_Q: np.ndarray, benchmark: Benchmark) -> int:
    """Returns the English query with the median gain, the first one of those."""
    english = benchmark.languages.index("en")
    queries = np.flatnonzero(benchmark.query_languages == english)
    order = queries[np.argsort(gain_Q[queries], kind="stable")]
    return int(order[len(order) // 2])


def list_places(rows_K: Sequence[int], answers: Sequence[int], benchmark: Benchmark) -> list[Place]:
    """Returns the passages of a ranking."""
    places = []
    for row in rows_K:
        text = str(benchmark.passages[int(row)])
        language = benchmark.languages[benchmark.passage_languages[int(row)]]
        places.append(Place(language, text, int(row) in set(map(int, answers))))
    return places


def draw_column(title: str, places: Sequence[Place], left: int) -> list[str]:
    """Returns the SVG of a ranking."""
    found = sum(place.is_answer for place in places)
    lines = [
        f'<text x="{left}" y="58" font-weight="700" fill="#20242a">{html.escape(title)}</text>',
        f'<text x="{left}" y="76" fill="#4a4d57">{found} of the first {len(places)} are answers'
        "</text>",
    ]
    for number, place in enumerate(places):
        top = HEADER + number * ROW_HEIGHT
        paper, edge, ink = ANSWER_COLOURS if place.is_answer else OTHER_COLOURS
        text = place.text if len(place.text) <= CHARACTERS else place.text[: CHARACTERS - 1] + "…"
        lines += [
            f'<rect x="{left}" y="{top}" width="{COLUMN_WIDTH - 20}" height="{ROW_HEIGHT - 4}" '
            f'rx="4" fill="{paper}" stroke="{edge}"/>',
            f'<text x="{left + 8}" y="{top + 14}" fill="{ink}">{number + 1}</text>',
            f'<text x="{left + 32}" y="{top + 14}" fill="{ink}" font-weight="700">'
            f"{place.language}</text>",
            f'<text x="{left + 62}" y="{top + 14}" fill="{ink}" unicode-bidi="plaintext">'
            f"{html.escape(text)}</text>",
        ]
    return lines


def main() -> None:
    """Ranks, chooses the question and writes the picture."""
    parser = argparse.ArgumentParser(description="One question, two rankings.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("before", help="a model, which reads with the prefixes of E5")
    parser.add_argument("after", help="a run")
    options = parser.parse_args()
    collection = select_questions(load(options.data), QUESTIONS_OF_COLLECTION)
    benchmark = limit_questions(collection, QUESTIONS)
    before_QK = rank_passages(options.before, benchmark, prefixes=True)
    after_QK = rank_passages(options.after, benchmark, prefixes=False)
    gain_Q = count_answers(after_QK, benchmark) - count_answers(before_QK, benchmark)
    query = choose_query(gain_Q, benchmark)
    answers = benchmark.relevant[query]
    height = HEADER + PLACES * ROW_HEIGHT + 34
    width = 2 * COLUMN_WIDTH + 20
    question = html.escape(str(benchmark.queries[query]))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img" '
        f'aria-label="The first {PLACES} passages for one question, before and after hybrid '
        'training">',
        f'<rect width="{width}" height="{height}" fill="#ffffff" rx="8"/>',
        f'<text x="20" y="30" font-size="16" font-weight="700" fill="#20242a">“{question}”</text>',
    ]
    before = list_places(before_QK[query], answers, benchmark)
    after = list_places(after_QK[query], answers, benchmark)
    lines += draw_column("before: multilingual-e5-small", before, 20)
    lines += draw_column("after hybrid training", after, 20 + COLUMN_WIDTH)
    lines.append(
        f'<text x="20" y="{height - 12}" fill="#4a4d57">XQuAD-R, {len(benchmark.passages):,} '
        "passages in 11 languages in one collection; green: translations of the answer. Passages: "
        "Wikipedia by SQuAD and XQuAD, CC BY-SA 4.0.</text>"
    )
    lines.append("</svg>")
    path = Path(__file__).with_name("rankings.svg")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"query {query}: {benchmark.queries[query]}; {path}")


if __name__ == "__main__":
    main()
