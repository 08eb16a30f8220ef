"""A search gives plain hits, filters languages, and refuses damaged files and other models."""

import doctest
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybrid_ir import load_index
from hybrid_ir.index.build import IndexJob, build_index
from hybrid_ir.index.card import CARD, describe_other_backend
from hybrid_ir.index.layout import IndexSettings
from hybrid_ir.index.passages import read_passage_files
from hybrid_ir.runs import indexes
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from tests.index.conftest import READING

QUESTION = "en tells 4 of it"


@pytest.fixture(scope="module")
def opened(index_folder):
    return load_index(index_folder, device="cpu")


@pytest.fixture(scope="module")
def index_folder(plain, json_lines, tmp_path_factory) -> Path:
    """An index that no test changes, with codes of 8 bits."""
    place = tmp_path_factory.mktemp("shared")
    settings = EncoderSettings(**READING)
    loaded = load_any_encoder(str(plain), settings)
    passages = read_passage_files(json_lines, place / "cache")
    job = IndexJob(
        passages,
        loaded.encoder,
        IndexSettings(texts_per_shard=7, quantise="int8"),
        place / "index",
    )
    build_index(job, indexes.describe_index_model(loaded, str(plain), settings))
    return place / "index"


def test_hits_are_plain_and_ranked(opened):
    [hits] = opened.search([QUESTION], k=4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        assert opened.passages.ids[hit.row] == hit.id
        assert opened.passages.texts[hit.row] == hit.text
        assert opened.passages.get_language(hit.row) == hit.language
    assert set(hits[0].to_dict()) == {"rank", "score", "language", "id", "text", "row"}
    assert opened.search(QUESTION, k=4) == [hits]
    assert opened.search([]) == []
    assert opened.languages == ("de", "en")
    assert len(opened) == len(opened.passages) == 31


def test_scores_are_inner_products_of_the_encoder(opened):
    [hits] = opened.search(QUESTION, k=31)
    assert len(hits) == 31
    query = opened.encoder.encode_queries([QUESTION])
    passages = opened.encoder.encode_passages([hit.text for hit in hits])
    scores = (query @ passages.T)[0].tolist()
    for hit, score in zip(hits, scores, strict=True):
        assert hit.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("method", ["exact", "quantised"])
def test_only_chosen_languages_are_found(index_folder, opened, method):
    index = load_index(index_folder, method=method, verify=False, device="cpu")
    for languages, count in ((["de"], 10), (["en"], 21), (["de", "en"], 31)):
        [hits] = index.search(QUESTION, k=50, languages=languages)
        assert len(hits) == count
        assert {hit.language for hit in hits} == set(languages)
        [all_hits] = opened.search(QUESTION, k=50)
        chosen = [hit.id for hit in all_hits if hit.language in languages]
        assert [hit.id for hit in hits] == chosen
    assert index.search(QUESTION, languages="de") == index.search(QUESTION, languages=["de"])
    with pytest.raises(ValueError, match="the index has passages in de, en"):
        index.search(QUESTION, languages=["fr"])
    for k in (0, -1, 1.5):
        with pytest.raises(ValueError, match="must be a whole number from 1"):
            index.search(QUESTION, k=k)


def test_threads_get_what_one_after_another_gets(opened):
    questions = [f"en tells {number} of it" for number in range(16)]
    expected = [opened.search(question, k=3) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda question: opened.search(question, k=3), questions))
    assert found == expected


def test_a_damaged_file_is_named_with_the_cure(make_index, tmp_path):
    folder = make_index(tmp_path / "index", quantise="binary")
    for name in ("vectors-00001.safetensors", "codes-00000.safetensors", "passages.arrow"):
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ValueError, match=rf"{name} has other bytes .*delete .* build it again"):
            load_index(folder)
        path.write_bytes(content[:-1])
        with pytest.raises(ValueError, match=rf"{name} has [\d,]+ bytes, and had"):
            load_index(folder, verify=False)
        path.unlink()
        with pytest.raises(ValueError, match=rf"{name} is missing"):
            load_index(folder)
        path.write_bytes(content)
    load_index(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ValueError, match=f"{CARD} is damaged"):
        load_index(folder)


def test_another_model_is_refused(index_folder, plain, other):
    with pytest.raises(ValueError, match=r"was made with the model plain: with a query vector"):
        load_index(index_folder, model=other)
    with pytest.raises(ValueError, match=r"with passage_prefix='P ', not passage_prefix='Q '"):
        load_index(index_folder, model=plain, passage_prefix="Q ")
    with pytest.raises(ValueError, match=r"with pooling='mean', not pooling='cls'"):
        load_index(index_folder, model=plain, pooling="cls")


def test_a_model_that_has_moved_is_asked_for_and_reads_as_before(make_index, plain, tmp_path):
    folder = make_index(tmp_path / "index")
    expected = load_index(folder).search(QUESTION)
    card = (folder / CARD).read_text()
    (folder / CARD).write_text(card.replace(f'"{plain}"', f'"{tmp_path}/gone"'))
    with pytest.raises(ValueError, match=r"gone, which cannot be loaded .*say where it is with"):
        load_index(folder)
    shutil.copytree(plain, tmp_path / "moved")
    assert load_index(folder, model=tmp_path / "moved").search(QUESTION) == expected


def test_what_is_no_index_is_refused(make_job, index_folder, tmp_path):
    with pytest.raises(ValueError, match=r"is no index, it has no index.json$"):
        load_index(tmp_path)
    make_job(tmp_path / "begun").begin()
    with pytest.raises(ValueError, match="is not complete yet: the same hybrid-ir index command"):
        load_index(tmp_path / "begun")
    with pytest.raises(ValueError, match="method=faiss: the index was made without"):
        load_index(index_folder, method="faiss")
    with pytest.raises(ValueError, match="method='best' must be one of auto"):
        load_index(index_folder, method="best")


def test_the_example_of_the_docstring_holds(index_folder):
    result = doctest.testmod(indexes, extraglobs={"index_folder": index_folder})
    assert result.attempted > 0
    assert result.failed == 0


def test_queries_of_another_backend_are_noted_and_not_refused(make_index, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = make_index(tmp_path / "index")
    index = load_index(folder, backend="onnx_int8", cache_dir=tmp_path / "cache")
    note = describe_other_backend(index.encoder, index.card)
    assert "encoded with backend=torch, the queries are with backend=onnx_int8" in note
    same = load_index(folder)
    assert describe_other_backend(same.encoder, same.card) is None
    [hits] = index.search(["de tells 3 of it"], k=1)
    [expected] = same.search(["de tells 3 of it"], k=1)
    assert hits[0].score == pytest.approx(expected[0].score, abs=0.05)
