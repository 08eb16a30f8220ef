"""hybrid-ir trains multilingual dense retrievers and measures what that does to retrieval.

Its batches are planned by language. The public names are imported when they are first used, so that
importing this package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The one place of the version: builds, `hybrid-ir --version` and the check of a tag read it here.
__version__ = "0.1.0"

if TYPE_CHECKING:
    from hybrid_ir.bias.diagnosis import diagnose
    from hybrid_ir.comparison.comparison import compare
    from hybrid_ir.data.corpus import ParallelCorpus
    from hybrid_ir.data.planned_texts import PlannedTexts
    from hybrid_ir.data.sampling import PairBatchSampler
    from hybrid_ir.evaluation.evaluate import evaluate
    from hybrid_ir.evaluation.retrieval_metric import MultilingualRetrieval
    from hybrid_ir.export.export import export_encoder
    from hybrid_ir.model.encoder import BiEncoder
    from hybrid_ir.mteb_tasks.encoder import MtebEncoder
    from hybrid_ir.runs.data_sets import load_benchmark, load_corpus
    from hybrid_ir.runs.encoders import load_encoder
    from hybrid_ir.runs.indexes import load_index
    from hybrid_ir.training.datamodule import RetrievalData
    from hybrid_ir.training.losses import InfoNCE
    from hybrid_ir.training.retriever import Retriever
    from hybrid_ir.types import Benchmark

# Public name -> module that defines it.
_MODULES = {
    "Benchmark": "hybrid_ir.types",
    "BiEncoder": "hybrid_ir.model.encoder",
    "InfoNCE": "hybrid_ir.training.losses",
    "MtebEncoder": "hybrid_ir.mteb_tasks.encoder",
    "MultilingualRetrieval": "hybrid_ir.evaluation.retrieval_metric",
    "PairBatchSampler": "hybrid_ir.data.sampling",
    "ParallelCorpus": "hybrid_ir.data.corpus",
    "PlannedTexts": "hybrid_ir.data.planned_texts",
    "RetrievalData": "hybrid_ir.training.datamodule",
    "Retriever": "hybrid_ir.training.retriever",
    "compare": "hybrid_ir.comparison.comparison",
    "diagnose": "hybrid_ir.bias.diagnosis",
    "evaluate": "hybrid_ir.evaluation.evaluate",
    "export_encoder": "hybrid_ir.export.export",
    "load_benchmark": "hybrid_ir.runs.data_sets",
    "load_corpus": "hybrid_ir.runs.data_sets",
    "load_encoder": "hybrid_ir.runs.encoders",
    "load_index": "hybrid_ir.runs.indexes",
}

__all__ = [
    "Benchmark",
    "BiEncoder",
    "InfoNCE",
    "MtebEncoder",
    "MultilingualRetrieval",
    "PairBatchSampler",
    "ParallelCorpus",
    "PlannedTexts",
    "RetrievalData",
    "Retriever",
    "__version__",
    "compare",
    "diagnose",
    "evaluate",
    "export_encoder",
    "load_benchmark",
    "load_corpus",
    "load_encoder",
    "load_index",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names besides those of the module itself."""
    return sorted({*globals(), *__all__})
