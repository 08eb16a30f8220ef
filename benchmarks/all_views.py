"""XQuAD-R's 132 settings: one counting pass beside the evaluator of sentence-transformers.

    hybrid-ir evaluate model=MODEL benchmark=[xquad_r] save_embeddings=true out=FOLDER
    python benchmarks/all_views.py data/xquad-r FOLDER/xquad_r/embeddings

Without a folder of embeddings, vectors are made up.

InformationRetrievalEvaluator is run for each setting. Both get the same vectors: the evaluator's
model is a look-up table, so its 132 encoding passes cost it nothing here. It computes its default
measures, whose mAP is cut at rank 100; the counting pass computes all of ours over the whole pool.

With `--depth full` the evaluator's mAP is cut at the size of the pool, so that it measures the same
as ours. It needs hours for all languages: give some of them with `--languages en de`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from made_up_vectors import make_up_vectors
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.encoding import read_shards
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark

ALL_LANGUAGES = None  # the passage language of a setting whose pool has all languages


class VectorTable:
    """What the evaluator needs of a SentenceTransformer: a table from texts to their vectors."""

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

    def __init__(self, queries: torch.Tensor, passages: torch.Tensor):
        self.vectors = {name_query(row): vector for row, vector in enumerate(queries)}
        self.vectors |= {name_passage(row): vector for row, vector in enumerate(passages)}

    def encode_query(self, texts: Sequence[str], **_) -> torch.Tensor:
        """Returns the vectors of queries, which are called by their names."""
        return torch.stack([self.vectors[text] for text in texts])

    encode_document = encode_query

    @staticmethod
    def similarity(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Returns the inner products of all pairs."""
        return left @ right.T


def name_query(row: int) -> str:
    """Returns the text that stands for a query in the table."""
    return f"q{row}"


def name_passage(row: int) -> str:
    """Returns the text that stands for a passage in the table."""
    return f"p{row}"


def read_vectors(
    folder: Path, full: Benchmark, languages: Sequence[str] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads the vectors of the queries and passages in some languages, in the order of their rows.

    Args:
        folder: the saved embeddings of the benchmark in all languages.
        full: the benchmark in all languages.
        languages: which are wanted; None for all.
    """
    vectors: dict[str, dict[int, torch.Tensor]] = {"query": {}, "passage": {}}
    for shard in read_shards(folder):
        for row, vector in zip(shard.rows_N.tolist(), shard.vectors_ND, strict=True):
            vectors[shard.role][row] = vector
    queries = torch.stack([vectors["query"][row] for row in range(len(vectors["query"]))])
    passages = torch.stack([vectors["passage"][row] for row in range(len(vectors["passage"]))])
    if languages is not None:
        chosen = [full.languages.index(language) for language in languages]
        queries = queries[torch.from_numpy(np.isin(full.query_languages, chosen))]
        passages = passages[torch.from_numpy(np.isin(full.passage_languages, chosen))]
    return queries, passages


def list_settings(languages: int) -> dict[str, list[tuple[int, int | None]]]:
    """Returns the query language and the passage language of each setting of the three views."""
    mono = []
    cross = []
    multi = []
    for query_language in range(languages):
        mono.append((query_language, query_language))
        multi.append((query_language, ALL_LANGUAGES))
        for passage_language in range(languages):
            if passage_language != query_language:
                cross.append((query_language, passage_language))
    return {"mono": mono, "cross": cross, "multi": multi}


def evaluate_setting(
    benchmark: Benchmark,
    table: VectorTable,
    query_language: int,
    passage_language: int | None,
    depth: str,
) -> float:
    """Returns the mAP of one setting, by the evaluator of sentence-transformers.

    Args:
        benchmark: of the setting.
        table: the vectors.
        query_language: of the queries.
        passage_language: of the pool, or ALL_LANGUAGES.
        depth: `cut` for the mAP at rank 100, `full` for that over the whole pool.
    """
    queries = np.flatnonzero(benchmark.query_languages == query_language)
    if passage_language is ALL_LANGUAGES:
        pool = np.arange(len(benchmark.passages))
    else:
        pool = np.flatnonzero(benchmark.passage_languages == passage_language)
    in_pool = np.zeros(len(benchmark.passages), bool)
    in_pool[pool] = True
    relevant = {}
    for query in queries:
        rows = benchmark.relevant[query]
        relevant[name_query(query)] = {name_passage(row) for row in rows[in_pool[rows]]}
    cut_off = 100 if depth == "cut" else len(pool)
    evaluator = InformationRetrievalEvaluator(
        {name_query(row): name_query(row) for row in queries},
        {name_passage(row): name_passage(row) for row in pool},
        relevant,
        map_at_k=[cut_off],
        show_progress_bar=False,
        write_csv=False,
        main_score_function="cosine",
        score_functions={"cosine": table.similarity},
    )
    return evaluator(table)[f"cosine_map@{cut_off}"]


def main() -> None:
    """Measures both, alternating, and prints their times and values."""
    parser = argparse.ArgumentParser(description="One pass beside 132 evaluators.")
    parser.add_argument("data", help="the folder of XQuAD-R")
    parser.add_argument(
        "embeddings", type=Path, nargs="?", help="the folder of saved embeddings; made up without"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--languages", nargs="*", help="some of the languages, for a short try")
    parser.add_argument("--depth", choices=["cut", "full"], default="cut")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    full = load(options.data)
    benchmark = full
    if options.languages is not None:
        benchmark = load(options.data, languages=options.languages)
    if options.embeddings is None:
        queries, passages = make_up_vectors(benchmark)
    else:
        queries, passages = read_vectors(options.embeddings, full, options.languages)
    table = VectorTable(queries, passages)
    settings = list_settings(len(benchmark.languages))
    count = sum(len(pairs) for pairs in settings.values())
    rank_benchmark(queries, passages, benchmark)  # warms up
    ratios = []
    for number in range(options.rounds):
        started = time.perf_counter()
        cpu_started = time.process_time()
        results = Results.from_table(rank_benchmark(queries, passages, benchmark), benchmark)
        results.summary()
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_started
        print(
            f"round {number}: one pass, all {count} settings and every measure: {seconds:.2f} s, "
            f"{cpu_seconds:.2f} s of the processor",
            flush=True,
        )
        evaluator_seconds = 0.0
        evaluator_cpu_seconds = 0.0
        for view, pairs in settings.items():
            started = time.perf_counter()
            cpu_started = time.process_time()
            values = [evaluate_setting(benchmark, table, *pair, options.depth) for pair in pairs]
            view_seconds = time.perf_counter() - started
            evaluator_seconds += view_seconds
            evaluator_cpu_seconds += time.process_time() - cpu_started
            print(
                f"  {len(pairs):>3} evaluators for {view}: {view_seconds:.1f} s, mAP "
                f"{np.mean(values):.4f}, ours {results.macro(view)['map']:.4f} over the whole pool",
                flush=True,
            )
        ratios.append(evaluator_cpu_seconds / cpu_seconds)
        print(
            f"  {count} evaluators: {evaluator_seconds:.1f} s, {evaluator_cpu_seconds:.1f} s of "
            f"the processor, ratio {evaluator_seconds / seconds:.1f}, of the processor "
            f"{ratios[-1]:.1f}",
            flush=True,
        )
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    print(f"ratio of processor times: median {np.median(ratios):.1f} ({spread})")


if __name__ == "__main__":
    main()
