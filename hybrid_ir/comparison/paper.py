"""The numbers printed in arXiv 2408.10536, to stand beside ours."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MODELS = {"xlmr": "XLM-R", "labse": "LaBSE"}
NAMES = {"xlmr": "xlmr", "xlm-roberta-base": "xlmr", "labse": "labse", "LaBSE": "labse"}  # of models on our cards
SAMPLERS = ("x_x_mono", "x_y", "hybrid")
RECALL = {"mono": "recall@1", "cross": "recall@1", "multi": "recall@10"}  # of the paper's tables 3 to 6


@cache
def numbers() -> dict[str, Any]:
    return json.loads(files("hybrid_ir.comparison").joinpath("elmahdy2024.json").read_text(encoding="utf-8"))


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
        if metric == "map":
            return self._at("table1", self.model, self.sampler, benchmark, view)
        if metric == "rank_distance" and view == "multi":
            return self._at("rank_distance", self.model, benchmark, "mean", self.sampler)
        if benchmark == "miracl" and view == "mono":
            return self._at("miracl", self.model, "mean", metric, self.sampler)
        return self.language(benchmark, "mean", view, metric)

    def language(self, benchmark: str, language: str, view: str, metric: str) -> float | None:
        """Of one query language, tables 3 to 8, 12 and 13."""
        if metric == "rank_distance" and view == "multi":
            return self._at("rank_distance", self.model, benchmark, language, self.sampler)
        if benchmark == "miracl" and view == "mono":
            return self._at("miracl", self.model, language, metric, self.sampler)
        if metric == "map":
            return self._at("map", self.model, benchmark, language, view, self.sampler)
        return self._at("recall", self.model, benchmark, language, view, self.sampler) if RECALL[view] == metric else None

    @staticmethod
    def _at(*path: str) -> float | None:
        node: Any = numbers()
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node


def systems(*models: str) -> list[PaperSystem]:
    return [PaperSystem(model, sampler) for model in models or MODELS for sampler in SAMPLERS]
