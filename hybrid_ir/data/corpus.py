"""ParallelCorpus: texts by language and content id, and the pairs to train on."""

# P pairs, N ids of queries or passages, K hard negatives

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ir.data.availability import Availability, LanguageSets
from hybrid_ir.data.content_ids import assign_content_ids, hash_texts
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.data.known_positives import KnownPositives
from hybrid_ir.data.row_streams import RowRuns
from hybrid_ir.files.texts import is_blank
from hybrid_ir.types import CorpusPart, Source

if TYPE_CHECKING:
    from datasets import Dataset

# Language -> text by id; None where this language lacks the text.
Texts = Mapping[str, Sequence[str | None]]
KINDS = ("monolingual", "cross_lingual")  # of batches
TEXTS_PER_BLOCK = 1 << 16


@dataclass(frozen=True)
class CorpusIndex:
    """What follows from the texts of a corpus; a corpus on disk has it in its files.

    Args:
        query_languages: the languages of each query id.
        passage_languages: the languages of each passage id.
        availability: the languages of both sides of each pair.
        query_content_N: content id of each query, see `assign_content_ids`.
        content_N: content id of each passage.
        positives: the passages of each query in all its pairs.
    """

    query_languages: LanguageSets
    passage_languages: LanguageSets
    availability: Availability
    query_content_N: np.ndarray
    content_N: np.ndarray
    positives: KnownPositives

    @classmethod
    def from_texts(
        cls, queries: Texts, passages: Texts, pairs: np.ndarray, languages: Sequence[str]
    ) -> "CorpusIndex":
        """Computes the index of texts and pairs (P, 2)."""
        query_languages = LanguageSets.from_texts(queries, languages)
        passage_languages = LanguageSets.from_texts(passages, languages)
        availability = Availability.from_bits(
            query_languages.bits_NC[pairs[:, 0]],
            passage_languages.bits_NC[pairs[:, 1]],
            len(languages),
        )
        query_content_N = assign_content_ids(map(hash_texts, queries.values()))
        content_N = assign_content_ids(map(hash_texts, passages.values()))
        return cls(
            query_languages,
            passage_languages,
            availability,
            query_content_N,
            content_N,
            KnownPositives(pairs, query_content_N, content_N),
        )

    def view(self, columns_L: np.ndarray) -> "CorpusIndex":
        """Returns the index of the same texts for another list of L languages.

        Args:
            columns_L: the number that each new language has here, -1 for one that is not here.
        """
        return CorpusIndex(
            self.query_languages.view(columns_L),
            self.passage_languages.view(columns_L),
            self.availability.view(columns_L),
            self.query_content_N,
            self.content_N,
            self.positives,
        )


