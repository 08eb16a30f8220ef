"""Corpora from data sets of the library datasets, in memory and saved, and the way back."""

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    Translation,
    TranslationVariableLanguages,
    Value,
    load_from_disk,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir import ParallelCorpus, load_corpus
from hybrid_ir.cli import data_import
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.files.datasets_library import load_saved_dataset
from tests.support.corpora import (
    RECORDS,
    SOURCE,
    build_corpus_with_several_positives,
    list_expected_pairs,
    list_pairs,
    write_json_lines,
)

LANGUAGES = ("de", "en", "sw", "zh-Hant")
TEXTS = st.dictionaries(
    st.sampled_from(LANGUAGES),
    st.text("aé中 ", min_size=1, max_size=6).filter(str.strip),
    min_size=1,
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=15)
PAIR = {"query_en": "q", "passage_en": "p"}


def build_corpus(rows: list[tuple[dict, dict, list[dict]]]) -> ParallelCorpus:
    """Returns a corpus in memory of which pairs share queries and passages that are equal."""
    ids: dict[str, dict[str, int]] = {"query": {}, "passage": {}}
    pairs = []
    negatives = np.full((len(rows), 3), -1)
    for number, (query, passage, bad_passages) in enumerate(rows):
        passage = {language: f"{text}." for language, text in passage.items()}
        query_id = ids["query"].setdefault(json.dumps(query), len(ids["query"]))
        passage_id = ids["passage"].setdefault(json.dumps(passage), len(ids["passage"]))
        pairs.append([query_id, passage_id])
        for place, negative in enumerate(bad_passages):
            known = ids["passage"]
            negatives[number, place] = known.setdefault(json.dumps(negative), len(known))
    texts = {}
    for role, known in ids.items():
        by_id = [json.loads(text) for text in known]
        texts[role] = {code: [row.get(code) for row in by_id] for code in LANGUAGES}
    return ParallelCorpus(texts["query"], texts["passage"], np.array(pairs), SOURCE, negatives)


def list_equal_contents(corpus: ParallelCorpus) -> list:
    """Returns for every pair how many pairs have a query, and a passage, of the same content."""
    counts = []
    for (query, passage), pair in zip(corpus.pairs, list_pairs_in_order(corpus), strict=True):
        queries = corpus.query_content[corpus.pairs[:, 0]]
        passages = corpus.content[corpus.pairs[:, 1]]
        equal_queries = int((queries == corpus.query_content[query]).sum())
        equal_passages = int((passages == corpus.content[passage]).sum())
        counts.append([pair, equal_queries, equal_passages])
    return sorted(counts, key=json.dumps)


def list_pairs_in_order(corpus: ParallelCorpus) -> list:
    rows = []
    for query, passage in corpus.pairs.tolist():
        queries = {code: texts[query] for code, texts in corpus.queries.items() if texts[query]}
        passages = {code: texts[passage] for code, texts in corpus.passages.items()}
        passages = {code: text for code, text in passages.items() if text}
        rows.append([dict(sorted(queries.items())), dict(sorted(passages.items()))])
    return rows


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_a_corpus_comes_back_from_its_data_set(rows):
    corpus = build_corpus(rows)
    dataset = corpus.to_dataset()
    again = ParallelCorpus.from_dataset(dataset)
    expected = drop_positives(corpus)
    assert list_pairs(again) == expected
    assert list_equal_contents(again) == list_equal_contents(corpus)
    assert list_pairs(ParallelCorpus.from_dataset(again.to_dataset())) == expected
    assert dataset.column_names[0] == "id"
    assert dataset.info.description == corpus.source.description == again.source.description


def drop_positives(corpus: ParallelCorpus) -> list:
    """Lists the pairs without negatives that answer their query in any pair, as imports do."""
    kept = []
    for (query, passage), row in zip(corpus.pairs, corpus.negatives, strict=True):
        same_query = corpus.query_content[corpus.pairs[:, 0]] == corpus.query_content[query]
        positives = set(corpus.content[corpus.pairs[same_query, 1]].tolist())
        negatives = [i for i in row if i >= 0 and corpus.content[i] not in positives]
        kept.append([query, passage, negatives])
    pairs = np.array([[query, passage] for query, passage, _ in kept])
    filled = np.full((len(kept), 3), -1)
    for number, (_, _, negatives) in enumerate(kept):
        filled[number, : len(negatives)] = negatives
    return list_pairs(ParallelCorpus(corpus.queries, corpus.passages, pairs, SOURCE, filled))


