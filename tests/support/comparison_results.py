"""Result folders as an evaluation writes them, of systems that were simulated.

The vectors of a simulated system are those of the questions with noise, and with a shift for each
language.

Shapes: Q queries, P passages, L languages, D dimensions.
"""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from hybrid_ir.comparison.table import Cell, Table
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.report import results_to_dict
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark, Source

LANGUAGES = ("ar", "de", "el", "en")
TRAINED_LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")
DIMENSIONS = 48
TEMPERATURE = 0.05


@dataclass(frozen=True)
class SimulatedSampler:
    """A sampler, and what its training does to a simulated system.

    Attributes:
        share: The share of monolingual batches.
        noise: The size of the noise in its vectors.
        bias: The size of the shift of each language.
    """

    share: float
    noise: float
    bias: float


SAMPLERS = {
    "x_x_mono": SimulatedSampler(share=1.0, noise=0.9, bias=0.5),
    "x_y": SimulatedSampler(share=0.0, noise=1.05, bias=0.15),
    "hybrid": SimulatedSampler(share=0.5, noise=0.85, bias=0.2),
}


def build_benchmark(
    questions: int = 30,
    name: str = "made_r",
    languages: tuple[str, ...] = LANGUAGES,
    **choices: str,
) -> Benchmark:
    """Builds a benchmark of parallel questions with one answer in every language.

    There are as many other passages. Later languages ask fewer of the questions, so that macro and
    micro means differ and questions differ in weight.
    """
    queries = []
    query_languages = []
    question_ids = []
    relevant = []
    passages = []
    passage_ids = []
    first_answers = np.arange(len(languages)) * 2 * questions
    for place, language in enumerate(languages):
        for question in range(questions - questions * place // (2 * len(languages))):
            queries.append(f"which {language} {question}?")
            query_languages.append(place)
            question_ids.append(f"q{question}")
            relevant.append(first_answers + question)
        for passage in range(2 * questions):
            passages.append(f"{language} {passage}")
            passage_ids.append(f"{language}{passage}")
    return Benchmark(
        languages=languages,
        queries=queries,
        query_languages=np.array(query_languages),
        question_ids=question_ids,
        passages=passages,
        passage_languages=np.repeat(np.arange(len(languages)), 2 * questions),
        passage_ids=passage_ids,
        relevant=relevant,
        source=Source(name, "", "", "", revision="1", choices={"queries": "all"} | choices),
    )


SMALL_BENCHMARK = build_benchmark(8)


def simulate_results(
    benchmark: Benchmark, noise: float, bias: float, seed: int, upside_down: bool = False
) -> Results:
    """Ranks a benchmark by vectors that are equal for one question up to noise and language.

    An `upside_down` system has its queries point away from their answers, which come last.
    """
    numbers = {}
    for question_id in benchmark.question_ids:
        numbers.setdefault(question_id, len(numbers))
    fixed_random = np.random.default_rng(0)
    meanings = fixed_random.normal(size=(len(numbers), DIMENSIONS)) / np.sqrt(DIMENSIONS)
    languages_LD = fixed_random.normal(size=(len(benchmark.languages), DIMENSIONS))
    languages_LD = languages_LD / np.sqrt(DIMENSIONS)
    # Most of the noise is common to all systems, as the difficulty of real texts is.
    common_random = np.random.default_rng(1)
    system_random = np.random.default_rng(seed + 10)

    def embed(meanings: np.ndarray, languages: np.ndarray) -> torch.Tensor:
        drawn = 0.9 * common_random.normal(size=meanings.shape)
        drawn += 0.43 * system_random.normal(size=meanings.shape)
        vectors = meanings + noise * drawn / np.sqrt(DIMENSIONS)
        vectors = vectors + bias * 4 * languages_LD[languages]
        return torch.nn.functional.normalize(torch.from_numpy(vectors).float(), dim=1)

    passages_PD = common_random.normal(size=(len(benchmark.passages), DIMENSIONS))
    passages_PD = passages_PD / np.sqrt(DIMENSIONS)
    for passages, question_id in zip(benchmark.relevant, benchmark.question_ids, strict=True):
        passages_PD[passages] = meanings[numbers[question_id]]
    query_numbers = [numbers[question_id] for question_id in benchmark.question_ids]
    query_vectors = embed(meanings[query_numbers], benchmark.query_languages)
    passage_vectors = embed(passages_PD, benchmark.passage_languages)
    if upside_down:
        query_vectors = -query_vectors
    ranks = rank_benchmark(query_vectors, passage_vectors, benchmark, TEMPERATURE)
    return Results.from_table(ranks, benchmark)


def build_card(benchmark: Benchmark, training: dict | None, **keys) -> dict:
    """Builds an evaluation card; `keys` replace its own."""
    card = {
        "model": {"name": "e5_small", "kind": "run", "path": "somewhere"},
        "training": training,
        "benchmark": {
            "name": benchmark.name,
            "revision": "1",
            "sha256": hash_benchmark(benchmark),
            "choices": benchmark.source.choices,
        },
        "postprocess": {"name": "none", "estimated_on": None},
        "precision": "bf16",
    }
    return card | keys


def build_training(sampler: str, seed: int = 1, **keys) -> dict:
    """Builds the record of a training on a card; `keys` replace its own."""
    training = {
        "sampler": sampler,
        "monolingual_share": SAMPLERS[sampler].share,
        "level": "batch",
        "seed": seed,
        "corpus": "mlqa_r",
        "model": "e5_small",
        "max_steps": 120,
        "batch_size": 64,
        "languages": list(TRAINED_LANGUAGES),
    }
    return training | keys


def write_result(
    folder: Path,
    benchmark: Benchmark,
    card: dict,
    noise: float = 0.9,
    bias: float = 0.3,
    seed: int = 1,
    upside_down: bool = False,
) -> Path:
    """Writes the result folder of a simulated system and returns it."""
    folder.mkdir(parents=True)
    results = simulate_results(benchmark, noise, bias, seed, upside_down)
    (folder / "metrics.json").write_text(json.dumps(results_to_dict(results)))
    pq.write_table(results.to_arrow(), folder / "per_query.parquet")
    (folder / "evaluation_card.json").write_text(json.dumps(card))
    if card["training"]:
        write_steps(folder / "metrics.jsonl", noise, bias, seed)
    return folder


def write_steps(path: Path, noise: float, bias: float, seed: int) -> None:
    """Writes what a training logged."""
    lines = []
    for step in range(2, 13, 2):
        row = {
            "step": step,
            "train/loss": 2 / step,
            "val/loss": 3 / step,
            "val/mono/map": 1 - 1 / step - noise / 4,
            "val/cross/map": 0.9 - 1 / step - noise / 4,
            "val/multi/map": 0.8 - 1 / step - bias / 4,
            "val/multi/rank_distance": 900 / step + 100 * bias + 9 * seed,
        }
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines))


