"""XQuAD-R and MLQA-R: the published counts on the real files, and the choices of their tasks."""

import shutil
import zlib
from collections import Counter

import numpy as np
import pytest

from hybrid_ir.corpora.sources import mlqa_r as mlqa_r_training
from hybrid_ir.evaluation.benchmarks import mlqa_r, xquad_r
from hybrid_ir.evaluation.benchmarks.lareqa import build_from_paragraphs
from hybrid_ir.files.lareqa import LareqaQuestion, Paragraph, read_lareqa_folder
from hybrid_ir.types import Source
from tests.support.benchmarks import find_answers

SOURCE = Source("tiny", "", "", "")
TINY = {
    "de": [
        Paragraph(
            "A",
            "Eins. Zwei. Eins.",
            ("Eins.", "Zwei.", "Eins."),
            (LareqaQuestion("a", "Was?", 0), LareqaQuestion("b", "Was?", 1)),
        )
    ],
    "en": [
        Paragraph("A", "One. Two.", ("One.", "Two."), (LareqaQuestion("a", "What?", 0),)),
        Paragraph("B", "One.", ("One.",), (LareqaQuestion("c", "Where?", 0),)),
    ],
}


@pytest.fixture(scope="module")
def all_questions(shared):
    return xquad_r.load(str(shared / "data/xquad-r"))


@pytest.fixture(scope="module")
def distinct_questions(shared):
    return xquad_r.load(str(shared / "data/xquad-r"), queries="distinct_text")


def test_answer_sentences_of_a_question_are_relevant_in_every_language():
    """So are their repetitions in the same paragraph, but not in another one."""
    benchmark = build_from_paragraphs(TINY, SOURCE)
    answers_of_a = {"de:0:0", "de:0:2", "en:0:0"}  # not en:1:0
    assert find_answers(benchmark) == {
        ("de", "a"): answers_of_a,
        ("en", "a"): answers_of_a,
        ("de", "b"): {"de:0:1"},
        ("en", "c"): {"en:1:0"},
    }
    assert benchmark.languages == ("de", "en")
    assert benchmark.passages == ["Eins.", "Zwei.", "Eins.", "One.", "Two.", "One."]
    assert benchmark.passage_languages.tolist() == [0, 0, 0, 1, 1, 1]


def test_distinct_text_unites_the_answers_of_equal_questions_of_a_language():
    benchmark = build_from_paragraphs(TINY, SOURCE, queries="distinct_text")
    answers = find_answers(benchmark)
    assert benchmark.queries == ["Was?", "What?", "Where?"]
    assert answers["de", "a"] == {"de:0:0", "de:0:1", "de:0:2", "en:0:0"}
    assert answers["en", "a"] == {"de:0:0", "de:0:2", "en:0:0"}


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ("all", [[1, 3], [1], [0, 2, 5], [1, 3], [0, 2, 5]]),
        ("distinct_text", [[0, 1, 2, 3, 5], [1, 3], [0, 2, 5]]),
    ],
)
def test_rows_are_sorted_without_repeats_though_questions_share_answers(queries, expected):
    """Of three questions of one text two have the last sentence, one the first, which repeats."""
    questions = (
        LareqaQuestion("a", "Was?", 1),
        LareqaQuestion("b", "Was?", 1),
        LareqaQuestion("c", "Was?", 0),
    )
    paragraphs = {
        "de": [Paragraph("A", "Eins. Zwei. Eins.", ("Eins.", "Zwei.", "Eins."), questions)],
        "en": TINY["en"],
    }
    benchmark = build_from_paragraphs(paragraphs, SOURCE, queries)
    assert [rows.tolist() for rows in benchmark.relevant] == expected


def split_into_two_paragraphs(language: str, names: list[str]) -> list[Paragraph]:
    paragraphs = []
    for part in (names[:5], names[5:]):
        questions = tuple(LareqaQuestion(name, f"{language} {name}?", 0) for name in part)
        paragraphs.append(Paragraph("A", "One.", ("One.",), questions))
    return paragraphs


