"""The numbers printed in arXiv 2408.10536, to stand beside ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MODELS = {"xlmr": "XLM-R", "labse": "LaBSE"}
NAMES = {
    "xlmr": "xlmr",
    "xlm-roberta-base": "xlmr",
    "labse": "labse",
    "LaBSE": "labse",
}  # of models on our cards
SAMPLERS = ("x_x_mono", "x_y", "hybrid")
# what the paper measured: the choices its numbers are for, and the paper of the data, which a card cites
LAREQA = ({"candidates": "sentence", "max_queries": "all"}, "2004.05484")
BENCHMARKS = {
    "xquad_r": LAREQA,
    "mlqa_r": LAREQA,
    "miracl": ({"pool": "full", "split": "dev", "max_queries": "all"}, "2210.09984"),
}
OTHER_POOL = "_hard_negatives"  # ends the name of a benchmark with the queries of the paper's and fewer passages
RECALL = {
    "mono": "recall@1",
    "cross": "recall@1",
    "multi": "recall@10",
}  # of the paper's tables 3 to 6


@cache
def load_paper_numbers() -> dict[str, Any]:
    return json.loads(
        files("hybrid_ir.comparison").joinpath("elmahdy2024.json").read_text(encoding="utf-8")
    )


@dataclass(frozen=True)
class PaperSystem:
    """A row of the paper."""

    model: str
    sampler: str

    @property
    def label(self) -> str:
        return f"{self.sampler} / {MODELS[self.model]} (paper)"

    def mean(self, benchmark: str, view: str, metric: str) -> float | None:
        """A headline number of tables 1, 2, 12 and 13; None where the paper has none."""
        benchmark = benchmark.removesuffix(OTHER_POOL)
        if metric == "map":
            return self._at("table1", self.model, self.sampler, benchmark, view)
        if metric == "rank_distance" and view == "multi":
            return self._at("rank_distance", self.model, benchmark, "mean", self.sampler)
        if benchmark == "miracl" and view == "mono":
            return self._at("miracl", self.model, "mean", metric, self.sampler)
        return self.language(benchmark, "mean", view, metric)

    def language(self, benchmark: str, language: str, view: str, metric: str) -> float | None:
        """Of one query language, tables 3 to 8, 12 and 13."""
        benchmark = benchmark.removesuffix(OTHER_POOL)
        if metric == "rank_distance" and view == "multi":
            return self._at("rank_distance", self.model, benchmark, language, self.sampler)
        if benchmark == "miracl" and view == "mono":
            return self._at("miracl", self.model, language, metric, self.sampler)
        if metric == "map":
            return self._at("map", self.model, benchmark, language, view, self.sampler)
        return (
            self._at("recall", self.model, benchmark, language, view, self.sampler)
            if RECALL[view] == metric
            else None
        )

    @staticmethod
    def _at(*path: str) -> float | None:
        node: Any = load_paper_numbers()
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node


def systems(*models: str) -> list[PaperSystem]:
    return [PaperSystem(model, sampler) for model in models or MODELS for sampler in SAMPLERS]


@dataclass(frozen=True)
class Beside:
    """Which of the paper's numbers may stand beside those of a measured benchmark, and what is to be said of them."""

    rows: bool  # by language
    means: bool
    note: str = ""


def beside(measured: Mapping[str, Any], record: Mapping[str, Any]) -> Beside:
    """Numbers of the paper's data in the paper's form only.

    Args:
        measured: the benchmark in metrics.json.
        record: the benchmark on the card, empty where there is none.
    """
    name = measured["name"].removesuffix(OTHER_POOL)
    if name not in BENCHMARKS:
        return Beside(False, False)
    choices, cited = BENCHMARKS[name]
    said = measured.get("choices") or {}
    if cited not in record.get("citation", cited):
        return Beside(
            False, False, "The paper's numbers are left out: this is other data of the same name."
        )
    wrong = [
        f"{key}={value}, not {said.get(key, 'given')}"
        for key, value in choices.items()
        if said.get(key) != value
    ]
    if wrong:
        return Beside(
            False, False, f"The paper's numbers are left out: they are for {' and '.join(wrong)}."
        )
    theirs, ours = languages(name), set(measured["languages"])
    lacking = sorted(theirs - ours)
    if name == "miracl":
        note = (
            f"The paper's mean is left out: it is over {len(theirs)} languages, of which {', '.join(lacking)} were not "
            "measured."
        )
        more = (
            f"The paper's mean is over {len(theirs)} languages, ours over {len(ours)}."
            if ours > theirs
            else ""
        )
        return Beside(True, not lacking, note if lacking else more)
    if ours != theirs:
        return Beside(
            False,
            False,
            f"The paper's numbers are left out: the paper measured all {len(theirs)} languages, "
            f"these are {len(ours)}.",
        )
    once = said.get("queries") == "distinct_text"
    return Beside(
        True,
        True,
        ""
        if once
        else "The paper ranked each distinct question text once, here every question is ranked "
        f"(queries={said.get('queries')}).",
    )


def languages(benchmark: str) -> set[str]:
    """Of the queries in the paper's tables by language."""
    tables = (
        load_paper_numbers()["miracl"].values()
        if benchmark == "miracl"
        else [found[benchmark] for found in load_paper_numbers()["map"].values()]
    )
    return {language for table in tables for language in table} - {"mean", "median"}
