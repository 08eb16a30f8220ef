"""A Table as rich text, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import re

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from hybrid_ir.comparison.table import Cell, Table

LATEX = {
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
    "−": r"$-$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "…": r"\ldots{}",
    "|": r"\textbar{}",
}
BEGINNING = "% needs \\usepackage{booktabs}; \\small or \\resizebox where a table is wide\n"


def to_rich_table(table: Table) -> RichTable:
    table = table.short
    made = RichTable(
        title=escape(table.title),
        title_justify="left",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for head in table.heads:
        made.add_column(escape(head), overflow="fold")
    for column in table.columns:
        made.add_column(
            escape(f"{column.group}\n{column.name}" if column.group else column.name),
            justify="right",
            no_wrap=True,
        )
    for row in table.rows:
        cells = [
            f"[bold]{escape(cell.plain)}[/]" if cell.best else escape(cell.plain)
            for cell in row.cells
        ]
        made.add_row(*map(escape, row.labels), *cells, style=None if row.ours else "dim")
    return made


def to_markdown(table: Table) -> str:
    table = table.short

    def line(cells) -> str:
        return "| " + " | ".join(cells) + " |"

    def written(cell: Cell) -> str:
        text = markdown_text(cell.text)
        sd = f" ± {cell.sd_text}" if cell.sd_text else ""
        return (f"**{text}**" if cell.best else text) + sd + (r" \*" if cell.star else "")

    lines = [f"### {markdown_text(table.title)}", ""]
    if table.note:
        lines += [markdown_text(table.note), ""]
    lines.append(
        line(
            [
                *map(markdown_text, table.heads),
                *(markdown_text(column.title) for column in table.columns),
            ]
        )
    )
    lines.append(line(["---"] * len(table.heads) + ["---:"] * len(table.columns)))
    lines += [
        line([*map(markdown_text, row.labels), *map(written, row.cells)]) for row in table.rows
    ]
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Text that no Markdown reader takes for a table's edge, for emphasis or for HTML."""
    text = re.sub(r"([\\|*_`\[\]])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_latex(table: Table) -> str:
    table = table.short

    def line(cells) -> str:
        return " & ".join(cells) + r" \\"

    def written(cell: Cell) -> str:
        text = latex_text(cell.text)
        sd = rf" {{\footnotesize $\pm$ {latex_text(cell.sd_text)}}}" if cell.sd_text else ""
        return (rf"\textbf{{{text}}}" if cell.best else text) + sd + ("$^{*}$" if cell.star else "")

    heads = len(table.heads)
    caption = f"{latex_text(table.title)}. {latex_text(table.note)}".strip()
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', table.file.lower())}}}",
        rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(table.columns)}}}",
        r"\toprule",
    ]
    if any(name for name, _ in table.groups):
        above, rules, place = [""] * heads, [], heads + 1
        for name, size in table.groups:
            above.append(rf"\multicolumn{{{size}}}{{c}}{{{latex_text(name)}}}")
            rules += [rf"\cmidrule(lr){{{place}-{place + size - 1}}}"] if name else []
            place += size
        lines += [line(above), " ".join(rules)]
    lines += [
        line(
            [
                latex_text(text)
                for text in (*table.heads, *(column.name for column in table.columns))
            ]
        ),
        r"\midrule",
    ]
    ours = True
    for row in table.rows:
        lines += [r"\midrule"] if ours and not row.ours and row is not table.rows[0] else []
        ours = row.ours
        lines.append(line([*map(latex_text, row.labels), *map(written, row.cells)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in " ".join(text.split()))


def to_csv(table: Table) -> str:
    """All rows and digits; a column has companions for the standard deviation and Holm's p where it has any."""
    more = [
        (i, kind)
        for i, _ in enumerate(table.columns)
        for kind in ("value", "sd", "p")
        if kind == "value" or any(getattr(row.cells[i], kind) is not None for row in table.rows)
    ]
    names = {"value": "", "sd": " sd", "p": " p holm"}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*table.heads, *(table.columns[i].title + names[kind] for i, kind in more), "from"]
    )
    for row in table.rows:
        values = [getattr(row.cells[i], kind) for i, kind in more]
        writer.writerow(
            [
                *row.labels,
                *("" if value is None else value for value in values),
                "ours" if row.ours else "paper",
            ]
        )
    return out.getvalue()


def table_to_dict(table: Table) -> dict:
    """Plain values for comparison.json."""
    return {
        "title": table.title,
        "note": table.note,
        "heads": list(table.heads),
        "columns": [column.title for column in table.columns],
        "rows": [
            {
                "labels": list(row.labels),
                "from": "ours" if row.ours else "paper",
                "cells": [
                    {"value": cell.value, "sd": cell.sd, "p_holm": cell.p} for cell in row.cells
                ],
            }
            for row in table.rows
        ],
    }
