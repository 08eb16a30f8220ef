"""Says in plain words what a diagnosis means."""

from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_ir.bias.answer_places import DEPTH
from hybrid_ir.bias.diagnosis import SMALLEST_COLLECTION, Diagnosis, average_other_rows
from hybrid_ir.pages import name_language

# Up to which share of hidden answers a model counts as so biased.
GRADES = (
    (0.02, "hardly biased"),
    (0.10, "somewhat biased"),
    (0.25, "clearly biased"),
    (1.00, "severely biased"),
)
# Above this share of answers that are not found even alone, bias is not the first problem.
MOSTLY_NOT_FOUND = 0.5
# A correction is worth a sentence if it brings so much of mean average precision.
WORTHWHILE_GAIN = 0.01
NAMES_OF_CORRECTIONS = {
    "center": "subtracting the mean vector of each language",
    "lir": "removing the first principal direction of each language",
}


@dataclass(frozen=True)
class Verdict:
    """What a diagnosis means.

    Attributes:
        grade: in two words; "not measurable" or "too few texts to judge"
            where these texts do not tell.
        sentences: the answer, the most important one first.
    """

    grade: str
    sentences: list[str]


def decide_verdict(diagnosis: Diagnosis, model: str) -> Verdict:
    """Returns the verdict on a model.

    Args:
        diagnosis: what was measured.
        model: its name, as people should read it.
    """
    measures = diagnosis.measures
    key = "hidden"
    if measures.get("hidden") is None:
        key = "own.hidden"
    hidden = measures.get(key)
    if hidden is None:
        return _judge_texts(diagnosis, model)
    judgement = next(name for limit, name in GRADES if hidden <= limit)
    grade = judgement
    opening = f"{model} is {judgement}"
    if max(diagnosis.texts["passages_by_language"].values()) < SMALLEST_COLLECTION:
        grade = "too few texts to judge"
        opening = f"{model} cannot be judged by so few texts"
    sentences = [_state_lost_answers(diagnosis, opening, key)]
    if key == "hidden":
        sentences.append(_state_causes(diagnosis))
    sentences.append(_state_language_mix(diagnosis))
    distance = measures.get("rank_distance.median")
    if distance is not None:
        sentences.append(
            f"Half of the questions have the first and the last of their answers {distance:,.0f} "
            f"or more places apart in a list of {diagnosis.texts['passages']:,} (the rank "
            "distance)."
        )
    sentences.append(_state_corrections(diagnosis))
    return Verdict(grade, [sentence for sentence in sentences if sentence])


def _state_lost_answers(diagnosis: Diagnosis, opening: str, key: str) -> str:
    """States the share of answers that mixing hides."""
    share = diagnosis.measures[key]
    if key == "own.hidden":
        return (
            f"{opening}: {_percent(share)} of the answers in the question's own language, "
            f"though among the first {DEPTH} of their own language, are hidden once all languages "
            "are in one collection."
        )
    interval = ""
    if "hidden" in diagnosis.intervals:
        low, high = diagnosis.intervals["hidden"]
        interval = f" (95 % interval {_percent(low)} to {_percent(high)})"
    return (
        f"{opening}: {_percent(share)}{interval} of the answers in other languages than "
        f"the question, though among the first {DEPTH} of their own language, are hidden once all "
        "languages are in one collection."
    )


def _state_causes(diagnosis: Diagnosis) -> str:
    """States what is not found at all, and which languages lose most."""
    measures = diagnosis.measures
    not_found = measures["not_found"]
    sentence = (
        f"{_percent(measures['found'])} are found and {_percent(not_found)} are not found even "
        "among their own language"
    )
    if not_found > MOSTLY_NOT_FOUND:
        return (
            f"{sentence}: the model hardly finds answers across languages at all, which is a "
            "greater problem than their order."
        )
    worst = find_most_hidden_language(diagnosis)
    if worst is None:
        return f"{sentence}."
    language, share = worst
    sentence += f"; answers in {name_language(language)} are hidden most often ({_percent(share)})"
    own_share = average_own_share(diagnosis.hidden_by)
    if own_share is not None:
        sentence += (
            f". Of the passages that stand before hidden answers {_percent(own_share)} are in the "
            "language of the question"
        )
    return f"{sentence}."