def test_a_stored_corpus_comes_back_in_its_order(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    corpus = load_corpus("jsonl", path=path, cache=tmp_path)
    again = ParallelCorpus.from_dataset(corpus.to_dataset(), to=str(tmp_path / "copy"))
    assert list_pairs(again) == list_expected_pairs(RECORDS)
    assert again.to_dataset()[:] == corpus.to_dataset()[:]
    assert list_pairs(load_corpus("folder", path=tmp_path / "copy")) == list_pairs(corpus)


def test_pairs_and_languages_that_are_left_out_of_a_corpus_are_not_in_its_data_set():
    corpus = build_corpus_with_several_positives(4, ("de", "en"))
    chosen = restrict_languages(corpus, "de").without_pairs(np.array([0, 3]), np.array([]))
    dataset = chosen.to_dataset()
    assert dataset.column_names == ["id", "query_de", "passage_de"]
    assert dataset["id"] == ["1", "2", "4", "5", "6", "7"]
    with pytest.raises(ValueError, match="a mixture is no table: take each of its parts"):
        ParallelCorpus.to_dataset(Mixture({"a": corpus, "b": corpus}))


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    corpus = ParallelCorpus.from_dataset(
        Dataset.from_dict({"query_en": ["q"], "passage_en": ["p"]})
    )
    assert list(tmp_path.iterdir()) == []
    assert list_pairs(corpus) == [[{"en": "q"}, {"en": "p"}, []]]
    assert corpus.index.positives.keys.size == 0
    with pytest.raises(ValueError, match="1 error"):
        ParallelCorpus.from_dataset(Dataset.from_dict({"query_en": ["q"], "passage_en": [" "]}))
    assert list(tmp_path.iterdir()) == []


BOTH = [{"en": "q1", "de": "f1"}, {"en": "q2", "de": None}]
IN_BOTH = [[{"de": "f1", "en": "q1"}, {"en": "p1"}, []], [{"en": "q2"}, {"en": "p2"}, []]]
IN_ENGLISH = [[{"en": "q1"}, {"en": "p1"}, []], [{"en": "q2"}, {"en": "p2"}, []]]
QUERIES = {
    "string": (pa.array(["q1", "q2"]), None),
    "large_string": (pa.array(["q1", "q2"], pa.large_string()), Value("large_string")),
    "string_view": (pa.array(["q1", "q2"], pa.string_view()), Value("string_view")),
    "dictionary": (pa.array(["q1", "q2"]).dictionary_encode(), None),
    "label": (pa.array([1, 0]), ClassLabel(names=["q2", "q1"])),
    "binary": (pa.array([b"q1", b"q2"]), Value("binary")),
}


@pytest.mark.parametrize("kind", QUERIES)
def test_texts_may_have_any_type(kind):
    column, feature = QUERIES[kind]
    dataset = Dataset(pa.table({"query_en": column, "passage_en": ["p1", "p2"]}))
    if feature is not None:
        dataset = dataset.cast_column("query_en", feature)
    assert list_pairs(ParallelCorpus.from_dataset(dataset)) == IN_ENGLISH
    streamed = dataset.to_iterable_dataset()
    assert list_pairs(ParallelCorpus.from_dataset(streamed)) == IN_ENGLISH


@pytest.mark.parametrize(
    ("feature", "queries"),
    [
        (Translation(["de", "en"]), BOTH),
        (
            TranslationVariableLanguages(languages=["de", "en"]),
            [{"en": "q1", "de": "f1"}, {"en": "q2"}],
        ),
        ({"en": Value("string"), "de": Value("string")}, BOTH),
    ],
    ids=["translation", "listed languages", "struct"],
)
def test_a_column_may_hold_several_languages(feature, queries):
    features = Features({"query": feature, "passage_en": Value("string")})
    columns = {"query": queries, "passage_en": ["p1", "p2"]}
    dataset = Dataset.from_dict(columns, features=features)
    assert list_pairs(ParallelCorpus.from_dataset(dataset)) == IN_BOTH
    assert list_pairs(ParallelCorpus.from_dataset(dataset.to_iterable_dataset())) == IN_BOTH


def test_two_texts_of_a_row_in_one_language_are_refused():
    features = Features(
        {"query": TranslationVariableLanguages(["en"]), "passage_en": Value("string")}
    )
    columns = {"query": [{"en": ["q1", "q2"]}], "passage_en": ["p1"]}
    dataset = Dataset.from_dict(columns, features=features)
    with pytest.raises(ValueError, match="column 'query' has two texts in 'en' in a row"):
        ParallelCorpus.from_dataset(dataset)


def test_columns_are_mapped_and_nulls_are_missing():
    dataset = Dataset.from_dict(
        {
            "key": [7, 8],
            "question": ["q1", "q2"],
            "frage": [None, "f2"],
            "title": ["T", None],
            "text": ["p1", "p2"],
            "bad": [["n", None], []],
            "worse": [None, "w"],
        }
    )
    columns = {
        "query": {"en": "question", "de": "frage"},
        "passage": {"en": ["title", "text"]},
        "negatives": {"en": ["bad", "worse"]},
        "id": "key",
    }
    assert list_pairs(ParallelCorpus.from_dataset(dataset, columns, name="mine")) == [
        [{"de": "f2", "en": "q2"}, {"en": "p2"}, [{"en": "w"}]],
        [{"en": "q1"}, {"en": "T p1"}, [{"en": "n"}]],
    ]


def test_what_is_wrong_is_said_with_the_row(capsys):
    texts = ["p", " ", "p\0", None, "q"] + [""] * 10
    ids = [str(number) for number in range(15)]
    columns = {"id": [*ids[:-1], "0"], "query_en": ["q"] * 15, "passage_en": texts}
    dataset = Dataset.from_dict(columns)
    with pytest.raises(ValueError, match="15 errors in the data of corpus 'dataset'") as error:
        ParallelCorpus.from_dataset(dataset)
    for message in (
        "dataset, row 2: an empty passage in 'en'",
        "dataset, row 3: a NUL character in a passage in 'en'",
        "dataset, row 4: no passage in any language for the id: '3'",
        "dataset, row 5: the query is its passage in 'en': 'q'",
        "... and 5 more",
        "errors=skip",
    ):
        assert message in str(error.value)
    corpus = ParallelCorpus.from_dataset(dataset, errors="skip")
    assert list_pairs(corpus) == [[{"en": "q"}, {"en": "p"}, []]]
    assert "15 problems in the data of corpus 'dataset', what they were about is left out:" in (
        capsys.readouterr().out
    )


def test_a_wrong_choice_is_refused():
    dataset = Dataset.from_list([PAIR])
    splits = DatasetDict(train=dataset, test=dataset)
    with pytest.raises(ValueError, match="dataset has the splits train, test: choose one with spl"):
        ParallelCorpus.from_dataset(splits)
    with pytest.raises(ValueError, match="split=dev: dataset has the splits train, test"):
        ParallelCorpus.from_dataset(splits, split="dev")
    with pytest.raises(ValueError, match="is a single Dataset; leave split out"):
        ParallelCorpus.from_dataset(dataset, split="train")
    with pytest.raises(TypeError, match="dataset is list, need a Dataset or IterableDataset"):
        ParallelCorpus.from_dataset([PAIR])
    with pytest.raises(ValueError, match="no column query_LL; there are passage_en"):
        ParallelCorpus.from_dataset(dataset.remove_columns("query_en"))
    for chosen in ({"train": dataset}, {"a": dataset, "train": dataset}):
        split = None if len(chosen) == 1 else "train"
        assert len(ParallelCorpus.from_dataset(chosen, split=split)) == 1


def test_a_stream_without_known_columns_is_read_by_their_names():
    def give_rows():
        for number in range(3):
            yield {"query_en": f"q{number}", "passage_en": "p"}

    corpus = ParallelCorpus.from_dataset(IterableDataset.from_generator(give_rows))
    assert [pair[0] for pair in list_pairs(corpus)] == [{"en": f"q{n}"} for n in range(3)]


def test_the_columns_of_a_corpus_open_as_memory_mapped_data_sets(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    corpus = load_corpus("jsonl", path=path, cache=tmp_path, to=tmp_path / "c")
    for role, texts in (("query", corpus.queries), ("passage", corpus.passages)):
        for language in corpus.languages:
            file = tmp_path / "c" / f"{role}-{language}.arrow"
            dataset = Dataset.from_file(str(file))
            assert dataset.features == Features({"text": Value("string")})
            assert dataset["text"] == list(texts[language])
            assert [one["filename"] for one in dataset.cache_files] == [str(file)]


@pytest.fixture
def saved(tmp_path) -> Path:
    """A folder with two splits, one of them in three files."""
    rows = [{"query_en": f"q{number}", "passage_en": f"p{number}"} for number in range(9)]
    dataset = DatasetDict(train=Dataset.from_list(rows), test=Dataset.from_list([PAIR]))
    dataset.save_to_disk(tmp_path / "saved", num_shards={"train": 3, "test": 1})
    return tmp_path / "saved"


def test_a_saved_data_set_is_a_corpus(tmp_path, saved):
    corpus = load_corpus("datasets", path=saved, split="train", cache=tmp_path / "cache")
    expected = [[{"en": f"q{number}"}, {"en": f"p{number}"}, []] for number in range(9)]
    assert list_pairs(corpus) == expected
    assert corpus.source.name == "saved"
    assert corpus.source.description.startswith("imported from data-00000-of-00003.arrow, data-")
    single = load_corpus("datasets", path=saved / "test", cache=tmp_path / "cache")
    assert list_pairs(single) == [[{"en": "q"}, {"en": "p"}, []]]
    assert len(list((tmp_path / "cache" / "corpora").glob("[a-z]*"))) == 2
    load_corpus("datasets", path=saved / "test", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "corpora").glob("[a-z]*"))) == 2
    Dataset.from_list([PAIR, {"query_en": "r", "passage_en": "s"}]).save_to_disk(saved / "test")
    assert len(load_corpus("datasets", path=saved / "test", cache=tmp_path / "cache")) == 2


