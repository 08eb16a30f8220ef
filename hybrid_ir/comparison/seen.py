"""Languages that training saw, against those that it did not see."""

from collections.abc import Callable, Iterable

import numpy as np

from hybrid_ir.comparison.base_languages import base_language
from hybrid_ir.comparison.grid import Resampling, adjust, measure
from hybrid_ir.comparison.language_tables import NOTE
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.table import TITLES, VIEW_TITLES, Column, Row, Table, cell_of

UNKNOWN = "not known"


def exposure(section: Section) -> Callable[[str], str]:
    """How the trained systems met a language, in whatever script: seen by all, unseen by all, or seen by some."""
    trained = [
        ({*system.languages}, {base_language(language) for language in system.languages} - {None})
        for system in section.systems
        if system.languages
    ]

    def of(language: str) -> str:
        base = base_language(language)
        met = sum(language in codes or base in bases for codes, bases in trained)
        if met < len(trained) and base is None:
            return UNKNOWN
        return "seen" if met == len(trained) else "unseen" if not met else "seen by some"

    return of


def seen_table(section: Section, metric: str, chance: Resampling) -> Table | None:
    """Means over settings of languages that training saw and did not see; None where all are the same."""
    of, groups = exposure(section), {}
    for language in section.languages:
        groups.setdefault(of(language), []).append(language)
    if len(groups) < 2 or not any(system.languages for system in section.systems):
        return None

    def cells(view: str) -> Iterable[tuple[str, np.ndarray]]:
        for name, asked in groups.items():
            for other, pool in groups.items() if view == "cross" else ((name, None),):
                yield (
                    (f"{name} → {other}" if view == "cross" else name),
                    section.mask(view, asked, pool or None),
                )

    parts = {view: {name: mask for name, mask in cells(view) if mask.any()} for view in VIEWS}
    parts = {view: found for view, found in parts.items() if found}
    wanted = [(view, metric) for view in parts] + (
        [("multi", "rank_distance")] if "multi" in parts else []
    )
    grids = adjust([measure(section, name, parts[view], chance) for view, name in wanted])
    columns = [
        Column(cell, f"{VIEW_TITLES[view]} {TITLES.get(name, name)}")
        for (view, name) in wanted
        for cell in parts[view]
    ]
    rows = [
        Row(
            (system.label,),
            tuple(cell_of(grid, i, k) for grid in grids for k in range(len(grid.cells))),
        )
        for i, system in enumerate(section.systems)
    ]
    told = "; ".join(f"{name}: {', '.join(languages)}" for name, languages in groups.items())
    title = f"{section.name}: languages that training saw and did not see"
    return Table(
        f"{section.stem}_seen",
        title,
        ("system",),
        tuple(columns),
        tuple(rows),
        f"{told}. Cross: query → passage. {NOTE}",
        marks=True,
    )
