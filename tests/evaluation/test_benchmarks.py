"""XQuAD-R and MLQA-R: the published counts on the real files, and the choices of queries and candidates."""

import shutil
import zlib
from collections import Counter

import numpy as np
import pytest

from hybrid_ir.corpora.sources import mlqa_r as mlqa_r_training
from hybrid_ir.evaluation.benchmarks import mlqa_r, xquad_r
from hybrid_ir.evaluation.benchmarks.lareqa import assemble
from hybrid_ir.files.lareqa import Paragraph, Question, read_lareqa_folder
from hybrid_ir.types import Source

SOURCE = Source("tiny", "", "", "")
TINY = {
    "de": [
        Paragraph(
            "A",
            "Eins. Zwei. Eins.",
            ("Eins.", "Zwei.", "Eins."),
            (Question("a", "Was?", 0), Question("b", "Was?", 1)),
        )
    ],
    "en": [
        Paragraph("A", "One. Two.", ("One.", "Two."), (Question("a", "What?", 0),)),
        Paragraph("B", "One.", ("One.",), (Question("c", "Where?", 0),)),
    ],
}


@pytest.fixture(scope="module")
def xquad(shared):
    folder = str(shared / "data/xquad-r")
    return {queries: xquad_r.load(folder, queries=queries) for queries in ("all", "distinct_text")}


def answers(benchmark) -> dict[tuple[str, str], set[str]]:
    """Relevant passage ids by language and question."""
    asked = zip(benchmark.query_languages, benchmark.question_ids, benchmark.relevant, strict=True)
    return {
        (benchmark.languages[language], name): {benchmark.passage_ids[row] for row in rows}
        for language, name, rows in asked
    }


def test_relevant_are_the_answer_sentences_of_the_id_in_every_language_and_their_repeats_in_the_paragraph():
    benchmark = assemble(TINY, SOURCE)
    a = {"de:0:0", "de:0:2", "en:0:0"}  # not en:1:0, the same text in another paragraph
    assert answers(benchmark) == {
        ("de", "a"): a,
        ("en", "a"): a,
        ("de", "b"): {"de:0:1"},
        ("en", "c"): {"en:1:0"},
    }
    assert benchmark.passages == ["Eins.", "Zwei.", "Eins.", "One.", "Two.", "One."]
    assert benchmark.passage_languages.tolist() == [0, 0, 0, 1, 1, 1] and benchmark.languages == (
        "de",
        "en",
    )


def test_distinct_text_unites_the_relevant_sets_of_equal_questions_of_a_language():
    benchmark = assemble(TINY, SOURCE, queries="distinct_text")
    assert benchmark.queries == ["Was?", "What?", "Where?"]
    assert answers(benchmark)["de", "a"] == {"de:0:0", "de:0:1", "de:0:2", "en:0:0"}
    assert answers(benchmark)["en", "a"] == {"de:0:0", "de:0:2", "en:0:0"}


def test_rows_are_sorted_and_named_once_though_questions_share_an_answer():
    """Three questions of one text: two of the last sentence, one of the first, which comes twice."""
    asked = (Question("a", "Was?", 1), Question("b", "Was?", 1), Question("c", "Was?", 0))
    paragraphs = {
        "de": [Paragraph("A", "Eins. Zwei. Eins.", ("Eins.", "Zwei.", "Eins."), asked)],
        "en": TINY["en"],
    }
    for queries, expected in (
        ("all", [[1, 3], [1], [0, 2, 5], [1, 3], [0, 2, 5]]),
        ("distinct_text", [[0, 1, 2, 3, 5], [1, 3], [0, 2, 5]]),
    ):
        assert [
            rows.tolist() for rows in assemble(paragraphs, SOURCE, queries).relevant
        ] == expected


@pytest.mark.parametrize("most", [1, 3, 5, 20])
def test_the_questions_that_are_kept_are_those_of_the_lowest_hashes_whatever_their_order(most):
    names = [f"id{i}" for i in range(12)]
    paragraphs = {
        language: [
            Paragraph(
                "A",
                "One.",
                ("One.",),
                tuple(Question(name, f"{language} {name}?", 0) for name in part),
            )
            for part in (order[:5], order[5:])
        ]
        for language, order in (("de", names), ("en", names[::-1]))
    }
    benchmark = assemble(paragraphs, SOURCE, max_queries=most)
    expected = sorted(sorted(names, key=lambda name: zlib.crc32(name.encode()))[:most])
    for code in range(2):
        assert (
            sorted(np.array(benchmark.question_ids)[benchmark.query_languages == code]) == expected
        )


