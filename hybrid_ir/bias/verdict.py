"""Says in plain words what a diagnosis means."""

from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_ir.bias.answer_places import DEPTH
from hybrid_ir.bias.diagnosis import Diagnosis, average_other_rows
from hybrid_ir.bias.measures import OWN
from hybrid_ir.bias.notes import SMALLEST_COLLECTION
from hybrid_ir.evaluation.number_format import format_percent
from hybrid_ir.pages import name_language

# Up to which share of lost answers (the measure `lost`) a model counts as so biased.
GRADES = (
    (0.02, "hardly biased"),
    (0.10, "somewhat biased"),
    (0.25, "clearly biased"),
    (1.00, "severely biased"),
)
TOO_FEW = "too few texts to judge"
FINDS_LITTLE_ACROSS = "hardly finds answers across languages"
FINDS_LITTLE = "hardly finds answers"
NOT_MEASURABLE = "not measurable"
# Above this share of answers that are not found even alone, bias is not the first problem.
MOSTLY_NOT_FOUND = 0.5
# Fewer groups of questions say little, whatever the number of languages.
FEWEST_QUESTIONS = 20
# A language with fewer answers is not named as the one that is hidden most often.
FEWEST_ANSWERS = 20
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
        grade: one of GRADES, or FINDS_LITTLE_ACROSS, FINDS_LITTLE, TOO_FEW or NOT_MEASURABLE.
        sentences: the answer, the most important one first.
    """

    grade: str
    sentences: list[str]


def decide_verdict(diagnosis: Diagnosis, model: str) -> Verdict:
    """Returns the verdict on a model.

    Where no question has an answer in another language, those in its own are judged.

    Args:
        diagnosis: what was measured.
        model: its name, as people should read it.
    """
    measures = diagnosis.measures
    prefix = "" if measures.get("found") is not None else OWN
    if measures.get(f"{prefix}found") is None:
        return _judge_texts(diagnosis, model)
    grade = _choose_grade(diagnosis, prefix)
    sentences = [
        _state_hidden_answers(diagnosis, _open(model, grade), prefix),
        _state_lost_answers(diagnosis, prefix),
    ]
    if prefix == "":
        sentences.append(_state_causes(diagnosis))
    sentences.append(_state_language_mix(diagnosis))
    if prefix == "":
        sentences.append(_state_distance(diagnosis))
    sentences.append(_state_corrections(diagnosis))
    return Verdict(grade, [sentence for sentence in sentences if sentence])


def _choose_grade(diagnosis: Diagnosis, prefix: str) -> str:
    """Returns the grade of a model by the answers whose measures have a prefix."""
    if _has_too_few_texts(diagnosis, prefix):
        return TOO_FEW
    if diagnosis.measures[f"{prefix}not_found"] > MOSTLY_NOT_FOUND:
        return FINDS_LITTLE if prefix else FINDS_LITTLE_ACROSS
    lost = diagnosis.measures[f"{prefix}lost"]
    return next(name for limit, name in GRADES if lost <= limit)


def _has_too_few_texts(diagnosis: Diagnosis, prefix: str) -> bool:
    """Returns whether there are few questions, or most answers are in small collections."""
    texts = diagnosis.texts
    kind = "own" if prefix else "across"
    if texts[f"question_groups_{kind}"] < FEWEST_QUESTIONS:
        return True
    sizes = texts["passages_by_language"]
    answers = texts[f"answers_{kind}_by_language"]
    in_small = sum(
        count for language, count in answers.items() if sizes[language] < SMALLEST_COLLECTION
    )
    return in_small > sum(answers.values()) / 2


def _open(model: str, grade: str) -> str:
    """Returns the beginning of the first sentence."""
    if grade == TOO_FEW:
        return f"{model} cannot be judged by so few texts"
    if grade in (FINDS_LITTLE, FINDS_LITTLE_ACROSS):
        return f"{model} {grade}, which is a greater problem than their order"
    return f"{model} is {grade}"


def _state_hidden_answers(diagnosis: Diagnosis, opening: str, prefix: str) -> str:
    """States the share of answers that are hidden, and how many would be by luck."""
    measures = diagnosis.measures
    hidden = measures[f"{prefix}hidden"]
    by_chance = measures[f"{prefix}hidden.by_chance"]
    of_answers = "answers in other languages than the question"
    if prefix:
        of_answers = "answers in the language of the question"
    sentence = (
        f"{opening}: once all languages are in one collection, {_percent(hidden)}"
        f"{_write_interval(diagnosis, f'{prefix}hidden')} of the {of_answers} are hidden, though "
        f"they are among the first {DEPTH} of their own language."
    )
    if hidden <= by_chance:
        return (
            f"{sentence} That is no more than by luck ({_percent(by_chance)} if the languages of "
            "each ranking were shuffled)."
        )
    return (
        f"{sentence} By luck alone, with the languages of each ranking shuffled, it would be "
        f"{_percent(by_chance)}."
    )


def _write_interval(diagnosis: Diagnosis, name: str) -> str:
    """Returns the interval of a share in brackets, nothing where there is none."""
    if name not in diagnosis.intervals:
        return ""
    low, high = diagnosis.intervals[name]
    return f" (95% interval {_percent(max(0.0, low))} to {_percent(max(0.0, high))})"


def _state_lost_answers(diagnosis: Diagnosis, prefix: str) -> str:
    """States what is found, what is not, and how much of what can be found is lost."""
    measures = diagnosis.measures
    sentence = (
        f"{_percent(measures[f'{prefix}found'])} are found and "
        f"{_percent(measures[f'{prefix}not_found'])} are not found even among their own language"
    )
    lost = measures[f"{prefix}lost"]
    if lost is None:
        return f"{sentence}."
    return (
        f"{sentence}: of what the model can find, mixing languages loses "
        f"{_percent(max(0.0, lost))}{_write_interval(diagnosis, f'{prefix}lost')} beyond chance."
    )


def _state_causes(diagnosis: Diagnosis) -> str:
    """States which language loses most, and what stands before hidden answers."""
    parts = []
    worst = find_most_hidden_language(diagnosis)
    if worst is not None:
        language, share = worst
        parts.append(
            f"Answers in {name_language(language)} are hidden most often ({_percent(share)})."
        )
    if diagnosis.hidden_by_own is not None:
        parts.append(
            f"Where an answer is hidden, {_percent(diagnosis.hidden_by_own)} of the first {DEPTH} "
            "passages are in the language of the question."
        )
    return " ".join(parts)


def _state_distance(diagnosis: Diagnosis) -> str:
    """States how far apart the answers of a question are."""
    distance = diagnosis.measures.get("rank_distance.median")
    if distance is None:
        return ""
    return (
        "Half of the queries with several answers have the first and the last of them "
        f"{distance:,.0f} or more places apart in a list of {diagnosis.texts['passages']:,} (the "
        "rank distance)."
    )


def find_most_hidden_language(diagnosis: Diagnosis) -> tuple[str, float] | None:
    """Returns the language whose answers to questions in others are hidden most, and the share.

    A language with few such answers is left out.
    """
    shares = {}
    answers = diagnosis.texts["answers_across_by_language"]
    for column, language in enumerate(diagnosis.languages):
        share = average_other_rows(diagnosis.pairs["hidden"], column)
        if share is not None and answers[language] >= FEWEST_ANSWERS:
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
    sizes = set(diagnosis.texts["passages_by_language"].values())
    on_average = " on average" if len(sizes) > 1 else ""
    return (
        f"Of the first {DEPTH} passages {_percent(share)} are in the question's own language, "
        f"which{on_average} has {_percent(fair)} of the collection."
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
    if not is_correction_worthwhile(diagnosis):
        return f"Without training little is to be won: {words} changes mAP by {gain:+.3f}."
    sentence = (
        f"Without training, {words} (estimated on these very texts) would raise mAP in the mixed "
        f"collection from {before['multi.map']:.3f} to {after['multi.map']:.3f}"
    )
    if after.get("hidden") is not None:
        sentence += f" and leave {_percent(after['hidden'])} hidden"
    return f"{sentence}: `hybrid-ir debias` makes such a model."


def is_correction_worthwhile(diagnosis: Diagnosis) -> bool:
    """Returns whether a correction without training would bring something."""
    name = find_best_correction(diagnosis.corrections)
    if name is None:
        return False
    gain = diagnosis.corrections[name]["multi.map"] - diagnosis.measures["multi.map"]
    return gain >= WORTHWHILE_GAIN


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
    return Verdict(NOT_MEASURABLE, sentences)


def _percent(share: float) -> str:
    """Returns a share in percent, with a decimal where it is small."""
    return format_percent(share, decimals=1 if 0 < share < 0.0995 else 0)
