"""The batch card: what a plan of batches feeds the model, counted before the first step.

Shapes: B examples of a batch, N passages of a batch, L languages, M parts of a mixture.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from rich.console import Console, Group
from rich.table import Table

from hybrid_ir.data.batching import get_side, select_passages, switch_texts
from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.labels import NegativeCounts, count_negatives
from hybrid_ir.data.overlap import BenchmarkTexts
from hybrid_ir.data.row_streams import RowStreams
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.evaluation.number_format import format_percent
from hybrid_ir.training.losses import RetrievalLoss, read_loss_options
from hybrid_ir.training.validation import HELD_OUT_OF
from hybrid_ir.types import Benchmark, PlannedBatch, Role

COUNTED_BATCHES = 20_000  # batches; a longer run is judged by its first ones
MASKED_BATCHES = 50  # batches; the mask compares all texts of a batch, which takes time
# Texts, missing ones included. A larger corpus is not searched for benchmarks at every start.
SEARCHED_TEXTS = 5_000_000
COLUMN_WIDTH = 6  # characters of a column of language pairs
PART_COLUMNS = ("corpus", "pairs", "monolingual", "mixed", "all", "expected", "serves")
TEXT_COLUMNS = ("corpus", "serves")
LAST_STEP = "nothing, as there is no validation: the last step is taken"
NO_NOTES: Mapping[str, str] = MappingProxyType({})
NO_BENCHMARKS: Mapping[str, Benchmark | None] = MappingProxyType({})


@dataclass(frozen=True)
class BatchCard:
    """What the batches of a run hold; shares are counted over the first `batches_counted`."""

    corpus: str
    queries_per_step: int
    negatives_per_query: float  # mean, after the mask
    masked_share: float  # of what would be negatives
    share_without_negatives: float  # of queries: all of what would be negatives is masked
    empty_share: float  # of the places for negatives: too few are known
    steps: int
    batches_counted: int
    passes: float  # over the pairs of the corpus
    monolingual_batches: float  # share of batches with one language
    same_language_examples: float  # share of examples
    languages: list[str]
    # Share of examples by query language (row) and passage language (column).
    language_pairs: list[list[float]]
    # Of a mixture: pairs, the share of the monolingual batches and of those whose examples choose
    # their languages, and the share that is expected.
    parts: list[dict]
    left_out: dict[str, str]  # what the mixture should have and has not, and why
    # Shares of a benchmark's queries and relevant passages in the corpus; None if it is too large.
    overlap: dict[str, dict[str, float] | None]
    # Share of the queries or passages in which a word was replaced.
    code_switched: dict[str, float]
    chosen_by: str  # what chooses the checkpoint that is measured

    @classmethod
    def of(
        cls,
        sampler: PairBatchSampler,
        steps: int,
        batches_per_step: int,
        loss: RetrievalLoss,
        hard_negatives: int = 0,
        benchmarks: Mapping[str, Benchmark | None] = NO_BENCHMARKS,
        switching: CodeSwitching | None = None,
        chosen_by: str = LAST_STEP,
    ) -> "BatchCard":
        """Counts what the batches of a run hold.

        Args:
            sampler: plans the batches.
            steps: optimiser steps of the run.
            batches_per_step: planned batches of each of these steps.
            loss: decides which passages are negatives of a query.
            hard_negatives: for each query.
            benchmarks: what the run is measured on, by stage.
            switching: prepared for the languages of the corpus; None without code switching.
            chosen_by: what chooses the checkpoint that is measured.
        """
        corpus = sampler.corpus
        batches = steps * batches_per_step
        counted = max(0, min(batches, COUNTED_BATCHES))
        counts = _count_plan(sampler, counted)
        masked_steps = range(min(counted, MASKED_BATCHES))
        possible = _count_places_for_negatives(sampler, loss, hard_negatives)
        negatives = _count_negatives(sampler, masked_steps, loss, hard_negatives)
        queries = max(1, len(negatives.kept_B))
        present = float(negatives.present_B.sum()) / queries
        shares_LL = counts.language_pairs_LL / max(1, counts.language_pairs_LL.sum())
        pairs = sum(part.usable_pair_count for part in corpus.parts)
        return cls(
            corpus=corpus.source.name,
            queries_per_step=sampler.batch_size * batches_per_step,
            negatives_per_query=float(negatives.kept_B.sum()) / queries,
            masked_share=float(negatives.masked_share),
            share_without_negatives=float((negatives.kept_B == 0).sum()) / queries,
            empty_share=1 - present / possible if possible else 0.0,
            steps=steps,
            batches_counted=counted,
            passes=batches * sampler.batch_size / max(1, pairs),
            monolingual_batches=counts.monolingual_batches / max(1, counted),
            same_language_examples=float(np.trace(shares_LL)),
            languages=list(corpus.languages),
            language_pairs=shares_LL.tolist(),
            left_out=dict(corpus.left_out),
            overlap=_measure_overlap(corpus, benchmarks),
            parts=_describe_parts(sampler, counts),
            code_switched=_measure_switched_shares(switching, sampler, masked_steps),
            chosen_by=chosen_by,
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns the card as plain values, for JSON."""
        return asdict(self)


