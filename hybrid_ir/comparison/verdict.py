"""The answer of a comparison in three sentences: who leads, how sure that is, language bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.comparison.comparison_tables import MainMeans
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import SIGNIFICANT, Grid
from hybrid_ir.comparison.table import format_value, get_metric_title

# Which answer is found first, in the pool of all languages.
OWN_LANGUAGE_FIRST = "lpr@1"
_WHOLE_RANKS_FROM = 100
_HOLM = " (p < .05 after Holm's correction for many tests)"
_VIEW_WORDS = {
    "mono": "within one language",
    "cross": "across two languages",
    "multi": "in one pool of all languages",
}


@dataclass(frozen=True)
class Lead:
    """Which system leads in one mean, and by how much.

    Attributes:
        view: The view of the mean.
        metric: Its metric.
        winner: The place of the system that leads.
        value: Its mean.
        tied: The places of other systems whose mean is shown with the same digits.
        other: The place of the system it is compared with: its baseline, or the next best where it
            has none. None where there is no other system with a mean.
        difference: By how much the winner is better, never negative.
        p: The p value of that difference after Holm, NaN where it was not tested.
    """

    view: str
    metric: str
    winner: int
    value: float
    tied: tuple[int, ...]
    other: int | None
    difference: float
    p: float

    @property
    def is_sure(self) -> bool:
        """Whether chance alone does not explain the lead."""
        return self.p < SIGNIFICANT

    @property
    def was_tested(self) -> bool:
        """Whether the lead was tested."""
        return not np.isnan(self.p)


@dataclass(frozen=True)
class ComparisonVerdict:
    """The answer about one benchmark.

    Attributes:
        name: The name of the benchmark.
        sentences: Which system is best where, how sure that is, and what about language bias.
        is_certain: Whether every lead is significant and none hangs on one seed of a training.
    """

    name: str
    sentences: tuple[str, str, str]
    is_certain: bool


def find_lead(section: Section, grid: Grid, place: int) -> Lead | None:
    """Finds the leading system in the cell at a place of a grid, None where none has a mean."""
    values = grid.mean[:, place]
    measured = [system for system in range(len(values)) if not np.isnan(values[system])]
    if not measured:
        return None
    sign = 1 if grid.higher_is_better else -1
    ordered = sorted(measured, key=lambda system: -sign * values[system])
    winner = ordered[0]
    text = format_value(float(values[winner]), grid.metric)
    tied = []
    for system in ordered[1:]:
        if format_value(float(values[system]), grid.metric) == text:
            tied.append(system)
    other = section.baselines[winner]
    if other is None and len(ordered) > 1:
        other = ordered[1]
    difference = 0.0
    p = float("nan")
    if other is not None:
        difference = float(abs(values[winner] - values[other]))
        if section.baselines[winner] == other:
            p = float(grid.adjusted_p[winner, place])
        elif section.baselines[other] == winner:
            p = float(grid.adjusted_p[other, place])
    return Lead(
        view=grid.cells[place],
        metric=grid.metric,
        winner=winner,
        value=float(values[winner]),
        tied=tuple(tied),
        other=other,
        difference=difference,
        p=p,
    )


def build_verdict(means: MainMeans) -> ComparisonVerdict:
    """Builds the answer about a benchmark from its tested means."""
    section = means.section
    leads = []
    for place in range(len(means.views.cells)):
        lead = find_lead(section, means.views, place)
        if lead is not None:
            leads.append(lead)
    distance = find_lead(section, means.distance, 0)
    certainty, is_certain = _describe_certainty(section, leads)
    sentences = (
        _describe_leads(section, leads, means.views),
        certainty,
        _describe_bias(section, distance, means.distance),
    )
    return ComparisonVerdict(section.name, sentences, is_certain)


def join_words(words: Sequence[str]) -> str:
    """Returns words with commas and "and" between them."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _describe_leads(section: Section, leads: Sequence[Lead], grid: Grid) -> str:
    """Returns the first sentence: which system is best in which view, and by how much."""
    labels = [system.label for system in section.systems]
    title = get_metric_title(grid.metric)
    if not leads:
        return f"On {section.name}, no system has a value of {title}."
    if len(labels) == 1:
        values = []
        for lead in leads:
            values.append(f"{format_value(lead.value, grid.metric)} {_VIEW_WORDS[lead.view]}")
        return f"On {section.name}, {labels[0]} has a {title} of {join_words(values)}."
    phrases_by_winner: dict[str, list[str]] = {}
    for lead in leads:
        names = join_words([labels[place] for place in (lead.winner, *lead.tied)])
        value = format_value(lead.value, grid.metric)
        number = value
        if lead.other is not None and not lead.tied:
            number = f"{value}, {_describe_difference(lead, labels, grid)}"
        phrase = f"{_VIEW_WORDS[lead.view]} ({number})"
        phrases_by_winner.setdefault(names, []).append(phrase)
    best = "best" if grid.higher_is_better else "lowest, which is best,"
    parts = []
    for names, phrases in phrases_by_winner.items():
        is_shared = " and " in names and names not in labels
        verb = "share" if is_shared else "has"
        if not parts:
            parts.append(f"{names} {verb} the {best} {title} {join_words(phrases)}")
        else:
            parts.append(f"{names} {verb} it {join_words(phrases)}")
    return f"On {section.name}, {'; '.join(parts)}."


