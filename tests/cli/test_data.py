"""`hybrid-ir data fetch|verify`: real processes where it matters, real XQuAD-R over loopback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import InstantiationException

from hybrid_ir.cli import data
from hybrid_ir.corpora.stored import read_corpus_card
from hybrid_ir.evaluation.benchmarks import miracl, mldr, xquad_r
from hybrid_ir.files.download import get_part_folder
from tests.support import raw_data
from tests.support.command_line import HANG_SECONDS
from tests.support.corpora import RECORDS, write_json_lines
from tests.support.hub_server import find_commit, serving_hub, serving_pages, using_hub
from tests.support.web import serving

ROOT = Path(__file__).parents[2]
CODE = "import sys; from hybrid_ir.cli.main import main; sys.argv[0] = 'hybrid-ir'; main()"


def start(place: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "data", *arguments],
        cwd=place,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **environment,
        },
    )


@pytest.fixture
def xquad_pages(shared) -> dict[str, bytes]:
    folder = shared / "data" / "xquad-r"
    return raw_data.map_to_pages(
        xquad_r.list_files(), {path.name: path.read_bytes() for path in folder.iterdir()}
    )


def test_a_killed_fetch_of_the_real_xquad_r_goes_on_and_verifies(tmp_path, xquad_pages, capsys):
    folder = tmp_path / "data" / "xquad-r"
    with serving(pages=xquad_pages, pause=0.1, step=20_000) as web:
        process = start(tmp_path, "fetch", "xquad_r", f"mirror={web.url}")
        part = get_part_folder(folder / "ar.json") / "bytes"
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            if part.exists() and part.stat().st_size >= 100_000:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert part.stat().st_size >= 100_000
        assert not (folder / "ar.json").exists()
        assert (folder / "LICENSE").exists()
        web.pause = 0.0
        web.asked.clear()
        data.main(["fetch", "xquad_r", f"mirror={web.url}", f"paths.data_dir={tmp_path / 'data'}"])
        assert (
            "xquad_r: 11 files fetched, 1 were there" in capsys.readouterr().out
            and "LICENSE" not in " ".join(web.paths)
        )
        assert next(asked for path, asked in web.asked if path.endswith("ar.json"))[
            "Range"
        ].startswith("bytes=1")
    assert len(xquad_r.load(str(folder)).passages) == 13014
    (folder / "el.json").write_bytes((folder / "el.json").read_bytes().replace(b"a", b"b", 1))
    (folder / "hi.json").unlink()
    process = start(tmp_path, "verify", "xquad_r", "benchmark.languages=[ar,el,hi]")
    out, error = process.communicate(timeout=HANG_SECONDS)
    assert (
        process.returncode == 2
        and "2 of 4 files are missing or wrong" in error
        and "Traceback" not in error
    )
    found = {
        line.split()[1]: " ".join(line.split()[3:5])
        for line in out.splitlines()
        if ".json" in line or "LICENSE" in line
    }
    assert (
        found["el.json"] == "wrong sha256"
        and found["hi.json"].startswith("missing")
        and found["ar.json"].startswith("ok")
    )


@pytest.mark.parametrize(
    ("name", "module", "pages", "overrides"),
    [
        ("miracl", miracl, raw_data.build_miracl_pages, ["benchmark.languages=[sw,te]"]),
        (
            "miracl_hard_negatives",
            miracl,
            raw_data.build_hard_negatives_pages,
            ["benchmark.languages=[sw,te]"],
        ),
        ("mldr", mldr, raw_data.build_mldr_pages, ["benchmark.languages=[de,pt]"]),
    ],
)
def test_fetch_then_verify_then_describe(tmp_path, capsys, name, module, pages, overrides):
    """With the keys of the config."""
    overrides = [
        *overrides,
        f"benchmark.folder={tmp_path / 'here'}",
        f"paths.cache_dir={tmp_path / 'cache'}",
    ]
    with serving_pages(pages(), tmp_path / "hub") as hub:
        data.main(["fetch", name, *overrides])
        assert sorted(hub.downloads) == sorted(pages())
        requests = len(hub.asked)
        data.main(["fetch", name, *overrides])
        assert len(hub.asked) == requests
    data.main(["verify", name, *overrides])
    data.main(["describe", name, *overrides, "benchmark.require_counts=false"])
    out = capsys.readouterr().out
    assert (
        f"{name}: {len(pages())} files fetched, 0 were there" in out
        and f"0 files fetched, {len(pages())} were there" in out
    )
    assert f"benchmark {name}" in out and "wrong" not in out
    with pytest.raises(InstantiationException, match="released are"):
        data.main(["describe", name, *overrides])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "(?s)usage:.*hybrid-ir data describe NAME"),
        (["fetch"], "(?s)usage:.*mirror=URL.*belebele"),
        (["get", "miracl"], "usage"),
        (
            ["fetch", "nothing"],
            "no data set 'nothing': corpora are .*miracl.*; experiments are .*paper_mixture",
        ),
        (
            ["describe", "folder", "path=x"],
            "path=x: the keys of a data set are corpus.path=... here",
        ),
        (
            ["import", "jsonl", "x.jsonl", "to=y"],
            "'x.jsonl' has no key: write path=x.jsonl, if it is the data",
        ),
        (["fetch", "cldr_facts"], "cldr_facts has no files to fetch"),
        (["verify", "beir_folder"], "beir_folder has no files to fetch"),
        (["fetch", "miracl", "benchmark.languages=[xx]"], "languages=.* only some of"),
        (["fetch", "mldr", "benchmark.split=train"], "split=train must be one of dev, test"),
        (
            [
                "fetch",
                "belebele",
                "benchmark.languages=[eng_Latn]",
                "benchmark.folder=FOLDER",
                "mirror=somewhere",
            ],
            "mirror=somewhere must be the address of a server",
        ),
    ],
)
def test_wrong_calls_are_one_clear_error(tmp_path, arguments, said):
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        data.main([text.replace("FOLDER", str(tmp_path)) for text in arguments])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["describe", "swim_ir", "-h"], ["import", "jsonl", "--help"]]
)
def test_help_shows_the_keys_of_what_is_named(capsys, arguments):
    data.main(arguments)
    output = capsys.readouterr().out
    assert "hybrid-ir data import FORM" in output
    assert ("errors: stop" in output) == ("jsonl" in arguments) and ("variant:" in output) == (
        "swim_ir" in arguments
    )


def test_an_experiment_has_the_files_of_its_corpora_and_benchmarks(tmp_path):
    found = data.find_files("paper_mixture", [f"paths.data_dir={tmp_path}"])
    assert [data_set.title for data_set in found] == [
        "mmarco",
        "mfaq",
        "yahoo_answers",
        "natural_questions",
        "newsqa",
        "duorc",
        "mr_tydi",
        "wiki_qa",
        "xquad_r",
        "squadshifts",
    ]
    assert (
        len(found[0].files) == 15 and found[0].folder == tmp_path / "mmarco"
    )  # seven languages of mMARCO, as the experiment has them


def test_a_folder_of_two_has_the_files_of_both(tmp_path):
    own = [f"+corpus@corpus.parts.{name}=swim_ir" for name in ("one", "two")]
    (data_set,) = data.find_files(
        "mixture",
        [
            *own,
            "corpus.parts.one.languages=[bn]",
            "corpus.parts.two.languages=[de]",
            "corpus.parts.two.variant=monolingual",
            f"paths.data_dir={tmp_path}",
        ],
    )
    assert [file.path[:2] for file in data_set.files] == ["bn", "bn", "de"]
    assert data_set.folder == tmp_path / "swim_ir"


def test_a_corpus_that_is_a_benchmark_too_has_the_files_of_the_benchmark(shared, capsys):
    data.main(["verify", "mlqa_r", f"paths.data_dir={shared / 'data'}"])
    assert capsys.readouterr().out.count(" ok ") == 8


def test_a_folder_may_have_blanks_and_signs_of_hydras_grammar(tmp_path):
    folder = tmp_path / "a b=c, (d)"
    assert data.compose_data_set("beir_folder", [f"benchmark.folder={folder}"])[
        "benchmark"
    ].folder == str(folder)


def import_pairs(folder: Path, *arguments: str) -> None:
    """Imports two pairs in two languages to `to` of a folder."""
    path = folder / "pairs.jsonl"
    if not path.exists():
        write_json_lines(path, *RECORDS)
    data.main(["import", "jsonl", f"path={path}", f"to={folder / 'to'}", *arguments])


def test_an_import_refuses_languages_which_it_would_not_leave_out(tmp_path):
    with pytest.raises(ValueError, match=r"corpus=folder corpus.path=.* corpus.languages="):
        import_pairs(tmp_path, "languages=[en]")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("argument", "difference"),
    [
        ("errors=skip", "with errors=stop, not errors=skip"),
        ("max_characters=999", "with max_characters=100000, not max_characters=999"),
        ("name=other", "with name=pairs, not name=other"),
    ],
)
def test_an_import_into_a_folder_of_another_import_says_which_key_differs(
    tmp_path, argument, difference
):
    import_pairs(tmp_path)
    import_pairs(tmp_path)  # the very same one is there already
    with pytest.raises(Exception, match=f"is there already: .* It was made {difference}"):
        import_pairs(tmp_path, argument)


def test_an_import_uses_the_config_folders_of_the_user(tmp_path):
    own = tmp_path / "conf" / "local"
    own.mkdir(parents=True)
    (own / "default.yaml").write_text("# @package _global_\ncorpus: {name: mine}\n")
    import_pairs(tmp_path, "--config-dir", str(tmp_path / "conf"))
    assert read_corpus_card(tmp_path / "to")["source"]["name"] == "mine"


CARD = """---
configs:
- {config_name: en, data_files: pairs.csv}
- {config_name: corpus, data_files: [{split: corpus, path: passages.csv}]}
- {config_name: queries, data_files: [{split: queries, path: queries.csv}]}
- {config_name: default, data_files: [{split: test, path: qrels.csv}]}
---
"""


def test_corpus_and_benchmark_of_the_hub_are_described_and_imported(tmp_path, capsys):
    files = {
        "README.md": CARD.encode(),
        "pairs.csv": b"query_en,passage_en\nwhy,so\nwhen,now\n",
        "passages.csv": b"_id,text\np1,so it is\n",
        "queries.csv": b"_id,text\nq1,why is it\n",
        "qrels.csv": b"query-id,corpus-id,score\nq1,p1,1\n",
    }
    keys = ["repository=owner/set", "revision=main"]
    place = [f"paths.cache_dir={tmp_path / 'cache'}", f"paths.data_dir={tmp_path}"]
    with serving_hub(datasets={"owner/set": files}) as hub, using_hub(tmp_path / "hub", hub.url):
        corpus_keys = [f"corpus.{key}" for key in (*keys, "configuration=en")]
        data.main(["describe", "hub", *corpus_keys, *place])
        described = capsys.readouterr().out
        assert "corpus set" in described
        assert f"owner/set@{find_commit('owner/set', 'main')}" in described
        assert "benchmark" not in described
        data.main(["describe", "hub", *(f"benchmark.{key}" for key in keys), *place])
        described = capsys.readouterr().out
        assert "benchmark set" in described
        assert "why is it" in described
        with pytest.raises(Exception, match="repository"):
            data.main(["describe", "hub", *place])
        to = f"to={tmp_path / 'to'}"
        data.main(["import", "hub", *keys, "configuration=en", to, *place])
    assert read_corpus_card(tmp_path / "to")["pairs"] == 2
    assert read_corpus_card(tmp_path / "to")["choices"]["repository"] == "owner/set"
