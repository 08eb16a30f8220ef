"""`hybrid-ir mine`: hard negatives of a corpus, found by an encoder and chosen by language."""

# Q queries of a language, N ids of passages, D candidates or width of the vectors, K hard negatives

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from hybrid_ir.cli.config import PLAIN_ENCODER_KEYS, compose_config
from hybrid_ir.corpora.mining import (
    group_positives,
    list_searched_languages,
    merge_candidates,
    select_hard_negatives,
)
from hybrid_ir.corpora.rewriting import rewrite_corpus
from hybrid_ir.corpora.stored import write_corpus
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.evaluation.top_k import TopK
from hybrid_ir.runs import encoders as models
from hybrid_ir.runs.building import build
from hybrid_ir.system.setup import prepare_process
from hybrid_ir.types import Role, TextEncoder

TEXTS = (*PLAIN_ENCODER_KEYS, "checkpoint", "to", "corpus.path")
BLOCK, PAIRS = 1024, 8192  # queries of a matrix product, pairs that are judged together


def main(arguments: Sequence[str]) -> None:
    cfg = compose_config("mine", arguments, TEXTS)
    if cfg is not None:
        run(cfg)


def run(cfg: DictConfig) -> None:
    missing = [key for key in ("checkpoint", "to") if OmegaConf.is_missing(cfg, key)]
    wrong = [f"{key}: not given" for key in missing] + [
        f"{key}={cfg[key]} must be at least 1" for key in ("count", "depth") if cfg[key] < 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong) + "; hybrid-ir mine --help lists the keys")
    list_searched_languages(0, 1, cfg.languages)
    prepare_process(cfg.seed, cfg.threads)
    encoder, _ = models.load_any_encoder(str(cfg.checkpoint), cfg)
    corpus = build(cfg.corpus)
    if len(corpus.parts) > 1:
        raise ValueError("a mixture has no ids of its own: mine its corpora one by one")
    Path(cfg.paths.cache_dir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cfg.paths.cache_dir, prefix=".vectors-") as scratch:
        vectors = {
            language: Vectors(corpus, language, encoder, Path(scratch), cfg.texts_per_chunk)
            for language in corpus.languages
        }
        negatives, counts = mine(corpus, vectors, cfg)
    usable = usable_in(corpus, negatives)
    if lost := int(((negatives >= 0) & ~usable).sum()):
        print(
            f"{lost:,} of {int((negatives >= 0).sum()):,} negatives are in no language of their pair's passage, where training "
            "would look for them: they are left out"
        )
    negatives = np.where(usable, negatives, -1)
    if not (negatives >= 0).any():
        raise ValueError(
            f"no passage is a hard negative by checkpoint={cfg.checkpoint}, languages={cfg.languages}, "
            f"margin={cfg.margin}, depth={cfg.depth}: nothing is written. A lower margin or more depth finds more"
        )
    about = (
        f"hard negatives mined by {encoder.name} ({cfg.languages} languages, margin {cfg.margin})"
    )
    write_corpus(
        cfg.to,
        lambda writer: rewrite_corpus(
            corpus, writer, np.asarray(corpus.pairs), negatives, about, counts
        ),
    )
    found = (negatives >= 0).sum(1)
    Console().print(
        f"{cfg.to}: {found.mean():.2f} hard negatives a pair, {(found == 0).sum():,} of {len(found):,} pairs have "
        f"none; passages of {', '.join(f'{name} {count:,}' for name, count in counts.items())} were found, the best "
        "of which are kept"
    )
    print(
        f"train with it: python train.py corpus=folder corpus.path={cfg.to} data.hard_negatives={negatives.shape[1]}"
    )


class Vectors:
    """Unit vectors of the queries and passages of a language, passages in a file; `ids` are those that it has."""

    def __init__(
        self, corpus: ParallelCorpus, language: str, encoder: TextEncoder, scratch: Path, size: int
    ):
        number, derived, self.device = (
            corpus.languages.index(language),
            corpus.index,
            encoder.device,
        )
        self.query_ids, self.ids = (
            np.flatnonzero(sets.has(np.arange(len(sets)), number))
            for sets in (derived.query_languages, derived.passage_languages)
        )
        self.queries, self.passages = (
            self._encode(
                encoder, texts[language], ids, role, scratch / f"{role}-{language}.bin", size
            )
            for role, texts, ids in (
                ("query", corpus.queries, self.query_ids),
                ("passage", corpus.passages, self.ids),
            )
        )
        self.row_of = np.full(len(derived.passage_languages), -1)
        self.row_of[self.ids] = np.arange(len(self.ids))

    @staticmethod
    def _encode(
        encoder: TextEncoder,
        texts: Sequence[str],
        ids: np.ndarray,
        role: Role,
        path: Path,
        size: int,
    ) -> np.ndarray:
        width, written = 0, 0
        with open(path, "wb") as file:
            for start in track(
                range(0, len(ids), size),
                f"encode {path.stem}",
                disable=len(ids) < 10 * size,
                transient=True,
            ):
                items = encoder.read([texts[int(row)] for row in ids[start : start + size]], role)
                found = (
                    torch.nn.functional.normalize(encoder.encode(items, role).float()).cpu().numpy()
                )
                width, written = found.shape[1], written + len(found)
                file.write(found.tobytes())
        return (
            np.memmap(path, np.float32, "c", shape=(written, width))
            if written
            else np.empty((0, 0), np.float32)
        )


