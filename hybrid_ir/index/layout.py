"""How an index is stored and searched, and the names of its files."""

from dataclasses import dataclass

import pyarrow as pa
import torch

from hybrid_ir.index.search_methods import FAISS_KINDS, import_faiss
from hybrid_ir.index.vectors import QUANTISATIONS

DTYPES = {"float32": torch.float32, "float16": torch.float16}
PASSAGE_FILE = "passages.arrow"
FAISS_FILE = "faiss.index"
QUALITY_FILE = "quality.json"
JOB_FILE = "job.json"
PASSAGE_SCHEMA = pa.schema([("id", pa.string()), ("language", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class IndexSettings:
    """How an index is stored and searched.

    Args:
        dtype: of the stored vectors, `float32` or `float16`.
        quantise: codes that are searched instead of the vectors: `none`, `int8` or `binary`.
        rescore_multiplier: candidates for each result that are found by codes and ranked by the
            float vectors.
        faiss: an index of FAISS that is searched: `none`, `flat`, `hnsw` or `ivf`.
        texts_per_shard: texts that are encoded together and kept in a file.

    Raises:
        ValueError: some value is none of these.
    """

    dtype: str = "float32"
    quantise: str = "none"
    rescore_multiplier: int = 4
    faiss: str = "none"
    texts_per_shard: int = 4096

    def __post_init__(self):
        problems = []
        choices = {"dtype": DTYPES, "quantise": QUANTISATIONS, "faiss": FAISS_KINDS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                problems.append(f"{name}={getattr(self, name)!r} must be one of {', '.join(known)}")
        for name in ("rescore_multiplier", "texts_per_shard"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                problems.append(f"{name}={getattr(self, name)!r} must be a whole number from 1")
        if self.quantise != "none" and self.faiss != "none":
            problems.append(
                f"quantise={self.quantise} and faiss={self.faiss} are two ways to search: choose "
                "one"
            )
        if problems:
            raise ValueError("; ".join(problems))
        if self.faiss != "none":
            import_faiss()  # before hours of encoding