def _describe_difference(lead: Lead, labels: Sequence[str], grid: Grid) -> str:
    """Returns by how much a lead is above or below the other system."""
    side = "above" if grid.higher_is_better else "below"
    return f"{format_value(lead.difference, grid.metric)} {side} {labels[lead.other]}"


def _describe_certainty(section: Section, leads: Sequence[Lead]) -> tuple[str, bool]:
    """Returns the second sentence, how sure the leads are, and whether all of them are."""
    if len(section.systems) == 1:
        return "There is one system alone, so that nothing is compared and nothing tested.", False
    open_leads = [lead for lead in leads if lead.other is not None and not lead.tied]
    sure = [lead for lead in open_leads if lead.is_sure]
    unsure = [lead for lead in open_leads if lead.was_tested and not lead.is_sure]
    untested = [lead for lead in open_leads if not lead.was_tested]
    parts = []
    if sure and len(sure) == len(open_leads):
        subject = "This lead is" if len(sure) == 1 else "These leads are"
        parts.append(f"{subject} more than chance explains{_HOLM}")
    elif sure:
        parts.append(f"The lead {_join_views(sure)} is more than chance explains{_HOLM}")
    if unsure and not sure:
        parts.append(
            f"The lead {_join_views(unsure)} may be chance (p of .05 or more after Holm's "
            "correction), so these questions do not show which system is better"
        )
    elif unsure:
        parts.append(f"{_join_views(unsure)} it may be chance")
    if untested:
        parts.append(
            f"the lead {_join_views(untested)} was not tested, since neither of the two "
            "is the baseline of the other"
        )
    if not open_leads:
        parts.append("No system is above the others in any view")
    compared = set()
    for lead in open_leads:
        compared.update((lead.winner, lead.other))
    once = section.list_trained_once(sorted(compared))
    seeds = _describe_seeds(section, once, sorted(compared))
    if seeds:
        parts.append(seeds)
    sentence = "; ".join(parts)
    is_certain = bool(open_leads) and len(sure) == len(open_leads) and not once
    return f"{sentence[0].upper()}{sentence[1:]}.", is_certain


def _join_views(leads: Sequence[Lead]) -> str:
    return join_words([_VIEW_WORDS[lead.view] for lead in leads])


def _describe_seeds(section: Section, once: Sequence[str], compared: Sequence[int]) -> str:
    """Returns what the number of seeds means for the answer, empty where nothing was trained."""
    if once:
        verb = "was" if len(once) == 1 else "were"
        return (
            f"but {join_words(once)} {verb} trained with one seed only, and another seed may give "
            "another order"
        )
    counts = []
    for place in compared:
        system = section.systems[place]
        if system.results[0].seed is not None:
            counts.append(len(system.results))
    if not counts:
        return ""
    least = min(counts)
    words = str(least) if least == max(counts) else f"{least} to {max(counts)}"
    return f"each trained system is the mean of {words} seeds"


def _describe_bias(section: Section, distance: Lead | None, grid: Grid) -> str:
    """Returns the third sentence: how far apart the answers in all languages lie."""
    if distance is None:
        return (
            "This benchmark has no pool of several languages with answers in each, so that it says "
            "nothing about language bias."
        )
    labels = [system.label for system in section.systems]
    pool = sum(section.benchmark_metrics["pool"].values())
    apart = (
        "the first and the last answer to a question, in whatever language, lie "
        f"{_round_distance(distance.value)} ranks apart among {pool:,} passages"
    )
    own_language = _describe_own_language(section, distance.winner)
    if distance.other is None:
        return f"Language bias of {labels[distance.winner]}: {apart}{own_language}."
    if distance.tied:
        names = join_words([labels[place] for place in (distance.winner, *distance.tied)])
        return f"Language bias is equally small with {names}: {apart}{own_language}."
    other_value = _round_distance(float(grid.mean[distance.other, 0]))
    once = section.list_trained_once([distance.winner, distance.other])
    if not distance.was_tested:
        certainty = "not tested"
    elif not distance.is_sure:
        certainty = "which may be chance"
    elif once:
        certainty = "more than chance explains, with one seed"
    else:
        certainty = "more than chance explains"
    return (
        f"Language bias is least with {labels[distance.winner]}: {apart} ({other_value} with "
        f"{labels[distance.other]}; {certainty}){own_language}."
    )


def _round_distance(value: float) -> str:
    """Returns a rank distance, whose tenths say something only where it is small."""
    return f"{value:,.0f}" if value >= _WHOLE_RANKS_FROM else f"{value:.1f}"


def _describe_own_language(section: Section, system: int) -> str:
    """Returns how often the best answer is in the question's own language, where that is known."""
    if OWN_LANGUAGE_FIRST not in section.list_metrics():
        return ""
    mask_S = section.select_settings("multi")
    means_NS = section.load_metric(OWN_LANGUAGE_FIRST).setting_means[system][:, mask_S]
    if not means_NS.size or np.isnan(means_NS).all():
        return ""
    share = float(np.nanmean(means_NS))
    without = 1 / len(section.languages)
    return (
        f", and the first of them is in the question's own language for {share:.0%} of the "
        f"questions, where no preference would give about {without:.0%}"
    )