def test_the_command_imports_a_saved_data_set(tmp_path, saved, capsys):
    to = tmp_path / "to"
    arguments = ["datasets", f"path={saved}", "split=train", f"to={to}"]
    data_import.main([*arguments, f"paths.cache_dir={tmp_path}"])
    assert "9 records, 0 records left out" in capsys.readouterr().out
    assert len(load_corpus("folder", path=to)) == 9


def test_a_folder_that_is_no_saved_data_set_is_refused(tmp_path, saved):
    cache = tmp_path / "cache"
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "*.txt"):
        with pytest.raises(ValueError, match="must be a folder that `save_to_disk` of a Dataset"):
            load_corpus("datasets", path=path, cache=cache)
    with pytest.raises(ValueError, match="has the splits train, test: choose one with split="):
        load_corpus("datasets", path=saved, cache=cache)
    file = saved / "train" / "data-00001-of-00003.arrow"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="must be a folder that `save_to_disk` of a Dataset"):
        load_corpus("datasets", path=saved, split="train", cache=cache)


GAPS = {"query_en": ["a", None], "query_de": [None, "c"], "passage_en": ["x", "y"]}


def iterate_rows_with_gaps():
    yield {"query_en": "a", "query_de": None, "passage_en": "x"}
    yield {"query_de": "c", "passage_en": "y"}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Dataset.from_dict(GAPS).to_iterable_dataset(),
        lambda: Dataset.from_dict(GAPS).to_iterable_dataset().map(lambda row: row),
        lambda: Dataset.from_dict(GAPS).to_iterable_dataset().filter(lambda row: True),
        lambda: IterableDataset.from_generator(iterate_rows_with_gaps),
    ],
    ids=["plain", "mapped", "filtered", "generated"],
)
def test_texts_may_be_missing_in_any_stream(build):
    assert list_pairs(ParallelCorpus.from_dataset(build())) == [
        [{"de": "c"}, {"en": "y"}, []],
        [{"en": "a"}, {"en": "x"}, []],
    ]


