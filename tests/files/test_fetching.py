"""The files of a data set: fetched once, locked, verified; what is wrong is named and nothing of the user's is overwritten."""

import hashlib
import json
import multiprocessing
from pathlib import Path

import pytest

from hybrid_ir.evaluation.benchmarks import mlqa_r, xquad_r
from hybrid_ir.files.fetching import (
    LOCK,
    RemoteFile,
    fetch_files,
    github_file,
    hub_file,
    read_file_list,
    replace_server,
    verify_files,
)
from tests.support.web import serving

PAGES = {"/a/one.txt": b"one", "/a/sub/two.txt": b"two two", "/three.txt": b"three"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def record(url: str, known: bool = True) -> list[RemoteFile]:
    return [
        RemoteFile(
            path.strip("/"), url + path, len(data) if known else None, sha(data) if known else None
        )
        for path, data in PAGES.items()
    ]


def statuses(files, folder) -> list[str]:
    return [verdict.status for verdict in verify_files(files, folder)]


@pytest.mark.parametrize("known", [True, False])
def test_fetch_gets_what_is_missing_and_a_second_call_asks_for_nothing(tmp_path, known):
    with serving(pages=PAGES) as web:
        files = record(web.url, known)
        assert set(statuses(files, tmp_path)) == {"missing"}
        assert fetch_files(files, tmp_path) == [file.path for file in files]
        assert fetch_files(files, tmp_path) == [] and len(web.asked) == 3
        (tmp_path / "a/sub/two.txt").unlink()
        assert fetch_files(files, tmp_path) == ["a/sub/two.txt"]
    assert statuses(files, tmp_path) == ["ok"] * 3
    lock = json.loads((tmp_path / LOCK).read_text())["files"]
    assert [row["path"] for row in lock] == sorted(file.path for file in files)
    for row in lock:
        data = PAGES["/" + row["path"]]
        assert (row["size"], row["sha256"], row["origin"]) == (
            len(data),
            sha(data),
            f"{web.url}/{row['path']}",
        )
        assert row["date"].startswith("20")


def test_verify_says_of_each_file_what_is_wrong(tmp_path):
    with serving(pages=PAGES) as web:
        files = record(web.url, known=False)
        fetch_files(files, tmp_path)
    (tmp_path / "a/one.txt").write_bytes(b"eno")
    (tmp_path / "a/sub/two.txt").write_bytes(b"two")
    (tmp_path / "three.txt").unlink()
    verdicts = verify_files(files, tmp_path)
    assert [verdict.status for verdict in verdicts] == ["wrong sha256", "wrong size", "missing"]
    assert sha(b"one") in verdicts[0].detail and sha(b"eno") in verdicts[0].detail
    assert verdicts[1].detail == "3 bytes, expected 7" and all(
        verdict.wrong for verdict in verdicts
    )


def test_the_released_checksum_wins_over_the_lock(tmp_path):
    (tmp_path / "x").write_bytes(b"other")
    fetch_files([RemoteFile("x", "http://127.0.0.1:9/x")], tmp_path)
    assert statuses([RemoteFile("x", "", 5, sha(b"right"))], tmp_path) == ["wrong sha256"]


def test_files_put_by_hand_are_locked_and_later_changes_seen(tmp_path):
    (tmp_path / "x").write_bytes(b"mine")
    files = [RemoteFile("x", "http://127.0.0.1:9/x")]
    assert statuses(files, tmp_path) == ["no known checksum"]
    assert (
        fetch_files(files, tmp_path) == []
        and read_file_list(tmp_path)["x"]["origin"] == "put here by hand"
    )
    assert statuses(files, tmp_path) == ["ok"]
    (tmp_path / "x").write_bytes(b"ours")
    assert statuses(files, tmp_path) == ["wrong sha256"]


def test_fetch_overwrites_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.txt").write_bytes(b"something else")
    with (
        serving(pages=PAGES) as web,
        pytest.raises(ValueError, match="1 files are not the released ones; delete") as raised,
    ):
        fetch_files(record(web.url), tmp_path)
    assert "one.txt: wrong size, 14 bytes, expected 3" in str(raised.value) and web.asked == []
    assert (tmp_path / "a/one.txt").read_bytes() == b"something else"


def test_what_was_fetched_before_an_error_stays_and_is_locked(tmp_path):
    with serving(pages={"/a/one.txt": b"one"}) as web:
        files = record(web.url, known=False)
        with pytest.raises(ValueError, match="two.txt: 404"):
            fetch_files(files, tmp_path, pause=0)
        assert set(read_file_list(tmp_path)) == {"a/one.txt"}
        web.pages = PAGES
        assert fetch_files(files, tmp_path) == ["a/sub/two.txt", "three.txt"]


def test_a_mirror_has_the_same_paths(tmp_path):
    with serving(pages={"/pre/fix" + path: data for path, data in PAGES.items()}) as web:
        files = record("https://example.invalid")
        assert len(fetch_files(files, tmp_path, mirror=f"{web.url}/pre/fix/")) == 3
    assert read_file_list(tmp_path)["three.txt"]["origin"] == f"{web.url}/pre/fix/three.txt"
    assert replace_server("https://a.org/b/c", None) == "https://a.org/b/c"
    for wrong in ("somewhere", "ftp://x.org", "http://"):
        with pytest.raises(ValueError, match=f"mirror={wrong} must be the address of a server"):
            replace_server("https://a.org/b/c", wrong)


def test_a_damaged_lock_is_one_clear_error(tmp_path):
    for text in ("{", "[]", '{"files": [{}]}'):
        (tmp_path / LOCK).write_text(text)
        with pytest.raises(ValueError, match=r"files.json is damaged .* delete it"):
            fetch_files([], tmp_path)


def fetch_all(url: str, folder: str, got) -> None:
    got.put(len(fetch_files(record(url), Path(folder))))


def test_two_processes_fetch_each_file_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    with serving(pages=PAGES, pause=0.05) as web:
        got = context.Queue()
        processes = [
            context.Process(target=fetch_all, args=(web.url, str(tmp_path), got)) for _ in range(2)
        ]
        for process in processes:
            process.start()
        assert sorted([got.get(timeout=60), got.get(timeout=60)]) == [0, 3]
        for process in processes:
            process.join()
        assert sorted(web.paths) == sorted(PAGES)


def test_addresses_are_pinned(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert (
        hub_file("o/r", "abc", "d/f.x").url
        == "https://huggingface.co/datasets/o/r/resolve/abc/d/f.x"
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.local/")
    assert hub_file("o/r", "abc", "d/f.x").url == "http://hub.local/datasets/o/r/resolve/abc/d/f.x"
    file = github_file("o/r", "abc", "d/f.x", "f.x", 3, "s")
    assert file == RemoteFile("f.x", "https://raw.githubusercontent.com/o/r/abc/d/f.x", 3, "s")


@pytest.mark.parametrize(
    ("module", "name", "languages"), [(xquad_r, "xquad-r", 11), (mlqa_r, "mlqa-r", 7)]
)
def test_the_released_files_have_the_recorded_checksums(shared, module, name, languages):
    files = module.list_files()
    assert len(files) == languages + 1 and {
        verdict.status for verdict in verify_files(files, shared / "data" / name)
    } == {"ok"}
    some_files = module.list_files(["en", "de"])
    assert [file.path for file in some_files] == ["LICENSE", "de.json", "en.json"]
    with pytest.raises(ValueError, match=r"languages=\['xx'\] must be .* some of \['ar', 'de'"):
        module.list_files("xx")
