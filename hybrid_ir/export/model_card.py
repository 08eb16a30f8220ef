"""Writes the model card of an export: README.md with the head that the hub reads."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hybrid_ir.evaluation.figures import draw_heat_map
from hybrid_ir.evaluation.report import results_to_dict
from hybrid_ir.export.card_sections import (
    write_int8_section,
    write_latency_section,
    write_parity_section,
    write_result_section,
    write_training_section,
)
from hybrid_ir.export.parity import FormatParity, Reference
from hybrid_ir.export.parts import EncoderParts
from hybrid_ir.export.snippets import build_snippets
from hybrid_ir.model.module_files import is_hub_id
from hybrid_ir.types import TextEncoder

CARD_FILE = "README.md"
METRICS_FILE = "metrics.json"
HEAT_MAP_FILE = "heat_map.png"
PICTURES_FOLDER = "figures"
TAGS = ["sentence-transformers", "feature-extraction", "retrieval", "multilingual", "hybrid-ir"]
# Metrics of a result in the head of the card, with the names that the hub shows.
METRICS_IN_HEAD = {"map": "mAP", "ndcg@10": "nDCG@10"}
VIEWS_IN_WORDS = {"mono": "monolingual", "cross": "cross-lingual", "multi": "multilingual"}
CITATION = """@article{elmahdy2024synergistic,
  title = {Synergistic Approach for Simultaneous Optimization of Monolingual, Cross-lingual, and
           Multilingual Information Retrieval},
  author = {Elmahdy, Adel and Lin, Sheng-Chieh and Ahmad, Amin},
  journal = {arXiv preprint arXiv:2408.10536},
  year = {2024}
}"""


@dataclass(frozen=True)
class MeasuredResult:
    """The results of a benchmark, as `hybrid-ir evaluate` or the end of a run wrote them.

    Attributes:
        name: for the card.
        record: the content of metrics.json.
        heat_map: the picture of mAP by language, None if there is none.
        licence: of the texts of the benchmark, if it is known.
        card: the content of evaluation_card.json; empty if there is none.
    """

    name: str
    record: dict[str, Any]
    heat_map: Path | None
    licence: str | None = None
    card: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where an encoder comes from, for the model card.

    Attributes:
        name: of the model.
        model: the part `model` of its evaluation card.
        training: what it was trained on and how; None for a model as released.
        base_model: folder or hub id of what the training started from.
        languages: codes of the languages that it was trained in.
        licence: of the weights, as the hub spells it; None if it is not known.
        data_licence: of the training texts; None if it is not known.
        results: measured on benchmarks.
        latency: the content of latency.json, None if nothing was timed.
        hub: owner/name on the hub, None if the export is not uploaded.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None
    base_model: str | None = None
    languages: Sequence[str] = ()
    licence: str | None = None
    data_licence: str | None = None
    results: Sequence[MeasuredResult] = ()
    latency: dict[str, Any] | None = None
    hub: str | None = None

    @classmethod
    def of_encoder(cls, encoder: TextEncoder) -> "Provenance":
        """Returns all that an encoder alone says, which is its name."""
        return cls(name=encoder.name)


def read_results(folder: Path) -> list[MeasuredResult]:
    """Reads the results in a folder of `hybrid-ir evaluate`, of a benchmark inside it, or of a run.

    Raises:
        ValueError: the folder has no results, or a damaged one.
    """
    files = [folder / METRICS_FILE]
    if not files[0].is_file():
        files = sorted(folder.glob(f"*/{METRICS_FILE}"))
    if not files:
        raise ValueError(
            f"results={folder} has no {METRICS_FILE}: give a folder of hybrid-ir evaluate, or a run"
        )
    results = []
    for file in files:
        record = read_json_record(file)
        if not {"benchmark", "macro_over_settings", "settings", "language_bias"} <= set(record):
            raise ValueError(f"{file} is no result of a benchmark: copy the whole folder")
        heat_map = file.with_name(HEAT_MAP_FILE)
        card_file = file.with_name("evaluation_card.json")
        card = read_json_record(card_file) if card_file.is_file() else {}
        results.append(
            MeasuredResult(
                name=str(record["benchmark"]["name"]),
                record=record,
                heat_map=heat_map if heat_map.is_file() else None,
                licence=(card.get("benchmark") or {}).get("licence"),
                card=card,
            )
        )
    return results


def read_json_record(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object. Raises ValueError if it is missing or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or damaged ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no JSON object")
    return record


def write_model_card(
    folder: Path,
    name: str,
    parts: EncoderParts,
    reference: Reference,
    formats: Sequence[FormatParity],
    provenance: Provenance,
) -> None:
    """Writes README.md and the pictures that it shows.

    Args:
        folder: where the files go.
        name: that the folder will have.
        parts: of the encoder.
        reference: what the encoder gave on the benchmark of the gate.
        formats: what every format gave.
        provenance: where the encoder comes from.
    """
    results = list(provenance.results)
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir()
    if not results:
        drawn = pictures / f"{reference.benchmark.name}.png"
        draw_heat_map(reference.results, drawn)
        record = results_to_dict(reference.results)
        results = [MeasuredResult(f"{reference.benchmark.name} (a part of it)", record, drawn)]
    sections = [
        f"---\n{_build_head(parts, reference, provenance).to_yaml()}\n---",
        f"# {provenance.name}",
        _write_summary(parts, reference, provenance),
        _write_usage(parts, [parity.name for parity in formats], name, provenance.hub),
    ]
    if provenance.training:
        sections.append(write_training_section(provenance.training, provenance.model))
    sections.append("## Evaluation")
    for number, result in enumerate(results):
        picture = _copy_picture(result, pictures, number)
        sections.append(write_result_section(result.name, result.record, picture))
    if provenance.latency is not None:
        sections.append(write_latency_section(provenance.latency))
    sections.append(write_parity_section(parts, reference, formats))
    for parity in formats:
        if parity.name == "onnx_int8":
            sections.append(write_int8_section(parity))
    sections.append(_write_licences(provenance))
    sections.append(f"## Citation\n\n```bibtex\n{CITATION}\n```")
    text = "\n\n".join(sections) + "\n"
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def _build_head(parts: EncoderParts, reference: Reference, provenance: Provenance) -> ModelCardData:
    """Builds the YAML head, with the numbers that the hub shows beside the model."""
    eval_results = []
    for result in provenance.results:
        for view, means in result.record["macro_over_settings"].items():
            for metric, label in METRICS_IN_HEAD.items():
                value = means.get(metric)
                if value is None:
                    continue
                eval_results.append(
                    EvalResult(
                        task_type="text-retrieval",
                        task_name=f"{VIEWS_IN_WORDS[view]} retrieval",
                        dataset_type=result.name,
                        dataset_name=result.name,
                        dataset_config=view,
                        metric_type=metric.replace("@", "_at_"),
                        metric_name=label,
                        metric_value=round(value, 4),
                    )
                )
    languages = list(provenance.languages or reference.benchmark.languages)
    return ModelCardData(
        language=languages,
        license=provenance.licence,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=TAGS,
        base_model=provenance.base_model if is_hub_id(provenance.base_model) else None,
        model_name=provenance.name,
        eval_results=eval_results or None,
    )


def _write_summary(parts: EncoderParts, reference: Reference, provenance: Provenance) -> str:
    languages = list(provenance.languages or reference.benchmark.languages)
    training = "as released"
    if provenance.training:
        training = f"trained by hybrid-ir on {provenance.training['corpus']}"
    verb = "measured" if not provenance.languages else "trained"
    lines = [
        f"A multilingual bi-encoder for retrieval, {training}. It maps queries and passages to "
        f"vectors of {parts.width} dimensions that are compared by {parts.similarity}.",
        "",
        f"- Languages it was {verb} in: {', '.join(languages)}",
        f"- Pooling: {parts.pooling}; vectors "
        f"{'have length 1' if parts.normalizes else 'keep their length'}",
        f"- Prompts: {parts.prompts['query']!r} before queries, {parts.prompts['passage']!r} "
        "before passages",
        f"- Maximum length: {parts.max_length} tokens{_describe_lengths(parts)}",
    ]
    if provenance.base_model:
        base = provenance.base_model
        lines.append(f"- Base model: {base if is_hub_id(base) else Path(base).name}")
    return "\n".join(lines)


def _describe_lengths(parts: EncoderParts) -> str:
    lengths = parts.role_lengths
    if len(set(lengths.values())) == 1:
        return ""
    return (
        f" for both roles (in training {lengths['query']} for queries and {lengths['passage']} for "
        "passages: a client knows one length, and a query that is longer is read further here)"
    )


def _write_usage(parts: EncoderParts, formats: Sequence[str], name: str, hub: str | None) -> str:
    sections = ["## Usage"]
    for library, code in build_snippets(parts, formats, name, hub).items():
        sections.append(f"### {library}\n\n```python\n{code}\n```")
    if "onnx" in formats or "onnx_int8" in formats:
        sections.append(
            "The graphs hold pooling, layers and normalisation. Their inputs are `input_ids` and "
            "`attention_mask`; the output `sentence_embedding` is the vector, and "
            "`last_hidden_state` is there for clients that pool the tokens themselves."
        )
    return "\n\n".join(sections)


def _copy_picture(result: MeasuredResult, folder: Path, number: int) -> str | None:
    """Copies the picture of a result into the folder, and returns its path inside the export."""
    if result.heat_map is None:
        return None
    if result.heat_map.parent == folder:
        return f"{folder.name}/{result.heat_map.name}"
    name = f"{number}_{Path(result.name).name.replace(' ', '_')}.png"
    shutil.copyfile(result.heat_map, folder / name)
    return f"{folder.name}/{name}"


def _write_licences(provenance: Provenance) -> str:
    weights = provenance.licence or "not known: see the base model"
    lines = ["## Licences", "", f"- Weights: {weights}"]
    if provenance.training:
        corpus = provenance.training["corpus"]
        lines.append(f"- Training texts ({corpus}): {provenance.data_licence or 'not known'}")
    for result in provenance.results:
        if result.licence:
            lines.append(f"- Benchmark {result.name}: {result.licence}")
    return "\n".join(lines)
