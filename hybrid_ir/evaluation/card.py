"""The evaluation card: everything that decides a number and that its reader cannot see."""

import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.evaluation.encoding_speed import describe_encoding
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.system.environment import PACKAGES, get_installed_version
from hybrid_ir.types import Benchmark

HASHED_UP_TO = 5_000_000  # passages; a larger pool is known by the lock file of its raw files
TIES = "expected value over all orders of tied passages"
RANKS = "exact counts over the whole pool, scores in float64"


def hash_benchmark(benchmark: Benchmark) -> str | None:
    """Computes the sha256 of all texts, languages and judgements.

    None for pools of more than HASHED_UP_TO passages, which would take long to read again.
    """
    if len(benchmark.passages) > HASHED_UP_TO:
        return None
    digest = hashlib.sha256()
    for row in _iterate_content(benchmark):
        digest.update(json.dumps(row, ensure_ascii=False).encode())
    return digest.hexdigest()


def _iterate_content(benchmark: Benchmark) -> Iterator[Any]:
    """Yields all of a benchmark that decides a number, as plain values."""
    yield list(benchmark.languages)
    query_languages = benchmark.query_languages.tolist()
    for row, (query, question) in enumerate(
        zip(benchmark.queries, benchmark.question_ids, strict=True)
    ):
        relevant = np.asarray(benchmark.relevant[row]).tolist()
        yield [query_languages[row], query, question, relevant]
    if benchmark.grades is not None:
        for grades in benchmark.grades:
            yield grades.tolist()
    passage_languages = np.asarray(benchmark.passage_languages).tolist()
    for language, text in zip(passage_languages, benchmark.passages, strict=True):
        yield [language, text]
    yield from list_rules(benchmark)


def list_rules(benchmark: Benchmark) -> list[list[Any]]:
    """Lists, as plain values, how a benchmark counts beyond what is relevant to which query.

    What a benchmark does not use is not listed, so that its hash is the same as before there was
    such a rule.
    """
    rules = []
    if benchmark.count_missing_passages():
        missing_grades = [np.asarray(grades).tolist() for grades in benchmark.missing_grades]
        rules.append(["missing_grades", benchmark.count_missing, missing_grades])
        if benchmark.missing_languages is not None:
            languages = [np.asarray(codes).tolist() for codes in benchmark.missing_languages]
            rules.append(["missing_languages", languages])
    if benchmark.own_passages is not None and (np.asarray(benchmark.own_passages) >= 0).any():
        rules.append(["own_passages", np.asarray(benchmark.own_passages).tolist()])
    if benchmark.least_relevant_grade > 0:
        rules.append(["least_relevant_grade", benchmark.least_relevant_grade])
    return rules


