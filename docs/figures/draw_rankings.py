"""Draws docs/figures/rankings.svg: one question and its multilingual ranking by two models.

    python docs/figures/draw_rankings.py data/xquad-r intfloat/multilingual-e5-small RUN

The question is a typical one: of the English questions that have an answer in every language, it
has the median gain in the number of answers among the first places. What the picture shows is
written to rankings.json beside it, from which it can be drawn again without the models.
"""

import argparse
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.evaluate import Evaluation, evaluate
from hybrid_ir.evaluation.selection import limit_questions, select_questions
from hybrid_ir.runs.encoders import EncoderSettings, LoadedEncoder, load_any_encoder
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
    """A passage in a ranking, with the beginning of its text."""

    language: str
    text: str
    is_answer: bool


@dataclass(frozen=True)
class Ranking:
    """The first passages for the question by a model."""

    title: str
    places: list[Place]


@dataclass(frozen=True)
class Picture:
    """All that the picture shows."""

    question: str
    passages: int
    languages: int
    rankings: list[Ranking]


def rank_passages(evaluation: Evaluation) -> np.ndarray:
    """Returns the rows of the first passages of each query by a measured model (Q, PLACES)."""
    return evaluation.runs["multi"].rows_QK.numpy()


def describe_model(loaded: LoadedEncoder) -> str:
    """Returns what is measured: the sampler of its training, or its name without the owner."""
    if loaded.training is not None:
        return f"{loaded.training['sampler']} training"
    return Path(loaded.model["name"]).name


def count_answers(rows_QK: np.ndarray, benchmark: Benchmark) -> np.ndarray:
    """Returns how many answers each query has among its first passages (Q)."""
    counts = []
    for rows_K, answers in zip(rows_QK, benchmark.relevant, strict=True):
        counts.append(np.isin(rows_K, answers).sum())
    return np.array(counts)


def has_every_language(query: int, benchmark: Benchmark) -> bool:
    """Returns whether a query has an answer in every language."""
    languages = {int(benchmark.passage_languages[int(row)]) for row in benchmark.relevant[query]}
    return len(languages) == len(benchmark.languages)


def choose_query(gain_Q: np.ndarray, benchmark: Benchmark) -> int:
    """Returns the English query with the median gain, the first one of those.

    Raises:
        ValueError: No English query has an answer in every language.
    """
    english = benchmark.languages.index("en")
    queries = []
    for query in np.flatnonzero(benchmark.query_languages == english):
        if has_every_language(query, benchmark):
            queries.append(query)
    if not queries:
        raise ValueError(f"{benchmark.name}: no English question has an answer in every language")
    queries = np.array(queries)
    order = queries[np.argsort(gain_Q[queries], kind="stable")]
    return int(order[len(order) // 2])


def list_places(rows_K: Sequence[int], answers: Sequence[int], benchmark: Benchmark) -> list[Place]:
    """Returns the passages of a ranking."""
    places = []
    for row in rows_K:
        text = str(benchmark.passages[int(row)])
        if len(text) > CHARACTERS:
            text = text[: CHARACTERS - 1] + "…"
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
        lines += [
            f'<rect x="{left}" y="{top}" width="{COLUMN_WIDTH - 20}" height="{ROW_HEIGHT - 4}" '
            f'rx="4" fill="{paper}" stroke="{edge}"/>',
            f'<text x="{left + 8}" y="{top + 14}" fill="{ink}">{number + 1}</text>',
            f'<text x="{left + 32}" y="{top + 14}" fill="{ink}" font-weight="700">'
            f"{place.language}</text>",
            f'<text x="{left + 62}" y="{top + 14}" fill="{ink}" unicode-bidi="plaintext">'
            f"{html.escape(place.text)}</text>",
        ]
    return lines


def build_picture(measured: Mapping[str, Evaluation], benchmark: Benchmark) -> Picture:
    """Chooses the question and returns what the picture shows of it.

    Args:
        measured: Two measured models by the titles of their columns.
        benchmark: What they were measured on.
    """
    rows = {title: rank_passages(evaluation) for title, evaluation in measured.items()}
    before_QK, after_QK = rows.values()
    gain_Q = count_answers(after_QK, benchmark) - count_answers(before_QK, benchmark)
    query = choose_query(gain_Q, benchmark)
    answers = benchmark.relevant[query]
    rankings = []
    for title, rows_QK in rows.items():
        rankings.append(Ranking(title, list_places(rows_QK[query], answers, benchmark)))
    return Picture(
        question=str(benchmark.queries[query]),
        passages=len(benchmark.passages),
        languages=len(benchmark.languages),
        rankings=rankings,
    )


def read_picture(text: str) -> Picture:
    """Returns the picture that a text in JSON describes."""
    record = json.loads(text)
    rankings = []
    for ranking in record["rankings"]:
        places = [Place(**place) for place in ranking["places"]]
        rankings.append(Ranking(ranking["title"], places))
    return Picture(record["question"], record["passages"], record["languages"], rankings)


def draw(picture: Picture) -> str:
    """Returns the SVG of a picture."""
    places = max(len(ranking.places) for ranking in picture.rankings)
    height = HEADER + places * ROW_HEIGHT + 34
    width = len(picture.rankings) * COLUMN_WIDTH + 20
    titles = html.escape(", ".join(ranking.title for ranking in picture.rankings))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img" '
        f'aria-label="The first {places} passages for one question; {titles}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff" rx="8"/>',
        '<text x="20" y="30" font-size="16" font-weight="700" fill="#20242a">'
        f"“{html.escape(picture.question)}”</text>",
    ]
    for number, ranking in enumerate(picture.rankings):
        lines += draw_column(ranking.title, ranking.places, 20 + number * COLUMN_WIDTH)
    lines.append(
        f'<text x="20" y="{height - 12}" fill="#4a4d57">XQuAD-R, {picture.passages:,} passages in '
        f"{picture.languages} languages in one collection; green: translations of the answer. "
        "Passages: Wikipedia by SQuAD and XQuAD, CC BY-SA 4.0.</text>"
    )
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Ranks, chooses the question and writes the picture."""
    parser = argparse.ArgumentParser(description="One question, two rankings.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument("before", help="a model, which reads with the prefixes of E5")
    parser.add_argument("after", help="a run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="a folder")
    options = parser.parse_args()
    collection = select_questions(load(options.data), QUESTIONS_OF_COLLECTION)
    benchmark = limit_questions(collection, QUESTIONS)
    of_e5 = EncoderSettings(query_prefix="query: ", passage_prefix="passage: ")
    models = {
        "before": load_any_encoder(options.before, of_e5),
        "after": load_any_encoder(options.after, EncoderSettings()),
    }
    measured = {}
    for time, loaded in models.items():
        title = f"{time}: {describe_model(loaded)}"
        measured[title] = evaluate(loaded.encoder, benchmark, run_depth=PLACES)
        print(title, measured[title].summary()["multi/map"])
    picture = build_picture(measured, benchmark)
    record = json.dumps(asdict(picture), ensure_ascii=False, indent=1)
    (options.out / "rankings.json").write_text(record + "\n", encoding="utf-8")
    (options.out / "rankings.svg").write_text(draw(picture), encoding="utf-8")
    print(f"{picture.question} {options.out / 'rankings.svg'}")


if __name__ == "__main__":
    main()
