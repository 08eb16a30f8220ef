"""Measures whether an export gives the vectors and the numbers of the encoder it was made from.

Shapes: N texts, D width of the vectors.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.selection import require_relevant_passages, select_questions
from hybrid_ir.export.clients import ClientEncoder, EncodeTexts
from hybrid_ir.export.settings import EXACT_FORMATS, ExportSettings
from hybrid_ir.model.adapters import BATCH_SIZE, join_text_pair
from hybrid_ir.model.tokens import CANARY_TEXTS
from hybrid_ir.types import Benchmark, Role, TextEncoder

TEXTS_PER_ROLE = 100  # of the benchmark, besides the canary texts
CALIBRATION_TEXTS_PER_ROLE = 32
NORM_TOLERANCE = 1e-3  # difference of the lengths of two vectors, as a share of the longer one
QUOTED_CHARACTERS = 60
ROLES: tuple[Role, ...] = ("query", "passage")


@dataclass(frozen=True)
class Reference:
    """What the encoder itself gives, with which every export is compared.

    Attributes:
        benchmark: of the mAP.
        texts: of each role, whose vectors are compared.
        vectors: of these texts (N, D), float32 on the CPU.
        results: of the benchmark.
        texts_cut: share of the texts of the benchmark that are longer than is read, by role.
        seconds: that the benchmark took.
    """

    benchmark: Benchmark
    texts: dict[Role, list[str]]
    vectors: dict[Role, torch.Tensor]
    results: Results
    texts_cut: dict[str, float | None]
    seconds: float


@dataclass(frozen=True)
class Cosines:
    """How near the vectors of a client are to those of the encoder.

    Attributes:
        texts: number of vectors.
        least: the smallest cosine.
        mean: of all cosines.
        worst_role: of the text with the smallest cosine.
        worst_text: this text.
        largest_norm_difference: of two vectors of a text, as a share of the longer one.
    """

    texts: int
    least: float
    mean: float
    worst_role: str
    worst_text: str
    largest_norm_difference: float


@dataclass(frozen=True)
class FormatParity:
    """What a format of an export gives beside the encoder itself.

    Attributes:
        name: of the format.
        bytes: of its files.
        cosines: of the vectors.
        map: mAP of each view.
        map_difference: the same less that of the encoder.
        language_map: mAP of each view by query language, of the encoder and of the export.
        seconds: that the benchmark took.
        details: of an int8 graph: how it was made.
        problems: bounds that do not hold, in words.
    """

    name: str
    bytes: int
    cosines: Cosines
    map: dict[str, float]
    map_difference: dict[str, float]
    language_map: dict[str, dict[str, list[float]]]
    seconds: float
    details: dict[str, Any]
    problems: list[str]

    def to_record(self) -> dict[str, Any]:
        """Returns plain values for parity.json."""
        return asdict(self)


def choose_benchmark(benchmark: Benchmark, max_questions: int | None) -> Benchmark:
    """Returns the questions of a benchmark that the gate asks, with their relevant passages.

    Passages that are pairs of texts become one text, since other libraries take no pairs.

    Args:
        benchmark: to choose from.
        max_questions: of each language; None for the whole benchmark with all its passages.
    """
    if max_questions is not None:
        benchmark = select_questions(benchmark, max_questions)
    require_relevant_passages(benchmark)
    if not isinstance(benchmark.passages[0], str):
        passages = [join_text_pair(passage) for passage in benchmark.passages]
        benchmark = replace(benchmark, passages=passages)
    return benchmark


def measure_reference(encoder: TextEncoder, benchmark: Benchmark) -> Reference:
    """Measures the encoder itself on a benchmark, and encodes the texts that are compared."""
    texts = {}
    vectors = {}
    for role in ROLES:
        texts[role] = [*CANARY_TEXTS, *choose_texts(benchmark, role, TEXTS_PER_ROLE)]
        encode = encoder.encode_queries if role == "query" else encoder.encode_passages
        vectors[role] = encode(texts[role])
    start = time.perf_counter()
    evaluation = evaluate(encoder, benchmark)
    seconds = time.perf_counter() - start
    return Reference(benchmark, texts, vectors, evaluation.results, evaluation.texts_cut, seconds)


def choose_texts(benchmark: Benchmark, role: Role, count: int, offset: int = 0) -> list[str]:
    """Chooses texts of a role, as many of each language as there are, spread over its rows.

    Args:
        benchmark: to choose from.
        role: queries or passages.
        count: of all languages together; fewer where there are fewer.
        offset: another one chooses other texts, as far as there are others.
    """
    all_texts = benchmark.queries if role == "query" else benchmark.passages
    languages_N = benchmark.query_languages if role == "query" else benchmark.passage_languages
    languages_N = np.asarray(languages_N)
    present = np.unique(languages_N)
    texts = []
    for place, language in enumerate(present):
        rows = np.flatnonzero(languages_N == language)
        # The first languages have one more where the count is no multiple.
        share = count // len(present) + int(place < count % len(present))
        chosen = np.linspace(0, len(rows), min(share, len(rows)), endpoint=False).astype(int)
        for row in rows[(chosen + offset) % len(rows)]:
            texts.append(join_text_pair(all_texts[int(row)]))
    return texts


def compare_vectors(
    encode_texts: EncodeTexts, reference: Reference, batch_size: int = BATCH_SIZE
) -> Cosines:
    """Compares the vectors of a client with those of the encoder.

    Args:
        encode_texts: of the client.
        reference: of the encoder.
        batch_size: texts that the client encodes at once.
    """
    cosines = []
    differences = []
    owners = []
    for role in ROLES:
        expected_ND = reference.vectors[role].double()
        vectors_ND = encode_texts(reference.texts[role], role, batch_size).double()
        if vectors_ND.shape != expected_ND.shape:
            raise ValueError(
                f"the vectors of {role} texts have the shape {tuple(vectors_ND.shape)} instead of "
                f"{tuple(expected_ND.shape)}"
            )
        cosines.append(torch.cosine_similarity(vectors_ND, expected_ND))
        norms_N = vectors_ND.norm(dim=1)
        expected_norms_N = expected_ND.norm(dim=1)
        longer_N = torch.maximum(norms_N, expected_norms_N)
        differences.append((norms_N - expected_norms_N).abs() / longer_N)
        owners += [(role, text) for text in reference.texts[role]]
    # A value that is no number is the worst there is.
    cosines_N = torch.cat(cosines).nan_to_num(-1)
    differences_N = torch.cat(differences).nan_to_num(1)
    worst_role, worst_text = owners[int(cosines_N.argmin())]
    return Cosines(
        texts=len(cosines_N),
        least=float(cosines_N.min()),
        mean=float(cosines_N.mean()),
        worst_role=worst_role,
        worst_text=worst_text,
        largest_norm_difference=float(differences_N.max()),
    )


def measure_parity(
    name: str,
    encode_texts: EncodeTexts,
    reference: Reference,
    settings: ExportSettings,
    similarity: str,
    size: int,
    cosines: Cosines,
    details: dict[str, Any] | None = None,
) -> FormatParity:
    """Measures a format of an export on the benchmark, and holds all bounds against it.

    Args:
        name: of the format.
        encode_texts: of a client that has loaded it.
        reference: of the encoder.
        settings: with the bounds.
        similarity: `cosine` or `dot`.
        size: of its files, in bytes.
        cosines: of its vectors.
        details: of an int8 graph: how it was made.
    """
    problems = find_vector_problems(name, cosines, settings, similarity)
    start = time.perf_counter()
    client = ClientEncoder(encode_texts, name, similarity)
    results = evaluate(client, reference.benchmark).results
    seconds = time.perf_counter() - start
    map_of_views = {}
    differences = {}
    for view in VIEWS:
        expected = reference.results.macro(view)["map"]
        if np.isnan(expected):  # a benchmark of one language has no cross view
            continue
        map_of_views[view] = results.macro(view)["map"]
        differences[view] = map_of_views[view] - expected
    language_map = compare_languages(reference.results, results)
    problems += _find_map_problems(name, map_of_views, differences, language_map, settings)
    return FormatParity(
        name=name,
        bytes=size,
        cosines=cosines,
        map=map_of_views,
        map_difference=differences,
        language_map=language_map,
        seconds=seconds,
        details=details or {},
        problems=problems,
    )


def compare_languages(expected: Results, results: Results) -> dict[str, dict[str, list[float]]]:
    """Returns mAP by query language and view, of the encoder and of the export."""
    table = {}
    expected_means = _average_by_language(expected)
    for (language, view), value in _average_by_language(results).items():
        row = table.setdefault(language, {})
        row[view] = [expected_means[language, view], value]
    return table


def find_vector_problems(
    name: str, cosines: Cosines, settings: ExportSettings, similarity: str
) -> list[str]:
    """Returns which bounds of vectors do not hold."""
    problems = []
    least = settings.get_min_cosine(name)
    key = "min_cosine" if name in EXACT_FORMATS else "int8_min_cosine"
    if not cosines.least >= least:
        problems.append(
            f"{name}: the vector of the {cosines.worst_role} text "
            f"{cosines.worst_text[:QUOTED_CHARACTERS]!r} has the cosine {cosines.least:.6f} with "
            f"that of the encoder, {key}={least}"
        )
    if name not in EXACT_FORMATS and not cosines.mean >= settings.int8_mean_cosine:
        problems.append(
            f"{name}: the mean cosine of {cosines.texts} texts is {cosines.mean:.6f}, "
            f"int8_mean_cosine={settings.int8_mean_cosine}"
        )
    has_exact_norms = name in EXACT_FORMATS or similarity == "cosine"
    if has_exact_norms and cosines.largest_norm_difference > NORM_TOLERANCE:
        problems.append(
            f"{name}: the length of a vector differs by {cosines.largest_norm_difference:.2%} from "
            f"that of the encoder, at most {NORM_TOLERANCE:.2%} is allowed"
        )
    return problems


def require_parity(formats: Sequence[FormatParity]) -> None:
    """Raises ValueError, with the numbers, if a bound of some format does not hold."""
    problems: list[str] = []
    for parity in formats:
        problems += parity.problems
    if problems:
        raise ValueError(
            "the export is not the encoder, and nothing was written: " + "; ".join(problems)
        )


def _find_map_problems(
    name: str,
    map_of_views: dict[str, float],
    differences: dict[str, float],
    language_map: dict[str, dict[str, list[float]]],
    settings: ExportSettings,
) -> list[str]:
    problems = []
    if name in EXACT_FORMATS:
        for view, difference in differences.items():
            if not abs(difference) <= settings.max_map_difference:
                problems.append(
                    f"{name}: mAP of the view {view} is {map_of_views[view]:.6f}, "
                    f"{difference:+.6f} from that of the encoder, "
                    f"max_map_difference={settings.max_map_difference}"
                )
        return problems
    for language, row in language_map.items():
        for view, (expected, value) in row.items():
            if expected - value > settings.int8_max_map_loss:
                problems.append(
                    f"{name}: mAP of {language} in the view {view} falls from {expected:.4f} to "
                    f"{value:.4f}, int8_max_map_loss={settings.int8_max_map_loss}"
                )
    return problems


def _average_by_language(results: Results) -> dict[tuple[str, str], float]:
    """Returns the mean mAP of each query language and view, over passage languages."""
    values: dict[tuple[str, str], list[float]] = {}
    for setting in results.settings:
        key = (setting.query_language, setting.view)
        values.setdefault(key, []).append(setting.means["map"])
    return {key: float(np.mean(list_of_means)) for key, list_of_means in values.items()}