def build_evaluation_card(
    results: Results,
    digest: str | None,
    model: dict[str, Any],
    training: dict[str, Any] | None,
    reading: dict[str, Any],
    texts_cut: dict[str, float | None],
    long_passages: dict[str, Any],
    postprocess: dict[str, Any],
    device: str,
    encoding: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Builds the card of some results, of plain values only.

    Args:
        results: what was measured.
        digest: `hash_benchmark` of the benchmark.
        model: name, kind and place of the model.
        training: what it was trained on, None for a model as released.
        reading: how texts become vectors, see TextEncoder.reading.
        texts_cut: share of queries and of passages that are longer than the encoder reads.
        long_passages: what happened to them: the policy, and how many windows there were.
        postprocess: name of the correction, and the split on which it was estimated.
        device: on which texts were encoded.
        encoding: how fast they were encoded, see EncodingSpeed; None leaves it out.
    """
    speed = {} if encoding is None else {"encoding": encoding}
    return {
        "model": model,
        "training": training,
        "benchmark": _describe_benchmark(results, digest),
        "reading": reading,
        "texts_cut": texts_cut,
        "long_passages": long_passages,
        "postprocess": postprocess,
        "precision": reading["precision"],
        "similarity": reading["similarity"],
        "ties": TIES,
        "ranks": RANKS,
        "tie_rate": replace_nan({view: results.macro(view)["tie_rate"] for view in VIEWS}),
        "tokenizer_canary": reading["tokenizer_canary"],
        **speed,
        **describe_process(device),
    }


def describe_process(device: str, *packages: str) -> dict[str, Any]:
    """Describes where and how a number was computed, for its card.

    Args:
        device: on which texts were encoded.
        packages: whose versions matter besides those of every evaluation.
    """
    return {
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": list_versions(*packages),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _describe_benchmark(results: Results, digest: str | None) -> dict[str, Any]:
    benchmark = results.benchmark
    source = benchmark.source
    description = {
        "name": source.name,
        "revision": source.revision,
        "licence": source.licence,
        "citation": source.citation,
        "sha256": digest,
        "choices": source.choices,
        "languages": list(benchmark.languages),
        "queries": len(benchmark.queries),
        "questions": len(set(benchmark.question_ids)),
        "pool": results.pool_sizes,
        "pool_size": sum(results.pool_sizes.values()),
        "queries_without_relevant": results.queries_without_relevant,
    }
    if benchmark.own_passages is not None:
        own_passages = np.asarray(benchmark.own_passages)
        description["own_passages_left_out"] = int((own_passages >= 0).sum())
    if benchmark.least_relevant_grade > 0:
        description["least_relevant_grade"] = benchmark.least_relevant_grade
    unknown_passages = describe_missing(results)
    if unknown_passages is not None:
        description["unknown_passages"] = unknown_passages
    return description


def describe_missing(results: Results) -> dict[str, Any] | None:
    """Describes the judged passages that are not in the corpus, with the numbers of both views.

    Returns:
        The number of judgements and of queries that they are of, which of the two numbers is the
        main one, and the means over settings and over questions with missing passages counted as
        never found, and with missing passages left out. None where no passage is missing.
    """
    benchmark = results.benchmark
    judgements = benchmark.count_missing_passages()
    if judgements == 0:
        return None
    description = {
        "judgements": judgements,
        "queries": sum(len(grades) > 0 for grades in benchmark.missing_grades),
        "main": "counted_as_missed" if results.count_missing else "left_out",
    }
    for name, count_missing in (("counted_as_missed", True), ("left_out", False)):
        recounted = results.recount(count_missing)
        description[name] = {
            "macro_over_settings": {view: recounted.macro(view) for view in VIEWS},
            "micro_over_questions": {view: recounted.micro(view) for view in VIEWS},
            "queries_without_relevant": recounted.queries_without_relevant,
        }
    return replace_nan(description)


def list_versions(*packages: str) -> dict[str, str]:
    """Returns the versions of what decides a number, and of other packages, where installed."""
    versions = {}
    for name in (*PACKAGES, "sentence-transformers", "scipy", *packages):
        version = get_installed_version(name)
        if version is not None:
            versions[name] = version
    return versions


def describe_device(device: str) -> str:
    """Names a device, and for a CUDA device which GPU it is."""
    if device.startswith("cuda"):
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def replace_nan(value: Any) -> Any:
    """Returns the same plain values with None for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: replace_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [replace_nan(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def describe_measured_model(card: dict[str, Any]) -> str:
    """Returns what was measured, for titles: the model, how it was trained and corrected."""
    name = card["model"]["name"]
    details = []
    training = card.get("training") or {}
    for key in ("sampler", "model"):
        value = training.get(key)
        if value and str(value) not in name:
            details.append(str(value))
    postprocess = (card.get("postprocess") or {}).get("name", "none")
    if postprocess != "none":
        details.append(postprocess)
    return f"{name} ({', '.join(details)})" if details else name


def build_card_table(card: dict[str, Any]) -> Table:
    """Builds a table of what a reader of the card should see at once."""
    benchmark = card["benchmark"]
    reading = card["reading"]
    table = Table(title="evaluation card", show_header=False, title_justify="left")
    rows = {
        "model": f"{card['model']['name']} ({card['model']['kind']})",
        "corrected": _describe_correction(card["model"].get("correction")),
        "trained": _describe_training(card["training"]),
        "pool": f"{benchmark['pool_size']:,} passages, {len(benchmark['languages'])} languages; "
        f"{benchmark['queries']:,} queries",
        "reads": f"{reading['query_prefix']!r} / {reading['passage_prefix']!r}, "
        f"{reading['query_max_length']} / {reading['passage_max_length']} tokens; "
        f"{_describe_texts_cut(card['texts_cut'])}",
        "prompts": reading.get("prompts"),
        "long passages": card["long_passages"]["policy"],
        "vectors": f"{reading['pooling']}, width {reading['width']}, {card['similarity']}, "
        f"{card['precision']} on {card['device']}",
        "backend": _describe_backend(reading.get("backend")),
        "encoded": describe_encoding(card.get("encoding")),
        "postprocess": _describe_postprocess(card["postprocess"]),
        "tokenizer": f"canary {card['tokenizer_canary']}",
    }
    for name, value in rows.items():
        # The prompts of a run are those of its training, and few models are corrected. How fast
        # the end of a training was measured is not known.
        if value is not None:
            table.add_row(name, Plain(value))
    return table


def _describe_backend(backend: dict[str, Any] | None) -> str | None:
    """Describes what computes the vectors, if it is not torch."""
    if backend is None:
        return None
    return f"{backend['name']}, mean cosine {backend['mean_cosine_with_torch']} with torch"


def _describe_training(training: dict[str, Any] | None) -> str:
    if not training:
        return "as released"
    return (
        f"{training['sampler']}, monolingual share {training['monolingual_share']}, "
        f"seed {training['seed']}, on {training['corpus']}"
    )


def _describe_correction(correction: dict[str, Any] | None) -> str | None:
    """Describes the correction of language bias that is part of a model, if any."""
    if correction is None:
        return None
    what = "passages" if correction["passages_only"] else "queries and passages"
    return (
        f"{correction['method']} of {what}, fitted on {correction['fitted_on']} "
        f"({', '.join(correction['fitted_on_languages'])})"
    )


def _describe_texts_cut(texts_cut: dict[str, float | None]) -> str:
    return ", ".join(
        f"{share:.1%} of {role} texts cut" for role, share in texts_cut.items() if share is not None
    )


def _describe_postprocess(postprocess: dict[str, Any]) -> str:
    if not postprocess["estimated_on"]:
        return postprocess["name"]
    return f"{postprocess['name']}, estimated on {postprocess['estimated_on']}"