def test_a_transform_that_would_not_be_applied_is_refused():
    dataset = Dataset.from_dict(GAPS).with_transform(lambda rows: rows)
    with pytest.raises(ValueError, match=r"has a transform \(set_transform\)"):
        ParallelCorpus.from_dataset(dataset)


def test_a_language_may_begin_far_down_in_a_file(tmp_path):
    """The library takes the types of a file from its first 10 MB."""
    text = "word " * 100
    with open(tmp_path / "late.jsonl", "w") as file:
        for i in range(30_000):
            late = f"spät {i}" if i == 29_999 else None
            row = {"query_en": f"q {i}", "query_de": late, "passage_en": f"{text}{i}"}
            file.write(json.dumps(row) + "\n")
    corpus = load_corpus("datasets", path=tmp_path / "late.jsonl", cache=tmp_path / "cache")
    assert corpus.languages == ("de", "en")


PAIRS_AS_FILES = {
    "pairs.csv": 'anchor,positive\nq 1,"p, 1"\n007,null\n',
    "pairs.tsv": "positive\tanchor\np, 1\tq 1\nnull\t007\n",
    "pairs.jsonl": '{"anchor": "q 1", "positive": "p, 1"}\n{"anchor": "007", "positive": "null"}\n',
    "pairs.json": '[{"anchor": "q 1", "positive": "p, 1"}, {"anchor": "007", "positive": "null"}]',
}
PAIR_COLUMNS = {"query": {"en": "anchor"}, "passage": {"en": "positive"}}


