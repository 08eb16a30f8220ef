"""The numbers printed in arXiv 2408.10536, and where they may stand beside measured ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MODEL_TITLES = {"xlmr": "XLM-R", "labse": "LaBSE"}
# The names of models on cards, and those in the file of the paper's numbers.
MODEL_BY_CARD_NAME = {
    "xlmr": "xlmr",
    "xlm-roberta-base": "xlmr",
    "labse": "labse",
    "LaBSE": "labse",
}
PAPER_SAMPLERS = ("x_x_mono", "x_y", "hybrid")
# The recall of each view in the paper's tables 3 to 6.
RECALL_BY_VIEW = {"mono": "recall@1", "cross": "recall@1", "multi": "recall@10"}
# Ends the name of a benchmark with the queries of the paper's and fewer passages.
_OTHER_POOL = "_hard_negatives"


@dataclass(frozen=True)
class PaperBenchmark:
    """A benchmark as the paper measured it.

    Attributes:
        choices: The choices that its numbers are for.
        citation: The arXiv number of the data's paper, which is in the citation on a card.
    """

    choices: Mapping[str, str]
    citation: str


_LAREQA = PaperBenchmark({"candidates": "sentence", "max_queries": "all"}, "2004.05484")
PAPER_BENCHMARKS = {
    "xquad_r": _LAREQA,
    "mlqa_r": _LAREQA,
    "miracl": PaperBenchmark({"pool": "full", "split": "dev", "max_queries": "all"}, "2210.09984"),
}


@cache
def load_paper_numbers() -> dict[str, Any]:
    """Loads the numbers of the paper's tables."""
    path = files("hybrid_ir.comparison").joinpath("elmahdy2024.json")
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class PaperSystem:
    """A model that the paper trained with a sampler."""

    model: str
    sampler: str

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"{self.sampler} / {MODEL_TITLES[self.model]} (paper)"

    def get_mean(self, benchmark: str, view: str, metric: str) -> float | None:
        """Returns a mean of tables 1, 2, 12 and 13, or None where the paper has none."""
        benchmark = benchmark.removesuffix(_OTHER_POOL)
        if metric == "map":
            return _look_up("table1", self.model, self.sampler, benchmark, view)
        return self.get_language_value(benchmark, "mean", view, metric)

    def get_language_value(
        self, benchmark: str, language: str, view: str, metric: str
    ) -> float | None:
        """Returns the value of one query language in tables 3 to 8, 12 and 13, or None."""
        benchmark = benchmark.removesuffix(_OTHER_POOL)
        if metric == "rank_distance" and view == "multi":
            return _look_up("rank_distance", self.model, benchmark, language, self.sampler)
        if benchmark == "miracl" and view == "mono":
            return _look_up("miracl", self.model, language, metric, self.sampler)
        if metric == "map":
            return _look_up("map", self.model, benchmark, language, view, self.sampler)
        if metric == RECALL_BY_VIEW[view]:
            return _look_up("recall", self.model, benchmark, language, view, self.sampler)
        return None


def _look_up(*keys: str) -> float | None:
    """Returns the number at a path of keys, or None where the paper has none."""
    node: Any = load_paper_numbers()
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node


def list_paper_systems(models: Sequence[str] = tuple(MODEL_TITLES)) -> list[PaperSystem]:
    """Returns the systems of some of the paper's models, without an argument of all."""
    systems = []
    for model in models:
        for sampler in PAPER_SAMPLERS:
            systems.append(PaperSystem(model, sampler))
    return systems


def list_paper_languages(benchmark: str) -> set[str]:
    """Returns the query languages in the paper's tables by language."""
    numbers = load_paper_numbers()
    if benchmark == "miracl":
        tables = list(numbers["miracl"].values())
    else:
        tables = [tables_of_model[benchmark] for tables_of_model in numbers["map"].values()]
    languages = set()
    for table in tables:
        languages.update(table)
    return languages - {"mean", "median"}


@dataclass(frozen=True)
class Comparability:
    """Which of the paper's numbers may stand beside those of a measured benchmark.

    Attributes:
        languages: Whether those by language may.
        means: Whether the means may.
        note: What readers should know about it.
    """

    languages: bool
    means: bool
    note: str = ""


def check_comparability(
    measured: Mapping[str, Any], benchmark_card: Mapping[str, Any]
) -> Comparability:
    """Returns which of the paper's numbers are of the same data and of the same choices.

    Args:
        measured: The benchmark in metrics.json.
        benchmark_card: The benchmark on the card, empty where there is none.
    """
    name = measured["name"].removesuffix(_OTHER_POOL)
    if name not in PAPER_BENCHMARKS:
        return Comparability(languages=False, means=False)
    citation = PAPER_BENCHMARKS[name].citation
    if citation not in benchmark_card.get("citation", citation):
        return _leave_out("this is other data of the same name")
    choices = measured.get("choices") or {}
    differences = []
    for key, value in PAPER_BENCHMARKS[name].choices.items():
        if choices.get(key) != value:
            differences.append(f"{key}={value}, not {choices.get(key, 'given')}")
    if differences:
        return _leave_out(f"they are for {' and '.join(differences)}")
    paper_languages = list_paper_languages(name)
    languages = set(measured["languages"])
    if name == "miracl":
        return _check_miracl_languages(paper_languages, languages)
    if languages != paper_languages:
        return _leave_out(
            f"the paper measured all {len(paper_languages)} languages, these are {len(languages)}"
        )
    note = ""
    if choices.get("queries") != "distinct_text":
        note = (
            "The paper ranked each distinct question text once, here every question is ranked "
            f"(queries={choices.get('queries')})."
        )
    return Comparability(languages=True, means=True, note=note)


def _leave_out(reason: str) -> Comparability:
    return Comparability(
        languages=False, means=False, note=f"The paper's numbers are left out: {reason}."
    )


def _check_miracl_languages(paper_languages: set[str], languages: set[str]) -> Comparability:
    """Languages of MIRACL can be compared one by one, the mean only where none is missing."""
    missing = sorted(paper_languages - languages)
    if missing:
        note = (
            f"The paper's mean is left out: it is over {len(paper_languages)} languages, of which "
            f"{', '.join(missing)} were not measured."
        )
        return Comparability(languages=True, means=False, note=note)
    note = ""
    if languages > paper_languages:
        note = (
            f"The paper's mean is over {len(paper_languages)} languages, ours over "
            f"{len(languages)}."
        )
    return Comparability(languages=True, means=True, note=note)
