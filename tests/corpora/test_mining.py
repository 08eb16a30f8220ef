"""Mining: the hard negatives are those of a search through everything."""

from collections.abc import Iterator

import numpy as np
import pytest

from hybrid_ir.cli.main import run_command
from hybrid_ir.corpora import mining
from hybrid_ir.corpora.mining import (
    HardNegativeMiner,
    LanguageVectors,
    list_searched_languages,
    select_hard_negatives,
)
from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.model.adapters import BiEncoderAdapter
from tests.support.corpora import SOURCE, write_json_lines

COUNT = 4  # hard negatives
MARGIN = 0.002


def test_the_best_allowed_candidates_are_selected_each_content_once():
    ids = np.array([[4, 1, 2, 3, -1], [0, -1, -1, -1, -1]])
    scores = np.array([[5.0, 4, 3, 2, 1], [5, 4, 3, 2, 1]])
    is_allowed = np.array([[True] * 5, [False, True, True, True, True]])
    content = np.array([0, 1, 1, 3, 4])
    selected, best = select_hard_negatives(ids, scores, is_allowed, content, 3)
    assert selected.tolist() == [[4, 1, 3], [-1, -1, -1]]
    assert best[0].tolist() == [5, 4, 2]
    assert np.isneginf(best[1]).all()


def test_the_searched_languages_follow_from_the_choice():
    assert list_searched_languages(1, 3, "same") == [1]
    assert list_searched_languages(1, 3, "other") == [0, 2]
    assert list_searched_languages(1, 3, "any") == [0, 1, 2]
    with pytest.raises(ValueError, match="languages='none' must be one of same, other, any"):
        list_searched_languages(1, 3, "none")


def make_numbered_corpus(count: int) -> ParallelCorpus:
    """Makes a corpus with a repeated passage, a missing one, and questions with two answers."""
    rng = np.random.default_rng(1)
    passages = {}
    queries = {}
    for language in ("en", "de"):
        texts = []
        for number in range(count):
            digits = " ".join(map(str, rng.integers(0, 9, 3)))
            texts.append(f"{language} text {number} {digits}")
        if language == "en":
            texts[7] = texts[3]
        queries[language] = [f"ask {text}" for text in texts]
        passages[language] = texts
    passages["de"][5] = None
    pairs = [(number, number) for number in range(count)]
    pairs += [(number, number + 1) for number in range(0, count - 1, 2)]
    return ParallelCorpus(queries, passages, rng.permutation(pairs), SOURCE)


class FullSearch:
    """Scores every passage for every query, one by one."""

    def __init__(self, corpus: ParallelCorpus, model: BiEncoderAdapter):
        self.corpus = corpus
        self.queries = {}
        self.passages = {}
        for language in corpus.languages:
            self.queries[language] = [
                encode(model, text, "query") for text in corpus.queries[language]
            ]
            self.passages[language] = [
                None if text is None else encode(model, text, "passage")
                for text in corpus.passages[language]
            ]

    def find_best_scores(self, row: int, searched: str) -> dict[int, float]:
        """Returns the best score of each content that is a hard negative of a pair."""
        positives = self.collect_positives(row)
        best: dict[int, float] = {}
        for language in self.corpus.languages:
            for other in self.corpus.languages:
                is_same = language == other
                if searched == "any" or is_same == (searched == "same"):
                    for content, score in self.score_passages(row, language, other):
                        if content not in positives:
                            best[content] = max(best.get(content, -np.inf), score)
        return best

    def collect_positives(self, row: int) -> set[int]:
        """Returns the contents that answer the question of a pair, in whatever pair."""
        question = self.corpus.query_content[self.corpus.pairs[row, 0]]
        positives = set()
        for query, passage in self.corpus.pairs:
            if self.corpus.query_content[query] == question:
                positives.add(int(self.corpus.content[passage]))
        return positives

    def score_passages(self, row: int, language: str, other: str) -> Iterator[tuple[int, float]]:
        """Yields content and score of the passages that score low enough."""
        query, passage = self.corpus.pairs[row]
        query_vector = self.queries[language][query]
        positive = self.passages[other][passage]
        if positive is None:
            positive = self.passages[language][passage]
        limit = np.inf if positive is None else query_vector @ positive - MARGIN
        for number, vector in enumerate(self.passages[other]):
            if vector is not None and query_vector @ vector <= limit:
                yield int(self.corpus.content[number]), query_vector @ vector


def encode(model: BiEncoderAdapter, text: str, role: str) -> np.ndarray:
    return model.encode(model.read([text], role), role)[0].double().numpy()


@pytest.mark.parametrize("searched", ["same", "other", "any"])
def test_mined_negatives_are_those_of_a_full_search(encoder, tmp_path, monkeypatch, searched):
    monkeypatch.setattr(mining, "QUERY_BLOCK", 7)
    monkeypatch.setattr(mining, "PAIR_BLOCK", 3)
    corpus = make_numbered_corpus(30)
    model = BiEncoderAdapter(encoder, "tiny")
    vectors = {}
    for language in corpus.languages:
        vectors[language] = LanguageVectors(corpus, language, model, tmp_path, 7)
    miner = HardNegativeMiner(
        corpus, vectors, count=COUNT, depth=30, languages=searched, margin=MARGIN
    )
    negatives, _ = miner.mine()
    search = FullSearch(corpus, model)
    for row in range(len(corpus)):
        best = search.find_best_scores(row, searched)
        expected = sorted(best.values(), reverse=True)[:COUNT]
        found = [best[int(corpus.content[number])] for number in negatives[row] if number >= 0]
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def arguments(tmp_path, trained, monkeypatch) -> list[str]:
    """The arguments of the command that mines with a run of ours in a corpus of 40 pairs."""
    monkeypatch.setenv("COLUMNS", "300")  # no line of the output is broken
    records = []
    for number in range(40):
        query = {"en": f"which number is {number}", "de": f"welche Zahl ist {number}"}
        passage = {"en": f"number {number} it is", "de": f"Zahl {number} ist es"}
        records.append({"id": number, "query": query, "passage": passage})
    path = write_json_lines(tmp_path / "x.jsonl", *records)
    return [
        f"checkpoint={trained}",
        "corpus=jsonl",
        f"corpus.path={path}",
        f"paths.cache_dir={tmp_path / 'cache'}",
        f"to={tmp_path / 'mined'}",
    ]


def test_mining_with_a_run_gives_a_corpus_to_train_on(tmp_path, arguments, capsys):
    run_command("mine", [*arguments, "languages=any", "margin=-1", "count=3"])
    assert "3.00 hard negatives a pair" in capsys.readouterr().out
    corpus = load_corpus_folder(tmp_path / "mined")
    assert corpus.negatives.shape == (40, 3)
    assert (np.asarray(corpus.negatives) != corpus.pairs[:, 1:]).all()


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ("margin=5", "nothing is written. A lower margin or more depth"),
        ("languages=none", "languages='none' must be one of same, other, any"),
    ],
)
def test_mining_that_finds_nothing_writes_nothing(tmp_path, arguments, choice, problem):
    with pytest.raises(ValueError, match=problem):
        run_command("mine", [*arguments, choice])
    assert not (tmp_path / "mined").exists()
