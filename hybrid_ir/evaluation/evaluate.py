"""Evaluates an encoder on a benchmark: encode once, rank, and rank again for every correction."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import pyarrow as pa

from hybrid_ir.evaluation.card import build_evaluation_card, hash_benchmark
from hybrid_ir.evaluation.encoding import EncodedRows, EncodingPass, TextChunks
from hybrid_ir.evaluation.postprocess import (
    CORRECTION_NAMES,
    Correction,
    EstimationSplit,
    apply_correction,
    build_correction,
    require_corrections,
    require_split,
)
from hybrid_ir.evaluation.report import write_result_files
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.selection import require_relevant_passages, select_questions
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.top_k import TopK, write_trec_runs
from hybrid_ir.evaluation.vector_shards import VectorShards
from hybrid_ir.files.atomic import SCRATCH_PREFIX
from hybrid_ir.types import Benchmark, TextEncoder

if TYPE_CHECKING:
    import pandas

# questions of another benchmark, in each language, that estimate a correction
SPLIT_QUESTIONS = 1000


@dataclass(frozen=True)
class EvaluationSettings:
    """How a benchmark is measured, see `evaluate`."""

    postprocess: Sequence[str] = ("none",)
    postprocess_on: Benchmark | None = None  # None: the benchmark itself
    postprocess_source: str = "en"
    postprocess_components: int = 1
    window_overlap: float | None = None  # None: long passages are cut
    run_depth: int = 0
    texts_per_chunk: int = 4096


@dataclass(frozen=True)
class Evaluation:
    """What an encoder scores on a benchmark under one correction, and how that was measured."""

    postprocess: str
    estimated_on: str | None  # name of the split; "test" for the benchmark itself
    estimated_from: dict[str, dict[str, int]] | None  # vectors by role and language
    windows: int  # encoded beyond one a passage
    texts_cut: dict[str, float | None]  # share of queries and passages; None where nobody counted
    results: Results
    runs: dict[str, TopK]  # by view, where run_depth was asked for
    encoder_name: str
    device: str
    reading: dict[str, Any]  # how texts become vectors, see TextEncoder.reading
    window_overlap: float | None
    postprocess_components: int
    postprocess_source: str
    encoding: dict[str, Any]  # how fast, see EncodingSpeed

    def summary(self) -> dict[str, float]:
        """Returns the macro means as one flat record, named "mono/map", "multi/lpr@1" and so on.

        A macro mean is the mean over the settings of a view. What is undefined is left out.
        """
        return self.results.summary()

    def per_query(self) -> Union["pandas.DataFrame", pa.Table]:
        """Returns the value of every metric for every query in every view and pool.

        There is a row for each query in each pool that it asks; `question_id` links translations.
        A pandas DataFrame where pandas is installed, else a pyarrow Table.
        """
        return _to_data_frame(self.results.to_arrow())

    def settings(self) -> Union["pandas.DataFrame", pa.Table]:
        """Returns the means of every setting: a view, a query language and a passage language.

        There is a column for each metric, and `queries` is the number of queries of the setting.
        The passage language of the multilingual view is "all". A pandas DataFrame where pandas is
        installed, else a pyarrow Table.
        """
        rows = [setting.to_row() for setting in self.results.settings]
        return _to_data_frame(pa.Table.from_pylist(rows))

    def build_card(
        self,
        model: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        digest: str | None = None,
    ) -> dict[str, Any]:
        """Builds the evaluation card: everything that decides the numbers.

        Args:
            model: name, kind and place of the model; by default the name of the encoder.
            training: what it was trained on, None for a model as released.
            digest: `hash_benchmark` of the benchmark, None for one that was not hashed.
        """
        if model is None:
            model = {"name": self.encoder_name, "kind": "encoder"}
        has_windows = self.window_overlap is not None
        return build_evaluation_card(
            self.results,
            digest,
            model=model,
            training=training,
            reading=self.reading,
            texts_cut=self.texts_cut,
            long_passages={
                "policy": "max_passage" if has_windows else "truncate",
                "window_overlap": self.window_overlap,
                "windows": self.windows,
            },
            postprocess={
                "name": self.postprocess,
                "estimated_on": self.estimated_on,
                "estimated_from": self.estimated_from,
                "components": self.postprocess_components if self.postprocess == "lir" else None,
                "source": self.postprocess_source if self.postprocess == "shift" else None,
            },
            device=self.device,
            encoding=self.encoding,
        )

    def save(self, folder: str | Path) -> None:
        """Writes the files that `hybrid-ir evaluate` writes, which `hybrid-ir compare` reads.

        These are metrics.json, per_query.parquet, evaluation_card.json, heat_map.png and
        one_target.png, and with `run_depth` the TREC runs and their judgements.

        Args:
            folder: where they go; it is made if need be, and files of these names are replaced.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_trec_runs(self.runs, self.results.benchmark, self.encoder_name, folder)
        card = self.build_card(digest=hash_benchmark(self.results.benchmark))
        write_result_files(self.results, card, folder)


