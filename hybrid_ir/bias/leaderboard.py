"""The table of a study: many encoders on the same texts, as Markdown, JSON and known encoders."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.bias.report import FORMAT, JSON_FILE, format_share
from hybrid_ir.files.atomic import write_text_atomically

MARKDOWN_FILE = "leaderboard.md"
TABLE_FILE = "leaderboard.json"
KNOWN_FILE = "known_encoders.json"
NAMED_VERSIONS = ("hybrid-ir", "torch", "transformers", "sentence-transformers")
SHOWN_DIGITS = 8  # of a commit
HEADS = (
    "encoder",
    "mAP mono",
    "mAP cross",
    "mAP multi",
    "95% interval",
    "hidden",
    "95% interval",
    "lost",
    "not found",
    "own language in the first 10",
    "after a correction",
    "ms a query, p50 / p95",
)

INTRODUCTION = """\
Written by `hybrid-ir study`. mono: questions and passages in one language; cross: in two; multi:
all languages in one collection. hidden: answers in other languages that are among the first 10 of
their own language, but fall below their fair depth in the collection of all languages. lost: those
beyond what luck would hide, as a share of the answers that are found or hidden. After a correction:
hidden, and mAP multi, with the better of two corrections without training that were estimated on
the same texts. Intervals are of 95%, over groups of questions. What is not in a table was not
measured, see the list below it."""


@dataclass(frozen=True)
class StudiedEncoder:
    """What a study has of an encoder on one benchmark.

    Attributes:
        name: of the encoder.
        corpus: name of the texts.
        record: what bias.json holds; None where it was not measured.
        reason: why it was not.
        note: what its reader should know of it.
        training: what it was trained on, where its numbers are not to be read without it.
    """

    name: str
    corpus: str
    record: dict[str, Any] | None
    reason: str = ""
    note: str = ""
    training: str = ""


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the record of a finished measurement, None where there is none.

    Raises:
        ValueError: it is of another version, whose numbers mean something else.
    """
    path = folder / JSON_FILE
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written by another version of hybrid-ir (format {record.get('format')}, "
            f"this one has {FORMAT}): measure again in another folder"
        )
    return record


def write_leaderboard(studied: Sequence[StudiedEncoder], folder: Path) -> None:
    """Writes leaderboard.md, leaderboard.json and known_encoders.json."""
    write_text_atomically(folder / MARKDOWN_FILE, build_markdown(studied))
    rows = []
    known = []
    for encoder in studied:
        rows.append(
            {
                "encoder": encoder.name,
                "corpus": encoder.corpus,
                "measures": None if encoder.record is None else encoder.record["measures"],
                "intervals": None if encoder.record is None else encoder.record["intervals"],
                "model": None if encoder.record is None else encoder.record["model"],
                "versions": None if encoder.record is None else encoder.record["versions"],
                "latency": None if encoder.record is None else encoder.record["latency"],
                "date": None if encoder.record is None else encoder.record["date"],
                "reason": encoder.reason,
                "note": encoder.note,
                "training": encoder.training,
            }
        )
        if encoder.record is not None and encoder.record["measures"].get("hidden") is not None:
            known.append(describe_known(encoder))
    write_text_atomically(folder / TABLE_FILE, json.dumps(rows, indent=2) + "\n")
    write_text_atomically(folder / KNOWN_FILE, json.dumps(known, indent=2) + "\n")


def describe_known(encoder: StudiedEncoder) -> dict[str, Any]:
    """Returns an encoder as an entry of the table that `hybrid-ir bias` shows."""
    record = encoder.record
    kept = ("name", "revision", "choices", "sha256", "languages", "queries", "passages")
    return {
        "name": encoder.name,
        "note": encoder.note,
        "training": encoder.training,
        "commit": record["model"].get("commit"),
        "measured_on": record["date"],
        "texts": {key: record["texts"][key] for key in kept},
        "measures": record["measures"],
        "intervals": record["intervals"],
    }


