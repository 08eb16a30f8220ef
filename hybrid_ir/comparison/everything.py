"""The whole comparison of some result folders: its tables, and the files they are written to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_ir.comparison import formats
from hybrid_ir.comparison.changes import change_tables, pair_grid
from hybrid_ir.comparison.grid import Grid, Resampling
from hybrid_ir.comparison.language_tables import language_tables
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.seen import seen_table
from hybrid_ir.comparison.table import Table
from hybrid_ir.comparison.tables import (
    Headline,
    effects_table,
    headline,
    systems_table,
    table1,
    table2,
)
from hybrid_ir.files.atomic import write_text_atomically


@dataclass(frozen=True, eq=False)
class ComparedBenchmark:
    """What is said about one benchmark; `tables` by the name of their chapter."""

    section: Section
    macro: Headline
    micro: Headline
    pairs: Grid
    tables: dict[str, list[Table]]


@dataclass(frozen=True, eq=False)
class Comparison:
    metric: str
    chance: Resampling
    overview: list[Table]  # tables 1 and 2, macro and micro
    parts: list[ComparedBenchmark]
    paper: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def tables(self) -> list[Table]:
        return [
            *self.overview,
            *(table for part in self.parts for tables in part.tables.values() for table in tables),
        ]


def compare(
    sections: Sequence[Section],
    metric: str = "map",
    paper: bool = True,
    chance: Resampling | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Test and tabulate; nothing is written."""
    chance, parts = chance or Resampling(), []
    for section in sections:
        macro, micro = (headline(section, metric, chance, micro) for micro in (False, True))
        pairs, seen = pair_grid(section, metric, chance), seen_table(section, metric, chance)
        parts.append(
            ComparedBenchmark(
                section,
                macro,
                micro,
                pairs,
                {
                    "systems": [systems_table(section)],
                    "effects": [
                        table
                        for table in (effects_table(macro), effects_table(micro, micro=True))
                        if table.rows
                    ],
                    "languages": language_tables(section, metric, chance, paper),
                    "seen": [seen] if seen else [],
                    "changes": change_tables(section, metric, chance, pairs),
                },
            )
        )
    means = {
        micro: [part.micro if micro else part.macro for part in parts] for micro in (False, True)
    }
    overview = [
        table
        for micro, heads in means.items()
        for table in (table1(heads, metric, paper, micro), table2(heads, paper, micro))
    ]
    return Comparison(
        metric, chance, [table for table in overview if table.columns], parts, paper, list(notes)
    )


def write_tables(comparison: Comparison, folder: Path) -> None:
    """tables.md, tables.tex, a CSV per table, comparison.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(
        folder / "tables.md", "\n".join(map(formats.to_markdown, comparison.tables))
    )
    write_text_atomically(
        folder / "tables.tex",
        formats.BEGINNING + "\n".join(map(formats.to_latex, comparison.tables)),
    )
    for table in comparison.tables:
        write_text_atomically(folder / f"{table.file}.csv", formats.to_csv(table))
    write_text_atomically(
        folder / "comparison.json",
        json.dumps(comparison_to_dict(comparison), indent=2, allow_nan=False, ensure_ascii=False),
    )


def comparison_to_dict(comparison: Comparison) -> dict:
    benchmarks = {}
    for part in comparison.parts:
        section = part.section
        benchmarks[section.name] = {
            "benchmark": section.first.metrics["benchmark"],
            "notes": list(section.notes),
            "systems": [
                {
                    "label": system.label,
                    "seeds": system.seeds,
                    "identity": system.identity,
                    "baseline": None if base is None else section.systems[base].label,
                    "folders": [str(result.folder) for result in system.results],
                }
                for system, base in zip(section.systems, section.baselines, strict=True)
            ],
        }
    return {
        "metric": comparison.metric,
        "chance": vars(comparison.chance),
        "notes": comparison.notes,
        "benchmarks": benchmarks,
        "tables": {table.file: formats.table_to_dict(table) for table in comparison.tables},
    }