def evaluate(
    encoder: TextEncoder,
    benchmark: Benchmark,
    *,
    postprocess: str = "none",
    postprocess_on: Benchmark | None = None,
    postprocess_source: str = "en",
    postprocess_components: int = 1,
    window_overlap: float | None = None,
    run_depth: int = 0,
    texts_per_chunk: int = 4096,
    embeddings: str | Path | None = None,
    scratch: str | Path | None = None,
) -> Evaluation:
    """Evaluates a bi-encoder on a benchmark, monolingually, cross-lingually and multilingually.

    The encoder is any object with the methods of `hybrid_ir.types.TextEncoder`, and a benchmark of
    your own is a `hybrid_ir.types.Benchmark`.

    Args:
        encoder: turns texts into vectors.
        benchmark: queries, passages, and which passages are relevant to which query.
        postprocess: a training-free correction of language bias: `none`, `center`, `lir` or
            `shift`.
        postprocess_on: the benchmark on which the correction is estimated. To give the measured
            benchmark itself is allowed, but no fair test.
        postprocess_source: the language of `shift` to whose translations passages are moved.
        postprocess_components: directions that `lir` takes from the vectors of a language.
        window_overlap: encode passages that are too long as windows that overlap by this share,
            and score them as the best window; by default they are cut.
        run_depth: how many passages at the top of every query to keep for TREC run files.
        texts_per_chunk: texts that are read and encoded at once.
        embeddings: a folder in which all vectors stay as safetensors files; by default none do.
        scratch: a folder where vectors wait that are corrected, 4 x width bytes a text; by default
            that of the system for temporary files.

    Raises:
        ValueError: A value is of a wrong type or out of range, no query has a relevant passage, the
            correction cannot be estimated on the split, or the encoder returns NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from hybrid_ir.types import Benchmark, Source
        >>> benchmark = Benchmark(
        ...     languages=("de", "en"),
        ...     queries=["Wo liegt Kabul?", "Where is Kabul?"],
        ...     query_languages=np.array([0, 1]),
        ...     question_ids=["kabul", "kabul"],
        ...     passages=["Kabul liegt in Asien.", "Kabul is in Asia.", "Lima is in Peru."],
        ...     passage_languages=np.array([0, 1, 1]),
        ...     passage_ids=["de-1", "en-1", "en-2"],
        ...     relevant=[np.array([0, 1]), np.array([0, 1])],
        ...     source=Source("capitals", "Two questions.", "CC0", "none"),
        ... )
        >>> evaluation = evaluate(encoder, benchmark)
        >>> evaluation.summary()["mono/recall@10"]
        1.0
        >>> evaluation.settings()["view"].to_list()
        ['mono', 'mono', 'cross', 'cross', 'multi', 'multi']
        >>> len(evaluation.per_query())
        6
        >>> evaluation.save(folder)
    """
    _require_encoder_and_benchmark(encoder, benchmark)
    _require_ranges(postprocess_components, window_overlap, run_depth, texts_per_chunk)
    split_name = None if postprocess_on is None else postprocess_on.name
    require_corrections([postprocess], split_name)
    settings = EvaluationSettings(
        postprocess=[postprocess],
        postprocess_on=None if postprocess_on is benchmark else postprocess_on,
        postprocess_source=postprocess_source,
        postprocess_components=postprocess_components,
        window_overlap=window_overlap,
        run_depth=run_depth,
        texts_per_chunk=texts_per_chunk,
    )
    (evaluation,) = evaluate_with_corrections(
        benchmark, encoder, settings, scratch=scratch, embeddings=embeddings
    )
    return evaluation


def evaluate_with_corrections(
    benchmark: Benchmark,
    encoder: TextEncoder,
    settings: EvaluationSettings,
    scratch: str | Path | None = None,
    embeddings: str | Path | None = None,
) -> Iterator[Evaluation]:
    """Evaluates every correction of `settings.postprocess` from one encoding, `none` first.

    Args:
        benchmark: that is measured.
        encoder: turns texts into vectors.
        settings: how it is measured.
        scratch: a folder where vectors wait if there are corrections, 4 x width bytes a text; by
            default that of the system for temporary files.
        embeddings: a folder in which the vectors stay.

    Raises:
        ValueError: No query has a relevant passage, or a correction cannot be estimated on the
            split.
    """
    names = sorted(set(settings.postprocess), key=CORRECTION_NAMES.index)
    require_relevant_passages(benchmark)
    split = None
    if names != ["none"]:
        split = _prepare_split(names, benchmark, encoder, settings)
    chunks = _read_chunks(benchmark, encoder, settings)
    vectors: Iterable[EncodedRows] = EncodingPass(chunks)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=scratch) as folder:
        if split is not None or embeddings is not None:
            is_split_measured = split is not None and settings.postprocess_on is None
            shards = VectorShards(
                Path(folder if embeddings is None else embeddings), str(encoder.device)
            )
            _write_vectors(vectors, shards, split if is_split_measured else None)
            vectors = shards
        for name in names:
            correction = build_correction(
                name, split, settings.postprocess_components, settings.postprocess_source
            )
            ranking = _rank_vectors(benchmark, vectors, encoder, settings, correction)
            yield Evaluation(
                postprocess=name,
                estimated_on=None if correction is None else _name_split(settings),
                estimated_from=None if correction is None else split.count_vectors(),
                results=ranking.results(),
                windows=chunks.windows,
                texts_cut=chunks.texts_cut(),
                runs=ranking.runs,
                encoder_name=encoder.name,
                device=str(encoder.device),
                reading=_describe_reading(encoder),
                window_overlap=settings.window_overlap,
                postprocess_components=settings.postprocess_components,
                postprocess_source=settings.postprocess_source,
                encoding=chunks.speed.describe(),
            )


