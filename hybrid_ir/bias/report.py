"""What `hybrid-ir bias` writes: bias.json for programs, and bias.html for people."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from hybrid_ir.bias.answer_places import DEPTH, FATES
from hybrid_ir.bias.diagnosis import Diagnosis, average_other_rows
from hybrid_ir.bias.known_encoders import SHOWN_MEASURES, find_known_encoders
from hybrid_ir.bias.verdict import (
    FINDS_LITTLE,
    FINDS_LITTLE_ACROSS,
    NAMES_OF_CORRECTIONS,
    Verdict,
)
from hybrid_ir.evaluation.card import list_versions
from hybrid_ir.evaluation.number_format import format_percent
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.pages import (
    Bar,
    HeatMaps,
    KeyFigure,
    build_heat_maps,
    name_language,
    render_page,
)

TONES = {
    "hardly biased": "good",
    "somewhat biased": "warning",
    "clearly biased": "bad",
    "severely biased": "bad",
    FINDS_LITTLE: "bad",
    FINDS_LITTLE_ACROSS: "bad",
}
TITLES_OF_FATES = {
    "found": "found",
    "hidden": "hidden by other languages",
    "not_found": "not found even alone",
}
TITLES_OF_MEASURES = {
    "hidden": "hidden",
    "lost": "lost",
    "not_found": "not found",
    "multi.map": "mAP, mixed",
    "own_language_share": f"own language in the first {DEPTH}",
}
JSON_FILE = "bias.json"
FORMAT = 2  # of bias.json; it grows when a field changes what it means
PAGE_FILE = "bias.html"
MOST_LANGUAGES_ON_A_MAP = 40
SMALLEST_NAMED_SHARE = 0.01  # of a bar; what is smaller is joined


def build_record(
    diagnosis: Diagnosis,
    verdict: Verdict,
    model: dict[str, Any],
    reading: dict[str, Any],
    latency: dict[str, Any] | None = None,
    next_command: str | None = None,
) -> dict[str, Any]:
    """Returns all that bias.json holds.

    Args:
        diagnosis: what was measured.
        verdict: what it means.
        model: which model it was, as on an evaluation card.
        reading: how texts became vectors.
        latency: how long a query takes, see `time_queries`; None where nobody measured.
        next_command: what makes a better model; None where nothing does.
    """
    return {
        "format": FORMAT,
        "date": date.today().isoformat(),
        "versions": list_versions(),
        "model": model,
        "reading": reading,
        "grade": verdict.grade,
        "verdict": verdict.sentences,
        "next_command": next_command,
        "depth": DEPTH,
        "latency": latency,
        **asdict(diagnosis),
        "known_encoders": find_known_encoders(diagnosis.texts),
    }


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Writes bias.json and bias.html to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomically(folder / PAGE_FILE, build_page(record))
    write_text_atomically(folder / JSON_FILE, text + "\n")


def build_page(record: dict[str, Any]) -> str:
    """Returns the page of a record."""
    languages = record["texts"]["languages"]
    return render_page(
        "bias/bias.html.jinja",
        title=f"Is {record['model']['name']} biased by language?",
        record=record,
        tone=TONES.get(record["grade"], ""),
        figures=_list_figures(record),
        fates=_build_fate_bars(record["measures"]),
        maps=_build_maps(record, languages),
        mixes=_build_mixes(record, "language_mix"),
        hiders=_build_mixes(record, "hidden_by"),
        language_rows=_list_languages(record),
        correction_rows=_list_corrections(record),
        known_rows=list_known_rows(record),
        known_heads=list_known_heads(),
        names={code: name_language(code) for code in languages},
        reading=_describe_reading(record["reading"]),
        texts=_describe_texts(record["texts"]),
    )


def _describe_texts(texts: dict[str, Any]) -> str:
    """Returns which texts were asked, in words, without what is not known of them."""
    parts = [texts["name"]]
    for key, word in (("revision", "revision"), ("licence", "licence"), ("sha256", "SHA-256")):
        if texts[key]:
            parts.append(f"{word} {texts[key]}")
    return ", ".join(parts)


def _describe_reading(reading: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns how texts became vectors, in words."""
    lines = []
    for role in ("query", "passage"):
        prefix = reading.get(f"{role}_prefix")
        length = reading.get(f"{role}_max_length")
        words = [f"prompt {prefix!r}" if prefix else "no prompt"]
        if length is not None:
            words.append(f"at most {length} tokens")
        lines.append((f"A {role} is read with", ", ".join(words)))
    for key in ("similarity", "precision"):
        if reading.get(key) is not None:
            lines.append((key.capitalize(), str(reading[key])))
    return lines


