"""XQuAD-R's 132 settings: one counting pass against sentence-transformers' InformationRetrievalEvaluator, setting by setting.

    hybrid-ir evaluate model=MODEL benchmark=[xquad_r] save_embeddings=true out=FOLDER
    python benchmarks/all_views.py data/xquad-r FOLDER/xquad_r/embeddings

Both get the same vectors: the evaluator's model is a look-up table, so its 132 encoding passes cost it nothing here. It
computes its default measures, whose mAP is cut at rank 100; the counting pass computes all of ours, over the whole pool.
"""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from hybrid_ir.evaluation.benchmarks.xquad_r import load
from hybrid_ir.evaluation.encoding import read_shards
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results

ROUNDS = 2


class LookUp:
    """What the evaluator needs of a SentenceTransformer, with the vectors ready."""

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

    def __init__(self, vectors: dict[str, torch.Tensor]):
        self.vectors = vectors

    def encode_query(self, texts, **_) -> torch.Tensor:
        return torch.stack([self.vectors[text] for text in texts])

    encode_document = encode_query

    @staticmethod
    def similarity(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left @ right.T


def one_setting(benchmark, model: LookUp, asked: int, answered: int | None) -> float:
    """mAP of one language pair, or of the pool of all languages."""
    queries = np.flatnonzero(benchmark.query_languages == asked)
    pool = (
        np.arange(len(benchmark.passages))
        if answered is None
        else np.flatnonzero(benchmark.passage_languages == answered)
    )
    known = set(pool.tolist())
    evaluator = InformationRetrievalEvaluator(
        {f"q{q}": f"q{q}" for q in queries},
        {f"p{p}": f"p{p}" for p in pool},
        {f"q{q}": {f"p{p}" for p in benchmark.relevant[q] if p in known} for q in queries},
        show_progress_bar=False,
        write_csv=False,
        main_score_function="cosine",
        score_functions={"cosine": model.similarity},
    )
    return evaluator(model)["cosine_map@100"]


def main(data: str, embeddings: str) -> None:
    torch.set_num_threads(1)
    benchmark, found = load(data), {"query": {}, "passage": {}}
    for part in read_shards(Path(embeddings)):
        found[part.role] |= dict(zip(part.rows_N.tolist(), part.vectors_ND, strict=True))
    queries, passages = (
        torch.stack([rows[row] for row in range(len(rows))]) for rows in found.values()
    )
    model = LookUp(
        {f"q{row}": v for row, v in found["query"].items()}
        | {f"p{row}": v for row, v in found["passage"].items()}
    )
    languages = range(len(benchmark.languages))
    settings = {
        "mono": [(i, i) for i in languages],
        "cross": [(i, j) for i in languages for j in languages if i != j],
        "multi": [(i, None) for i in languages],
    }
    for number in range(ROUNDS):
        started = time.perf_counter()
        results = Results.from_table(rank_benchmark(queries, passages, benchmark), benchmark)
        ours = time.perf_counter() - started
        print(
            f"round {number}: one pass, all 132 settings and every measure: {ours:.1f} s",
            flush=True,
        )
        theirs = 0.0
        for view, pairs in settings.items():
            started = time.perf_counter()
            value = np.mean([one_setting(benchmark, model, *pair) for pair in pairs])
            theirs += (seconds := time.perf_counter() - started)
            print(
                f"  {len(pairs):>3} evaluators for {view}: {seconds:.1f} s, mAP@100 {value:.4f}, ours "
                f"{results.macro(view)['map']:.4f} over the whole pool",
                flush=True,
            )
        print(f"  132 evaluators: {theirs:.1f} s, ratio {theirs / ours:.0f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
