"""An index that is open for searching: from texts or vectors to passages.

Shapes: Q queries, N passages, K results, D width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hybrid_ir.files.arrow_texts import DiskTexts
from hybrid_ir.index.card import read_index_card, require_encoder_of_index, require_undamaged_index
from hybrid_ir.index.layout import FAISS_FILE, PASSAGE_FILE
from hybrid_ir.index.search_methods import (
    ExactSearch,
    Found,
    RescoredSearch,
    SearchMethod,
    load_faiss_search,
)
from hybrid_ir.index.vectors import (
    QUANTISER_FILE,
    FloatVectors,
    QuantisedVectors,
    load_quantiser,
)
from hybrid_ir.types import TextEncoder, parse_languages

METHODS = ("auto", "exact", "quantised", "faiss")


@dataclass(frozen=True)
class Hit:
    """A passage that was found.

    Args:
        rank: its place among the results of its query, from 1.
        score: the inner product of the vectors.
        language: of the passage.
        id: of the passage.
        text: of the passage.
        row: of the passage in the index, from 0.
    """

    rank: int
    score: float
    language: str
    id: str
    text: str
    row: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class IndexedPassages:
    """The passages of an index, memory-mapped, row by row.

    Args:
        ids: N ids.
        texts: N texts.
        languages: the codes that occur.
        codes_N: the language of each passage, an index into `languages`.
    """

    ids: DiskTexts
    texts: DiskTexts
    languages: tuple[str, ...]
    codes_N: np.ndarray

    @classmethod
    def load(cls, path: Path) -> "IndexedPassages":
        """Maps the Arrow file of an index."""
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        encoded = pc.dictionary_encode(table["language"]).combine_chunks()
        found = encoded.dictionary.to_pylist()
        languages = tuple(sorted(found))
        place_of = np.array([languages.index(language) for language in found], np.int32)
        codes_N = place_of[encoded.indices.to_numpy()]
        return cls(DiskTexts(table["id"]), DiskTexts(table["text"]), languages, codes_N)

    def __len__(self) -> int:
        return len(self.ids)

    def get_language(self, row: int) -> str:
        """Returns the language of a passage."""
        return self.languages[self.codes_N[row]]


class PassageIndex:
    """An index that is open for searching; any number of threads may search it at once.

    Args:
        folder: of the index.
        encoder: of queries.
        method: how it is searched: by FAISS or by codes if it has them (`auto`), or `exact`,
            `quantised` or `faiss`.
        verify: whether the checksums of all files are compared, which reads all of them.
        effort: of FAISS, see `FaissSearch`.
        rescore_multiplier: candidates for each result, instead of what the card says.

    Attributes:
        card: what the index was made with.
        languages: of its passages.
        passages: with their `ids`, `texts` and `get_language(row)`.

    Raises:
        ValueError: the folder is no index, is damaged, has no such search, or was made with an
            encoder that gives other vectors.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: TextEncoder,
        method: str = "auto",
        verify: bool = True,
        effort: int | None = None,
        rescore_multiplier: int | None = None,
    ):
        self.folder = Path(folder)
        self.encoder = encoder
        self.card = read_index_card(self.folder)
        require_undamaged_index(self.folder, self.card, check_bytes=verify)
        require_encoder_of_index(encoder, self.card, self.folder)
        self.passages = IndexedPassages.load(self.folder / PASSAGE_FILE)
        self.languages = self.passages.languages
        self.vectors = FloatVectors(list_index_shards(self.folder, self.card, "vectors"))
        self.method = choose_method(method, self.card)
        multiplier = rescore_multiplier or self.card["search"]["rescore_multiplier"]
        self._search_method = self._load_search(multiplier, effort)
        # Encoders count what they read, which threads must not do at the same time.
        self._encoder_lock = Lock()

    def __len__(self) -> int:
        return len(self.passages)

    def __repr__(self) -> str:
        """Returns a short text."""
        return (
            f"PassageIndex({str(self.folder)!r}, {len(self):,} passages in "
            f"{', '.join(self.languages)}, {self.method})"
        )

    def _load_search(self, multiplier: int, effort: int | None) -> SearchMethod:
        if self.method == "faiss":
            search = load_faiss_search(self.folder / FAISS_FILE, self.vectors, effort)
            return RescoredSearch(search, self.vectors)
        if effort is not None:
            raise ValueError(f"effort={effort} is for an index with faiss=hnsw or ivf alone")
        if self.method == "quantised":
            codes = load_codes(self.folder, self.card)
            return RescoredSearch(ExactSearch(codes), self.vectors, multiplier)
        return ExactSearch(self.vectors)

    def encode_queries(self, texts: Sequence[str]) -> torch.Tensor:
        """Returns the vectors of queries (Q, D), float32 on the CPU."""
        with self._encoder_lock:
            items = self.encoder.read(list(texts), "query")
            return self.encoder.encode(items, "query").float().cpu()

    def search(
        self,
        texts: str | Sequence[str],
        k: int = 10,
        languages: str | Iterable[str] | None = None,
    ) -> list[list[Hit]]:
        """Finds the best passages for each text.

        Args:
            texts: Q queries; a single one may be a plain text.
            k: passages for each at most.
            languages: codes of passages that may be found; None for all.

        Returns:
            A list for each query, best first; shorter than k where there are fewer passages.

        Raises:
            ValueError: k is no whole number from 1, or the index has no such language.

        Example:
            [hits] = index.search("Who won Super Bowl 50?", k=3, languages=["de", "zh"])
            print(hits[0].language, hits[0].text)
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            return []
        return self.find_hits(self.encode_queries(texts), k, languages)

    def find_hits(
        self, queries_QD: torch.Tensor, k: int = 10, languages: str | Iterable[str] | None = None
    ) -> list[list[Hit]]:
        """Finds the best passages for vectors of queries, as `search` does for texts."""
        scores_QK, rows_QK = self.search_vectors(queries_QD, k, languages)
        results = []
        for scores_K, rows_K in zip(scores_QK, rows_QK, strict=True):
            results.append(self._make_hits(scores_K, rows_K))
        return results

    def search_vectors(
        self, queries_QD: torch.Tensor, k: int = 10, languages: str | Iterable[str] | None = None
    ) -> Found:
        """Finds the best passages for vectors of queries.

        Args:
            queries_QD: float32, on the CPU.
            k: passages for each at most.
            languages: codes of passages that may be found; None for all.

        Returns:
            Scores (Q, K) and rows (Q, K); -inf and -1 where there are fewer.
        """
        if type(k) is not int or k < 1:
            raise ValueError(f"k={k!r} must be a whole number from 1")
        return self._search_method.search(queries_QD, k, self._find_allowed(languages))

    def _find_allowed(self, languages: str | Iterable[str] | None) -> np.ndarray | None:
        """Returns a mask of the passages in some languages (N), None for all."""
        chosen = parse_languages(languages)
        if chosen is None:
            return None
        unknown = [language for language in chosen if language not in self.languages]
        if unknown or not chosen:
            raise ValueError(
                f"languages={chosen}: the index has passages in {', '.join(self.languages)}"
            )
        codes = [self.languages.index(language) for language in chosen]
        return np.isin(self.passages.codes_N, codes)

    def _make_hits(self, scores_K: np.ndarray, rows_K: np.ndarray) -> list[Hit]:
        hits = []
        for rank, (score, row) in enumerate(zip(scores_K, rows_K.tolist(), strict=True), start=1):
            if row < 0:
                break
            hit = Hit(
                rank=rank,
                score=float(score),
                language=self.passages.get_language(row),
                id=self.passages.ids[row],
                text=self.passages.texts[row],
                row=row,
            )
            hits.append(hit)
        return hits


def list_index_shards(folder: Path, card: dict[str, Any], kind: str) -> list[Path]:
    """Returns the files of an index with its `vectors` or `codes`, in the order of their rows."""
    names = sorted(name for name in card["files"] if name.startswith(f"{kind}-"))
    return [folder / name for name in names]


def load_codes(folder: Path, card: dict[str, Any]) -> QuantisedVectors:
    """Loads the codes of an index."""
    quantiser = load_quantiser(card["search"]["quantise"], folder / QUANTISER_FILE)
    return QuantisedVectors(list_index_shards(folder, card, "codes"), quantiser, card["width"])


def choose_method(method: str, card: dict[str, Any]) -> str:
    """Returns how an index is searched.

    Raises:
        ValueError: there is no such method, or the index was made without it.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} must be one of {', '.join(METHODS)}")
    has = {
        "faiss": card["search"]["faiss"] != "none",
        "quantised": card["search"]["quantise"] != "none",
        "exact": True,
    }
    if method == "auto":
        available = [name for name, is_there in has.items() if is_there]
        return available[0]
    if not has[method]:
        key = "faiss=hnsw" if method == "faiss" else "quantise=int8"
        raise ValueError(f"method={method}: the index was made without; {key} makes one with it")
    return method
