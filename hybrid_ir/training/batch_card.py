"""The batch card: what a plan really feeds the model, before the first step."""

# B examples of a batch, L languages, S steps looked at

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from hybrid_ir.data.batching import get_side, select_passages, switch_texts
from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.labels import mark_compared, mark_false_negatives
from hybrid_ir.data.overlap import BenchmarkTexts
from hybrid_ir.data.row_streams import RowStreams
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Benchmark, Role

LOOKED_AT = 20_000  # batches; a longer run is judged by its first ones
LOOKED_INTO = 5_000_000  # texts, missing ones included; a larger corpus is not searched for benchmarks at every start
MASKED_OVER = 50  # batches; the mask compares all texts of a batch


@dataclass(frozen=True)
class BatchCard:
    """Shares are realised ones, counted over the first `batches_counted` planned batches."""

    corpus: str
    queries_per_step: int
    negatives_per_query: float  # mean, after the mask
    masked_share: float  # of what would be negatives
    empty_share: float  # of the places for negatives: too few are known
    steps: int
    batches_counted: int
    passes: float  # over the pairs of the corpus
    monolingual_batches: float  # share of batches with one language
    same_language_examples: float
    languages: list[str]
    language_pairs: list[
        list[float]
    ]  # share of examples by query language (row) and passage language
    parts: list[
        dict
    ]  # of a mixture: pairs, share of the monolingual batches and of those whose examples choose, and as expected
    left_out: dict[str, str]  # what the mixture should have and has not, and why
    overlap: dict[
        str, dict[str, float] | None
    ]  # shares of a benchmark's questions and answers in the corpus; None: too large
    code_switched: dict[str, float]  # share of the queries or passages in which a word was replaced

    @classmethod
    def of(
        cls,
        sampler: PairBatchSampler,
        steps: int,
        batches_per_step: int,
        loss,
        hard_negatives: int = 0,
        benchmarks: Mapping[str, Benchmark | None] = MappingProxyType({}),
        switching: CodeSwitching | None = None,
    ) -> "BatchCard":
        """Of a run of so many optimiser steps, each over `batches_per_step` planned batches, measured on benchmarks."""
        size, corpus = len(sampler.corpus.languages), sampler.corpus
        counted = max(0, min(steps * batches_per_step, LOOKED_AT))
        pairs_LL, monolingual = np.zeros(size * size, np.int64), 0
        drawn_M2 = np.zeros((len(corpus.parts), 2), np.int64)
        for step in range(counted):
            plan = sampler[step]
            pairs_LL += np.bincount(
                plan.query_languages * size + plan.passage_languages, minlength=size * size
            )
            drawn_M2[plan.part, int(plan.monolingual)] += 1
            monolingual += bool(
                (plan.query_languages == plan.query_languages[0]).all()
                and (plan.passage_languages == plan.query_languages[0]).all()
            )
        texts = size * sum(
            len(sets)
            for part in corpus.parts
            for sets in (part.index.query_languages, part.index.passage_languages)
        )
        shares_LL = pairs_LL.reshape(size, size) / max(1, pairs_LL.sum())
        explicit = loss.negatives == "explicit"
        possible = (
            sampler.batch_size * hard_negatives
            if explicit
            else sampler.batch_size * (1 + hard_negatives) - 1
        )
        looked_into = range(min(counted, MASKED_OVER))
        there, kept = np.mean(
            [count_negatives(sampler, step, loss, hard_negatives) for step in looked_into]
            or [(0, 0)],
            axis=0,
        )
        pairs = sum(part.usable for part in corpus.parts)
        expected_M2 = np.stack(
            [normalise_weights(sampler.part_weights(monolingual)) for monolingual in (False, True)],
            axis=1,
        )
        return cls(
            corpus=corpus.source.name,
            queries_per_step=sampler.batch_size * batches_per_step,
            negatives_per_query=float(kept),
            masked_share=float(1 - kept / there) if there else 0.0,
            empty_share=float(1 - there / possible) if possible else 0.0,
            steps=steps,
            batches_counted=counted,
            passes=steps * batches_per_step * sampler.batch_size / max(1, pairs),
            monolingual_batches=monolingual / max(1, counted),
            same_language_examples=float(np.trace(shares_LL)),
            languages=list(corpus.languages),
            language_pairs=shares_LL.tolist(),
            left_out=dict(corpus.left_out),
            overlap={
                f"{stage} {given.name}": BenchmarkTexts.of(given).shared(corpus)
                if texts <= LOOKED_INTO
                else None
                for stage, given in benchmarks.items()
                if given is not None
            },
            parts=[
                {
                    "corpus": part.source.name,
                    "pairs": part.usable,
                    "monolingual": int(drawn[1]) / max(1, counted),
                    "mixed": int(drawn[0]) / max(1, counted),
                    "expected": float(expected @ sampler.shares_of_kinds),
                    "serves": describe_served_kinds(draws),
                }
                for part, draws, drawn, expected in zip(
                    corpus.parts, sampler.parts, drawn_M2, expected_M2, strict=True
                )
            ],
            code_switched={}
            if switching is None
            else {
                role: measure_switched_share(switching, sampler, looked_into, role)
                for role in switching.sides
            },
        )

    def as_dict(self) -> dict:
        return asdict(self)

    def show(self, console: Console) -> None:
        facts = Table(title="batch card", show_header=False, title_justify="left")
        for name, value in (
            ("corpus", self.corpus),
            ("queries per step", f"{self.queries_per_step}"),
            ("negatives per query", f"{self.negatives_per_query:.1f}"),
            ("masked share", f"{self.masked_share:.2%}"),
            *(
                [("places for negatives left empty", f"{self.empty_share:.2%}")]
                if self.empty_share
                else []
            ),
            ("steps", f"{self.steps:,} ({self.passes:.1f} passes over the pairs)"),
            ("monolingual batches", f"{self.monolingual_batches:.1%}"),
            ("same-language examples", f"{self.same_language_examples:.1%}"),
            *(
                (f"code-switched {role} texts", f"{share:.1%}")
                for role, share in self.code_switched.items()
            ),
            *(
                (f"{name} in the corpus", describe_shares(shares))
                for name, shares in self.overlap.items()
            ),
        ):
            facts.add_row(name, value)
        console.print(
            Group(
                facts,
                *([self._parts()] if len(self.parts) > 1 or self.left_out else []),
                self._pairs(most=max(2, (console.width - 6) // 6)),
            )
        )

    def _parts(self) -> Table:
        table = Table(title="% of the batches by corpus of the mixture", title_justify="left")
        for column in ("corpus", "pairs", "monolingual", "mixed", "all", "expected", "serves"):
            table.add_column(
                column,
                justify="left" if column in ("corpus", "serves") else "right",
                overflow="fold",
            )
        for part in self.parts:
            shares = (
                part["monolingual"],
                part["mixed"],
                part["monolingual"] + part["mixed"],
                part["expected"],
            )
            table.add_row(
                part["corpus"],
                f"{part['pairs']:,}",
                *(f"{100 * share:.2f}" if share else "·" for share in shares),
                part["serves"],
            )
        for name, reason in self.left_out.items():
            table.add_row(name, f"left out: {reason}", style="yellow")
        return table

    def _pairs(self, most: int) -> Table:
        shares_LL = np.array(self.language_pairs)
        order = np.argsort(-(shares_LL.sum(0) + shares_LL.sum(1)), kind="stable")
        used = sorted(order[:most][(shares_LL.sum(0) + shares_LL.sum(1))[order[:most]] > 0])
        left_out = int((shares_LL.sum(0) + shares_LL.sum(1) > 0).sum()) - len(used)
        title = "% of examples by query language (row) and passage language (column)"
        table = Table(
            title=title + (f", {left_out} more languages in batch_card.json" if left_out else ""),
            title_justify="left",
        )
        for column in ["", *(self.languages[i] for i in used)]:
            table.add_column(column, justify="right")
        for i in used:
            table.add_row(
                self.languages[i],
                *(f"{100 * shares_LL[i, j]:.1f}" if shares_LL[i, j] else "·" for j in used),
            )
        return table


def describe_served_kinds(streams: RowStreams) -> str:
    """Which batches of the plan a corpus can serve, in words."""
    kinds = [
        name
        for name, monolingual in (("monolingual", True), ("mixed", False))
        if streams.serves(monolingual)
    ]
    return " and ".join(kinds) + " alone" * (len(kinds) == 1) if kinds else "none of this plan"


def describe_shares(shares: dict[str, float] | None) -> str:
    if shares is None:
        return "not looked for, as the corpus is large: hybrid-ir data clean looks"
    return f"{shares['queries']:.1%} of its questions, {shares['passages']:.1%} of their answers"


def normalise_weights(weights_M: np.ndarray) -> np.ndarray:
    return weights_M / max(weights_M.sum(), 1e-300)


def count_negatives(
    sampler: PairBatchSampler, step: int, loss, hard_negatives: int
) -> tuple[float, float]:
    """How many negatives a query would have in one batch, and how many the mask leaves of them."""
    plan = sampler[step]
    _, labels = select_passages(sampler.corpus.parts[plan.part], plan, hard_negatives, sampler.seed)
    there_BN = mark_compared(labels, sampler.batch_size, loss.negatives)
    kept_BN = there_BN & ~mark_false_negatives(labels, sampler.batch_size, loss.mask)
    return float(there_BN.sum()) / len(there_BN), float(kept_BN.sum()) / len(there_BN)


def measure_switched_share(
    switching: CodeSwitching, sampler: PairBatchSampler, steps: range, role: Role
) -> float:
    """Share of the texts of these batches that come out of the code switching changed."""
    changed = 0
    for step in steps:
        plan = sampler[step]
        part = sampler.corpus.parts[plan.part]
        texts, languages_G = get_side(part, plan, role)
        ids_G1 = np.asarray(part.pairs[plan.pairs, int(role == "passage")], np.int64)[:, None]
        changed += sum(
            text != texts[languages_G[number]][int(ids_G1[number, 0])]
            for number, (text,) in switch_texts(switching, sampler, plan, role, ids_G1).items()
        )
    return changed / max(1, len(steps) * sampler.batch_size)