def _list_figures(record: dict[str, Any]) -> list[KeyFigure]:
    """Returns the numbers that a reader should see first."""
    measures = record["measures"]
    figures = []
    if measures.get("hidden") is not None:
        note = f"of the answers in other languages{_write_interval(record, 'hidden', format_share)}"
        figures.append(KeyFigure("hidden", format_share(measures["hidden"]), note))
        if measures["lost"] is not None:
            note = (
                "of what the model can find, beyond chance"
                f"{_write_interval(record, 'lost', format_share)}"
            )
            figures.append(KeyFigure("lost", format_share(measures["lost"]), note))
        figures.append(
            KeyFigure(
                "not found", format_share(measures["not_found"]), "even among their own language"
            )
        )
    if measures.get("own.hidden") is not None:
        figures.append(
            KeyFigure(
                "hidden, own language",
                format_share(measures["own.hidden"]),
                "of the answers in the question's language",
            )
        )
    if measures.get("own_language_share") is not None:
        fair = format_share(measures["own_language_share.fair"])
        figures.append(
            KeyFigure(
                f"own language in the first {DEPTH}",
                format_share(measures["own_language_share"]),
                f"it has {fair} of the collection",
            )
        )
    if measures.get("multi.map") is not None:
        note = (
            "mean average precision in all languages at once"
            f"{_write_interval(record, 'multi.map', '{:.3f}'.format)}"
        )
        figures.append(KeyFigure("mAP, mixed", f"{measures['multi.map']:.3f}", note))
    if measures.get("same_language_neighbours") is not None and not figures:
        figures.append(
            KeyFigure(
                "neighbours in the same language",
                format_share(measures["same_language_neighbours"]),
                "of the ten nearest passages",
            )
        )
    return figures


def _write_interval(record: dict[str, Any], name: str, form: Callable[[float], str]) -> str:
    """Returns the interval of a measure as the end of a sentence, nothing where there is none."""
    if name not in record["intervals"]:
        return ""
    low, high = (max(0.0, end) for end in record["intervals"][name])
    return f"; 95% interval {form(low)} to {form(high)}"


def format_share(share: float | None) -> str:
    """Returns a share in percent with a decimal, a dash for None."""
    # Less hidden than by luck is nothing lost, and no gain.
    return "–" if share is None else format_percent(max(0.0, share))


def _build_fate_bars(measures: dict[str, Any]) -> list[tuple[str, list[Bar]]]:
    """Returns what becomes of answers in other languages and in the question's own."""
    rows = []
    for prefix, title in (("", "answers in other languages"), ("own.", "in the question's own")):
        if measures.get(f"{prefix}found") is None:
            continue
        bars = []
        for number, fate in enumerate(FATES, 1):
            share = measures[prefix + fate]
            # A colour would read as good or bad, where language plays no part.
            is_neutral = fate == "not_found"
            bar = Bar(
                TITLES_OF_FATES[fate],
                share,
                format_share(share),
                kind=number,
                is_neutral=is_neutral,
            )
            bars.append(bar)
        rows.append((title, bars))
    return rows


def _build_maps(record: dict[str, Any], languages: Sequence[str]) -> HeatMaps | None:
    """Returns the maps of hidden and of lost answers by pairs of languages, on one scale."""
    if not record["pairs"] or len(languages) > MOST_LANGUAGES_ON_A_MAP:
        return None
    maps = {}
    for fate in ("hidden", "not_found"):
        maps[TITLES_OF_FATES[fate]] = record["pairs"][fate]
    return build_heat_maps(
        maps,
        rows=languages,
        columns=languages,
        row_head="questions in",
        column_head="answers in",
        unit="% of the answers",
        format_number=lambda share: f"{100 * share:.0f}",
        limits=(0.0, 1.0),
    )