@dataclass
class _PlanCounts:
    """Counts over the first batches of a plan."""

    batches: int
    monolingual_batches: int  # with one language, whatever the draw was
    language_pairs_LL: np.ndarray  # examples by query and passage language
    mixed_batches_M: np.ndarray  # batches of a part whose examples choose their languages
    monolingual_batches_M: np.ndarray  # batches of a part that were drawn as monolingual


def _count_plan(sampler: PairBatchSampler, batches: int) -> _PlanCounts:
    size = len(sampler.corpus.languages)
    parts = len(sampler.corpus.parts)
    counts = _PlanCounts(
        batches=batches,
        monolingual_batches=0,
        language_pairs_LL=np.zeros((size, size), np.int64),
        mixed_batches_M=np.zeros(parts, np.int64),
        monolingual_batches_M=np.zeros(parts, np.int64),
    )
    for step in range(batches):
        plan = sampler[step]
        pairs_B = plan.query_languages * size + plan.passage_languages
        counts.language_pairs_LL += np.bincount(pairs_B, minlength=size * size).reshape(size, size)
        if _has_one_language(plan):
            counts.monolingual_batches += 1
        if plan.monolingual:
            counts.monolingual_batches_M[plan.part] += 1
        else:
            counts.mixed_batches_M[plan.part] += 1
    return counts


def _has_one_language(plan: PlannedBatch) -> bool:
    language = plan.query_languages[0]
    queries_have_it = (plan.query_languages == language).all()
    passages_have_it = (plan.passage_languages == language).all()
    return bool(queries_have_it and passages_have_it)


def _count_places_for_negatives(
    sampler: PairBatchSampler, loss: RetrievalLoss, hard_negatives: int
) -> int:
    """Returns how many negatives a query has if none is missing and none is masked."""
    if read_loss_options(loss).negatives == "explicit":
        return sampler.batch_size * hard_negatives
    return sampler.batch_size * (1 + hard_negatives) - 1


def _count_negatives(
    sampler: PairBatchSampler, steps: range, loss: RetrievalLoss, hard_negatives: int
) -> NegativeCounts:
    """Counts the negatives of all queries of these batches."""
    options = read_loss_options(loss)
    present = [torch.empty(0, dtype=torch.long)]
    kept = [torch.empty(0, dtype=torch.long)]
    for step in steps:
        plan = sampler[step]
        part = sampler.corpus.parts[plan.part]
        _, labels = select_passages(part, plan, hard_negatives, sampler.seed)
        counts = count_negatives(labels, sampler.batch_size, options.mask, options.negatives)
        present.append(counts.present_B)
        kept.append(counts.kept_B)
    return NegativeCounts(torch.cat(present), torch.cat(kept))


def _measure_overlap(
    corpus: ParallelCorpus, benchmarks: Mapping[str, Benchmark | None]
) -> dict[str, dict[str, float] | None]:
    """Returns which shares of each benchmark's texts the corpus has, None if it is too large."""
    texts = 0
    for part in corpus.parts:
        sets = len(part.index.query_languages) + len(part.index.passage_languages)
        texts += sets * len(corpus.languages)
    overlap = {}
    for stage, benchmark in benchmarks.items():
        if benchmark is None or HELD_OUT_OF in benchmark.source.choices:
            continue
        shares = None
        if texts <= SEARCHED_TEXTS:
            shares = BenchmarkTexts.from_benchmark(benchmark).compute_shared_fractions(corpus)
        overlap[f"{stage} {benchmark.name}"] = shares
    return overlap


def _describe_parts(sampler: PairBatchSampler, counts: _PlanCounts) -> list[dict[str, Any]]:
    """Returns what each corpus of a mixture contributes, and what was to be expected."""
    mixed_M = _normalise(sampler.compute_part_weights(False))
    monolingual_M = _normalise(sampler.compute_part_weights(True))
    batches = max(1, counts.batches)
    parts = []
    for number, part in enumerate(sampler.corpus.parts):
        expected_2 = np.array([mixed_M[number], monolingual_M[number]])
        parts.append(
            {
                "corpus": part.source.name,
                "pairs": part.usable_pair_count,
                "monolingual": int(counts.monolingual_batches_M[number]) / batches,
                "mixed": int(counts.mixed_batches_M[number]) / batches,
                "expected": float(expected_2 @ sampler.shares_of_kinds),
                "serves": _describe_served_kinds(sampler.parts[number]),
            }
        )
    return parts


def _normalise(weights_M: np.ndarray) -> np.ndarray:
    """Returns the weights with a sum of 1, or zeros as they are."""
    return weights_M / max(weights_M.sum(), 1e-300)


def _describe_served_kinds(streams: RowStreams) -> str:
    """Says which batches of the plan a corpus can serve."""
    monolingual = streams.serves(True)
    mixed = streams.serves(False)
    if monolingual and mixed:
        return "monolingual and mixed"
    if monolingual:
        return "monolingual alone"
    if mixed:
        return "mixed alone"
    return "none of this plan"


