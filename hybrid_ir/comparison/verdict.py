"""The answer of a comparison in three sentences: who leads, how sure that is, language bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.comparison.comparison_tables import MainMeans
from hybrid_ir.comparison.leads import Difference, Lead, find_lead
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import Grid
from hybrid_ir.comparison.table import format_value, get_metric_title
from hybrid_ir.evaluation.bias_rows import OWN_LANGUAGE_EXPECTED
from hybrid_ir.evaluation.number_format import format_percent

# Which answer is found first, in the pool of all languages.
OWN_LANGUAGE_FIRST = "lpr@1"
_INTEGER_RANKS_FROM = 100
_HOLM = " (p < .05 after Holm's correction for many tests)"
_VIEW_WORDS = {
    "mono": "within one language",
    "cross": "across two languages",
    "multi": "in one pool of all languages",
}


@dataclass(frozen=True)
class ComparisonVerdict:
    """The answer about one benchmark.

    Attributes:
        name: The name of the benchmark.
        sentences: Which system is best where, how sure that is, and what about language bias.
        is_certain: Whether every lead over the next best system is significant and none hangs on
            one seed of a training.
    """

    name: str
    sentences: tuple[str, str, str]
    is_certain: bool


def build_verdict(means: MainMeans) -> ComparisonVerdict:
    """Builds the answer about a benchmark from its tested means."""
    section = means.section
    leads = []
    for cell in range(len(means.views.cells)):
        lead = find_lead(section, means.views, cell)
        if lead is not None:
            leads.append(lead)
    certainty, is_certain = _describe_certainty(section, leads)
    sentences = (
        _describe_leads(section, leads, means.views),
        certainty,
        _describe_bias(means),
    )
    return ComparisonVerdict(section.name, sentences, is_certain)


def join_words(words: Sequence[str]) -> str:
    """Returns words with commas and "and" between them."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _list_labels(section: Section, systems: Sequence[int]) -> list[str]:
    """Returns the labels of some systems."""
    return [section.systems[system].label for system in systems]


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
        names = join_words(_list_labels(section, (lead.winner, *lead.tied)))
        number = format_value(lead.value, grid.metric)
        if not lead.tied:
            differences = []
            for difference in (lead.over_next, lead.over_baseline):
                if difference is not None:
                    differences.append(_describe_difference(difference, labels, grid))
            if differences:
                number += f", {join_words(differences)}"
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


def _describe_difference(difference: Difference, labels: Sequence[str], grid: Grid) -> str:
    """Returns by how much a leading system is above or below another one."""
    direction = "above" if grid.higher_is_better else "below"
    return f"{format_value(difference.size, grid.metric)} {direction} {labels[difference.system]}"


def _describe_certainty(section: Section, leads: Sequence[Lead]) -> tuple[str, bool]:
    """Returns the second sentence, how sure the leads are, and whether all of them are."""
    if len(section.systems) == 1:
        return "There is one system alone, so that nothing is compared and nothing tested.", False
    open_leads = [lead for lead in leads if lead.over_next is not None and not lead.tied]
    significant = [lead for lead in open_leads if lead.over_next.is_significant]
    untested = [lead for lead in open_leads if not lead.over_next.was_tested]
    open_to_chance = []
    for lead in open_leads:
        if lead.over_next.was_tested and not lead.over_next.is_significant:
            open_to_chance.append(lead)
    parts = []
    if significant and len(significant) == len(open_leads):
        subject, verb = ("This lead", "is") if len(significant) == 1 else ("These leads", "are")
        parts.append(f"{subject} over the next best {verb} more than chance explains{_HOLM}")
    elif significant:
        views = _join_views(significant)
        parts.append(f"The lead over the next best {views} is more than chance explains{_HOLM}")
    if open_to_chance and not significant:
        parts.append(
            f"The lead over the next best {_join_views(open_to_chance)} may be chance (p of .05 or "
            "more after Holm's correction), so these questions do not show which of the two is "
            "better"
        )
    elif open_to_chance:
        parts.append(f"{_join_views(open_to_chance)} it may be chance")
    if untested:
        parts.append(f"the lead over the next best {_join_views(untested)} was not tested")
    if not open_leads:
        parts.append("No system is above the others in any view")
    parts += _describe_baselines(section, open_leads)
    compared = set()
    for lead in open_leads:
        compared.update((lead.winner, lead.over_next.system))
    trained_once = section.list_trained_once(sorted(compared))
    seeds = _describe_seeds(section, trained_once, sorted(compared))
    if seeds:
        parts.append(seeds)
    sentence = "; ".join(parts)
    is_certain = bool(open_leads) and len(significant) == len(open_leads) and not trained_once
    return f"{sentence[0].upper()}{sentence[1:]}.", is_certain


def _describe_baselines(section: Section, leads: Sequence[Lead]) -> list[str]:
    """Returns what chance explains of the differences from baselines that are not the next best."""
    leads_by_baseline: dict[int, list[Lead]] = {}
    for lead in leads:
        if lead.over_baseline is not None:
            leads_by_baseline.setdefault(lead.over_baseline.system, []).append(lead)
    clauses = []
    for baseline, leads_of_baseline in leads_by_baseline.items():
        significant = [lead for lead in leads_of_baseline if lead.over_baseline.is_significant]
        others = [lead for lead in leads_of_baseline if not lead.over_baseline.is_significant]
        words = f"the difference from the baseline {section.systems[baseline].label}"
        if significant:
            clauses.append(f"{words} {_join_views(significant)} is more than chance explains")
        if others:
            clauses.append(f"{words} {_join_views(others)} may be chance")
    return clauses


