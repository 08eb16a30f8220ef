"""Renders a table as rich text, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import replace

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from hybrid_ir.comparison.table import Cell, Table

_LATEX_LETTERS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "−": r"$-$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "…": r"\ldots{}",
    "|": r"\textbar{}",
}
# How many letters of a label a terminal must have room for; a longer one takes several lines.
_LABEL_WIDTH = 28
_PADDING = 2  # letters between two columns
# The first line of a LaTeX file with tables.
LATEX_PREAMBLE = "% needs \\usepackage{booktabs}; \\small or \\resizebox where a table is wide\n"
# What a cell holds beside its value, and how the column of it in a CSV file is called.
_CSV_COLUMNS = {"value": "", "sd": " sd", "p": " p holm"}


def to_rich_tables(table: Table, width: int) -> list[RichTable]:
    """Returns the table for a terminal, as several with the same rows where it is too wide.

    Args:
        table: The table.
        width: Of the terminal, in letters.
    """
    parts = _split_columns(table.shorten(), width)
    rich_tables = []
    for number, part in enumerate(parts, start=1):
        if number > 1:
            part = replace(part, title=f"{table.title}, continued")
        if number < len(parts):
            part = replace(part, note="")
        rich_tables.append(to_rich_table(part))
    return rich_tables


def _split_columns(table: Table, width: int) -> list[Table]:
    """Returns tables with as many columns of values each as fit, at least one."""
    left = 0
    for place, head in enumerate(table.heads):
        longest = max([len(head), *(len(row.labels[place]) for row in table.rows)])
        left += min(longest, _LABEL_WIDTH) + _PADDING
    parts: list[list[int]] = []
    free = 0
    for place, column in enumerate(table.columns):
        texts = [column.group, column.name]
        texts += [row.cells[place].full_text for row in table.rows]
        needed = max(len(text) for text in texts) + _PADDING
        if not parts or needed > free:
            parts.append([])
            free = width - left
        parts[-1].append(place)
        free -= needed
    if len(parts) < 2:
        return [table]
    return [table.keep_columns(places) for places in parts]


def to_rich_table(table: Table) -> RichTable:
    """Returns the table for a terminal; where it is too narrow, cells take several lines."""
    table = table.shorten()
    rich_table = RichTable(
        title=escape(table.title),
        title_justify="left",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for head in table.heads:
        rich_table.add_column(escape(head), overflow="fold")
    for column in table.columns:
        name = f"{column.group}\n{column.name}" if column.group else column.name
        rich_table.add_column(escape(name), justify="right", overflow="fold")
    for row in table.rows:
        cells = [escape(label) for label in row.labels]
        for cell in row.cells:
            text = escape(cell.full_text)
            cells.append(f"[bold]{text}[/]" if cell.best else text)
        rich_table.add_row(*cells, style="dim" if row.from_paper else None)
    return rich_table


def to_markdown(table: Table) -> str:
    """Returns the table as Markdown with its title and its note."""
    table = table.shorten()
    heads = [escape_markdown(head) for head in table.heads]
    heads += [escape_markdown(column.title) for column in table.columns]
    alignments = ["---"] * len(table.heads) + ["---:"] * len(table.columns)
    lines = [f"### {escape_markdown(table.title)}", ""]
    if table.note:
        lines += [escape_markdown(table.note), ""]
    lines.append(_join_markdown_cells(heads))
    lines.append(_join_markdown_cells(alignments))
    for row in table.rows:
        cells = [escape_markdown(label) for label in row.labels]
        cells += [_write_markdown_cell(cell) for cell in row.cells]
        lines.append(_join_markdown_cells(cells))
    return "\n".join(lines) + "\n"


def _join_markdown_cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _write_markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    if cell.best:
        text = f"**{text}**"
    if cell.sd_text:
        text += f" ± {cell.sd_text}"
    if cell.mark:
        text += f" {escape_markdown(cell.mark)}"
    return text


def escape_markdown(text: str) -> str:
    """Returns text that no reader of Markdown takes for a table's edge, emphasis or HTML."""
    text = re.sub(r"([\\|*_`\[\]])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_latex(table: Table) -> str:
    """Returns the table as a LaTeX table that needs the package booktabs."""
    table = table.shorten()
    heads = len(table.heads)
    caption = f"{escape_latex(table.caption)}. {escape_latex(table.note)}".strip()
    label = re.sub("[^a-z0-9]+", "-", table.file.lower())
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(table.columns)}}}",
        r"\toprule",
    ]
    lines += _write_latex_groups(table)
    names = [escape_latex(head) for head in table.heads]
    names += [escape_latex(column.name) for column in table.columns]
    lines += [_join_latex_cells(names), r"\midrule"]
    for number, row in enumerate(table.rows):
        # A rule divides our rows from those of the paper.
        if number > 0 and row.from_paper and not table.rows[number - 1].from_paper:
            lines.append(r"\midrule")
        cells = [escape_latex(label) for label in row.labels]
        cells += [_write_latex_cell(cell) for cell in row.cells]
        lines.append(_join_latex_cells(cells))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _write_latex_groups(table: Table) -> list[str]:
    """Returns the line with the names of the groups of columns, and the rules below them."""
    groups = table.list_groups()
    if not any(name for name, _ in groups):
        return []
    names = [""] * len(table.heads)
    rules = []
    place = len(table.heads) + 1
    for name, size in groups:
        names.append(rf"\multicolumn{{{size}}}{{c}}{{{escape_latex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{place}-{place + size - 1}}}")
        place += size
    return [_join_latex_cells(names), " ".join(rules)]


def _join_latex_cells(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _write_latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    if cell.best:
        text = rf"\textbf{{{text}}}"
    if cell.sd_text:
        text += rf" {{\footnotesize $\pm$ {escape_latex(cell.sd_text)}}}"
    if cell.mark:
        text += f"$^{{{_LATEX_LETTERS.get(cell.mark, cell.mark).strip('$')}}}$"
    return text


def escape_latex(text: str) -> str:
    """Returns text in which LaTeX finds no commands."""
    return "".join(_LATEX_LETTERS.get(letter, letter) for letter in " ".join(text.split()))


def to_csv(table: Table) -> str:
    """Returns all rows of the table with all digits.

    A column is followed by its standard deviations and its p values where it has any.
    """
    columns = []
    for place in range(len(table.columns)):
        for kind in _CSV_COLUMNS:
            values = [getattr(row.cells[place], kind) for row in table.rows]
            if kind == "value" or any(value is not None for value in values):
                columns.append((place, kind))
    names = [table.columns[place].title + _CSV_COLUMNS[kind] for place, kind in columns]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*table.heads, *names, "from"])
    for row in table.rows:
        values = []
        for place, kind in columns:
            value = getattr(row.cells[place], kind)
            values.append("" if value is None else value)
        writer.writerow([*row.labels, *values, row.origin])
    return file.getvalue()


def to_json_object(table: Table) -> dict:
    """Returns the table as the plain values that comparison.json holds."""
    rows = []
    for row in table.rows:
        cells = []
        for cell in row.cells:
            cells.append({"value": cell.value, "sd": cell.sd, "p_holm": cell.p})
        rows.append({"labels": list(row.labels), "from": row.origin, "cells": cells})
    return {
        "title": table.title,
        "note": table.note,
        "heads": list(table.heads),
        "columns": [column.title for column in table.columns],
        "rows": rows,
    }
