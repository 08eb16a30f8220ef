"""Every training source, from a small copy in its raw format on a local server."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from hybrid_ir.cli import data
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from tests.support.corpora import list_pairs, sort_pairs
from tests.support.hub_server import serving_pages
from tests.support.in_process import CommandResult, train_in_process
from tests.support.raw_data import map_to_pages
from tests.support.raw_sources import PASSAGES, SETS, build_entity_questions_archive
from tests.support.web import serving


def compose_source(name: str, tmp_path, *choices: str):
    """Returns the config of a data set with its choices, and with folders of this test."""
    overrides = [f"corpus.{choice}" for choice in choices]
    overrides += [f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"]
    return data.compose_data_set(name, overrides)["corpus"]


def load_source(name: str, tmp_path, *choices: str) -> ParallelCorpus:
    keys = OmegaConf.to_container(compose_source(name, tmp_path, *choices), resolve=True)
    return get_object(keys.pop("_target_"))(**keys)


def list_pages(name: str, monkeypatch) -> dict[str, bytes]:
    """Returns the pages of a server that has the files of a data set."""
    choices, contents, _ = SETS[name]
    module = import_module(f"hybrid_ir.corpora.sources.{name}")
    arguments = {}
    for choice in choices:
        key, _, value = choice.partition("=")
        if key == "languages":
            arguments[key] = value.strip("[]").split(",")
    files = module.list_files(**arguments)
    if name == "mlqa_translate_train":
        # The small archive has not the size and hash of the released one.
        monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, size=None, sha256=None))
    return map_to_pages(files, contents)


def fetch_source(name: str, tmp_path, monkeypatch) -> None:
    """Fetches the files of a data set by the real command, and checks that each is asked for."""
    choices = [f"corpus.{choice}" for choice in SETS[name][0]]
    folder = f"paths.data_dir={tmp_path / 'data'}"
    pages = list_pages(name, monkeypatch)
    with serving_pages(pages, tmp_path / "hub_cache") as hub:
        data.main(["fetch", name, f"mirror={hub.url}", *choices, folder])
        assert sorted(hub.downloads) == sorted(pages)


@pytest.mark.parametrize("name", SETS)
def test_a_source_that_is_not_fetched_is_described_with_the_cure(tmp_path, capsys, name):
    choices = [f"corpus.{choice}" for choice in SETS[name][0]]
    problem = rf"files of {name} are missing: .*`hybrid-ir data fetch {name}` gets them"
    with pytest.raises(Exception, match=problem):
        data.main(["describe", name, *choices, f"paths.data_dir={tmp_path / 'data'}"])
    assert "citation" in capsys.readouterr().out


@pytest.mark.parametrize("name", SETS)
def test_a_source_is_fetched_built_once_and_has_the_expected_pairs(tmp_path, monkeypatch, name):
    choices, _, expected = SETS[name]
    fetch_source(name, tmp_path, monkeypatch)
    if "require_counts" in compose_source(name, tmp_path, *choices):
        problem = rf"{name} has .* instead of .* require_counts=false takes it as it is"
        with pytest.raises(ValueError, match=problem):
            load_source(name, tmp_path, *choices)
        choices = [*choices, "require_counts=false"]
    corpus = load_source(name, tmp_path, *choices)
    assert list_pairs(corpus) == sort_pairs(expected)
    source = corpus.source
    assert source.name == name
    assert all((source.licence, source.citation, source.revision))
    monkeypatch.setattr("hybrid_ir.corpora.writing.CorpusWriter.finish", pytest.fail)
    assert len(load_source(name, tmp_path, *choices)) == len(corpus)


@pytest.mark.parametrize("name", SETS)
def test_a_fetched_source_is_verified_and_described_with_its_batches(
    tmp_path, monkeypatch, capsys, name
):
    choices = [f"corpus.{choice}" for choice in SETS[name][0]]
    choices += [f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"]
    fetch_source(name, tmp_path, monkeypatch)
    data.main(["verify", name, *choices])
    choices += ["sampler=x_x_mono", "sampler.batch_size=1"]
    if "require_counts" in compose_source(name, tmp_path):
        choices.append("corpus.require_counts=false")
    if name == "mmarco":
        choices.append("sampler.languages=[zh]")
    data.main(["describe", name, *choices])
    output = capsys.readouterr().out
    licence = import_module(f"hybrid_ir.corpora.sources.{name}").SOURCE.licence
    assert licence in output.replace("\n", " ")
    assert "first batches" in output
    is_cross_lingual = "to en" in output and "monolingual_share=0.0" in output
    assert is_cross_lingual == (name == "swim_ir")


def test_the_rows_of_mmarco_may_be_triples(tmp_path, monkeypatch):
    fetch_source("mmarco", tmp_path, monkeypatch)
    corpus = load_source(
        "mmarco", tmp_path, "languages=[en,zh]", "rows=triples", "require_counts=false"
    )
    triples = []
    for query, passage, negatives in list_pairs(corpus):
        triples.append([query["en"][:2], passage["en"], negatives[0]["en"]])
    assert triples == [
        ["q7", "p1", "p2"],
        ["q7", "p1", "p2"],
        ["q7", "p1", "p3"],
        ["q9", "p3", "p1"],
    ]


@pytest.mark.parametrize("short", ["german_queries.train", "german_collection"])
def test_a_file_of_mmarco_that_ends_too_early_is_refused(tmp_path, monkeypatch, short):
    folder = tmp_path / "data" / "mmarco" / "data"
    counts = {"google/queries/train/german_queries.train": 4}
    counts["google/collections/german_collection"] = 5
    for name, count in counts.items():
        path = folder / f"{name}.tsv"
        path.parent.mkdir(parents=True)
        if path.stem == short:
            count -= 1
        path.write_text("".join(f"{number}\ttext {number}\n" for number in range(count)))
    (folder / "triples.train.ids.small.tsv").write_text("1\t2\t3\n2\t3\t1\n")
    monkeypatch.setattr(
        "hybrid_ir.corpora.sources.mmarco.COUNTS", {"triples": 2, "query": 4, "passage": 5}
    )
    problem = rf"mmarco has \d in '{short}\.tsv' instead of \d records"
    with pytest.raises(ValueError, match=problem):
        load_source("mmarco", tmp_path, "languages=[de]")


def test_cross_lingual_pairs_serve_cross_lingual_batches_alone(tmp_path, monkeypatch):
    fetch_source("swim_ir", tmp_path, monkeypatch)
    corpus = load_source("swim_ir", tmp_path, "languages=[de,zh]", "require_counts=false")
    plan = PairBatchSampler(corpus, 2, 0.0)[0]
    assert {corpus.languages[code] for code in plan.passage_languages} == {"en"}
    with pytest.raises(ValueError, match="no pair for monolingual batches"):
        PairBatchSampler(corpus, 2, 1.0)


@pytest.fixture
def passages(tmp_path) -> str:
    """Fetches EntityQuestions by the real command; returns the path of a file of passages."""
    files = import_module("hybrid_ir.corpora.sources.entity_questions").list_files()
    assert [file.path for file in files] == ["dataset.zip"]
    folder = f"paths.data_dir={tmp_path / 'data'}"
    with serving(
        pages=map_to_pages(files, {"dataset.zip": build_entity_questions_archive()})
    ) as web:
        data.main(["fetch", "entity_questions", f"mirror={web.url}", folder])
        assert web.paths == list(web.pages)
    (tmp_path / "wiki.tsv").write_text(PASSAGES)
    return str(tmp_path / "wiki.tsv")


def test_entity_questions_find_their_passages_in_a_corpus(tmp_path, passages, capsys):
    corpus = load_source(
        "entity_questions", tmp_path, f"passages={passages}", "require_counts=false"
    )
    expected = [
        ["Where was Ada King born?", 'Ada King Born in "London" in 1815'],
        ['Where was "Weird Al" Yankovic born?', '"Weird Al" Yankovic In california.'],
        ["Who is Ada King's child?", "Ada King Had Anne"],
        ["Whose is Ada King Bridge?", "Ada King Bridge In Kent"],
    ]
    assert list_pairs(corpus) == sort_pairs(
        [[{"en": query}, {"en": passage}, []] for query, passage in expected]
    )
    # The line that is no passage.
    assert "1 problem in entity_questions" in capsys.readouterr().out


def test_entity_questions_are_verified_and_described_with_their_batches(tmp_path, passages, capsys):
    folders = [f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"]
    data.main(["verify", "entity_questions", *folders])
    choices = [f"corpus.passages={passages}", "corpus.require_counts=false"]
    choices += ["sampler=x_x_mono", "sampler.batch_size=1"]
    data.main(["describe", "entity_questions", *choices, *folders])
    assert "first batches" in capsys.readouterr().out


def test_entity_questions_without_passages_or_with_other_counts_are_refused(
    tmp_path, passages, capsys
):
    problem = "entity_questions has 6 in 'en' instead of 176,560 records"
    with pytest.raises(ValueError, match=problem):
        load_source("entity_questions", tmp_path, f"passages={passages}")
    with pytest.raises(Exception, match="corpus.passages"):
        data.main(["describe", "entity_questions"])
    assert "Sciavolino" in capsys.readouterr().out
    problem = r"corpus.passages=.*no is no file: it must have id, text and title"
    with pytest.raises(ValueError, match=problem):
        load_source("entity_questions", tmp_path, f"passages={tmp_path / 'no'}")


def test_a_damaged_file_of_a_source_is_named(tmp_path):
    folder = tmp_path / "data" / "squad" / "plain_text"
    folder.mkdir(parents=True)
    (folder / "train-00000-of-00001.parquet").write_bytes(b"nothing")
    problem = "is not a Parquet file that can be read: delete it, then fetch it again"
    with pytest.raises(ValueError, match=problem):
        load_source("squad", tmp_path)


IN_PAPER = [
    "mmarco",
    "mfaq",
    "yahoo_answers",
    "natural_questions",
    "newsqa",
    "duorc",
    "mr_tydi",
    "wiki_qa",
]


def train_on_paper_mixture(tmp_path, *overrides: str) -> CommandResult:
    """Runs train.py with the mixture of the paper, and with a tiny model that is not measured."""
    return train_in_process(
        tmp_path,
        "experiment=paper_mixture",
        "model=tiny",
        "trainer=cpu",
        "benchmark=none",
        "benchmark@validation=none",
        "callbacks=last_only",
        "model.backbone.layers=0",
        "model.backbone.vocab_size=300",
        "trainer.max_steps=30",
        "trainer.limit_val_batches=0",
        "trainer.log_every_n_steps=1",
        f"paths.data_dir={tmp_path / 'data'}",
        f"hydra.run.dir={tmp_path / 'run'}",
        *overrides,
    )


def test_all_missing_parts_of_the_mixture_of_the_paper_are_named(tmp_path):
    run = train_on_paper_mixture(tmp_path)
    assert run.returncode == 2
    assert "error: 8 of 8 parts:\n  mmarco: 15 of 15 files of mmarco are missing" in run.stderr
    for name in IN_PAPER:
        assert f"`hybrid-ir data fetch {name}` gets them" in run.stderr
    assert not (tmp_path / "run").exists()


def test_the_mixture_of_the_paper_trains_and_says_what_it_is_made_of(tmp_path, monkeypatch):
    overrides = ["corpus.parts.mmarco.languages=[en,zh]", "corpus.tau=0"]
    for name in IN_PAPER:
        fetch_source(name, tmp_path, monkeypatch)
        if name != "mfaq":
            overrides.append(f"corpus.parts.{name}.require_counts=false")

    refused = train_on_paper_mixture(tmp_path, *overrides, "sampler.batch_size=2")
    assert refused.returncode == 2
    assert "has 1 for" in refused.stderr  # some of the data sets have one pair only

    alone = train_on_paper_mixture(tmp_path, *overrides, "sampler.batch_size=1")
    assert alone.returncode == 2
    assert "sampler.batch_size=1 leaves a query no negative" in alone.stderr

    overrides += ["sampler.batch_size=1", "data.hard_negatives=1"]
    run = train_on_paper_mixture(tmp_path, *overrides)
    assert run.returncode == 0, run.stderr
    card = json.loads((tmp_path / "run" / "batch_card.json").read_text())
    assert [part["corpus"] for part in card["parts"]] == IN_PAPER
    assert set(card["left_out"]) == {"translations", "entity_questions"}
    for part in card["parts"]:
        is_parallel = part["corpus"] == "mmarco"
        assert (part["mixed"] > 0) == is_parallel
        assert part["serves"] == ("monolingual and mixed" if is_parallel else "monolingual alone")
    assert len([part for part in card["parts"] if part["monolingual"] > 0]) > 4
    assert "entity_questions" in run.stdout
    assert "left out" in run.stdout

    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 31))
    # In most of the data sets a batch of one pair has no negative: there is nothing to get wrong.
    for row in rows:
        assert (row["train/loss"] == 0) == (row["train/share_without_negatives"] == 1)
    assert {row["train/share_without_negatives"] for row in rows} == {0.0, 1.0}
    assert load_last_step(tmp_path / "run") == 30


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def load_last_step(run_folder: Path) -> int:
    path = run_folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["global_step"]
