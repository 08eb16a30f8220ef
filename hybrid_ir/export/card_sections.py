"""The sections of a model card with numbers: training, evaluation, latency, and the parity gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ir.evaluation.bias_rows import describe_language_bias
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.report import SHOWN_METRICS, format_number
from hybrid_ir.export.parity import FormatParity, Reference
from hybrid_ir.export.parts import EncoderParts

# Keys of a training on the card, in words.
TRAINING_ROWS = {
    "corpus": "corpus",
    "sampler": "sampler",
    "monolingual_share": "alpha (monolingual share)",
    "level": "level of the sampler",
    "batch_size": "batch (pairs)",
    "max_steps": "steps planned",
    "learning_rate": "learning rate",
    "temperature": "temperature",
    "seed": "seed",
}
BYTES_PER_MEBIBYTE = 2**20


def write_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns a table in Markdown; the first column stands left, all others right."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    lines = []
    for row in (header, rules, *rows):
        cells = [str(cell).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_training_section(training: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Returns what the model was trained on and how."""
    rows = []
    for key, label in TRAINING_ROWS.items():
        if training.get(key) is not None:
            rows.append([label, training[key]])
    settings = training.get("settings", {})
    if training.get("loss"):
        rows.append(["loss", str(training["loss"]).rpartition(".")[2]])
    for key in ("loss.negatives", "loss.mask", "loss.symmetric", "data.hard_negatives"):
        if settings.get(key) is not None:
            rows.append([key, settings[key]])
    if "step" in model:
        rows.append(["steps of these weights", model["step"]])
    checkpoint = model.get("checkpoint") or {}
    if checkpoint.get("monitor"):
        chosen = f"{checkpoint['monitor']} ({checkpoint['mode']})"
        rows.append(["chosen by", f"{chosen}, of {checkpoint.get('validations')} validations"])
    return "## Training\n\n" + write_table(["", ""], rows)


def write_result_section(name: str, record: Mapping[str, Any], picture: str | None) -> str:
    """Returns the tables of a benchmark: views, language bias, and query languages.

    Args:
        name: of the benchmark.
        record: the content of metrics.json.
        picture: path of the matrix of languages inside the export.
    """
    benchmark = record["benchmark"]
    pool = sum(benchmark["pool"].values())
    text = (
        f"### {name}\n\n{benchmark['queries']:,} queries against {pool:,} passages in "
        f"{len(benchmark['languages'])} languages; means over the settings of a view."
    )
    rows = []
    for view in VIEWS:
        means = record["macro_over_settings"].get(view) or {}
        if means.get("map") is not None:
            rows.append([view, *[format_number(means.get(key), key) for key in SHOWN_METRICS]])
    parts = [text, write_table(["view", *SHOWN_METRICS.values()], rows)]
    parts.append(_write_bias_table(record))
    if picture is not None:
        parts.append(f"![mAP by query language and passage language]({picture})")
    parts.append(_write_language_table(record))
    return "\n\n".join(parts)


def _write_bias_table(record: Mapping[str, Any]) -> str:
    """Returns the table of language bias in the pool of all languages."""
    rows = [list(row) for row in describe_language_bias(record)]
    title = "Language bias in the multilingual pool:\n\n"
    return title + write_table(["measure", "value", "without bias"], rows)


def _write_language_table(record: Mapping[str, Any]) -> str:
    """Returns mAP by query language, cross as its mean over passage languages."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in record["settings"]:
        if row.get("map") is not None:
            values.setdefault((row["query_language"], row["view"]), []).append(row["map"])
    rows = []
    for language in record["benchmark"]["languages"]:
        cells = []
        for view in VIEWS:
            means = values.get((language, view))
            cells.append(format_number(sum(means) / len(means) if means else None, "map"))
        rows.append([language, *cells])
    return "mAP by query language:\n\n" + write_table(["query language", *VIEWS], rows)


def write_latency_section(latency: Mapping[str, Any]) -> str:
    """Returns the table of a latency study; see docs/latency.md of hybrid-ir."""
    rows = []
    for row in latency["latency"]:
        quantiles = row["ms"]["per_query"]
        names = [row.get("checkpoint"), row.get("backend"), row.get("search"), row.get("pool")]
        label = ", ".join(str(name) for name in names if name is not None)
        numbers = [f"{value:.2f}" for value in quantiles.values()]
        rows.append([label, row["batch_size"], *numbers, f"{row['queries_per_second']:,.0f}"])
    quantile_names = list(latency["latency"][0]["ms"]["per_query"])
    header = ["measured", "batch", *[f"{name} (ms a query)" for name in quantile_names]]
    machine = latency.get("card", {}).get("machine", {})
    place = f"On {machine.get('device', 'an unknown device')}, {machine.get('threads')} threads."
    return f"## Latency\n\n{place}\n\n" + write_table([*header, "queries a second"], rows)


def write_parity_section(
    parts: EncoderParts, reference: Reference, formats: Sequence[FormatParity]
) -> str:
    """Returns what the gate measured before the export got its name."""
    benchmark = reference.benchmark
    views = list(formats[0].map)
    text = (
        "## What these files were compared with\n\nBefore they got their name, the files were "
        "loaded by the libraries they are for and compared with the encoder that was exported: "
        f"the vectors of {formats[0].cosines.texts} texts (queries and passages of all languages, "
        f"and texts in twenty scripts), and mAP on {benchmark.name} ({len(benchmark.queries):,} "
        f"queries, {len(benchmark.passages):,} passages)."
    )
    cut = []
    for role, share in reference.texts_cut.items():
        if share is not None:
            cut.append(f"{share:.1%} of the {role} texts")
    if cut:
        text += (
            f" Both read at most {parts.max_length} tokens, which cuts {' and '.join(cut)} of "
            "this benchmark."
        )
    rows = []
    expected = [f"{reference.results.macro(view)['map']:.4f}" for view in views]
    rows.append(["the encoder itself", "", "", "", *expected])
    for parity in formats:
        values = []
        for view in views:
            values.append(f"{parity.map[view]:.4f} ({parity.map_difference[view]:+.1e})")
        size = f"{parity.bytes / BYTES_PER_MEBIBYTE:,.0f} MiB"
        least = f"{parity.cosines.least:.6f}"
        rows.append([parity.name, size, least, f"{parity.cosines.mean:.6f}", *values])
    header = ["format", "size", "least cosine", "mean cosine", *[f"mAP {view}" for view in views]]
    return f"{text}\n\n{write_table(header, rows)}\n\n`parity.json` has all of it."


def write_int8_section(parity: FormatParity) -> str:
    """Returns what int8 costs each language, and how the graph was made."""
    details = parity.details
    embeddings = details["embeddings"]
    methods = []
    for name, cosine in details["mean_cosine_of_methods"].items():
        methods.append(f"{name} {cosine:.4f}")
    scale = "calibrated once"
    if details["method"] == "dynamic":
        scale = "those of each batch, so that a vector depends a little on its batch"
    text = (
        "## What int8 costs each language\n\n"
        f"Quantised by ONNX Runtime, {details['method']}, a scale for each channel of the weights; "
        f"the table of token vectors is {embeddings}. Scales of activations are {scale}. Mean "
        f"cosine by method: {', '.join(methods)}. The cosines are of texts that were encoded one "
        "by one."
    )
    rows = []
    for language, row in parity.language_map.items():
        cells = []
        for before, after in row.values():
            cells.append(f"{before:.4f} → {after:.4f} ({after - before:+.4f})")
        rows.append([language, *cells])
    views = [f"mAP {view}" for view in parity.map]
    return f"{text}\n\n{write_table(['query language', *views], rows)}"
