"""Exports an encoder: writes all formats, compares each with the encoder, then gives the name."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.export.clients import (
    EncodeTexts,
    load_tokenizer,
    open_with_onnxruntime,
    open_with_sentence_transformers,
    open_with_transformers,
    tokenise_for_graph,
)
from hybrid_ir.export.graph import (
    quantise_graph,
    require_onnx,
    write_graph,
)
from hybrid_ir.export.model_card import Provenance, write_model_card
from hybrid_ir.export.model_files import (
    require_sentence_transformers,
    write_sentence_transformer,
    write_tokenizer,
    write_transformer,
)
from hybrid_ir.export.parity import (
    CALIBRATION_TEXTS_PER_ROLE,
    ROLES,
    Cosines,
    FormatParity,
    Reference,
    choose_texts,
    compare_vectors,
    find_vector_problems,
    measure_parity,
    measure_reference,
    require_parity,
)
from hybrid_ir.export.parts import EncoderParts, read_with_one_length, take_apart
from hybrid_ir.export.settings import ExportSettings
from hybrid_ir.files.atomic import (
    hold_new_folder,
    require_new_folder,
    write_folder_atomically,
)
from hybrid_ir.inference.graph_encoder import GraphEncoder
from hybrid_ir.inference.graph_files import GRAPH_FILE, INT8_FILE, list_graph_files
from hybrid_ir.model.adapters import BATCH_SIZE
from hybrid_ir.model.tokens import compute_tokenizer_canary
from hybrid_ir.types import Benchmark, TextEncoder

PARITY_FILE = "parity.json"
CALIBRATION_BATCH = 8  # texts
# In the messages of libraries: the errors 28 (no space) and 27 (file too large) of the system.
SIGNS_OF_A_FULL_DISK = ("no space left", "file too large", "os error 28", "os error 27")


@dataclass(frozen=True)
class Export:
    """An export that has passed its gate.

    Attributes:
        folder: of the export.
        formats: what each format was measured to give.
        parts: of the encoder.
    """

    folder: Path
    formats: list[FormatParity]
    parts: EncoderParts


@dataclass(frozen=True)
class _Written:
    """Where an export is being written, and what is known of the encoder."""

    folder: Path
    parts: EncoderParts
    reference: Reference
    settings: ExportSettings
    device: str
    report: Callable[[str], None]


def export_encoder(
    encoder: TextEncoder,
    benchmark: Benchmark,
    folder: str | Path,
    settings: ExportSettings | None = None,
    provenance: Provenance | None = None,
    report: Callable[[str], None] = print,
) -> Export:
    """Writes an encoder as files of other libraries, if they give its vectors and its numbers.

    Everything is written beside the folder, loaded by the libraries it is for, and compared with
    the encoder. Only then it gets its name; otherwise nothing is left of it.

    Args:
        encoder: as `load_encoder` gives it, in float32.
        benchmark: whose mAP is compared.
        folder: of the export; it must not exist.
        settings: formats and bounds.
        provenance: what the model card says of where the encoder comes from.
        report: is called with a line when a step begins.

    Raises:
        ValueError: the folder exists, a package is missing, a format cannot hold the encoder, or
            an export is not the encoder; it names the format and the numbers.
        OSError: the disk is full; nothing is left behind.
    """
    settings = settings or ExportSettings()
    provenance = provenance or Provenance.of_encoder(encoder)
    folder = Path(folder).expanduser()
    require_new_folder(folder)
    parts = take_apart(encoder)
    _require_possible(encoder, parts, settings)
    reader = read_with_one_length(encoder, parts.max_length)
    report(f"measure {encoder.name} on {benchmark.name}")
    reference = measure_reference(reader, benchmark)
    with hold_new_folder(folder), write_folder_atomically(folder) as temporary:
        written = _Written(temporary, parts, reference, settings, str(encoder.device), report)
        try:
            _write_model_files(written)
            formats = _measure_model_files(written)
            formats += _write_graphs(written, reader)
        except Exception as error:
            # safetensors and ONNX Runtime raise errors of their own when a disk is full.
            _raise_if_disk_is_full(error, folder)
            raise
        require_parity(formats)
        report("write the model card")
        _write_parity(written, formats)
        write_model_card(temporary, folder.name, parts, reference, formats, provenance)
        _give_usual_permissions(temporary)
    return Export(folder, formats, parts)


def _require_possible(encoder: TextEncoder, parts: EncoderParts, settings: ExportSettings) -> None:
    """Raises ValueError for a missing package, or a format that cannot hold the encoder."""
    if isinstance(encoder, GraphEncoder):
        raise ValueError(
            f"backend={encoder.backend}: an export is written from the weights, leave it out"
        )
    if encoder.precision != "fp32":
        raise ValueError(
            f"precision={encoder.precision}: an export holds the weights in float32 and is "
            "compared in float32, leave it out"
        )
    if "sentence_transformers" in settings.formats:
        require_sentence_transformers()
    if _wants_graph(settings):
        require_onnx()
    others = [name for name in settings.formats if name != "sentence_transformers"]
    if parts.problem is not None and others:
        raise ValueError(
            f"formats=[{','.join(others)}]: {encoder.name} is run by sentence-transformers only "
            f"({parts.problem}): use formats=[sentence_transformers]"
        )


def _wants_graph(settings: ExportSettings) -> bool:
    return "onnx" in settings.formats or "onnx_int8" in settings.formats


def _write_model_files(written: _Written) -> None:
    """Writes the folder of sentence-transformers, of transformers, or a tokenizer alone."""
    formats = written.settings.formats
    if "sentence_transformers" in formats:
        written.report("write sentence_transformers")
        write_sentence_transformer(written.parts, written.folder)
    elif "transformers" in formats:
        written.report("write transformers")
        write_transformer(written.parts, written.folder)
    else:
        write_tokenizer(written.parts, written.folder)
        written.parts.transformer.config.save_pretrained(written.folder)
    expected = compute_tokenizer_canary(written.parts.tokenizer)
    tokenizer = load_tokenizer(written.folder, written.settings.trust_remote_code)
    canary = compute_tokenizer_canary(tokenizer)
    if canary != expected:
        raise ValueError(
            f"the tokenizer that was written gives other tokens (canary {canary}) than that of "
            f"the encoder (canary {expected}): the versions of tokenizers and transformers here "
            "may not fit it; nothing was written"
        )


def _measure_model_files(written: _Written) -> list[FormatParity]:
    """Loads the model files with the libraries that they are for, and compares them."""
    formats = []
    settings = written.settings
    size = measure_files([path for path in written.folder.rglob("*") if path.is_file()])
    if "sentence_transformers" in settings.formats:
        encode_texts = open_with_sentence_transformers(
            written.folder, written.device, settings.trust_remote_code
        )
        formats.append(_measure_format("sentence_transformers", encode_texts, size, written))
    if "transformers" in settings.formats:
        encode_texts = open_with_transformers(
            written.folder, written.parts, written.device, settings.trust_remote_code
        )
        formats.append(_measure_format("transformers", encode_texts, size, written))
    return formats


def _write_graphs(written: _Written, encoder: TextEncoder) -> list[FormatParity]:
    """Writes the graphs that are asked for, and compares them."""
    settings = written.settings
    if not _wants_graph(settings):
        return []
    formats = []
    path = written.folder / GRAPH_FILE
    written.report("write onnx")
    write_graph(encoder, written.parts, path)
    if "onnx" in settings.formats:
        encode_texts = open_with_onnxruntime(path, written.folder, written.parts)
        size = measure_files(list_graph_files(path))
        formats.append(_measure_format("onnx", encode_texts, size, written))
    if "onnx_int8" in settings.formats:
        formats.append(_write_int8(written, path))
    if "onnx" not in settings.formats:
        for file in list_graph_files(path):
            file.unlink()
    return formats


def _write_int8(written: _Written, graph: Path) -> FormatParity:
    """Writes a graph in int8 by every method, keeps that which loses least, and compares it."""
    settings = written.settings
    path = written.folder / INT8_FILE
    compared: dict[str, Cosines] = {}
    best = None
    for method in settings.int8_methods:
        written.report(f"write onnx_int8, {method}")
        candidate = path.with_name(f"{method}.onnx")
        quantise_graph(
            graph,
            candidate,
            method,
            settings.int8_embeddings,
            lambda: _build_calibration_inputs(written),
        )
        encode_texts = open_with_onnxruntime(candidate, written.folder, written.parts)
        # One by one, as a query comes: a dynamic scale is that of the whole batch.
        compared[method] = compare_vectors(encode_texts, written.reference, batch_size=1)
        if best is None or compared[method].mean > compared[best].mean:
            best = method
    for method in settings.int8_methods:
        if method != best:
            for file in list_graph_files(path.with_name(f"{method}.onnx")):
                file.unlink()
    for file in list_graph_files(path.with_name(f"{best}.onnx")):
        # A file of weights is named inside the graph, and keeps its name.
        if file.suffix == ".onnx":
            file.rename(path)
    size = measure_files([path, *path.parent.glob(f"{best}.onnx*")])
    details = {
        "method": best,
        "per_channel": True,
        "embeddings": "int8" if settings.int8_embeddings else "float32",
        "mean_cosine_of_methods": {name: cosines.mean for name, cosines in compared.items()},
    }
    encode_texts = open_with_onnxruntime(path, written.folder, written.parts)
    return _measure_format("onnx_int8", encode_texts, size, written, compared[best], details)


def _build_calibration_inputs(written: _Written) -> list[dict[str, Any]]:
    """Returns inputs of the graph, of other texts of the benchmark than those compared."""
    tokenizer = load_tokenizer(written.folder)
    inputs = []
    for role in ROLES:
        texts = choose_texts(
            written.reference.benchmark, role, CALIBRATION_TEXTS_PER_ROLE, offset=1
        )
        texts = [written.parts.prompts[role] + text for text in texts]
        for start in range(0, len(texts), CALIBRATION_BATCH):
            batch = texts[start : start + CALIBRATION_BATCH]
            inputs.append(tokenise_for_graph(tokenizer, batch))
    return inputs


def _measure_format(
    name: str,
    encode_texts: EncodeTexts,
    size: int,
    written: _Written,
    cosines: Cosines | None = None,
    details: dict[str, Any] | None = None,
) -> FormatParity:
    written.report(f"compare {name} with the encoder")
    if cosines is None:
        cosines = compare_vectors(encode_texts, written.reference, BATCH_SIZE)
    similarity = written.parts.similarity
    problems = find_vector_problems(name, cosines, written.settings, similarity)
    if problems:
        # Its mAP would say nothing more, and takes most of the time.
        raise ValueError(
            "the export is not the encoder, and nothing was written: " + "; ".join(problems)
        )
    return measure_parity(
        name,
        encode_texts,
        written.reference,
        written.settings,
        similarity,
        size,
        cosines,
        details,
    )


def measure_files(paths: Sequence[Path]) -> int:
    """Returns the bytes of some files."""
    return sum(path.stat().st_size for path in paths)


def _raise_if_disk_is_full(error: Exception, folder: Path) -> None:
    """Raises OSError, with the cure, for an error of a library that could not write a file."""
    text = str(error).lower()
    if any(sign in text for sign in SIGNS_OF_A_FULL_DISK):
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"to={folder} could not be written ({reason}): free some space, or give to= on another "
            "disk. Nothing was left behind"
        ) from error


def _give_usual_permissions(folder: Path) -> None:
    """Gives all files the permissions of a new file; safetensors keeps its files to their owner."""
    mode = (folder / PARITY_FILE).stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _write_parity(written: _Written, formats: Sequence[FormatParity]) -> None:
    """Writes what the gate measured, with the bounds that hold."""
    reference = written.reference
    benchmark = reference.benchmark
    record = {
        "benchmark": {
            "name": benchmark.name,
            "revision": benchmark.source.revision,
            "languages": list(benchmark.languages),
            "queries": len(benchmark.queries),
            "passages": len(benchmark.passages),
        },
        "max_length": written.parts.max_length,
        "max_length_of_the_encoder": written.parts.role_lengths,
        "texts_cut": reference.texts_cut,
        "bounds": {
            "min_cosine": written.settings.min_cosine,
            "max_map_difference": written.settings.max_map_difference,
            "int8_min_cosine": written.settings.int8_min_cosine,
            "int8_mean_cosine": written.settings.int8_mean_cosine,
            "int8_max_map_loss": written.settings.int8_max_map_loss,
        },
        "seconds_of_the_encoder": reference.seconds,
        "formats": [parity.to_record() for parity in formats],
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (written.folder / PARITY_FILE).write_text(text, encoding="utf-8")