def write_pair_of_systems(folder: Path, benchmark: Benchmark, **training_keys) -> Path:
    """Writes the results of x_x_mono and hybrid, which are equally good."""
    for sampler in ("x_x_mono", "hybrid"):
        card = build_card(benchmark, build_training(sampler, **training_keys))
        write_result(folder / sampler, benchmark, card)
    return folder


def write_sweep(folder: Path, benchmark: Benchmark, seeds: tuple[int, ...] = (1, 2)) -> Path:
    """Writes the results of each sampler with each seed, and of the untrained model."""
    for name, sampler in SAMPLERS.items():
        for seed in seeds:
            card = build_card(benchmark, build_training(name, seed))
            place = folder / f"{name}_seed{seed}"
            write_result(place, benchmark, card, sampler.noise, sampler.bias, seed)
    card = build_card(benchmark, training=None)
    write_result(folder / "untrained", benchmark, card, noise=0.95, bias=0.9, seed=0)
    return folder


def overwrite_keys(path: Path, **values) -> None:
    """Overwrites keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def get_cells_by_labels(table: Table) -> dict[tuple[str, ...], tuple[Cell, ...]]:
    """Returns the cells of each row by its labels."""
    return {row.labels: row.cells for row in table.rows}


def get_cells_by_title(table: Table, *labels: str) -> dict[str, Cell]:
    """Returns the cells of the row with some labels by the titles of their columns."""
    titles = [column.title for column in table.columns]
    return dict(zip(titles, get_cells_by_labels(table)[labels], strict=True))


class PageContent(HTMLParser):
    """The tags of a page with their attributes, all ids, and all text that is shown."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.text += data