def usable_in(corpus: ParallelCorpus, negatives: np.ndarray) -> np.ndarray:
    """Whether each negative (P, K) is there in a language of its pair's passage."""
    told_PL = corpus.availability.of_pairs(np.arange(len(negatives)))[1]
    return np.any(
        [
            corpus.index.passage_languages.has(negatives, language) & told_PL[:, language, None]
            for language in range(len(corpus.languages))
        ],
        axis=0,
    )


def mine(
    corpus: ParallelCorpus, vectors: dict[str, Vectors], cfg: DictConfig
) -> tuple[np.ndarray, Counter]:
    """Hard negatives of each pair (P, K), and in which languages they were found: the best over its query's languages."""
    pairs, contents = (
        np.asarray(corpus.pairs, np.int64),
        group_positives(
            corpus.query_content[corpus.pairs[:, 0]], corpus.content[corpus.pairs[:, 1]]
        ),
    )
    best = np.full((len(pairs), cfg.count), -1), np.full((len(pairs), cfg.count), -np.inf)
    counts: Counter[str] = Counter()
    by_query_P = np.argsort(pairs[:, 0], kind="stable")
    asked_P = pairs[by_query_P, 0]
    for number, language in enumerate(
        track(corpus.languages, "search", disable=len(pairs) < BLOCK, transient=True)
    ):
        own = vectors[language]
        for start in range(0, len(own.query_ids), BLOCK):
            block = own.query_ids[start : start + BLOCK]
            rows = by_query_P[slice(*np.searchsorted(asked_P, (block[0], block[-1] + 1)))]
            rows = rows[np.isin(pairs[rows, 0], block)]
            queries = own.queries[start : start + BLOCK]
            for other in list_searched_languages(number, len(corpus.languages), cfg.languages):
                pool = vectors[corpus.languages[other]]
                if not len(pool.ids) or not len(rows):
                    continue
                candidates = searched(pool, queries, cfg.depth)
                for some in np.array_split(rows, -(-len(rows) // PAIRS)):
                    places = np.searchsorted(block, pairs[some, 0])
                    found = chosen(
                        corpus,
                        own,
                        pool,
                        queries[places],
                        some,
                        [side[places] for side in candidates],
                        contents,
                        cfg,
                    )
                    counts[corpus.languages[other]] += int((found[0] >= 0).sum())
                    both = (
                        np.concatenate([side[some], new], axis=1)
                        for side, new in zip(best, found, strict=True)
                    )
                    ids, scores = merge_candidates(*both)
                    best[0][some], best[1][some] = select_hard_negatives(
                        ids, scores, ids >= 0, corpus.content, cfg.count
                    )
    return best[0], counts


def searched(pool: Vectors, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and scores (Q, D) of the best passages of a language, -1 for none."""
    top = TopK(len(queries), min(depth, len(pool.ids)))
    given = torch.from_numpy(np.ascontiguousarray(queries)).to(pool.device)
    for start in range(0, len(pool.ids), 1 << 16):
        block = torch.from_numpy(np.ascontiguousarray(pool.passages[start : start + (1 << 16)])).to(
            pool.device
        )
        top.take(
            0,
            (given @ block.T).double(),
            torch.arange(start, start + len(block), device=pool.device),
            0,
        )
    places, scores = top.rows_QK.numpy(), top.scores_QK.numpy()
    return np.where(places >= 0, pool.ids[places], -1), scores


def chosen(
    corpus: ParallelCorpus,
    own: Vectors,
    pool: Vectors,
    queries: np.ndarray,
    rows: np.ndarray,
    candidates: Sequence[np.ndarray],
    contents: dict[int, np.ndarray],
    cfg: DictConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Hard negatives (P, K) of some pairs among the candidates (P, D) of their queries."""
    ids, scores = candidates
    query_ids, positives = np.asarray(corpus.pairs[rows], np.int64).T
    answers = [contents[int(content)] for content in corpus.query_content[query_ids]]
    right = np.array(
        [np.isin(corpus.content[own], answer) for own, answer in zip(ids, answers, strict=True)]
    )
    score = np.full(len(rows), np.inf)
    for vectors in (
        own,
        pool,
    ):  # the positive in the language of the passages, or in that of the query; where neither is, any
        if len(vectors.ids):
            place = vectors.row_of[positives]
            score = np.where(place >= 0, (queries * vectors.passages[place]).sum(1), score)
    return select_hard_negatives(
        ids, scores, ~right & (scores <= score[:, None] - cfg.margin), corpus.content, cfg.count
    )