@pytest.mark.parametrize("most", [1, 3, 5, 20])
def test_kept_questions_are_the_same_whatever_their_order(most):
    names = [f"id{i}" for i in range(12)]
    paragraphs = {
        "de": split_into_two_paragraphs("de", names),
        "en": split_into_two_paragraphs("en", names[::-1]),
    }
    benchmark = build_from_paragraphs(paragraphs, SOURCE, max_queries=most)
    lowest_hashes = sorted(names, key=lambda name: zlib.crc32(name.encode()))[:most]
    for number in range(2):
        kept = np.array(benchmark.question_ids)[benchmark.query_languages == number]
        assert sorted(kept) == sorted(lowest_hashes)


def test_questions_are_cut_before_equal_texts_are_joined():
    """Two of German's questions are kept and have one text: one query is left."""
    benchmark = build_from_paragraphs(TINY, SOURCE, queries="distinct_text", max_queries=2)
    assert np.bincount(benchmark.query_languages).tolist() == [1, 2]


def test_candidates_may_be_pairs_or_paragraphs():
    sentences = build_from_paragraphs(TINY, SOURCE)
    pairs = build_from_paragraphs(TINY, SOURCE, candidates="sentence_context_pair")
    paragraphs = build_from_paragraphs(TINY, SOURCE, candidates="paragraph")
    assert pairs.passages[1] == ("Zwei.", "Eins. Zwei. Eins.")
    assert find_answers(pairs) == find_answers(sentences)
    assert paragraphs.passages == ["Eins. Zwei. Eins.", "One. Two.", "One."]
    assert find_answers(paragraphs)["de", "b"] == {"de:0:0"}
    assert find_answers(paragraphs)["en", "a"] == {"de:0:0", "en:0:0"}


def test_xquad_r_has_the_published_counts(all_questions):
    benchmark = all_questions
    candidates = np.bincount(benchmark.passage_languages).tolist()
    assert len(benchmark.queries) == 13090
    assert len(benchmark.passages) == len(set(benchmark.passage_ids)) == 13014
    assert set(Counter(benchmark.question_ids).values()) == {11}
    assert {len(rows) for rows in benchmark.relevant} == {11}
    assert dict(zip(benchmark.languages, candidates, strict=True)) == {
        "ar": 1222,
        "de": 1276,
        "el": 1234,
        "en": 1180,
        "es": 1215,
        "hi": 1244,
        "ru": 1219,
        "th": 852,
        "tr": 1167,
        "vi": 1209,
        "zh": 1196,
    }
    for question_id, rows in zip(benchmark.question_ids, benchmark.relevant, strict=True):
        assert set(benchmark.passage_languages[rows]) == set(range(11)), question_id


def test_distinct_questions_of_xquad_r_are_those_the_paper_ranked(distinct_questions):
    counts = np.bincount(distinct_questions.query_languages).tolist()
    assert dict(zip(distinct_questions.languages, counts, strict=True)) == {
        "ar": 1187,
        "de": 1182,
        "el": 1184,
        "en": 1187,
        "es": 1185,
        "hi": 1183,
        "ru": 1186,
        "th": 1183,
        "tr": 1184,
        "vi": 1182,
        "zh": 1181,
    }


def test_distinct_questions_have_all_answers_of_their_text(all_questions, distinct_questions):
    united: dict[tuple[int, str], set[int]] = {}
    for language, text, rows in zip(
        all_questions.query_languages, all_questions.queries, all_questions.relevant, strict=True
    ):
        united.setdefault((language, text), set()).update(rows.tolist())
    assert len(distinct_questions.queries) == len(united)
    for row, text in enumerate(distinct_questions.queries):
        key = (distinct_questions.query_languages[row], text)
        assert united[key] == set(distinct_questions.relevant[row].tolist())