def _write_vectors(
    vectors: Iterable[EncodedRows], shards: VectorShards, split: EstimationSplit | None
) -> None:
    """Writes the vectors of a pass to disk, and adds them to a split that is measured itself."""
    for encoded in vectors:
        shards.write(encoded)
        if split is not None:
            split.add(encoded)


def _prepare_split(
    names: Sequence[str], benchmark: Benchmark, encoder: TextEncoder, settings: EvaluationSettings
) -> EstimationSplit:
    """Builds the split on which corrections are estimated.

    It is filled here if it is of another benchmark, else while the benchmark itself is encoded.
    """
    if settings.postprocess_on is None:
        split = EstimationSplit(benchmark)
    else:
        split = EstimationSplit(select_questions(settings.postprocess_on, SPLIT_QUESTIONS))
    components = settings.postprocess_components
    require_split(names, benchmark, split.benchmark, components, settings.postprocess_source)
    if settings.postprocess_on is not None:
        chunks = _read_chunks(split.benchmark, encoder, settings)
        for encoded in EncodingPass(chunks, f"encode {split.name} for postprocess"):
            split.add(encoded)
    return split


def _name_split(settings: EvaluationSettings) -> str:
    """Returns what the card says of the split: `test` are the very texts that are measured."""
    return "test" if settings.postprocess_on is None else settings.postprocess_on.name


def _rank_vectors(
    benchmark: Benchmark,
    vectors: Iterable[EncodedRows],
    encoder: TextEncoder,
    settings: EvaluationSettings,
    correction: Correction | None,
) -> StreamedRanking:
    """Ranks the vectors of a pass, corrected or as they are."""
    ranking = StreamedRanking(
        benchmark,
        run_depth=settings.run_depth,
        with_geometry=True,
        has_windows=settings.window_overlap is not None,
    )
    unit_length = encoder.similarity == "cosine"
    for encoded in vectors:
        if correction is not None:
            encoded = apply_correction(correction, benchmark, encoded, unit_length)
        ranking.add(encoded)
    return ranking


def _describe_reading(encoder: TextEncoder) -> dict[str, Any]:
    """Describes how texts become vectors, with all that a card needs."""
    reading = {
        "precision": encoder.precision,
        "similarity": encoder.similarity,
        "tokenizer_canary": None,
    }
    reading.update(encoder.reading())
    return reading


def _read_chunks(
    benchmark: Benchmark, encoder: TextEncoder, settings: EvaluationSettings
) -> TextChunks:
    return TextChunks(benchmark, encoder, settings.texts_per_chunk, settings.window_overlap)


def _require_encoder_and_benchmark(encoder: object, benchmark: object) -> None:
    """Raises ValueError for a name where the encoder or the benchmark itself is needed."""
    if not hasattr(encoder, "texts_read"):
        raise ValueError(f"encoder={encoder!r} is no encoder: load_encoder(...) gives one")
    if not isinstance(benchmark, Benchmark):
        raise ValueError(f"benchmark={benchmark!r} is no Benchmark: load_benchmark(...) gives one")


def _require_ranges(
    postprocess_components: int, window_overlap: float | None, run_depth: int, texts_per_chunk: int
) -> None:
    """Raises ValueError that names every setting of a wrong type or out of range."""
    counts = {
        "postprocess_components": (postprocess_components, 1),
        "run_depth": (run_depth, 0),
        "texts_per_chunk": (texts_per_chunk, 1),
    }
    problems = []
    for name, (value, smallest) in counts.items():
        if not isinstance(value, int) or value < smallest:
            problems.append(f"{name}={value!r} must be a whole number from {smallest}")
    if window_overlap is not None:
        is_number = isinstance(window_overlap, int | float)
        if not is_number or not 0 <= window_overlap < 1:
            problems.append(f"window_overlap={window_overlap!r} must be 0 or more and below 1")
    if problems:
        raise ValueError("; ".join(problems))


def _to_data_frame(table: pa.Table) -> Union["pandas.DataFrame", pa.Table]:
    """Returns the table as a pandas DataFrame, or as it is where pandas is not installed."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        return table
    return table.to_pandas()