class ParallelCorpus:
    """Question-passage pairs whose ids do not depend on the language.

    A translation has the id of its original. `content[passage_id]` is equal for passages that share
    a text in some language, so neither a translation of the relevant passage nor a repeated passage
    is ever used as a negative. `query_content` does the same for queries: a question that was asked
    twice has two relevant passages. `index.positives` knows all relevant passages of a query.

    Args:
        queries: `queries[language][query_id]` is a text, or None where the language lacks it.
        passages: `passages[language][passage_id]`, likewise.
        pairs: (P, 2), ids of a query and of a passage that answers it.
        source: where the data comes from.
        negatives: (P, K), ids of passages that are known not to answer the query; -1 fills rows
            that have fewer.
        index: what follows from the texts, for a corpus that was checked when it was written. The
            texts are then neither read nor checked.

    Raises:
        ValueError: If something is wrong with the texts, pairs or negatives; it names all of it.
    """

    # Of a mixture these differ, see Mixture and LanguageView.
    kinds: Sequence[str] = KINDS  # of batches that may come from this corpus
    part_weights: Sequence[float] = (1.0,)  # how often each part is drawn, relative to the others
    left_out: Mapping[str, str] = MappingProxyType({})  # name of a missing part -> the reason

    def __init__(
        self,
        queries: Texts,
        passages: Texts,
        pairs: np.ndarray,
        source: Source,
        negatives: np.ndarray | HardNegatives | None = None,
        index: CorpusIndex | None = None,
    ):
        self.languages = tuple(sorted(queries))
        self.queries = queries
        self.passages = passages
        self.source = source
        self.pairs = np.asarray(pairs).reshape(-1, 2)
        if negatives is None:
            negatives = np.empty((len(self.pairs), 0), np.int64)
        self.negatives = negatives
        if index is None:
            self._require_valid()
            index = CorpusIndex.from_texts(queries, passages, self.pairs, self.languages)
        self.index = index
        self.availability = index.availability
        self.content = index.content_N
        self.query_content = index.query_content_N

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def usable_pair_count(self) -> int:
        """The number of pairs that have a query and a passage in languages of the corpus."""
        return len(self.find_usable_pairs())

    def find_usable_pairs(self) -> RowRuns:
        """Returns the rows of the pairs with a query and a passage in languages of the corpus."""
        runs = self.availability
        has_both_R = runs.queries_RL.any(1) & runs.passages_RL.any(1)
        return runs.select_rows(has_both_R)

    def without_pairs(self, rows: np.ndarray, passages: np.ndarray) -> "ParallelCorpus":
        """Returns the corpus without some of its pairs and hard negatives: no batch takes them.

        The numbers of all other pairs stay as they are, and nothing is copied.

        Args:
            rows: of the pairs, sorted, each once.
            passages: ids of passages that are no hard negatives any more.
        """
        corpus = copy.copy(self)
        corpus.availability = self.availability.without_rows(rows)
        corpus.index = replace(
            self.index,
            availability=corpus.availability,
            passage_languages=self.index.passage_languages.without_ids(passages),
        )
        return corpus

    @property
    def parts(self) -> tuple["ParallelCorpus", ...]:
        """The corpora that batches are drawn from: here this one alone, several in a mixture."""
        return (self,)

    def texts(self) -> "AllTexts":
        """Returns all texts of queries and passages, for a tokenizer to train on."""
        return AllTexts(self.parts)

    @classmethod
    def from_dataset(
        cls, dataset: Any, columns: Mapping[str, Any] | None = None, **choices: Any
    ) -> "ParallelCorpus":
        """Imports a Dataset or IterableDataset of the library `datasets`, checked like any import.

        The texts are kept in temporary files that are memory-mapped, and gone with the corpus.

        Args:
            dataset: a row for each pair; or a dictionary of data sets by split.
            columns: which columns are what, as in {"query": {"en": "question"}, "passage": {"en":
                ["title", "text"]}, "negatives": {"en": ["bad_1"]}, "id": "key"}; by default their
                names tell, as in query_LL, passage_LL and negatives_LL, or the fields of columns
                query, passage and negatives.
            choices: `split` of a dictionary, `name` of the corpus, `to` for a new folder that keeps
                it, `languages` to use, `twins`, `max_characters` and `errors` as of an import.

        Raises:
            ValueError: with everything that is wrong with the rows, each with its number from 1.
        """
        # The one import that points up: the public class has both directions.
        from hybrid_ir.corpora.dataset_corpus import import_dataset

        return import_dataset(dataset, columns, **choices)

    def to_dataset(self) -> "Dataset":
        """Returns a Dataset of the library `datasets` in memory, with a row for each pair.

        Its columns are id, query_LL, passage_LL and negatives_LL for each language, null where a
        text is missing; the i-th negative of a row is the same passage in each language. Pairs
        and negatives that no batch may take are left out. `from_dataset` gives the same pairs:
        each with the texts of its query, its passage and its negatives in all languages. Pairs are
        ordered by their languages, a text that pairs share has an id for each of them, and equal
        content ids for all.
        """
        from hybrid_ir.corpora.dataset_corpus import export_dataset

        return export_dataset(self)

    def _require_valid(self) -> None:
        """Raises a ValueError that names everything that is wrong."""
        problems = []
        if set(self.queries) != set(self.passages):
            problems.append(
                f"queries are in {sorted(self.queries)}, passages in {sorted(self.passages)}: "
                "name both alike"
            )
        if not len(self.pairs):
            problems.append("there is no pair to train on")
        problems += _find_text_problems("query", self.queries, self.pairs[:, 0])
        problems += _find_text_problems("passage", self.passages, self.pairs[:, 1])
        problems += self._find_negative_problems()
        if problems:
            raise ValueError(f"corpus '{self.source.name}': " + "; ".join(problems))

    def _find_negative_problems(self) -> list[str]:
        """Returns what is wrong with the hard negatives."""
        problems = []
        negatives = np.asarray(self.negatives)
        if negatives.ndim != 2 or len(negatives) != len(self.pairs):
            problems.append(f"negatives have shape {negatives.shape}, need ({len(self.pairs)}, K)")
        size = min(map(len, self.passages.values()), default=0)
        if negatives.size and not -1 <= negatives.min() <= negatives.max() < size:
            problems.append(
                f"passage ids of negatives reach from {negatives.min()} to {negatives.max()}, "
                f"there are {size} passages and -1 for none"
            )
        return problems


def _find_text_problems(role: str, texts: Texts, ids: np.ndarray) -> list[str]:
    """Returns what is wrong with the texts of one role, and with the ids that pairs have of it."""
    problems = []
    sizes = {language: len(column) for language, column in texts.items()}
    if len(set(sizes.values())) > 1:
        problems.append(
            f"every language needs one entry per {role} id (None where missing), got {sizes}"
        )
    elif len(ids) and not 0 <= ids.min() <= ids.max() < min(sizes.values(), default=0):
        problems.append(
            f"{role} ids of pairs reach from {ids.min()} to {ids.max()}, texts have {sizes}"
        )
    for language, column in texts.items():
        empty = [i for i, text in enumerate(column) if text is not None and is_blank(text)]
        if empty:
            problems.append(
                f"{len(empty)} empty {role} texts in '{language}', first at id {empty[0]}: "
                "use None or a text"
            )
    return problems


class AllTexts:
    """The texts of corpora one after another; they are read again at every iteration."""

    def __init__(self, corpora: Sequence[CorpusPart]):
        self.corpora = corpora

    def __iter__(self) -> Iterator[str]:
        for corpus in self.corpora:
            for side in (corpus.queries, corpus.passages):
                for language in corpus.languages:
                    yield from (text for text in side[language] if text is not None)


def iterate_blocks(
    texts: Sequence[str | None], size: int = TEXTS_PER_BLOCK
) -> Iterator[list[str | None]]:
    """Yields consecutive texts as lists of at most `size`."""
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])
