"""Writes a corrected model as a folder that sentence-transformers loads, and checks the folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hybrid_ir.debias.correction import LanguageCorrection
from hybrid_ir.debias.debias import FittedCorrection
from hybrid_ir.debias.modules import build_corrected_model, encode_texts, list_routes
from hybrid_ir.evaluation.postprocess import ROLES
from hybrid_ir.files.atomic import (
    hold_new_folder,
    require_new_folder,
    write_folder_atomically,
)
from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.tokens import CANARY_TEXTS
from hybrid_ir.system.environment import get_installed_version
from hybrid_ir.types import Role, TextEncoder

CORRECTION_FILE = "correction.json"
LAYOUT = 1  # version of the file
LEAST_COSINE = 0.9999  # of a vector of the folder, and of the one that the fitted map gives
VERSIONED = ("hybrid-ir", "sentence-transformers", "transformers", "torch")


def write_corrected_model(
    encoder: TextEncoder, fitted: FittedCorrection, model: dict[str, Any], folder: str | Path
) -> dict[str, Any]:
    """Writes a corrected model, completely or not at all, and never over anything.

    The folder is loaded again before it gets its name: its vectors of the canary texts must be
    those of the fitted map, for both roles and every language.

    Args:
        encoder: that was corrected.
        fitted: of `debias`.
        model: what the card says of the encoder, as `LoadedEncoder.model`.
        folder: where the model goes.

    Returns:
        The content of correction.json.

    Raises:
        ValueError: the folder exists, the encoder is of a kind that cannot be written, or the
            model that was loaded again gives other vectors.
    """
    folder = Path(folder)
    require_new_folder(folder)
    # Encoded first: the parts of the encoder become parts of the corrected model.
    texts = _choose_canary_texts(encoder)
    uncorrected = {
        "query": encoder.encode_queries(texts),
        "passage": encoder.encode_passages(texts),
    }
    corrected_model = build_corrected_model(encoder, fitted.correction)
    with hold_new_folder(folder), write_folder_atomically(folder) as temporary:
        with quiet_transformers():
            corrected_model.save(str(temporary), create_model_card=False)
        record = {
            "layout": LAYOUT,
            "model": model,
            **fitted.describe(),
            "routes": list_routes(corrected_model),
            "max_length_of_the_encoder": {
                role: encoder.reading()[f"{role}_max_length"] for role in ROLES
            },
            "least_cosine": _check_vectors(temporary, texts, uncorrected, fitted.correction),
            "versions": {name: get_installed_version(name) for name in VERSIONED},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (temporary / CORRECTION_FILE).write_text(text + "\n", encoding="utf-8")
        card = describe_corrected_model(record, folder.name)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return record


def _choose_canary_texts(encoder: TextEncoder) -> list[str]:
    """Returns the canary texts that the encoder reads completely in both roles.

    A sentence-transformers model has one maximum length, so a role with a shorter one would give
    other vectors for texts that are cut.

    Raises:
        ValueError: there is none.
    """
    texts = []
    for text in CANARY_TEXTS:
        before = dict(encoder.texts_cut)
        for role in ROLES:
            encoder.read([text], role)
        if encoder.texts_cut == before:
            texts.append(text)
    if not texts:
        raise ValueError(
            f"{encoder.name} cuts every text that its corrected copy would be checked by: give "
            "longer query_max_length and passage_max_length"
        )
    return texts


def _check_vectors(
    folder: Path,
    texts: list[str],
    uncorrected: dict[Role, torch.Tensor],
    correction: LanguageCorrection,
) -> float:
    """Returns the least cosine of vectors of a folder and those of the fitted map.

    Raises:
        ValueError: it is too low.
    """
    from sentence_transformers import SentenceTransformer

    with quiet_transformers():
        model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
        )
    least = 1.0
    for role in ROLES:
        for language in (None, *correction.by_language[role]):
            languages = [language] * len(texts)
            vectors_ND = encode_texts(model, texts, role, languages).double()
            expected_ND = correction.apply(uncorrected[role], role, language)
            cosines_N = torch.cosine_similarity(vectors_ND, expected_ND, dim=-1)
            least = min(least, float(cosines_N.min()))
    if not least >= LEAST_COSINE:
        raise ValueError(
            f"the corrected model, loaded again, gives other vectors than the fitted map: cosine "
            f"{least:.6f}, need {LEAST_COSINE}; nothing was written"
        )
    return least


def read_correction(place: str | Path) -> dict[str, Any] | None:
    """Reads what a corrected model says of its correction; None for any other model.

    Args:
        place: folder of a model; a hub id has none that is known here.

    Raises:
        ValueError: correction.json is damaged.
    """
    path = Path(place) / CORRECTION_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        keys = ("method", "passages_only", "components", "source")
        correction = {key: record[key] for key in keys}
        correction["model"] = record["model"]["name"]
        fitted_on = record["fitted_on"]
        for key in ("name", "sha256", "languages"):
            correction[f"fitted_on_{key}"] = fitted_on[key]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}): copy the whole folder again"
        ) from error
    correction["fitted_on"] = correction.pop("fitted_on_name")
    return correction


def describe_unfair_test(
    correction: dict[str, Any] | None, benchmark: str, digest: str | None
) -> str | None:
    """Says in a line that a correction was fitted on the benchmark that is measured, if so.

    Args:
        correction: of `read_correction`.
        benchmark: name of what is measured.
        digest: `hash_benchmark` of it.
    """
    if correction is None:
        return None
    is_same = digest is not None and correction["fitted_on_sha256"] == digest
    if not is_same and correction["fitted_on"] != benchmark:
        return None
    what = "the very texts" if is_same else "other texts"
    return (
        f"note: the correction of this model was fitted on {what} of {benchmark}, which is "
        f"measured here{': no fair test' if is_same else ''}"
    )


def describe_corrected_model(record: dict[str, Any], name: str) -> str:
    """Returns the README.md of a corrected model.

    Args:
        record: the content of correction.json.
        name: of the folder.
    """
    fitted_on = record["fitted_on"]
    languages = ", ".join(fitted_on["languages"])
    texts = sum(sum(counts.values()) for counts in fitted_on["vectors"].values())
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [sentence-transformers, feature-extraction, hybrid-ir]",
        "---",
        f"# {name}",
        "",
        f"{record['model']['name']} with a training-free correction of its language bias "
        f"(`{record['method']}`), fitted by hybrid-ir on {texts:,} vectors of "
        f"{fitted_on['name']} in {languages}. No weight of the model was trained.",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{name}")',
        'queries = model.encode_query(["Where is Kabul?"])',
        'passages = model.encode_document(["Kabul liegt in Afghanistan."])',
    ]
    language_routes = [route for route in record["routes"] if "_" in route]
    if language_routes:
        route = language_routes[-1]
        role = route.partition("_")[0]
        lines.append("# a text whose language is known gets the map of that language:")
        lines.append(f'model.encode(["..."], prompt_name="{role}", task="{route}")')
    lines += ["```", ""]
    if record["passages_only"]:
        lines += ["Vectors of queries are those of the uncorrected model.", ""]
    length_note = describe_one_length(record)
    if length_note is not None:
        lines += [length_note, ""]
    lines += [_write_measures(record["held_out"]), ""]
    lines.append("`correction.json` has the hashes of the texts and all settings.")
    return "\n".join(lines) + "\n"


def describe_one_length(record: dict[str, Any]) -> str | None:
    """Says that a corrected model reads a role further than its encoder; None if it does not."""
    lengths = record["max_length_of_the_encoder"]
    if lengths["query"] == lengths["passage"]:
        return None
    return (
        f"The uncorrected model reads {lengths['query']} tokens of a query and "
        f"{lengths['passage']} of a passage; this one reads {max(lengths.values())} of both, so "
        "a longer text of the other role has another vector."
    )


def _write_measures(held_out: dict[str, Any]) -> str:
    if held_out["before"] is None:
        return "Nothing was measured, since the texts say of no passage that it answers a query."
    lines = [
        "Measured on held-out questions of the same texts (mAP; a small pool, which says little "
        "of others):",
        "",
        "| | mono | cross | multi | rank distance |",
        "|---|---|---|---|---|",
    ]
    for cells in list_measures(held_out):
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def list_measures(held_out: dict[str, Any]) -> list[list[str]]:
    """Returns what was measured at the fit as rows of a table: its name, three views, distance."""
    names = {
        "before": "before",
        "after": "after",
        "after_with_languages": "after, languages given",
    }
    rows = []
    for key, name in names.items():
        measured = held_out[key]
        if measured is not None:
            cells = [f"{measured[view]['map']:.4f}" for view in ("mono", "cross", "multi")]
            rows.append([name, *cells, f"{measured['multi']['rank_distance']:.1f}"])
    return rows
