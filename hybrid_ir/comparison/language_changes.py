"""Which languages gain and which lose, and how languages fare that training did not see."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from babel import Locale
from babel.core import get_global

from hybrid_ir.comparison.language_tables import describe_language_marks
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import (
    Grid,
    Resampling,
    adjust_family,
    compare_with_baselines,
    compute_differences,
)
from hybrid_ir.comparison.table import (
    VIEW_TITLES,
    Column,
    Row,
    Table,
    build_mean_cell,
    build_p_cell,
    build_value_cell,
    describe_marks,
    get_metric_title,
)
from hybrid_ir.evaluation.rank_table import VIEWS

_MOST_ROWS = 16  # of a table, where there are more
# Languages up to which pairs of them are tested: 122 languages have 14,884 pairs, and Holm's
# correction would need 100 sign flips for each.
PAIRS_TESTED_UP_TO = 30
_CHANGE_COLUMNS = ("difference", "95% from", "to", "p", "p Holm")

# Individual languages of ISO 639-3 whose macrolanguage has the code that corpora use. CLDR keeps
# them apart.
_MACROLANGUAGES = {
    "acm": "ar",
    "apc": "ar",
    "ars": "ar",
    "ary": "ar",
    "arz": "ar",
    "pbt": "ps",
    "fuv": "ff",
}
# CLDR's codes for undetermined, several, uncoded and no languages.
_NO_LANGUAGE = {"und", "mul", "mis", "zxx"}
_UNKNOWN = "not known"


@dataclass(frozen=True)
class _ChangeNames:
    """How a table of changes calls what it lists."""

    file: str
    title: str
    head: str


_LANGUAGE_NAMES = _ChangeNames("languages", "query languages", "query language, view")
_PAIR_NAMES = _ChangeNames("pairs", "pairs of query and passage language", "pair")


def compare_language_pairs(section: Section, metric: str, resampling: Resampling) -> Grid:
    """Compares the systems in every pair of query and passage language.

    A cell is called "query → passage"; monolingual pairs are among them. The tests of all pairs
    are one family. Where there are many languages, differences are computed without tests.
    """
    places = {}
    for place, (view, query_language, passage_language) in enumerate(section.rows.settings):
        if view != "multi":
            places[f"{query_language} → {passage_language}"] = place
    if len(section.languages) > PAIRS_TESTED_UP_TO:
        return compute_differences(section, metric, places)
    single_settings = np.eye(len(section.rows.settings), dtype=bool)
    cells = {name: single_settings[place] for name, place in places.items()}
    grid = compare_with_baselines(section, metric, cells, resampling, intervals=True)
    return adjust_family([grid])[0]


def build_change_tables(
    section: Section, metric: str, resampling: Resampling, pairs: Grid
) -> list[Table]:
    """Builds the tables of what gains and what loses, sorted.

    Every system with a baseline has one by query language and view, and one by pair of languages.
    """
    cells = {}
    for view in VIEWS:
        if section.select_settings(view).any():
            for language in section.languages:
                name = f"{language}, {VIEW_TITLES[view]}"
                cells[name] = section.select_settings(view, query_languages=[language])
    languages = compare_with_baselines(section, metric, cells, resampling, intervals=True)
    languages = adjust_family([languages])[0]
    tables = []
    for system, baseline in section.tested_systems:
        tables.append(_build_change_table(section, system, baseline, languages, _LANGUAGE_NAMES))
        tables.append(_build_change_table(section, system, baseline, pairs, _PAIR_NAMES))
    return tables


def _build_change_table(
    section: Section, system: int, baseline: int, grid: Grid, names: _ChangeNames
) -> Table:
    label = section.systems[system].label
    baseline_label = section.systems[baseline].label
    family = f"all systems and {names.file}"
    one_seed = bool(grid.one_seed[system])
    gains = grid.difference[system] if grid.higher_is_better else -grid.difference[system]
    rows = []
    for place in np.argsort(-gains, kind="stable"):
        if not np.isnan(gains[place]):
            rows.append(_build_change_row(grid, system, place))
    table = Table(
        file=f"{section.stem}_{names.file}_{system}",
        title=f"{section.name}: {names.title}, {get_metric_title(grid.metric)} of {label} minus "
        f"{baseline_label}",
        heads=(names.head,),
        columns=tuple(Column(name) for name in _CHANGE_COLUMNS),
        rows=tuple(rows),
        note=f"Best first. {describe_marks(baseline_label, family, one_seed)} Intervals are not "
        "corrected.",
        most_rows=_MOST_ROWS,
    )
    if not np.isnan(grid.p).all():
        return table
    note = (
        f"Best first. Differences alone: with more than {PAIRS_TESTED_UP_TO} languages there are "
        "too many pairs to test; the table by query language has tests."
    )
    return replace(table.drop_empty_columns(), note=note)


def _build_change_row(grid: Grid, system: int, place: int) -> Row:
    adjusted_p = build_p_cell(grid.adjusted_p[system, place])
    difference = build_value_cell(grid.difference[system, place], grid.metric, signed=True)
    cells = (
        # A star where the corrected test says so, whatever the uncorrected interval shows.
        replace(difference, p=adjusted_p.value, one_seed=bool(grid.one_seed[system])),
        build_value_cell(grid.low[system, place], grid.metric, signed=True),
        build_value_cell(grid.high[system, place], grid.metric, signed=True),
        build_p_cell(grid.p[system, place]),
        adjusted_p,
    )
    return Row((grid.cells[place],), cells)


def build_seen_table(section: Section, metric: str, resampling: Resampling) -> Table | None:
    """Builds the table of languages that training saw and did not see.

    Its values are means over settings. Returns None where all languages are in one group, or no
    system has known training languages.
    """
    groups = _group_by_exposure(section)
    if len(groups) < 2 or not any(system.languages for system in section.systems):
        return None
    cells_by_view = {}
    for view in VIEWS:
        cells = _select_groups(section, view, groups)
        if cells:
            cells_by_view[view] = cells
    blocks = [(view, metric) for view in cells_by_view]
    if "multi" in cells_by_view:
        blocks.append(("multi", "rank_distance"))
    columns = []
    grids = []
    for view, name in blocks:
        group_title = f"{VIEW_TITLES[view]} {get_metric_title(name)}"
        columns += [Column(cell, group_title) for cell in cells_by_view[view]]
        grids.append(compare_with_baselines(section, name, cells_by_view[view], resampling))
    grids = adjust_family(grids)
    rows = []
    for place, system in enumerate(section.systems):
        cells = []
        for grid in grids:
            cells += [build_mean_cell(grid, place, cell) for cell in range(len(grid.cells))]
        rows.append(Row((system.label,), tuple(cells)))
    members = [f"{name}: {', '.join(languages)}" for name, languages in groups.items()]
    return Table(
        file=f"{section.stem}_seen",
        title=f"{section.name}: languages that training saw and did not see",
        heads=("system",),
        columns=tuple(columns),
        rows=tuple(rows),
        note=f"{'; '.join(members)}. Cross: query → passage. {describe_language_marks(section)}",
    )


def _group_by_exposure(section: Section) -> dict[str, list[str]]:
    """Groups the languages by how many of the trained systems saw them, in whatever script."""
    trained_systems = [system for system in section.systems if system.languages]
    groups: dict[str, list[str]] = {}
    for language in section.languages:
        base = get_base_language(language)
        systems = 0
        for system in trained_systems:
            if language in system.languages or base in _list_base_languages(system.languages):
                systems += 1
        if systems == len(trained_systems):
            name = "seen"
        elif base is None:
            name = _UNKNOWN
        elif systems == 0:
            name = "unseen"
        else:
            name = "seen by some"
        groups.setdefault(name, []).append(language)
    return groups


def _select_groups(
    section: Section, view: str, groups: Mapping[str, list[str]]
) -> dict[str, np.ndarray]:
    """Returns a cell for each group of query languages that has a setting in a view.

    In the cross-lingual view it is for each pair of groups of query and passage languages.
    """
    cells = {}
    for name, languages in groups.items():
        if view == "cross":
            for passage_name, passage_languages in groups.items():
                mask = section.select_settings(view, languages, passage_languages)
                cells[f"{name} → {passage_name}"] = mask
        else:
            cells[name] = section.select_settings(view, languages)
    return {name: mask for name, mask in cells.items() if mask.any()}


def _list_base_languages(languages: Iterable[str]) -> set[str]:
    """Returns the base languages of those that have one."""
    bases = {get_base_language(language) for language in languages}
    return {base for base in bases if base is not None}


@cache
def get_base_language(code: str) -> str | None:
    """Returns the shortest code of a language, whatever its script or region.

    `eng_Latn` of one corpus is `en` of another. Returns None for a code that CLDR does not know.
    """
    code = code.replace("-", "_").partition("_")[0].lower()
    code = _MACROLANGUAGES.get(code, code)
    base = get_global("language_aliases").get(code, code).partition("_")[0]
    if base in _NO_LANGUAGE or base not in Locale("en").languages:
        return None
    return base
