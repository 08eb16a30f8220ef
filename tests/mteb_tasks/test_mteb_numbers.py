"""Our measures and mteb's agree on the same data, and where they differ by rule the rule is it."""

import itertools
from dataclasses import replace

import mteb
import numpy as np
import pytest
import torch

from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.mteb_tasks.encoder import MtebEncoder
from hybrid_ir.mteb_tasks.from_benchmark import build_mteb_task
from hybrid_ir.types import Benchmark, Source
from tests.support.mteb_task import (
    PASSAGES,
    QUERIES,
    SPLIT,
    SUBSETS,
    SmallRetrieval,
    judge,
    list_texts,
)

# Our name of a measure -> mteb's. Both pools have fewer than 1000 passages, so that the mean
# average precision of the first 1000 is the one over all.
SAME_MEASURES = {
    "ndcg@10": "ndcg_at_10",
    "recall@100": "recall_at_100",
    "map": "map_at_1000",
    "mrr@10": "mrr_at_10",
    "recall@1": "recall_at_1",
    "recall@10": "recall_at_10",
}


def build_benchmark() -> Benchmark:
    """Joins the subsets of the small task to one benchmark of ours."""
    languages = ("de", "en")
    passage_ids = [key for language in languages for key in PASSAGES[language]]
    rows = {key: row for row, key in enumerate(passage_ids)}
    grades_by_query: dict[str, dict[str, int]] = {}
    for query_language, passage_language in SUBSETS.values():
        for query, grades in judge(query_language, passage_language).items():
            grades_by_query.setdefault(query, {}).update(grades)
    queries = []
    relevant = []
    grades = []
    for language in languages:
        for key, text in QUERIES[language].items():
            found = {
                rows[passage]: grade
                for passage, grade in grades_by_query.get(key, {}).items()
                if grade > 0
            }
            queries.append((language, key, text))
            relevant.append(np.array(sorted(found), np.int64))
            grades.append(np.array([found[row] for row in sorted(found)], float))
    return Benchmark(
        languages=languages,
        queries=[text for _, _, text in queries],
        query_languages=np.array([languages.index(language) for language, _, _ in queries]),
        question_ids=[key for _, key, _ in queries],
        passages=[PASSAGES[key[:2]][key] for key in passage_ids],
        passage_languages=np.array([languages.index(key[:2]) for key in passage_ids]),
        passage_ids=passage_ids,
        relevant=relevant,
        source=Source("small", "", "", ""),
        grades=grades,
    )


@pytest.fixture
def adapter(encoder) -> BiEncoderAdapter:
    return BiEncoderAdapter(encoder, "tiny")


def evaluate_by_mteb(model, task) -> dict[str, dict[str, float]]:
    """Returns mteb's scores by subset."""
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return {entry["hf_subset"]: entry for entry in result.task_results[0].scores[SPLIT]}


def test_the_measures_of_both_agree_in_each_subset(adapter):
    by_mteb = evaluate_by_mteb(MtebEncoder(adapter), SmallRetrieval())

    settings = evaluate(adapter, build_benchmark()).settings()

    assert set(by_mteb) == set(SUBSETS)
    for subset, (query_language, passage_language) in SUBSETS.items():
        chosen = settings[
            (settings["view"] != "multi")
            & (settings["query_language"] == query_language)
            & (settings["passage_language"] == passage_language)
        ]
        for ours, theirs in SAME_MEASURES.items():
            value = float(chosen[ours].iloc[0])
            assert value == pytest.approx(by_mteb[subset][theirs], abs=1e-3), (subset, ours)
    assert 0.1 < by_mteb["en"]["ndcg_at_10"] < 0.95


def test_a_benchmark_of_ours_is_a_task_of_mteb(adapter):
    task = build_mteb_task(build_benchmark())
    result = mteb.evaluate(
        MtebEncoder(adapter), task, cache=None, co2_tracker=False, show_progress_bar=False
    )
    by_mteb = {entry["hf_subset"]: entry for entry in result.task_results[0].scores["test"]}

    settings = evaluate(adapter, build_benchmark()).settings()

    # No German passage answers an English query.
    assert set(by_mteb) == {"de", "en", "de-en", "all"}
    summary = evaluate(adapter, build_benchmark()).results.micro("multi")
    for ours, theirs in SAME_MEASURES.items():
        assert summary[ours] == pytest.approx(by_mteb["all"][theirs], abs=1e-3), ours
        for row in settings[settings["view"] != "multi"].to_dict("records"):
            codes = dict.fromkeys((row["query_language"], row["passage_language"]))
            assert row[ours] == pytest.approx(by_mteb["-".join(codes)][theirs], abs=1e-3), ours


def test_rules_that_mteb_does_not_have_are_refused():
    benchmark = replace(build_benchmark(), least_relevant_grade=2.0)
    with pytest.raises(ValueError, match="its least relevant grade is 2"):
        build_mteb_task(benchmark)


class FixedVectors:
    """A TextEncoder that has a vector for each text, so that passages can tie."""

    name = "fixed"
    precision = "fp32"
    similarity = "cosine"
    device = torch.device("cpu")

    def __init__(self, vectors: dict[str, list[float]]):
        self.vectors = vectors
        self.texts_read = {"query": 0, "passage": 0}
        self.texts_cut = {"query": None, "passage": None}

    def read(self, texts, role):
        return list(texts)

    def encode(self, items, role):
        return torch.tensor([self.vectors[item] for item in items])

    def reading(self):
        return {"width": 2, "tokenizer_canary": None}


class TiedRetrieval(SmallRetrieval):
    """One query, and three passages that are equally near, one of them relevant."""

    ids = ("a", "b", "c")

    def load_data(self, num_proc: int | None = None, **kwargs) -> None:
        corpus = {key: f"passage {number}" for number, key in enumerate(self.ids)}
        data = {
            "corpus": list_texts({**corpus, "d": "far"}),
            "queries": list_texts({"q": "query"}),
            "relevant_docs": {"q": {self.ids[0]: 1}},
            "top_ranked": None,
        }
        self.dataset = {"en": {SPLIT: data}}
        self.hf_subsets = ["en"]
        self.data_loaded = True


def test_ours_is_the_mean_of_mtebs_over_the_names_of_tied_passages():
    vectors = {"query": [1.0, 0.0], "far": [0.0, 1.0]}
    vectors.update({f"passage {number}": [0.6, 0.8] for number in range(3)})
    encoder = FixedVectors(vectors)
    benchmark = Benchmark(
        languages=("en",),
        queries=["query"],
        query_languages=np.array([0]),
        question_ids=["q"],
        passages=["passage 0", "passage 1", "passage 2", "far"],
        passage_languages=np.zeros(4, np.int64),
        passage_ids=["a", "b", "c", "d"],
        relevant=[np.array([0])],
        source=Source("tied", "", "", ""),
    )
    by_mteb = []
    for ids in itertools.permutations(TiedRetrieval.ids):
        task = TiedRetrieval()
        task.ids = ids
        by_mteb.append(evaluate_by_mteb(MtebEncoder(encoder), task)["en"])

    ours = evaluate(encoder, benchmark).summary()

    assert len({scores["ndcg_at_10"] for scores in by_mteb}) == 3  # it depends on the names
    for measure, theirs in (("ndcg@10", "ndcg_at_10"), ("map", "map_at_1000")):
        mean = np.mean([scores[theirs] for scores in by_mteb])
        assert ours[f"mono/{measure}"] == pytest.approx(mean, abs=1e-3)