def _join_views(leads: Sequence[Lead]) -> str:
    return join_words([_VIEW_WORDS[lead.view] for lead in leads])


def _describe_seeds(section: Section, trained_once: Sequence[str], compared: Sequence[int]) -> str:
    """Returns what the number of seeds means for the answer, empty where nothing was trained."""
    if trained_once:
        verb = "was" if len(trained_once) == 1 else "were"
        return (
            f"but {join_words(trained_once)} {verb} trained with one seed only, and another seed "
            "may give another order"
        )
    counts = []
    for number in compared:
        system = section.systems[number]
        if system.results[0].seed is not None:
            counts.append(len(system.results))
    if not counts:
        return ""
    least = min(counts)
    words = str(least) if least == max(counts) else f"{least} to {max(counts)}"
    return f"each trained system is the mean of {words} seeds"


def _describe_bias(means: MainMeans) -> str:
    """Returns the third sentence: how far apart the answers in all languages lie."""
    section = means.section
    lead = find_lead(section, means.distance, 0)
    if lead is None:
        return (
            "This benchmark has no pool of several languages with answers in each, so that it says "
            "nothing about language bias."
        )
    labels = [system.label for system in section.systems]
    winner = labels[lead.winner]
    pool_size = sum(section.benchmark_metrics["pool"].values())
    quality = format_value(float(means.quality.mean[lead.winner, 0]), "map")
    answers = (
        "the first and the last answer to a question, in whatever language, lie "
        f"{_round_distance(lead.value)} ranks apart among {pool_size:,} passages, at a mAP of "
        f"{quality}"
    )
    own_language = _describe_own_language(section, lead.winner)
    passed_over = _describe_passed_over(means, lead)
    if lead.over_next is None and len(labels) == 1:
        return f"Language bias of {winner}: {answers}{own_language}."
    if lead.tied:
        names = join_words(_list_labels(section, (lead.winner, *lead.tied)))
        return f"Language bias is equally small with {names}: {answers}{own_language}{passed_over}."
    if lead.over_next is None:
        return f"Language bias of {winner}: {answers}{own_language}{passed_over}."
    next_value = _round_distance(float(means.distance.mean[lead.over_next.system, 0]))
    trained_once = section.list_trained_once([lead.winner, lead.over_next.system])
    if not lead.over_next.was_tested:
        certainty = "not tested"
    elif not lead.over_next.is_significant:
        certainty = "which may be chance"
    elif trained_once:
        certainty = "more than chance explains, with one seed"
    else:
        certainty = "more than chance explains"
    return (
        f"Language bias is least with {winner}: {answers} ({next_value} with "
        f"{labels[lead.over_next.system]}; {certainty}){own_language}{passed_over}."
    )


def _describe_passed_over(means: MainMeans, lead: Lead) -> str:
    """Returns which systems have less rank distance and are still not called less biased."""
    if not lead.passed_over:
        return ""
    systems = []
    for system in lead.passed_over:
        label = means.section.systems[system].label
        ranks = _round_distance(float(means.distance.mean[system, 0]))
        quality = format_value(float(means.quality.mean[system, 0]), "map")
        systems.append(f"{label} ({ranks} ranks, mAP {quality})")
    best = means.section.systems[means.quality.order_systems(0)[0]].label
    verb = "is" if len(systems) == 1 else "are"
    return (
        f"; {join_words(systems)} {verb} not called less biased, with a mAP below that of {best} "
        "by more than chance explains"
    )


def _round_distance(value: float) -> str:
    """Returns a rank distance, whose tenths say something only where it is small."""
    return f"{value:,.0f}" if value >= _INTEGER_RANKS_FROM else f"{value:.1f}"


def _describe_own_language(section: Section, system: int) -> str:
    """Returns how often the best answer is in the question's own language, where that is known."""
    if OWN_LANGUAGE_FIRST not in section.list_metrics():
        return ""
    mask_S = section.select_settings("multi")
    means_NS = section.load_metric(OWN_LANGUAGE_FIRST).setting_means[system][:, mask_S]
    if not means_NS.size or np.isnan(means_NS).all():
        return ""
    share = format_percent(float(np.nanmean(means_NS)))
    clause = (
        f", and the first of them is in the question's own language for {share} of the questions"
    )
    expected = _find_expected_own_language(section)
    if expected is not None:
        clause += f", where no preference would give {format_percent(expected)}"
    return clause


def _find_expected_own_language(section: Section) -> float | None:
    """Returns how often that is so by chance, None where no result of the benchmark says it.

    It follows from the answers alone, so that it is the same for every system.
    """
    for result in section.results:
        expected = result.metrics.get("language_bias", {}).get(OWN_LANGUAGE_EXPECTED)
        if expected is not None:
            return expected
    return None
