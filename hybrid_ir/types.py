"""Records and interfaces that the parts of the project share; this file imports nothing of ours.

Letters of the shapes: P pairs of a corpus, B examples of a batch, Q queries and N passages of a
benchmark, D width of a vector.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

Text = str | tuple[str, str]  # a tuple is a pair for the tokenizer, such as (sentence, context)
Role = Literal["query", "passage"]
# The order in which the texts of a benchmark are encoded. With the relevant passages first, each
# other passage can be ranked as soon as it is encoded.
STAGES: dict[str, Role] = {"queries": "query", "relevant": "passage", "others": "passage"}


class RandomStream(IntEnum):
    """The independent streams of random numbers of one seed.

    A number is part of the key of a generator, as in
    `np.random.default_rng([seed, RandomStream.ROWS, ...])`. To change one would change every plan.
    """

    SCHEDULE = 0  # the kind, part and language of each batch
    ROWS = 1  # the order in which a pass goes through its rows
    EXAMPLES = 2  # the languages of the examples of a batch
    NEGATIVES = 3  # which hard negatives an example shows
    DROPOUT = 4  # dropout of the encoder
    SWITCHING = 5  # which words of a batch are code-switched


def parse_languages(languages: str | Iterable[str] | None) -> list[str] | None:
    """Returns language codes as a list; a single code may be a plain text.

    Returns:
        The codes, or None for None, which stands for all languages.

    Raises:
        ValueError: If something is not a code, such as the `false` that YAML reads for `no`.
    """
    if languages is None:
        return None
    if isinstance(languages, str):
        return [languages]
    codes = list(languages) if isinstance(languages, Iterable) else [languages]
    if not all(isinstance(code, str) for code in codes):
        raise ValueError(f"languages={languages!r} must be codes like en, as a list")
    return codes


@dataclass(frozen=True)
class Source:
    """Where data comes from, as `hybrid-ir data describe` and every card print it.

    Args:
        name: short name, as in the config.
        description: what the data is, in a sentence.
        licence: of the texts.
        citation: paper or address.
        revision: version or commit upstream, or the hash of a file.
        choices: what a protocol leaves open and how it was chosen, as {"queries": "distinct_text"}.
    """

    name: str
    description: str
    licence: str
    citation: str
    revision: str = ""
    choices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Benchmark:
    """Queries and passages in several languages, and which passages are relevant to which query.

    Args:
        languages: codes; the language of a text is an index into them.
        queries: Q texts.
        query_languages: (Q), integers.
        question_ids: Q ids that the translations of one question share. Significance tests resample
            questions, not queries.
        passages: N texts. The sequence may read them from disk when they are asked for.
        passage_languages: (N), integers.
        passage_ids: N ids, each of them once.
        relevant: Q arrays of rows of `passages`, in any language, sorted and each row once.
        source: where the data comes from.
        grades: Q arrays with the gain of each row of `relevant`, for benchmarks in which one
            passage can be more relevant than another.
        missing_grades: Q arrays with the grade of each passage that is judged relevant to the
            query and is not in the corpus; 1 where there are no grades.
        missing_languages: Q arrays with the language of each of these passages. -1 stands for an
            unknown one: such a passage is missed in the multilingual view alone. None if all of
            them are in the language of their query.
        count_missing: whether the main numbers count missing passages as never found, as trec_eval
            and BEIR do: they add nothing to a measure, but average precision, recall, complete@k
            and the ideal ranking of nDCG hold them, and a query all of whose relevant passages are
            missing has 0. Otherwise they are left out. Where passages are missing, both numbers
            are printed and written.
        own_passages: (Q), the row of the passage that is the query itself, as in ArguAna and Quora,
            and is left out of the query's rankings; -1 for none.
        least_relevant_grade: the least grade that counts as relevant in all measures but nDCG,
            which sees every grade (`trec_eval -l`; 2 in TREC-DL). The loss over the corpus takes
            every passage with a grade as relevant. By default every grade counts.

    Raises:
        ValueError: If fields that belong together differ in length, a language or row does not
            exist, an id of a passage comes twice, a grade is not above 0, a query's own passage is
            relevant to it, or the least relevant grade is negative or needs grades that are not
            there.
    """

    languages: tuple[str, ...]
    queries: Sequence[str]
    query_languages: np.ndarray
    question_ids: Sequence[str]
    passages: Sequence[Text]
    passage_languages: np.ndarray
    passage_ids: Sequence[str]
    relevant: Sequence[np.ndarray]
    source: Source
    grades: Sequence[np.ndarray] | None = None
    missing_grades: Sequence[np.ndarray] | None = None
    missing_languages: Sequence[np.ndarray] | None = None
    count_missing: bool = True
    own_passages: np.ndarray | None = None
    least_relevant_grade: float = 0.0

    def __post_init__(self):
        problems = []
        per_query = ("queries", "query_languages", "question_ids", "relevant")
        per_passage = ("passages", "passage_languages", "passage_ids")
        for fields in (per_query, per_passage):
            lengths = {name: len(getattr(self, name)) for name in fields}
            if len(set(lengths.values())) > 1:
                problems.append(f"{_list_lengths(lengths)}: they need equal lengths")
        for name in ("missing_grades", "missing_languages", "own_passages"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.queries):
                lengths = {name: len(values), "queries": len(self.queries)}
                problems.append(f"{_list_lengths(lengths)}: they need equal lengths")
        problems.extend(self._find_grade_problems())
        if not problems:
            problems = self._find_content_problems()
        if problems:
            raise ValueError(f"benchmark '{self.name}': " + "; ".join(problems))

    def _find_grade_problems(self) -> list[str]:
        """Returns what is wrong with the grades: there must be one for each relevant passage."""
        if self.grades is None:
            return []
        if len(self.grades) != len(self.relevant):
            lengths = {"grades": len(self.grades), "relevant": len(self.relevant)}
            return [f"{_list_lengths(lengths)}: they need equal lengths"]
        for query, (grades, rows) in enumerate(zip(self.grades, self.relevant, strict=True)):
            if len(grades) != len(rows):
                return [
                    f"grades[{query}] has {len(grades)} entries, relevant[{query}] has "
                    f"{len(rows)}: every relevant passage needs its grade"
                ]
        return []

    def _find_content_problems(self) -> list[str]:
        """Returns what is wrong with languages, ids, relevant passages and grades."""
        problems = []
        if len(set(self.languages)) < len(self.languages):
            problems.append(f"languages={list(self.languages)} name one twice")
        for name in ("query_languages", "passage_languages"):
            problems.extend(self._find_language_problems(name))
        # Ids on disk were compared when they were written, and may be too many for the memory.
        if isinstance(self.passage_ids, list | tuple):
            repeated = [id for id, count in Counter(self.passage_ids).items() if count > 1]
            if repeated:
                problems.append(f"passage_ids has {repeated[0]!r} more than once")
        for query, rows in enumerate(self.relevant):
            problem = _find_row_problem(np.asarray(rows), len(self.passages))
            if problem:
                shown = np.asarray(rows)[:5].tolist()
                problems.append(f"relevant[{query}], which begins with {shown}, {problem}")
                break
        for name in ("grades", "missing_grades"):
            for query, grades in enumerate(getattr(self, name) or ()):
                if not (np.isfinite(grades).all() and (np.asarray(grades) > 0).all()):
                    shown = np.asarray(grades)[:5].tolist()
                    problems.append(f"{name}[{query}]={shown} must be above 0 and finite")
                    break
        problems.extend(self._find_missing_language_problems())
        problems.extend(self._find_own_passage_problems())
        problems.extend(self._find_threshold_problems())
        return problems

    def _find_missing_language_problems(self) -> list[str]:
        """Returns what is wrong with the languages of passages that are not in the corpus."""
        for query, languages in enumerate(self.missing_languages or ()):
            grades = () if self.missing_grades is None else self.missing_grades[query]
            codes = np.asarray(languages)
            are_languages = codes.size == 0 or -1 <= codes.min() <= codes.max() < len(
                self.languages
            )
            if len(codes) != len(grades) or not are_languages:
                return [
                    f"missing_languages[{query}]={codes[:5].tolist()} must hold the language of "
                    f"each of the {len(grades)} missing passages, or -1"
                ]
        return []

    def _find_own_passage_problems(self) -> list[str]:
        """Returns what is wrong with the passages that are left out since they are the query."""
        if self.own_passages is None or len(self.own_passages) == 0:
            return []
        rows = np.asarray(self.own_passages)
        passages = len(self.passages)
        if rows.dtype.kind not in "iu" or rows.min() < -1 or rows.max() >= passages:
            return [
                f"own_passages must hold rows of the {passages} passages, as whole numbers, or -1 "
                "for none"
            ]
        for query, row in enumerate(rows.tolist()):
            if row >= 0 and row in self.relevant[query]:
                return [
                    f"own_passages[{query}]={row} is left out of the ranking of its query, and so "
                    f"cannot be in relevant[{query}]"
                ]
        return []

    def _find_threshold_problems(self) -> list[str]:
        """Returns what is wrong with the least relevant grade."""
        least = self.least_relevant_grade
        if not (np.isfinite(least) and least >= 0):
            return [f"least_relevant_grade={least} must be a finite number from 0"]
        if self.grades is None and least > 1:
            return [
                f"least_relevant_grade={least} leaves nothing relevant: without grades, the grade "
                "of every relevant passage is 1"
            ]
        return []

    def count_missing_passages(self) -> int:
        """Counts the relevant passages of all queries that are not in the corpus."""
        return sum(len(grades) for grades in self.missing_grades or ())

    def list_missing_languages(self) -> list[np.ndarray]:
        """Returns for each query the languages of the passages that are not in the corpus.

        -1 stands for an unknown language.
        """
        if self.missing_languages is not None:
            return [np.asarray(codes) for codes in self.missing_languages]
        missing_grades = self.missing_grades or [()] * len(self.queries)
        languages = []
        for code, grades in zip(self.query_languages, missing_grades, strict=True):
            languages.append(np.full(len(grades), code))
        return languages

    def _find_language_problems(self, name: str) -> list[str]:
        languages = np.asarray(getattr(self, name))
        if len(languages) == 0:
            return []
        is_right = languages.dtype.kind in "iu"
        if is_right and languages.min() >= 0 and languages.max() < len(self.languages):
            return []
        return [
            f"{name} must hold whole numbers from 0 to {len(self.languages) - 1}, which point into "
            "languages"
        ]

    @property
    def name(self) -> str:
        """The name of its source."""
        return self.source.name

    def __repr__(self) -> str:
        """Returns a short text, without the texts of the benchmark."""
        return (
            f"Benchmark({self.name!r}, {len(self.queries):,} queries and {len(self.passages):,} "
            f"passages in {', '.join(self.languages)})"
        )


def _find_row_problem(rows: np.ndarray, passages: int) -> str | None:
    """Returns what is wrong with the rows of relevant passages of one query, None if nothing."""
    if len(rows) == 0:
        return None
    if rows.dtype.kind not in "iu":
        return "must be row numbers of passages, as whole numbers"
    if rows.min() < 0 or rows.max() >= passages:
        return f"must be rows of the {passages} passages, from 0 to {passages - 1}"
    if (np.diff(rows) <= 0).any():
        return "must be sorted, with each row once"
    return None


def _list_lengths(lengths: Mapping[str, int]) -> str:
    """Returns lengths in words: "queries has 3 entries, relevant has 2 entries"."""
    return ", ".join(f"{name} has {length} entries" for name, length in lengths.items())


@dataclass(frozen=True)
class PlannedBatch:
    """One global batch of a plan: which pair each example shows, and in which two languages.

    Args:
        step: number of the batch in the plan, from 0.
        monolingual: whether one language was drawn for the batch; False where the examples choose.
        pairs: (B), rows of the pairs of the part.
        query_languages: (B), indices into the languages of the corpus.
        passage_languages: (B), likewise.
        part: number of the part of a mixture that the pairs are of; 0 for a single corpus.
    """

    step: int
    monolingual: bool
    pairs: np.ndarray
    query_languages: np.ndarray
    passage_languages: np.ndarray
    part: int = 0


class CorpusPart(Protocol):
    """One data set of a corpus: what batches are planned from and filled with.

    `hybrid_ir.data.corpus.ParallelCorpus` is this, and computes the index from the texts.
    """

    source: Source
    languages: tuple[str, ...]
    kinds: Sequence[str]  # of batches that may come from it: "monolingual", "cross_lingual"
    queries: Mapping[str, Sequence[str | None]]  # language -> text by query id
    passages: Mapping[str, Sequence[str | None]]  # language -> text by passage id
    pairs: np.ndarray  # (P, 2), query id and passage id
    negatives: Any  # (P, K), ids of hard negatives, -1 for none; an array or HardNegatives
    index: Any  # hybrid_ir.data.corpus.CorpusIndex


class Corpus(Protocol):
    """What a sampler needs of training data: a single corpus, or a mixture of several."""

    source: Source
    languages: tuple[str, ...]
    parts: Sequence[CorpusPart]  # every batch comes from one of them
    part_weights: Sequence[float]  # how often each part is drawn, relative to the others

    def texts(self) -> Iterable[str]:
        """Returns all texts, for a tokenizer that is trained from scratch."""


class TextEncoder(Protocol):
    """What an evaluation needs of a bi-encoder, ours or any other.

    An evaluation reads texts once (`read`) and then asks for the vectors of what was read
    (`encode`). A latency study times the two steps of `encode` one by one: `tensors`, `forward`.
    """

    name: str
    device: "torch.device"
    precision: str
    similarity: str  # "cosine": vectors have length 1; "dot": they are taken as they are
    texts_read: dict[Role, int]
    texts_cut: dict[Role, int | None]  # texts longer than the encoder reads; None: not counted

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """Returns what the encoder sees of each text; equal items get equal vectors."""

    def tensors(self, items: Sequence[Hashable], role: Role) -> Any:
        """Returns items as one input of the model, on its device."""

    def forward(self, inputs: Any) -> "torch.Tensor":
        """Returns the vectors (B, D) of one such input, float32."""

    def encode(self, items: Sequence[Hashable], role: Role) -> "torch.Tensor":
        """Returns the vectors (B, D) of any number of items, float32, in batches of its choice."""

    def windows(self, text: Text, overlap: float) -> list[Text]:
        """Returns overlapping pieces of a passage, each short enough to be read completely."""

    def reading(self) -> dict[str, Any]:
        """Returns all that decides a text's vector besides the weights, for the card."""
