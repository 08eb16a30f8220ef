"""`hybrid-ir mine`: hard negatives of a corpus, found by an encoder and chosen by language."""

# P pairs, K hard negatives

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli.value_checks import (
    find_choice_problems,
    find_number_problems,
)
from hybrid_ir.corpora.cleaning import rewrite_corpus
from hybrid_ir.corpora.mining import (
    SEARCH_CHOICES,
    HardNegativeMiner,
    LanguageVectors,
    find_usable_negatives,
)
from hybrid_ir.corpora.stored import write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.runs.building import build
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import TextEncoder


def run(cfg: DictConfig) -> None:
    """Finds hard negatives of a corpus and writes them beside its pairs, as a new corpus."""
    _check_values(cfg)
    prepare_process(cfg.seed, cfg.threads)
    settings = EncoderSettings.from_config(cfg)
    encoder = load_any_encoder(str(cfg.checkpoint), settings).encoder
    corpus = build(cfg.corpus)
    if len(corpus.parts) > 1:
        raise ValueError("a mixture has no ids of its own: mine its corpora one by one")
    negatives_PK, found = _find_negatives(corpus, encoder, cfg)
    negatives_PK = _drop_unusable(corpus, negatives_PK)
    if not (negatives_PK >= 0).any():
        raise ValueError(
            f"no passage is a hard negative by checkpoint={cfg.checkpoint}, "
            f"languages={cfg.languages}, margin={cfg.margin}, depth={cfg.depth}: nothing is "
            "written. A lower margin or more depth finds more"
        )
    change = (
        f"hard negatives mined by {encoder.name} ({cfg.languages} languages, margin {cfg.margin})"
    )

    def write(writer: CorpusWriter) -> None:
        pairs = np.asarray(corpus.pairs)
        rewrite_corpus(corpus, writer, pairs, negatives_PK, change, found)

    write_corpus(cfg.to, write)
    _print_summary(cfg.to, negatives_PK, found)


def _check_values(cfg: DictConfig) -> None:
    problems = []
    for key in ("checkpoint", "to"):
        if OmegaConf.is_missing(cfg, key):
            problems.append(f"{key}: not given")
    problems += find_number_problems(cfg, {"count": 1, "depth": 1, "texts_per_chunk": 1})
    if type(cfg.margin) not in (int, float):
        problems.append(f"margin={cfg.margin!r} must be a number")
    problems += find_choice_problems(cfg, "languages", SEARCH_CHOICES)
    if problems:
        raise ValueError("; ".join(problems) + "; hybrid-ir mine --help lists the keys")


def _find_negatives(
    corpus: ParallelCorpus, encoder: TextEncoder, cfg: DictConfig
) -> tuple[np.ndarray, Counter[str]]:
    Path(cfg.paths.cache_dir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cfg.paths.cache_dir, prefix=".vectors-") as scratch:
        vectors = {}
        for language in corpus.languages:
            vectors[language] = LanguageVectors(
                corpus, language, encoder, Path(scratch), cfg.texts_per_chunk
            )
        miner = HardNegativeMiner(
            corpus,
            vectors,
            count=cfg.count,
            depth=cfg.depth,
            languages=cfg.languages,
            margin=cfg.margin,
        )
        return miner.mine()


def _drop_unusable(corpus: ParallelCorpus, negatives_PK: np.ndarray) -> np.ndarray:
    """Replaces negatives that training would not find by -1, and says how many there were."""
    is_usable_PK = find_usable_negatives(corpus, negatives_PK)
    is_there_PK = negatives_PK >= 0
    unusable = int((is_there_PK & ~is_usable_PK).sum())
    if unusable:
        print(
            f"{unusable:,} of {int(is_there_PK.sum()):,} negatives are in no language of their "
            "pair's passage, where training would look for them: they are left out"
        )
    return np.where(is_usable_PK, negatives_PK, -1)


def _print_summary(to: str, negatives_PK: np.ndarray, found: Counter[str]) -> None:
    counts_P = (negatives_PK >= 0).sum(1)
    by_language = ", ".join(f"{language} {count:,}" for language, count in found.items())
    Console().print(
        f"{to}: {counts_P.mean():.2f} hard negatives a pair, {(counts_P == 0).sum():,} of "
        f"{len(counts_P):,} pairs have none; passages of {by_language} were found, the best of "
        "which are kept"
    )
    print(
        f"train with it: hybrid-ir train corpus=folder corpus.path={to} "
        f"data.hard_negatives={negatives_PK.shape[1]}"
    )
