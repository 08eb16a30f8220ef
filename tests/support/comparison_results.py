"""Result folders as an evaluation leaves them, of systems that never existed: vectors with noise and a shift per language."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from hybrid_ir.comparison.everything import Comparison
from hybrid_ir.comparison.table import Table
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.report import results_to_dict
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark, Source

LANGUAGES = ("ar", "de", "el", "en")
# noise and language bias of the made-up systems
SAMPLERS = {
    "x_x_mono": (1.0, "batch", 0.9, 0.5),
    "x_y": (0.0, "batch", 1.05, 0.15),
    "hybrid": (0.5, "batch", 0.85, 0.2),
}


def small_benchmark(
    questions: int = 30,
    name: str = "made_r",
    languages: tuple[str, ...] = LANGUAGES,
    **choices: str,
) -> Benchmark:
    """Parallel questions, one answer in every language, and as many other passages.

    Later languages ask fewer of the questions: so macro and micro means differ, and questions differ in weight.
    """
    size = len(languages)
    asked = [(k, i) for k in range(size) for i in range(questions - questions * k // (2 * size))]
    return Benchmark(
        languages=languages,
        queries=[f"which {languages[k]} {i}?" for k, i in asked],
        query_languages=np.array([k for k, _ in asked]),
        question_ids=[f"q{i}" for _, i in asked],
        passages=[f"{language} {i}" for language in languages for i in range(2 * questions)],
        passage_languages=np.repeat(np.arange(size), 2 * questions),
        passage_ids=[f"{language}{i}" for language in languages for i in range(2 * questions)],
        relevant=[np.arange(size) * 2 * questions + i for _, i in asked],
        source=Source(name, "", "", "", revision="1", choices={"queries": "all"} | choices),
    )


def results_of(
    benchmark: Benchmark, noise: float, bias: float, seed: int, width: int = 48
) -> Results:
    """Texts of one question point the same way, plus noise, plus the direction of their language."""
    ids = {name: i for i, name in enumerate(dict.fromkeys(benchmark.question_ids))}
    fixed = np.random.default_rng(0)
    meaning, language = (
        fixed.normal(size=(n, width)) / np.sqrt(width) for n in (len(ids), len(benchmark.languages))
    )
    common, own = np.random.default_rng(1), np.random.default_rng(seed + 10)

    def vectors(meanings, languages):
        drawn = 0.9 * common.normal(size=meanings.shape) + 0.43 * own.normal(size=meanings.shape)
        made = meanings + noise * drawn / np.sqrt(width) + bias * 4 * language[languages]
        return torch.nn.functional.normalize(torch.from_numpy(made).float(), dim=1)

    passages = common.normal(size=(len(benchmark.passages), width)) / np.sqrt(width)
    for row, name in zip(benchmark.relevant, benchmark.question_ids, strict=True):
        passages[row] = meaning[ids[name]]
    queries = vectors(
        meaning[[ids[name] for name in benchmark.question_ids]], benchmark.query_languages
    )
    return Results.from_table(
        rank_benchmark(queries, vectors(passages, benchmark.passage_languages), benchmark, 0.05),
        benchmark,
    )


def card_of(
    benchmark: Benchmark, training: dict | None, model: str = "e5_small", postprocess: str = "none"
) -> dict:
    return {
        "model": {"name": model, "kind": "run", "path": "somewhere"},
        "training": training,
        "benchmark": {
            "name": benchmark.name,
            "revision": "1",
            "sha256": hash_benchmark(benchmark),
            "choices": benchmark.source.choices,
        },
        "postprocess": {"name": postprocess, "estimated_on": None},
        "precision": "bf16",
    }


def training_of(sampler: str, seed: int, **more) -> dict:
    share, level, *_ = SAMPLERS[sampler]
    return {
        "sampler": sampler,
        "monolingual_share": share,
        "level": level,
        "seed": seed,
        "corpus": "mlqa_r",
        "model": "e5_small",
        "max_steps": 120,
        "batch_size": 64,
        "languages": ["ar", "de", "en", "es", "hi", "vi", "zh"],
        **more,
    }


def write_result(
    folder: Path, benchmark: Benchmark, noise: float, bias: float, seed: int, card: dict
) -> Path:
    folder.mkdir(parents=True)
    results = results_of(benchmark, noise, bias, seed)
    (folder / "metrics.json").write_text(json.dumps(results_to_dict(results)))
    pq.write_table(results.to_arrow(), folder / "per_query.parquet")
    (folder / "evaluation_card.json").write_text(json.dumps(card))
    if card["training"]:
        rows = [
            {
                "step": step,
                "train/loss": 2 / step,
                "val/loss": 3 / step,
                "val/mono/map": 1 - 1 / step - noise / 4,
                "val/cross/map": 0.9 - 1 / step - noise / 4,
                "val/multi/map": 0.8 - 1 / step - bias / 4,
                "val/multi/rank_distance": 900 / step + 100 * bias + 9 * seed,
            }
            for step in range(2, 13, 2)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_sweep(folder: Path, benchmark: Benchmark, seeds=(1, 2), samplers=tuple(SAMPLERS)) -> Path:
    """The samplers with some seeds, and the untrained model."""
    for sampler in samplers:
        for seed in seeds:
            _, _, noise, bias = SAMPLERS[sampler]
            write_result(
                folder / f"{sampler}_seed{seed}",
                benchmark,
                noise,
                bias,
                seed,
                card_of(benchmark, training_of(sampler, seed)),
            )
    write_result(folder / "untrained", benchmark, 0.95, 0.9, 0, card_of(benchmark, None))
    return folder


def table_named(comparison: Comparison, file: str) -> Table:
    return next(table for table in comparison.tables if table.file == file)


def rows_of(table) -> dict[tuple, tuple]:
    return {row.labels: row.cells for row in table.rows}


class Tags(HTMLParser):
    """Every tag with its attributes, every id, and all text that is shown."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self.ids = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.text += data


def change(path, **values):
    """Overwrite keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


SMALL = small_benchmark(8)