def _measure_switched_shares(
    switching: CodeSwitching | None, sampler: PairBatchSampler, steps: range
) -> dict[str, float]:
    """Returns the share of code-switched texts of each role in these batches."""
    if switching is None:
        return {}
    return {
        role: _measure_switched_share(switching, sampler, steps, role) for role in switching.sides
    }


def _measure_switched_share(
    switching: CodeSwitching, sampler: PairBatchSampler, steps: range, role: Role
) -> float:
    """Returns the share of the texts that come out of the code switching changed."""
    column = 1 if role == "passage" else 0
    changed = 0
    for step in steps:
        plan = sampler[step]
        part = sampler.corpus.parts[plan.part]
        texts, languages_B = get_side(part, plan, role)
        ids_B1 = np.asarray(part.pairs[plan.pairs, column], np.int64)[:, None]
        switched_texts = switch_texts(switching, sampler, plan, role, ids_B1)
        for number, (switched_text,) in switched_texts.items():
            original = texts[languages_B[number]][int(ids_B1[number, 0])]
            if switched_text != original:
                changed += 1
    return changed / max(1, len(steps) * sampler.batch_size)


def print_batch_card(
    card: BatchCard, console: Console, notes: Mapping[str, str] = NO_NOTES
) -> None:
    """Prints a batch card with as many languages as the console has room for.

    Args:
        card: what the batches hold.
        console: where to print.
        notes: further rows, which are of this machine and not of the plan.
    """
    tables = [_build_facts_table(card, notes)]
    if len(card.parts) > 1 or card.left_out:
        tables.append(_build_parts_table(card))
    columns = max(2, (console.width - COLUMN_WIDTH) // COLUMN_WIDTH)
    tables.append(_build_language_pairs_table(card, columns))
    console.print(Group(*tables))


def _build_facts_table(card: BatchCard, notes: Mapping[str, str]) -> Table:
    table = Table(title="batch card", show_header=False, title_justify="left")
    table.add_row("corpus", card.corpus)
    table.add_row("queries per step", f"{card.queries_per_step}")
    table.add_row("negatives per query", f"{card.negatives_per_query:.1f}")
    table.add_row("masked share", f"{card.masked_share:.2%}")
    if card.share_without_negatives:
        shown = f"{card.share_without_negatives:.2%}, which train nothing"
        table.add_row("queries without any negative", shown, style="yellow")
    if card.empty_share:
        table.add_row("places for negatives left empty", f"{card.empty_share:.2%}")
    table.add_row("steps", f"{card.steps:,} ({card.passes:.1f} passes over the pairs)")
    table.add_row("monolingual batches", f"{card.monolingual_batches:.1%}")
    table.add_row("same-language examples", f"{card.same_language_examples:.1%}")
    for role, share in card.code_switched.items():
        table.add_row(f"code-switched {role} texts", f"{share:.1%}")
    table.add_row("checkpoint chosen by", card.chosen_by)
    for benchmark, shares in card.overlap.items():
        table.add_row(f"{benchmark} in the corpus", _describe_overlap(shares))
    for name, note in notes.items():
        table.add_row(name, note)
    return table


def _describe_overlap(shares: dict[str, float] | None) -> str:
    if shares is None:
        return "not looked for, as the corpus is large: hybrid-ir data clean looks"
    return f"{shares['queries']:.1%} of its questions, {shares['passages']:.1%} of their answers"


def _build_parts_table(card: BatchCard) -> Table:
    table = Table(title="% of the batches by corpus of the mixture", title_justify="left")
    for column in PART_COLUMNS:
        justify = "left" if column in TEXT_COLUMNS else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for part in card.parts:
        table.add_row(
            part["corpus"],
            f"{part['pairs']:,}",
            _format_cell(part["monolingual"], 2),
            _format_cell(part["mixed"], 2),
            _format_cell(part["monolingual"] + part["mixed"], 2),
            _format_cell(part["expected"], 2),
            part["serves"],
        )
    for name, reason in card.left_out.items():
        table.add_row(name, f"left out: {reason}", style="yellow")
    return table


def _build_language_pairs_table(card: BatchCard, columns: int) -> Table:
    """Builds a table of the languages with the most examples, in the order of the corpus."""
    shares_LL = np.array(card.language_pairs)
    examples_L = shares_LL.sum(0) + shares_LL.sum(1)
    most_frequent = np.argsort(-examples_L, kind="stable")[:columns]
    shown = sorted(most_frequent[examples_L[most_frequent] > 0])
    hidden = int((examples_L > 0).sum()) - len(shown)
    title = "% of examples by query language (row) and passage language (column)"
    if hidden:
        title += f", {hidden} more languages in batch_card.json"
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    for column in shown:
        table.add_column(card.languages[column], justify="right")
    for row in shown:
        cells = [_format_cell(shares_LL[row, column], 1) for column in shown]
        table.add_row(card.languages[row], *cells)
    return table


def _format_cell(share: float, decimals: int) -> str:
    """Returns a share in percent for a table whose title says so, a dot for 0."""
    return format_percent(share or None, decimals, unit="")
