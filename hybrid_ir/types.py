"""The records that travel between the parts; this file imports nothing of ours.

Shapes: Q queries, N passages, B examples of a batch, P pairs of a corpus.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

Text = str | tuple[str, str]  # a tuple is a tokenizer pair, for example (sentence, context)
Role = Literal["query", "passage"]
# the order in which a benchmark is encoded, so that a passage can be counted as soon as it is a vector
STAGES: dict[str, Role] = {"queries": "query", "relevant": "passage", "others": "passage"}


def parse_languages(languages: str | Iterable[str] | None) -> list[str] | None:
    """Language codes as a list; one alone may be given as a plain text, None stands for all."""
    if languages is None or isinstance(languages, str):
        return None if languages is None else [languages]
    found = list(languages) if isinstance(languages, Iterable) else [languages]
    if not all(isinstance(code, str) for code in found):
        raise ValueError(f"languages={languages!r} must be codes like en, as a list")
    return found


@dataclass(frozen=True)
class Source:
    """Where data comes from, as printed by `hybrid-ir data describe` and on every card."""

    name: str
    description: str
    licence: str
    citation: str
    revision: str = ""  # upstream version, commit or file hash
    choices: dict[str, str] = field(
        default_factory=dict
    )  # named protocol choices, e.g. {"queries": "distinct_text"}


@dataclass(frozen=True)
class Benchmark:
    """Queries and passages in several languages, and which passages are relevant to which query.

    `relevant[q]` holds rows of `passages`, in any languages. `question_ids[q]` links the translations of one
    question: it is the cluster for significance tests. A sequence of passages may read from disk lazily.
    """

    languages: tuple[str, ...]
    queries: Sequence[str]  # Q
    query_languages: np.ndarray  # Q, int index into languages
    question_ids: Sequence[str]  # Q
    passages: Sequence[Text]  # N
    passage_languages: np.ndarray  # N, int index into languages
    passage_ids: Sequence[str]  # N, unique
    relevant: Sequence[np.ndarray]  # Q arrays of rows of passages, each sorted and without repeats
    source: Source
    grades: Sequence[np.ndarray] | None = (
        None  # Q, gains of `relevant` where some are more relevant than others
    )

    def __post_init__(self):
        assert (
            len(self.queries)
            == len(self.query_languages)
            == len(self.question_ids)
            == len(self.relevant)
        )
        assert self.grades is None or list(map(len, self.grades)) == list(map(len, self.relevant))
        assert len(self.passages) == len(self.passage_languages) == len(self.passage_ids)

    @property
    def name(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class PlannedBatch:
    """One global batch of a plan: which pair each example shows, and in which two languages."""

    step: int
    monolingual: bool  # the draw of a batch-level plan; False when examples draw for themselves
    pairs: np.ndarray  # B, rows of the part's pairs
    query_languages: np.ndarray  # B, int index into corpus.languages
    passage_languages: np.ndarray  # B
    part: int = 0  # of a mixture


class TextEncoder(Protocol):
    """What an evaluation needs of a bi-encoder: ours, or anyone's."""

    name: str
    device: "torch.device"
    precision: str
    similarity: str  # "cosine": vectors have length 1; "dot": as they are
    texts_read: dict[Role, int]
    texts_cut: dict[
        Role, int | None
    ]  # of them, longer than the encoder reads; None where nobody counts

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """What the encoder sees of each text; equal items get equal vectors."""

    def tensors(self, items: Sequence[Hashable], role: Role) -> Any:
        """Items as one input of the model, on its device."""

    def forward(self, inputs: Any) -> "torch.Tensor":
        """Vectors (B, D) of one such input, float32."""

    def encode(self, items: Sequence[Hashable], role: Role) -> "torch.Tensor":
        """Vectors (B, D) of any number of items, in batches of the encoder's choice, float32."""

    def windows(self, text: Text, overlap: float) -> list[Text]:
        """Overlapping pieces of a passage that the encoder reads whole."""

    def reading(self) -> dict[str, Any]:
        """Everything that decides which vector a text gets, besides the weights; for the card."""