def average_own_share(hidden_by: Mapping[str, Mapping[str, float]]) -> float | None:
    """Returns how much of what stands before hidden answers is in the question's language."""
    shares = [by_language[language] for language, by_language in hidden_by.items()]
    return sum(shares) / len(shares) if shares else None


def find_most_hidden_language(diagnosis: Diagnosis) -> tuple[str, float] | None:
    """Returns the language whose answers to questions in others are hidden most, and the share."""
    shares = {}
    for column, language in enumerate(diagnosis.languages):
        share = average_other_rows(diagnosis.pairs["hidden"], column)
        if share is not None:
            shares[language] = share
    if not shares or max(shares.values()) == 0:
        return None
    worst = max(shares, key=shares.get)
    return worst, shares[worst]


def _state_language_mix(diagnosis: Diagnosis) -> str:
    """States how much of the top is in the language of the question."""
    share = diagnosis.measures.get("own_language_share")
    fair = diagnosis.measures.get("own_language_share.fair")
    if share is None or fair is None:
        return ""
    return (
        f"Of the first {DEPTH} passages {_percent(share)} are in the question's own language, "
        f"which has {_percent(fair)} of the collection."
    )


def _state_corrections(diagnosis: Diagnosis) -> str:
    """States what the best correction without training would bring."""
    name = find_best_correction(diagnosis.corrections)
    if name is None:
        return ""
    before = diagnosis.measures
    after = diagnosis.corrections[name]
    gain = after["multi.map"] - before["multi.map"]
    words = NAMES_OF_CORRECTIONS[name]
    if gain < WORTHWHILE_GAIN:
        return f"Without training little is to be won: {words} changes mAP by {gain:+.3f}."
    sentence = (
        f"Without training, {words} (estimated on these very texts) would raise mAP in the mixed "
        f"collection from {before['multi.map']:.3f} to {after['multi.map']:.3f}"
    )
    if after.get("hidden") is not None:
        sentence += f" and leave {_percent(after['hidden'])} hidden"
    return f"{sentence}: `hybrid-ir debias` makes such a model."


def find_best_correction(corrections: Mapping[str, Mapping[str, float | None]]) -> str | None:
    """Returns the correction with the highest mAP in the mixed collection, None without any."""
    known = {}
    for name, measures in corrections.items():
        if measures.get("multi.map") is not None:
            known[name] = measures["multi.map"]
    return max(known, key=known.get) if known else None


def _judge_texts(diagnosis: Diagnosis, model: str) -> Verdict:
    """Judges texts without known answers."""
    measures = diagnosis.measures
    share = measures.get("same_language_neighbours")
    fair = measures.get("same_language_neighbours.fair")
    sentences = []
    if share is not None and fair is not None:
        sentences.append(
            f"{model} puts passages of one language together: of the ten nearest neighbours of a "
            f"passage {_percent(share)} are in its language, which has {_percent(fair)} of the "
            "collection."
        )
        centred = diagnosis.corrections.get("center", {}).get("same_language_neighbours")
        if centred is not None:
            sentences.append(
                f"With the mean vector of each language subtracted it is {_percent(centred)}; what "
                "remains may be that the languages speak of different things."
            )
    sentences.append(
        "Whether answers are lost cannot be said, as these texts have no known answers: give "
        "questions with the passages that answer them."
    )
    return Verdict("not measurable", sentences)


def _percent(share: float) -> str:
    """Returns a share in percent, with a decimal where it is small."""
    percent = 100 * share
    if 0 < percent < 9.95:
        return f"{percent:.1f} %"
    return f"{percent:.0f} %"
