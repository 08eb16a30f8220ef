"""Every training source from miniatures in its raw format, fetched from a server on loopback by the real command."""

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from importlib import import_module

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from hybrid_ir.cli import data
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from tests.corpora.test_own import words
from tests.support.command_line import train
from tests.support.raw_data import at, lines
from tests.support.web import serving


def table(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def zipped(*rows: dict) -> bytes:
    return gzip.compress(lines(*rows))


def translations(**rows: list[tuple[str, str, str]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for code, questions in rows.items():
            paragraphs = [
                {"context": context, "qas": [{"id": name, "question": question, "answers": []}]}
                for name, question, context in questions
            ]
            content = json.dumps(
                {"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False
            ).encode()
            member = tarfile.TarInfo(
                f"mlqa-translate-train/{code}_squad-translate-train-train-v1.1.json"
            )
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def passage(name: str, text: str = "") -> dict:
    return {"docid": name, "title": f"T{name}", "text": text or f"text {name}"}


MARCO = {
    "data/triples.train.ids.small.tsv": b"7\t1\t2\n7\t1\t3\n9\t3\t1\n7\t1\t2\n",
    "data/google/queries/train/english_queries.train.tsv": b'9\tq9\n7\tq7 "quoted\n8\tunused\n',
    "data/google/queries/train/chinese_queries.train.tsv": "7\t问7\n9\t问9\n".encode(),
    "data/google/collections/english_collection.tsv": b"0\tunused\n1\tp1\n2\tp2\n3\tp3\n",
    "data/google/collections/chinese_collection.tsv": "3\t三\n1\t一\n2\t\n".encode(),
}  # in another order, one of them empty
SETS = {
    "squad": (
        [],
        {
            "plain_text/train-00000-of-00001.parquet": table(
                id=["a", "b"], title=["T", "T"], context=["c", "c"], question=["q", "r"]
            )
        },
        [[{"en": "q"}, {"en": "c"}, []], [{"en": "r"}, {"en": "c"}, []]],
    ),
    "natural_questions": (
        [],
        {"pair/train-00000-of-00001.parquet": table(query=["q"], answer=["a"])},
        [[{"en": "q"}, {"en": "a"}, []]],
    ),
    "wiki_qa": (
        [],
        {
            "data/train-00000-of-00001.parquet": table(
                question_id=["1", "1"],
                question=["q", "q"],
                document_title=["T", "T"],
                answer=["no", "yes"],
                label=[0, 1],
            )
        },
        [[{"en": "q"}, {"en": "yes"}, []]],
    ),
    "duorc": (
        [],
        {
            "SelfRC/train-00000-of-00001.parquet": table(
                plot_id=["p", "p"],
                plot=["plot", "plot"],
                question_id=["1", "2"],
                question=["q", "r"],
                no_answer=[False, True],
            )
        },
        [[{"en": "q"}, {"en": "plot"}, []]],
    ),
    "newsqa": (
        [],
        {
            "data/train-00000-of-00001-ec54fbe500fc3b5c.parquet": table(
                context=["c"], question=["q"], key=["k"]
            )
        },
        [[{"en": "q"}, {"en": "c"}, []]],
    ),
    "yahoo_answers": (
        [],
        {
            f"title-answer-pair/train-0000{i}-of-00002.parquet": table(
                title=[f"q{i}"], answer=[f"a{i}"]
            )
            for i in range(2)
        },
        [[{"en": "q0"}, {"en": "a0"}, []], [{"en": "q1"}, {"en": "a1"}, []]],
    ),
    "mfaq": (
        ["languages=[de,en]"],
        {
            "data/en/train.jsonl": lines(
                {
                    "id": 1,
                    "domain": "x",
                    "qa_pairs": [
                        {"question": "q", "answer": "a"},
                        {"question": "r", "answer": " "},
                    ],
                }
            ),
            "data/de/train.jsonl": lines(
                {"id": 1, "domain": "x", "qa_pairs": [{"question": "f", "answer": "g"}]}, {"id": 2}
            ),
        },
        [[{"de": "f"}, {"de": "g"}, []], [{"en": "q"}, {"en": "a"}, []]],
    ),
    "swim_ir": (
        ["languages=[de,zh]"],
        {
            f"{code}/train-{i:05d}-of-00002.parquet": table(
                _id=[f"{code}{i}"],
                lang=["x"],
                code=[code],
                query=[f"{code} asks {i}"],
                title=["T"],
                text=[f"tells {i}"],
            )
            for code in ("de", "zh")
            for i in range(2)
        },
        [
            [{code: f"{code} asks {i}"}, {"en": f"T tells {i}"}, []]
            for code in ("de", "zh")
            for i in range(2)
        ],
    ),
    "mr_tydi": (
        ["languages=[en,th]", "negatives=1"],
        {
            "mrtydi-v1.1-english/train.jsonl.gz": zipped(
                {
                    "query_id": "1",
                    "query": "q",
                    "positive_passages": [passage("a")],
                    "negative_passages": [passage("b"), passage("c")],
                }
            ),
            "mrtydi-v1.1-thai/train.jsonl.gz": zipped(
                {
                    "query_id": "1",
                    "query": "ถาม",
                    "negative_passages": [],
                    "positive_passages": [passage("a"), passage("d")],
                },
                {"query_id": "2"},
            ),
        },
        [
            [{"en": "q"}, {"en": "Ta text a"}, [{"en": "Tb text b"}]],
            [{"th": "ถาม"}, {"th": "Ta text a"}, []],
            [{"th": "ถาม"}, {"th": "Td text d"}, []],
        ],
    ),
    "miracl_train": (
        ["languages=[sw]"],
        {
            "miracl-v1.0-sw/topics/topics.miracl-v1.0-sw-train.tsv": b"1\tbara gani?\n",
            "miracl-v1.0-sw/qrels/qrels.miracl-v1.0-sw-train.tsv": b"1\tQ0\ta#0\t1\n1\tQ0\tb#0\t0\n",
            "miracl-corpus-v1.0-sw/docs-0.jsonl.gz": zipped(*map(passage, ("z#9", "a#0", "b#0"))),
        },
        [[{"sw": "bara gani?"}, {"sw": "Ta#0 text a#0"}, [{"sw": "Tb#0 text b#0"}]]],
    ),
    "mlqa_translate_train": (
        ["languages=[de,en,zh]"],
        {
            "plain_text/train-00000-of-00001.parquet": table(
                id=["a", "b"], question=["q", "r"], context=["c", "d"]
            ),
            "mlqa-translate-train.tar.gz": translations(
                de=[("b", "Fb", "Db")], zh=[("a", "问", "文"), ("b", "问b", "文b")]
            ),
        },
        [
            [{"en": "q", "zh": "问"}, {"en": "c", "zh": "文"}, []],
            [{"de": "Fb", "en": "r", "zh": "问b"}, {"de": "Db", "en": "d", "zh": "文b"}, []],
        ],
    ),
    "mmarco": (
        ["languages=[en,zh]", "negatives=2"],
        MARCO,
        [
            [
                {"en": 'q7 "quoted', "zh": "问7"},
                {"en": "p1", "zh": "一"},
                [{"en": "p2"}, {"en": "p3", "zh": "三"}],
            ],
            [{"en": "q9", "zh": "问9"}, {"en": "p3", "zh": "三"}, [{"en": "p1", "zh": "一"}]],
        ],
    ),
}


def loaded(name: str, tmp_path, *choices: str) -> ParallelCorpus:
    overrides = [f"corpus.{choice}" for choice in choices]
    cfg = data.composed(
        name,
        [
            *overrides,
            f"paths.data_dir={tmp_path / 'data'}",
            f"paths.cache_dir={tmp_path / 'cache'}",
        ],
    )
    keys = OmegaConf.to_container(cfg["corpus"], resolve=True)
    return get_object(keys.pop("_target_"))(**keys)


def pages(
    name: str, contents: dict[str, bytes], choices: list[str], monkeypatch
) -> dict[str, bytes]:
    module = import_module(f"hybrid_ir.corpora.sources.{name}")
    chosen = [
        choice.partition("=")[2].strip("[]").split(",")
        for choice in choices
        if choice.startswith("languages")
    ]
    wanted = module.list_files(*([] if name != "swim_ir" else ["cross_lingual"]), *chosen)
    wanted = [replace(file, size=None, sha256=None) for file in wanted]  # not those of the release
    if name == "mlqa_translate_train":
        monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, size=None, sha256=None))
    return at(wanted, contents)


@pytest.mark.parametrize("name", SETS)
def test_a_source_is_fetched_described_built_once_and_what_it_should_be(
    tmp_path, monkeypatch, capsys, name
):
    choices, contents, expected = SETS[name]
    overrides = [f"corpus.{choice}" for choice in choices]
    places = [f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"]
    with pytest.raises(
        ValueError, match=rf"files of {name} are missing: .*`hybrid-ir data fetch {name}` gets them"
    ):
        loaded(name, tmp_path, *choices)
    with pytest.raises(Exception, match="are missing"):
        data.main(["describe", name, *overrides, *places])
    assert "citation" in capsys.readouterr().out  # before anything is fetched
    with serving(pages=pages(name, contents, choices, monkeypatch)) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        data.main(["fetch", name, f"mirror={web.url}", *overrides, *places])
        assert sorted(web.paths) == sorted(web.pages)
    data.main(["verify", name, *overrides, *places])
    if "require_counts" in data.composed(name, [])["corpus"]:
        with pytest.raises(
            ValueError, match=rf"{name} has .* instead of .* require_counts=false takes it as it is"
        ):
            loaded(name, tmp_path, *choices)
        choices = [*choices, "require_counts=false"]
    corpus = loaded(name, tmp_path, *choices)
    assert words(corpus) == words_of(expected)
    assert corpus.source.name == name and all(
        (corpus.source.licence, corpus.source.citation, corpus.source.revision)
    )
    monkeypatch.setattr(
        "hybrid_ir.corpora.writing.CorpusWriter.finish", pytest.fail
    )  # it is built already
    assert len(loaded(name, tmp_path, *choices)) == len(corpus)
    capsys.readouterr()
    data.main(
        [
            "describe",
            name,
            *(f"corpus.{choice}" for choice in choices),
            "sampler=x_x_mono",
            "sampler.batch_size=1",
            "sampler.languages=[zh]" if name == "mmarco" else "seed=1",
            *places,
        ]
    )
    told = capsys.readouterr().out
    assert corpus.source.licence in told.replace("\n", " ") and "first batches" in told
    assert ("to en" in told and "monolingual_share=0.0" in told) == (name == "swim_ir")


def words_of(expected: list) -> list:
    return sorted(expected, key=lambda row: json.dumps(row, sort_keys=True))


def test_the_rows_of_mmarco_may_be_triples(tmp_path, monkeypatch):
    choices, contents, _ = SETS["mmarco"]
    with serving(pages=pages("mmarco", contents, choices, monkeypatch)) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        data.main(
            ["fetch", "mmarco", "corpus.languages=[en,zh]", f"paths.data_dir={tmp_path / 'data'}"]
        )
    corpus = loaded("mmarco", tmp_path, "languages=[en,zh]", "rows=triples", "require_counts=false")
    assert [
        [query["en"][:2], passage["en"], wrong[0]["en"]] for query, passage, wrong in words(corpus)
    ] == [["q7", "p1", "p2"], ["q7", "p1", "p2"], ["q7", "p1", "p3"], ["q9", "p3", "p1"]]


@pytest.mark.parametrize("cut", ["german_queries.train", "german_collection"])
def test_a_text_of_mmarco_that_is_not_there_is_not_taken_for_one_without_a_translation(
    tmp_path, monkeypatch, cut
):
    folder = tmp_path / "data" / "mmarco" / "data"
    for place, count in (
        ("google/queries/train/german_queries.train", 4),
        ("google/collections/german_collection", 5),
    ):
        path = folder / f"{place}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(f"{i}\ttext {i}\n" for i in range(count - path.stem.startswith(cut)))
        )
    (folder / "triples.train.ids.small.tsv").write_text("1\t2\t3\n2\t3\t1\n")
    monkeypatch.setattr(
        "hybrid_ir.corpora.sources.mmarco.COUNTS", {"triples": 2, "query": 4, "passage": 5}
    )
    with pytest.raises(ValueError, match=rf"mmarco has \d in '{cut}\.tsv' instead of \d records"):
        loaded("mmarco", tmp_path, "languages=[de]")


def test_cross_lingual_pairs_serve_cross_lingual_batches_alone(tmp_path, monkeypatch):
    choices, contents, _ = SETS["swim_ir"]
    with serving(pages=pages("swim_ir", contents, choices, monkeypatch)) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        data.main(
            ["fetch", "swim_ir", "corpus.languages=[de,zh]", f"paths.data_dir={tmp_path / 'data'}"]
        )
    corpus = loaded("swim_ir", tmp_path, *choices, "require_counts=false")
    plan = PairBatchSampler(corpus, 2, 0.0)[0]
    assert {corpus.languages[code] for code in plan.passage_languages} == {"en"}
    with pytest.raises(ValueError, match="no pair for monolingual batches"):
        PairBatchSampler(corpus, 2, 1.0)


def test_entity_questions_find_their_passages_in_a_given_corpus(tmp_path, capsys):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "dataset/train/P19.train.json",
            json.dumps(
                [
                    {"question": "Where was Ada King born?", "answers": ["LONDON"]},
                    {
                        "question": 'Where was "Weird Al" Yankovic born?',
                        "answers": ["US", "California"],
                    },
                    {"question": "Where was Nobody born?", "answers": ["X"]},
                    {"question": "Who?", "answers": ["X"]},
                ]
            ),
        )
        archive.writestr(
            "dataset/train/P40.train.json",
            json.dumps([{"question": "Who is Ada King's child?", "answers": ["Anne"]}]),
        )
        archive.writestr(
            "dataset/dev/P19.dev.json",
            json.dumps([{"question": "Where was Ada born?", "answers": ["London"]}]),
        )
        archive.writestr(
            "dataset/train/P999.train.json",
            json.dumps([{"question": "Whose is Ada King Bridge?", "answers": ["Kent"]}]),
        )
        archive.writestr("__MACOSX/dataset/train/._P19.train.json", b"\0")
    wanted = import_module("hybrid_ir.corpora.sources.entity_questions").list_files()
    with serving(pages=at(wanted, {"dataset.zip": file.getvalue()})) as web:
        data.main(
            [
                "fetch",
                "entity_questions",
                f"mirror={web.url}",
                f"paths.data_dir={tmp_path / 'data'}",
            ]
        )
    (tmp_path / "wiki.tsv").write_text(
        'id\ttext\ttitle\n1\t"Ada is a name in London"\tAda\n2\tShe lived near Londonderry\tAda King\n'
        '3\t"Born in ""London"" in 1815"\tAda King\n4\tLondon again\tAda King\nno passage\n6\tHad Anne\tAda King\n'
        '5\tIn Kent\tAda King Bridge\n7\tIn the USSR\t"""Weird Al"" Yankovic"\n8\tIn california.\t"""Weird Al"" Yankovic"\n'
    )
    with pytest.raises(
        ValueError, match="entity_questions has 6 in 'en' instead of 176,560 records"
    ):
        loaded("entity_questions", tmp_path, f"passages={tmp_path / 'wiki.tsv'}")
    corpus = loaded(
        "entity_questions", tmp_path, f"passages={tmp_path / 'wiki.tsv'}", "require_counts=false"
    )
    assert words(corpus) == words_of(
        [
            [{"en": "Where was Ada King born?"}, {"en": 'Ada King Born in "London" in 1815'}, []],
            [
                {"en": 'Where was "Weird Al" Yankovic born?'},
                {"en": '"Weird Al" Yankovic In california.'},
                [],
            ],
            [{"en": "Who is Ada King's child?"}, {"en": "Ada King Had Anne"}, []],
            [{"en": "Whose is Ada King Bridge?"}, {"en": "Ada King Bridge In Kent"}, []],
        ]
    )
    assert "1 problem in entity_questions" in capsys.readouterr().out  # a line that is no passage
    with pytest.raises(Exception, match="corpus.passages"):
        data.main(["describe", "entity_questions"])
    assert "Sciavolino" in capsys.readouterr().out
    with pytest.raises(
        ValueError, match=r"corpus.passages=.*no is no file: it must have id, text and title"
    ):
        loaded("entity_questions", tmp_path, f"passages={tmp_path / 'no'}")


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "squad" / "plain_text"
    folder.mkdir(parents=True)
    (folder / "train-00000-of-00001.parquet").write_bytes(b"nothing")
    with pytest.raises(
        ValueError, match="is not a Parquet file that can be read: delete it, then fetch it again"
    ):
        loaded("squad", tmp_path)


def test_the_mixture_of_the_paper_trains_and_says_what_it_is_made_of(tmp_path, monkeypatch):
    sets = {
        name: SETS[name]
        for name in SETS
        if name not in ("squad", "swim_ir", "miracl_train", "mlqa_translate_train")
    }
    kept, overrides = (
        {
            "mmarco": ["languages=[en,zh]"],
            "mfaq": ["languages=[en]"],
            "mr_tydi": ["languages=[en]"],
        },
        [],
    )
    for name, (choices, contents, _) in sets.items():
        with serving(pages=pages(name, contents, choices, monkeypatch)) as web:
            data.main(
                [
                    "fetch",
                    name,
                    f"mirror={web.url}",
                    *(f"corpus.{choice}" for choice in choices),
                    f"paths.data_dir={tmp_path / 'data'}",
                ]
            )
        own = [*kept.get(name, []), *(["require_counts=false"] if name != "mfaq" else [])]
        overrides += [f"corpus.parts.{name}.{choice}" for choice in own]
    done = train(
        tmp_path,
        "experiment=paper_mixture",
        "model=tiny",
        "trainer=cpu",
        "benchmark=none",
        "benchmark@validation=none",
        "sampler.batch_size=2",
        "trainer.max_steps=60",
        "trainer.limit_val_batches=0",
        "callbacks=last_only",
        "model.backbone.layers=0",
        "model.backbone.vocab_size=300",
        "corpus.sizes.mmarco=2",
        "corpus.sizes.mfaq=1",
        "corpus.sizes.yahoo_answers=1",
        f"paths.data_dir={tmp_path / 'data'}",
        "hydra.run.dir=run",
        *overrides,
    )
    assert "has 1 for" in done.stderr  # a batch of two from data sets of one pair
    done = train(tmp_path, "experiment=paper_mixture", "trainer=cpu", "paths.data_dir=nowhere")
    assert done.returncode == 2
    assert "error: 8 of 8 parts:\n  mmarco: 15 of 15 files of mmarco are missing" in done.stderr
    assert all(f"`hybrid-ir data fetch {name}` gets them" in done.stderr for name in sets)
    done = train(
        tmp_path,
        "experiment=paper_mixture",
        "model=tiny",
        "trainer=cpu",
        "benchmark=none",
        "benchmark@validation=none",
        "sampler.batch_size=1",
        "trainer.max_steps=60",
        "trainer.limit_val_batches=0",
        "callbacks=last_only",
        "model.backbone.layers=0",
        "model.backbone.vocab_size=300",
        "corpus.tau=0",
        f"paths.data_dir={tmp_path / 'data'}",
        "hydra.run.dir=run",
        *overrides,
    )
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "run" / "batch_card.json").read_text())
    parts = {part["corpus"]: part for part in card["parts"]}
    assert set(parts) == set(sets) and set(card["left_out"]) == {"translations", "entity_questions"}
    assert all((part["mixed"] > 0) == (name == "mmarco") for name, part in parts.items())
    assert all(
        part["serves"] == ("monolingual and mixed" if name == "mmarco" else "monolingual alone")
        for name, part in parts.items()
    )
    assert sum(part["monolingual"] > 0 for part in parts.values()) > 4
    assert "left out" in done.stdout and "entity_questions" in done.stdout
