"""A benchmark of ours as a task of mteb, so that its evaluation can be run on the same data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ir.mteb_tasks.encoder import list_language_scripts
from hybrid_ir.mteb_tasks.library import import_mteb
from hybrid_ir.types import Benchmark

if TYPE_CHECKING:
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

SPLIT = "test"
POOLED = "all"  # the subset whose pool has all languages
UNKNOWN_SCRIPT = "und-Zyyy"


@dataclass(frozen=True)
class _Setting:
    """A subset of the task: some queries and the passages of their pool.

    Args:
        name: of the subset.
        codes: of its languages.
        queries: rows of the benchmark.
        passages: rows of the benchmark.
    """

    name: str
    codes: tuple[str, ...]
    queries: np.ndarray
    passages: np.ndarray


def build_mteb_task(benchmark: Benchmark) -> "AbsTaskRetrieval":
    """Builds a task of mteb from a benchmark.

    Its subsets are the settings of our three views: `de` has the German queries and passages,
    `de-en` German queries and English passages, and `all` every query in the pool of all languages.
    Subsets in which no query has a relevant passage are left out.

    Args:
        benchmark: all of its passages are read into memory.

    Raises:
        ValueError: If mteb is not installed, or the benchmark has rules that mteb does not have: a
            least relevant grade, missing passages, or passages that are the query itself.

    Example:
        >>> import mteb
        >>> from hybrid_ir import MtebEncoder, load_benchmark, load_encoder
        >>> task = build_mteb_task(load_benchmark("xquad_r"))
        >>> result = mteb.evaluate(MtebEncoder(load_encoder("outputs/RUN")), task)
    """
    import_mteb()
    from mteb.abstasks import AbsTaskRetrieval

    _require_rules_of_mteb(benchmark)
    dataset = {}
    languages = {}
    for setting in _list_settings(benchmark):
        judgements = _list_judgements(benchmark, setting)
        if judgements:
            dataset[setting.name] = {SPLIT: _build_split(benchmark, setting, judgements)}
            scripts = list_language_scripts(setting.codes)
            languages[setting.name] = scripts or [UNKNOWN_SCRIPT]
    metadata_of_task = _describe_task(benchmark, languages)

    class BenchmarkTask(AbsTaskRetrieval):
        metadata = metadata_of_task

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            self.dataset = {subset: dataset[subset] for subset in self.hf_subsets}
            self.data_loaded = True

    return BenchmarkTask()


def _describe_task(benchmark: Benchmark, languages: dict[str, list[str]]) -> "TaskMetadata":
    """Returns what mteb knows of the task; `languages` are those of each subset."""
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=benchmark.name,
        description=benchmark.source.description or benchmark.name,
        dataset={"path": benchmark.name, "revision": benchmark.source.revision or "none"},
        reference=None,
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[SPLIT],
        eval_langs=languages,
        main_score="ndcg_at_10",
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )


def _require_rules_of_mteb(benchmark: Benchmark) -> None:
    """Raises a ValueError for rules of a benchmark that mteb's evaluation does not have."""
    problems = []
    if benchmark.least_relevant_grade > 1:
        problems.append(f"its least relevant grade is {benchmark.least_relevant_grade:g}")
    if benchmark.count_missing_passages():
        problems.append("it counts passages that are not in the corpus")
    if benchmark.own_passages is not None and (np.asarray(benchmark.own_passages) >= 0).any():
        problems.append("it leaves passages out that are the query itself")
    if problems:
        raise ValueError(
            f"benchmark '{benchmark.name}' can be no task of mteb: {'; '.join(problems)}"
        )


def _list_settings(benchmark: Benchmark) -> Iterator[_Setting]:
    """Yields the monolingual and cross-lingual settings, and at last the pool of all languages."""
    query_languages = np.asarray(benchmark.query_languages)
    passage_languages = np.asarray(benchmark.passage_languages)
    for query_number, query_code in enumerate(benchmark.languages):
        queries = np.flatnonzero(query_languages == query_number)
        for passage_number, passage_code in enumerate(benchmark.languages):
            codes = tuple(dict.fromkeys((query_code, passage_code)))
            passages = np.flatnonzero(passage_languages == passage_number)
            yield _Setting("-".join(codes), codes, queries, passages)
    if len(benchmark.languages) > 1:
        queries = np.arange(len(query_languages))
        passages = np.arange(len(passage_languages))
        yield _Setting(POOLED, benchmark.languages, queries, passages)


def _list_judgements(benchmark: Benchmark, setting: _Setting) -> dict[str, dict[str, int]]:
    """Returns the grades by ids of the queries and passages of a setting.

    Raises ValueError for grades that are no whole numbers, which mteb cannot hold.
    """
    is_in_pool = np.zeros(len(benchmark.passages), bool)
    is_in_pool[setting.passages] = True
    judgements: dict[str, dict[str, int]] = {}
    for query in setting.queries.tolist():
        rows = np.asarray(benchmark.relevant[query], np.int64)
        grades = np.ones(len(rows)) if benchmark.grades is None else benchmark.grades[query]
        for row, grade in zip(rows.tolist(), np.asarray(grades).tolist(), strict=True):
            if not is_in_pool[row]:
                continue
            if grade != int(grade):
                raise ValueError(
                    f"benchmark '{benchmark.name}' can be no task of mteb: the grade {grade} is no "
                    "whole number"
                )
            passage_id = str(benchmark.passage_ids[row])
            judgements.setdefault(str(query), {})[passage_id] = int(grade)
    return judgements


def _build_split(
    benchmark: Benchmark, setting: _Setting, judgements: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """Returns the tables of a subset as mteb's tasks hold them; queries have their rows as ids."""
    from datasets import Dataset

    queries = {"id": list(judgements), "text": [benchmark.queries[int(id)] for id in judgements]}
    ids = []
    texts = []
    for row in setting.passages.tolist():
        text = benchmark.passages[row]
        ids.append(str(benchmark.passage_ids[row]))
        texts.append(text if isinstance(text, str) else " ".join(text))
    return {
        "corpus": Dataset.from_dict({"id": ids, "text": texts}),
        "queries": Dataset.from_dict(queries),
        "relevant_docs": judgements,
        "top_ranked": None,
    }