def build_markdown(studied: Sequence[StudiedEncoder]) -> str:
    """Returns the tables as Markdown, one for each benchmark, the best in mixed mAP first."""
    lines = [
        "# Encoders and their language bias",
        "",
        INTRODUCTION,
        "",
    ]
    for corpus in dict.fromkeys(encoder.corpus for encoder in studied):
        of_corpus = [encoder for encoder in studied if encoder.corpus == corpus]
        lines += _build_corpus(corpus, of_corpus)
    return "\n".join(lines).rstrip() + "\n"


def _build_corpus(corpus: str, studied: Sequence[StudiedEncoder]) -> list[str]:
    """Returns the lines of one benchmark."""
    measured = []
    missing = []
    for encoder in studied:
        if encoder.record is None:
            missing.append(f"- {encoder.name}: {encoder.reason}")
        elif encoder.record["measures"].get("multi.map") is None:
            missing.append(f"- {encoder.name}: these texts have no known answers")
        else:
            measured.append(encoder)
    lines = [f"## {corpus}", ""]
    if measured:
        texts = measured[0].record["texts"]
        lines += [
            f"{texts['queries']:,} queries and {texts['passages']:,} passages in "
            f"{len(texts['languages'])} languages ({', '.join(texts['languages'])}). "
            f"{_describe_conditions(measured)}",
            "",
            f"| {' | '.join(HEADS)} | date |",
            "|---" * (len(HEADS) + 1) + "|",
        ]
        measured.sort(key=lambda encoder: -encoder.record["measures"]["multi.map"])
        lines += [_build_row(encoder) for encoder in measured]
        lines.append("")
        notes = [f"- {encoder.name}: {encoder.note}" for encoder in measured if encoder.note]
        if notes:
            lines += [*notes, ""]
    if missing:
        lines += ["Not measured:", "", *missing, ""]
    return lines


def _describe_conditions(measured: Sequence[StudiedEncoder]) -> str:
    """Returns on which machines and with which versions encoders were measured."""
    machines = set()
    versions = set()
    for encoder in measured:
        latency = encoder.record["latency"]
        machine = latency["machine"]
        if latency["threads"] is not None:
            machine += f", {latency['threads']} threads"
        machines.add(machine)
        named = encoder.record["versions"]
        versions.add(", ".join(f"{name} {named[name]}" for name in NAMED_VERSIONS if name in named))
    return (
        f"Milliseconds are of one query at a time ({'; '.join(sorted(machines))}). Measured with "
        f"{'; '.join(sorted(versions))}."
    )


def _build_row(encoder: StudiedEncoder) -> str:
    """Returns a row of Markdown."""
    record = encoder.record
    measures = record["measures"]
    latency = record["latency"]
    commit = record["model"].get("commit")
    cells = [
        encoder.name if commit is None else f"{encoder.name} ({commit[:SHOWN_DIGITS]})",
        _format_map(measures["mono.map"]),
        _format_map(measures["cross.map"]),
        _format_map(measures["multi.map"]),
        _format_interval(record, "multi.map", _format_map),
        format_share(measures["hidden"]),
        _format_interval(record, "hidden", format_share),
        format_share(measures["lost"]),
        format_share(measures["not_found"]),
        format_share(measures["own_language_share"]),
        _describe_correction(record["corrections"]),
        f"{latency['p50_ms']:.0f} / {latency['p95_ms']:.0f}",
        record["date"],
    ]
    return f"| {' | '.join(cells)} |"


def _format_map(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _format_interval(record: Mapping[str, Any], name: str, form: Callable[[float], str]) -> str:
    """Returns the interval of a measure, both ends formatted; a dash where there is none."""
    if name not in record["intervals"]:
        return "–"
    low, high = record["intervals"][name]
    return f"{form(low)} to {form(high)}"


def _describe_correction(corrections: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns what the better correction leaves hidden, and its mixed mAP."""
    if not corrections:
        return "–"
    best = max(corrections.values(), key=lambda measures: measures["multi.map"] or 0.0)
    return f"{format_share(best['hidden'])}, {_format_map(best['multi.map'])}"