def test_candidates_may_be_pairs_or_paragraphs():
    pairs = assemble(TINY, SOURCE, candidates="sentence_context_pair")
    assert pairs.passages[1] == ("Zwei.", "Eins. Zwei. Eins.") and answers(pairs) == answers(
        assemble(TINY, SOURCE)
    )
    paragraphs = assemble(TINY, SOURCE, candidates="paragraph")
    assert paragraphs.passages == ["Eins. Zwei. Eins.", "One. Two.", "One."]
    assert answers(paragraphs)["de", "b"] == {"de:0:0"} and answers(paragraphs)["en", "a"] == {
        "de:0:0",
        "en:0:0",
    }


def test_xquad_r_has_the_published_counts(xquad):
    benchmark = xquad["all"]
    assert (
        len(benchmark.queries) == 13090
        and len(benchmark.passages) == len(set(benchmark.passage_ids)) == 13014
    )
    assert set(Counter(benchmark.question_ids).values()) == {11} and {
        len(rows) for rows in benchmark.relevant
    } == {11}
    pools = np.bincount(benchmark.passage_languages)
    assert dict(zip(benchmark.languages, pools.tolist(), strict=True)) == {
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
    for q, rows in enumerate(benchmark.relevant):
        assert set(benchmark.passage_languages[rows]) == set(range(11)), benchmark.question_ids[q]


def test_distinct_questions_of_xquad_r_are_those_the_paper_ranked(xquad):
    benchmark = xquad["distinct_text"]
    asked = dict(
        zip(benchmark.languages, np.bincount(benchmark.query_languages).tolist(), strict=True)
    )
    assert asked == {
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
    pairs = list(zip(benchmark.query_languages, benchmark.queries, strict=True))
    assert len(set(pairs)) == len(pairs)
    united = {(language, text): set() for language, text in pairs}
    full = xquad["all"]
    for language, text, rows in zip(full.query_languages, full.queries, full.relevant, strict=True):
        united[language, text] |= set(rows.tolist())
    assert all(
        united[pair] == set(rows.tolist())
        for pair, rows in zip(pairs, benchmark.relevant, strict=True)
    )


def test_mlqa_r_has_the_published_counts(shared):
    benchmark = mlqa_r.load(str(shared / "data/mlqa-r"))
    asked, pools = np.bincount(benchmark.query_languages), np.bincount(benchmark.passage_languages)
    assert dict(
        zip(benchmark.languages, zip(asked.tolist(), pools.tolist(), strict=True), strict=True)
    ) == {
        "ar": (517, 2545),
        "de": (512, 2362),
        "en": (1148, 6264),
        "es": (500, 1787),
        "hi": (507, 2426),
        "vi": (511, 2828),
        "zh": (504, 2322),
    }
    assert pools.sum() == 20534 and {len(rows) for rows in benchmark.relevant} == {2, 3, 4}


def test_max_queries_keeps_the_same_questions_in_every_language_and_all_candidates(shared):
    benchmark = xquad_r.load(str(shared / "data/xquad-r"), languages=["en", "ar"], max_queries=40)
    assert benchmark.languages == ("ar", "en") and len(benchmark.passages) == 1222 + 1180
    assert len(benchmark.queries) == 80 and set(Counter(benchmark.question_ids).values()) == {2}
    assert benchmark.source.choices["max_queries"] == "40"


def test_files_that_are_not_the_released_ones_are_refused(shared, tmp_path):
    for language in ("en", "de"):
        shutil.copy(shared / "data/mlqa-r" / f"{language}.json", tmp_path)
    with pytest.raises(ValueError) as raised:
        xquad_r.load(str(tmp_path), languages=["en", "de"])
    for part in (
        "questions=1148",
        "sentences=6264",
        "questions=1190",
        "sentences=1276",
        "Download it again from https://",
    ):
        assert part in str(raised.value)


def test_wrong_choices_are_all_named():
    with pytest.raises(ValueError) as raised:
        xquad_r.load(
            "nowhere", queries="some", candidates="words", languages=["en", "xx"], max_queries=0
        )
    for part in ("queries=some", "candidates=words", "languages=['en', 'xx']", "max_queries=0"):
        assert part in str(raised.value)


def test_training_on_mlqa_r_holds_every_question_in_all_its_languages(shared):
    corpus = mlqa_r_training.load(str(shared / "data/mlqa-r"))
    assert len(corpus) == 1148 - 3 and corpus.languages == mlqa_r_training.LANGUAGES
    queries, passages = corpus.availability.of_pairs(np.arange(len(corpus)))
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
