"""Questions on which a system and its baseline differ most."""

from dataclasses import dataclass

import numpy as np

from hybrid_ir.comparison.grid import LOWER_IS_BETTER
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.table import Formatted


@dataclass(frozen=True)
class Example:
    """A query in one pool; values are means over seeds, as text."""

    language: str
    pool: str
    query: str
    mine: str
    theirs: str
    gain: bool


def examples(section: Section, system: int, metric: str, most: int = 3) -> list[Example]:
    """The greatest gains, then the greatest losses, in the multilingual view (or the monolingual one where there is no other).

    A question is shown in one language only, so that its translations do not fill the list.
    """
    base = section.baselines[system]
    if base is None or section.texts is None:
        return []
    view = next((view for view in ("multi", "mono") if section.mask(view).any()), None)
    chosen_V = (
        section.mask(view)[section.rows.setting_V]
        if view
        else np.zeros(len(section.rows.query_V), bool)
    )
    mine_V, theirs_V = (
        np.mean([section.values(result, metric) for result in section.systems[i].results], axis=0)
        for i in (system, base)
    )
    change_V = (mine_V - theirs_V) * (-1 if metric in LOWER_IS_BETTER else 1)
    rows = np.flatnonzero(chosen_V & ~np.isnan(change_V))
    order = rows[np.argsort(-change_V[rows], kind="stable")]
    write, found = Formatted(metric), []
    for sign, ordered in ((1, order), (-1, order[::-1])):
        met: set[int] = set()
        for row in ordered:
            if len(met) == most or sign * change_V[row] <= 0:
                break
            if (question := int(section.rows.cluster_V[row])) not in met:
                met.add(question)
                _, language, pool = section.rows.settings[section.rows.setting_V[row]]
                found.append(
                    Example(
                        language,
                        pool,
                        section.texts[section.rows.query_V[row]],
                        write(float(mine_V[row])),
                        write(float(theirs_V[row])),
                        sign > 0,
                    )
                )
    return found