def _build_mixes(record: dict[str, Any], key: str) -> list[tuple[str, list[Bar]]]:
    """Returns a bar of shares for each query language: its own first, then the others by size.

    Languages with hardly anything are joined, since nobody would see them.
    """
    # A language looks the same in all bars of the page.
    kinds = {}
    for number, language in enumerate(record["texts"]["languages"], 1):
        kinds[language] = number
    rows = []
    for language, shares in record[key].items():
        others = sorted(set(shares) - {language}, key=lambda code: -shares[code])
        bars = []
        rest = 0.0
        for code in [language, *others]:
            share = shares[code]
            if share < SMALLEST_NAMED_SHARE:
                rest += share
                continue
            text = format_percent(share, 0)
            bars.append(Bar(name_language(code), share, text, code, kinds[code]))
        if rest > 0:
            bars.append(Bar("others", min(rest, 1.0), _format_rest(rest), is_neutral=True))
        rows.append((language, bars))
    return rows


def _format_rest(share: float) -> str:
    """Returns what is joined in whole percent, and says so where it is less than one."""
    return "below 1%" if share < 0.01 else format_percent(share, 0)


def _list_languages(record: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each language: how its answers fare, asked for in other languages."""
    rows = []
    languages = record["texts"]["languages"]
    sizes = record["texts"]["passages_by_language"]
    for column, language in enumerate(languages):
        row = [language, name_language(language), f"{sizes[language]:,}"]
        for fate in FATES:
            cells = record["pairs"].get(fate, [])
            row.append(format_share(average_other_rows(cells, column)))
        rows.append(row)
    return rows


def _list_corrections(record: dict[str, Any]) -> list[list[str]]:
    """Returns a row for the model as it is and one for each correction."""
    rows = []
    versions = {"as it is": record["measures"], **record["corrections"]}
    for name, measures in versions.items():
        if measures.get("multi.map") is None:
            continue
        rows.append(
            [
                NAMES_OF_CORRECTIONS.get(name, name),
                format_share(measures["hidden"]),
                format_share(measures["not_found"]),
                f"{measures['mono.map']:.3f}" if measures["mono.map"] is not None else "–",
                f"{measures['cross.map']:.3f}" if measures["cross.map"] is not None else "–",
                f"{measures['multi.map']:.3f}",
            ]
        )
    return rows


def list_known_heads() -> list[str]:
    """Returns the heads of the columns of `list_known_rows`."""
    return ["encoder", *(TITLES_OF_MEASURES[name] for name in SHOWN_MEASURES)]


@dataclass(frozen=True)
class KnownRow:
    """A row of the table of known encoders.

    Attributes:
        name: of the encoder.
        cells: its measures, formatted.
        is_this_model: whether it is the model that the page is about.
        training: what it was trained on, where its numbers are not to be read without it.
    """

    name: str
    cells: list[str]
    is_this_model: bool
    training: str


def list_known_rows(record: dict[str, Any]) -> list[KnownRow]:
    """Returns a row for each known encoder on the same texts, and one for the model among them."""
    if record["measures"].get("hidden") is None or not record["known_encoders"]:
        return []
    this_model = {"name": f"{record['model']['name']} (this model)", "measures": record["measures"]}
    encoders = [this_model, *record["known_encoders"]]
    rows = []
    # By what is found in the end: a model that finds nothing has nothing to hide.
    for encoder in sorted(encoders, key=lambda one: -one["measures"]["multi.map"]):
        cells = []
        for measure in SHOWN_MEASURES:
            value = encoder["measures"][measure]
            is_map = measure.endswith("map")
            cells.append(f"{value:.3f}" if is_map else format_share(value))
        is_this_model = encoder is this_model
        training = encoder.get("training", "")
        rows.append(KnownRow(encoder["name"], cells, is_this_model, training))
    return rows
