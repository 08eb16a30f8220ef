"""Cleaning: a corpus without the texts of a benchmark, on the real overlap of two data sets."""

import pyarrow.parquet as pq
import pytest

from hybrid_ir.cli import data
from hybrid_ir.corpora.stored import load_corpus_folder, read_corpus_card


@pytest.fixture
def arguments(tmp_path, shared) -> list[str]:
    return [
        "clean",
        "corpus=mlqa_r",
        "corpus.exclude_articles=[]",
        "against=[xquad_r]",
        f"to={tmp_path / 'clean'}",
        f"paths.data_dir={shared / 'data'}",
        f"paths.cache_dir={tmp_path / 'cache'}",
    ]


def test_the_real_overlap_of_mlqa_r_and_xquad_r_is_left_out(tmp_path, arguments, capsys):
    data.main(arguments)
    output = " ".join(capsys.readouterr().out.split())  # the title of a table has several lines
    assert "1,147 of 1,148 pairs are left" in output
    corpus = load_corpus_folder(tmp_path / "clean")
    [removed] = pq.read_table(tmp_path / "clean" / "removed.parquet").to_pylist()
    assert len(corpus) == 1147
    assert removed["reason"] == "passage of xquad_r (near)"
    assert removed["query"] not in corpus.pairs[:, 0]
    assert read_corpus_card(tmp_path / "clean")["report"] == {"passage of xquad_r (near)": 1}
    assert "cleaned of xquad_r" in corpus.source.description
    # The text is not there without its pair either.
    text = "A natural number greater than 1 that is not prime is called a composite number."
    for texts in corpus.passages.values():
        assert text not in list(texts)


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ("against=[nothing]", "against=nothing must be one of"),
        ("near=3", "near=3 is a similarity"),
        ("duplicates=all", "duplicates=all must be"),
    ],
)
def test_wrong_choices_of_cleaning_are_refused(tmp_path, arguments, choice, problem):
    key = choice.partition("=")[0]
    others = [one for one in arguments if not one.startswith(f"{key}=")]
    with pytest.raises(ValueError, match=problem):
        data.main([*others, choice])
    assert not (tmp_path / "clean").exists()
