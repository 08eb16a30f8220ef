"""The batch card as tables for the terminal.

Shapes: L languages.
"""

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from hybrid_ir.training.batch_card import BatchCard

COLUMN_WIDTH = 6  # characters of a column of language pairs
PART_COLUMNS = ("corpus", "pairs", "monolingual", "mixed", "all", "expected", "serves")
TEXT_COLUMNS = ("corpus", "serves")


def print_batch_card(card: BatchCard, console: Console) -> None:
    """Prints a batch card with as many languages as the console has room for."""
    tables = [_build_facts_table(card)]
    if len(card.parts) > 1 or card.left_out:
        tables.append(_build_parts_table(card))
    columns = max(2, (console.width - COLUMN_WIDTH) // COLUMN_WIDTH)
    tables.append(_build_language_pairs_table(card, columns))
    console.print(Group(*tables))


def _build_facts_table(card: BatchCard) -> Table:
    table = Table(title="batch card", show_header=False, title_justify="left")
    table.add_row("corpus", card.corpus)
    table.add_row("queries per step", f"{card.queries_per_step}")
    table.add_row("negatives per query", f"{card.negatives_per_query:.1f}")
    table.add_row("masked share", f"{card.masked_share:.2%}")
    if card.empty_share:
        table.add_row("places for negatives left empty", f"{card.empty_share:.2%}")
    table.add_row("steps", f"{card.steps:,} ({card.passes:.1f} passes over the pairs)")
    table.add_row("monolingual batches", f"{card.monolingual_batches:.1%}")
    table.add_row("same-language examples", f"{card.same_language_examples:.1%}")
    for role, share in card.code_switched.items():
        table.add_row(f"code-switched {role} texts", f"{share:.1%}")
    for benchmark, shares in card.overlap.items():
        table.add_row(f"{benchmark} in the corpus", _describe_overlap(shares))
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
            _format_percent(part["monolingual"], 2),
            _format_percent(part["mixed"], 2),
            _format_percent(part["monolingual"] + part["mixed"], 2),
            _format_percent(part["expected"], 2),
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
        cells = [_format_percent(shares_LL[row, column], 1) for column in shown]
        table.add_row(card.languages[row], *cells)
    return table


def _format_percent(share: float, decimals: int) -> str:
    """Returns a share in percent, a dot for 0."""
    return f"{100 * share:.{decimals}f}" if share else "·"