def test_mlqa_r_has_the_published_counts(shared):
    benchmark = mlqa_r.load(str(shared / "data/mlqa-r"))
    queries = np.bincount(benchmark.query_languages).tolist()
    candidates = np.bincount(benchmark.passage_languages).tolist()
    counts = zip(queries, candidates, strict=True)
    assert dict(zip(benchmark.languages, counts, strict=True)) == {
        "ar": (517, 2545),
        "de": (512, 2362),
        "en": (1148, 6264),
        "es": (500, 1787),
        "hi": (507, 2426),
        "vi": (511, 2828),
        "zh": (504, 2322),
    }
    assert len(benchmark.passages) == 20534
    assert {len(rows) for rows in benchmark.relevant} == {2, 3, 4}


def test_max_queries_keeps_all_candidates(shared):
    benchmark = xquad_r.load(str(shared / "data/xquad-r"), languages=["en", "ar"], max_queries=40)
    assert benchmark.languages == ("ar", "en")
    assert len(benchmark.passages) == 1222 + 1180
    assert len(benchmark.queries) == 80
    assert set(Counter(benchmark.question_ids).values()) == {2}
    assert benchmark.source.choices == {
        "queries": "all",
        "candidates": "sentence",
        "max_queries": "40",
    }


def test_files_that_are_not_the_released_ones_are_refused(shared, tmp_path):
    for language in ("en", "de"):
        shutil.copy(shared / "data/mlqa-r" / f"{language}.json", tmp_path)
    with pytest.raises(ValueError) as raised:
        xquad_r.load(str(tmp_path), languages=["en", "de"])
    for message in (
        "questions=1148",
        "sentences=6264",
        "questions=1190",
        "sentences=1276",
        "Download it again from https://",
    ):
        assert message in str(raised.value)


def test_all_choices_that_are_not_allowed_are_named():
    with pytest.raises(ValueError) as raised:
        xquad_r.load(
            "nowhere", queries="some", candidates="words", languages=["en", "xx"], max_queries=0
        )
    for message in ("queries=some", "candidates=words", "languages=['en', 'xx']", "max_queries=0"):
        assert message in str(raised.value)


def test_training_on_mlqa_r_holds_every_question_in_all_its_languages(shared):
    corpus = mlqa_r_training.load(str(shared / "data/mlqa-r"))
    assert len(corpus) == 1148 - 3 and corpus.languages == mlqa_r_training.LANGUAGES
    queries, passages = corpus.availability.get_languages_of_pairs(np.arange(len(corpus)))
    assert (queries == passages).all()
    assert set(passages.sum(1)) == {2, 3, 4}
    assert len(mlqa_r_training.load(str(shared / "data/mlqa-r"), exclude_articles=[])) == 1148


def test_training_on_mlqa_r_leaves_out_the_articles_of_xquad_r_in_every_language(shared):
    folder = shared / "data/mlqa-r"
    corpus = mlqa_r_training.load(str(folder), languages=["de", "vi", "zh"])
    titles = {"de": {"Harvard University"}, "vi": {"Đại học Harvard"}, "zh": {"素数"}}
    for language, paragraphs in read_lareqa_folder(folder, titles, "").items():
        left_out = [p for p in paragraphs if p.article in titles[language]]
        questions = {q.text for p in left_out for q in p.questions}
        sentences = {p.sentences[q.answer_sentence] for p in left_out for q in p.questions}
        assert questions and not questions & set(corpus.queries[language])
        assert sentences and not sentences & set(corpus.passages[language])


def test_articles_to_exclude_must_exist(shared):
    with pytest.raises(
        ValueError,
        match=r"exclude_articles: \['Havard University'\] not among the 520 English titles",
    ):
        mlqa_r_training.load(
            str(shared / "data/mlqa-r"), exclude_articles=["Havard_University", "Prime_number"]
        )
