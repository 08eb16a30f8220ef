"""`hybrid-ir data clean`: a corpus without the texts of benchmarks, and without repetitions."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.config import compose_config, parse_list
from hybrid_ir.corpora.rewriting import rewrite_corpus
from hybrid_ir.corpora.stored import write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.overlap import BenchmarkTexts, Match, find_matches, find_repeated_pairs
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import require_benchmarks

TEXTS = ("to", "corpus.path", "paths.data_dir", "paths.cache_dir")
DUPLICATES = ("exact", "near", "keep")


def main(arguments: Sequence[str]) -> None:
    names = [
        name
        for text in arguments
        if text.startswith("against=")
        for name in parse_list(text.partition("=")[2])
    ]
    require_benchmarks("against", names)
    rest = [text for text in arguments if not text.startswith("against=")]
    cfg = compose_config(
        "clean", [*(f"+benchmark@against.{name}={name}" for name in names), *rest], TEXTS
    )
    if cfg is not None:
        run(cfg)


def run(cfg: DictConfig) -> None:
    if cfg.duplicates not in DUPLICATES:
        raise ValueError(f"duplicates={cfg.duplicates} must be one of {', '.join(DUPLICATES)}")
    if OmegaConf.is_missing(cfg, "to"):
        raise ValueError(
            "to= names the folder that the corpus shall be in; hybrid-ir data clean --help lists the keys"
        )
    corpus = build(cfg.corpus)
    if len(corpus.parts) > 1:
        raise ValueError("a mixture has no ids of its own: clean its corpora one by one")
    found = [
        match
        for name in cfg.against
        for match in find_matches(corpus, BenchmarkTexts.of(build(cfg.against[name])), cfg.near)
    ]
    reasons = reasons_of(corpus, found)
    if cfg.duplicates != "keep":
        for row in find_repeated_pairs(corpus, cfg.near if cfg.duplicates == "near" else 0):
            reasons.setdefault(row, "repeats an earlier pair")
    counts = Counter(reasons.values())

    def write(writer: CorpusWriter) -> None:
        keep = np.ones(len(corpus), bool)
        keep[list(reasons)] = False
        gone = [match.id for match in found if match.role == "passage"]
        negatives = corpus.negatives[keep]
        removed = pa.table(
            {
                "pair": list(reasons),
                "query": [int(row) for row in corpus.pairs[list(reasons), 0]],
                "passage": [int(row) for row in corpus.pairs[list(reasons), 1]],
                "reason": list(reasons.values()),
            }
        )
        pq.write_table(removed, writer.aside / "removed.parquet")
        rewrite_corpus(
            corpus,
            writer,
            np.asarray(corpus.pairs)[keep],
            np.where(np.isin(negatives, gone), -1, negatives),
            f"cleaned of {', '.join(cfg.against) or 'repetitions'}",
            counts,
        )

    if len(reasons) == len(corpus):
        raise ValueError(
            "nothing would be left of the corpus: every pair is in a benchmark, or repeats another"
        )
    write_corpus(cfg.to, write)
    show(cfg.to, corpus, found, counts)


def reasons_of(corpus: ParallelCorpus, found: Sequence[Match]) -> dict[int, str]:
    """Why pairs are left out, by their rows: a text of theirs is one of a benchmark, in whatever language."""
    reasons: dict[int, str] = {}
    for number, role in enumerate(("query", "passage")):
        known = {match.id: match for match in found if match.role == role}
        for row in np.flatnonzero(np.isin(corpus.pairs[:, number], list(known))):
            match = known[int(corpus.pairs[row, number])]
            reasons.setdefault(int(row), f"{role} of {match.benchmark} ({match.how})")
    return reasons


def show(to: str, corpus: ParallelCorpus, found: Sequence[Match], counts: Counter) -> None:
    table = Table(
        title=f"{to}: {len(corpus) - counts.total():,} of {len(corpus):,} pairs are left",
        title_justify="left",
    )
    table.add_column("left out because")
    table.add_column("pairs", justify="right")
    for reason, count in counts.most_common():
        table.add_row(reason, f"{count:,}")
    Console().print(table)
    for match in found[:5]:
        print(f"{match.benchmark}, {match.how} {match.role} in {match.language}: {match.text:.100}")
    print(
        f"removed.parquet in it lists them; train with it: python train.py corpus=folder corpus.path={to}"
    )