@pytest.mark.parametrize("name", PAIRS_AS_FILES)
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gz"])
def test_files_of_rows_are_read_by_their_endings(tmp_path, name, is_packed):
    data = PAIRS_AS_FILES[name].encode()
    path = tmp_path / (f"{name}.gz" if is_packed else name)
    path.write_bytes(gzip.compress(data) if is_packed else data)
    corpus = load_corpus("datasets", path=path, columns=PAIR_COLUMNS, cache=tmp_path / "cache")
    assert list_pairs(corpus) == [
        [{"en": "007"}, {"en": "null"}, []],
        [{"en": "q 1"}, {"en": "p, 1"}, []],
    ]


def test_what_is_wrong_with_a_file_of_rows_is_named_by_its_row(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("anchor,positive\nq 1,p 1\nq 2,\n")
    with pytest.raises(ValueError, match=r"pairs\.csv, row 2: no passage in any language"):
        load_corpus("datasets", path=path, columns=PAIR_COLUMNS, cache=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"pairs\.csv: no column query_LL"):
        load_corpus("datasets", path=path, cache=tmp_path / "cache")
    path.write_text("anchor,positive\n")
    with pytest.raises(ValueError, match=r"pairs\.csv cannot be read as csv .*no rows"):
        load_corpus("datasets", path=path, columns=PAIR_COLUMNS, cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="split=train: files have no splits"):
        load_corpus("datasets", path=path, split="train", cache=tmp_path / "cache")


def test_errors_in_a_saved_data_set_name_the_row_of_the_whole_split(tmp_path, saved):
    dataset = load_from_disk(saved / "train")
    texts = [row["passage_en"] for row in dataset]
    texts[7] = ""
    changed = dataset.remove_columns("passage_en").add_column("passage_en", texts)
    changed.save_to_disk(tmp_path / "changed", num_shards=4)
    with pytest.raises(ValueError, match="changed, row 8: an empty passage in 'en'"):
        load_corpus("datasets", path=tmp_path / "changed", cache=tmp_path)


def test_the_library_is_loaded_when_it_is_used_and_not_before():
    code = (
        "import sys; import hybrid_ir.cli.main, hybrid_ir.cli.data, hybrid_ir.data.corpus; "
        "import hybrid_ir.corpora.sources.own, hybrid_ir.corpora.sources.hub; "
        "import hybrid_ir.corpora.sources.saved_dataset, hybrid_ir.corpora.dataset_corpus; "
        "import hybrid_ir.evaluation.benchmarks.hub; print('datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_saved_data_set_is_not_read_into_memory(tmp_path):
    texts = [f"{number} " + "text " * 200 for number in range(10_000)]
    Dataset.from_dict({"query_en": texts, "passage_en": texts}).save_to_disk(tmp_path / "saved")
    before = pa.total_allocated_bytes()
    dataset = load_saved_dataset(str(tmp_path / "saved"))
    assert len(dataset) == len(texts)
    assert pa.total_allocated_bytes() - before < 1 << 20
