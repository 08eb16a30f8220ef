"""Fetching the files of a data set: once, listed and verified, and nothing is overwritten."""

import hashlib
import json
import multiprocessing
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from hybrid_ir.evaluation.benchmarks import mlqa_r, xquad_r
from hybrid_ir.files.fetching import (
    FILE_LIST,
    FileCheck,
    RemoteFile,
    describe_github_file,
    describe_hub_file,
    fetch_files,
    read_file_list,
    replace_server,
    verify_files,
)
from tests.support.web import serving

PAGES = {"/a/one.txt": b"one", "/a/sub/two.txt": b"two two", "/three.txt": b"three"}


def compute_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def list_remote_files(url: str, known: bool = True) -> list[RemoteFile]:
    """The pages as files of a data set, with their sizes and checksums if these are known."""
    files = []
    for path, data in PAGES.items():
        size = len(data) if known else None
        sha256 = compute_sha256(data) if known else None
        files.append(RemoteFile(path.strip("/"), url + path, size, sha256))
    return files


def list_statuses(checks: list[FileCheck]) -> list[str]:
    return [check.status for check in checks]


@pytest.mark.parametrize("known", [True, False])
def test_only_missing_files_are_fetched(tmp_path, known):
    with serving(pages=PAGES) as web:
        files = list_remote_files(web.url, known)
        assert list_statuses(verify_files(files, tmp_path)) == ["missing"] * 3
        assert fetch_files(files, tmp_path) == [file.path for file in files]
        assert fetch_files(files, tmp_path) == []
        assert len(web.asked) == 3
        (tmp_path / "a/sub/two.txt").unlink()
        assert fetch_files(files, tmp_path) == ["a/sub/two.txt"]
    assert list_statuses(verify_files(files, tmp_path)) == ["ok"] * 3


def test_the_list_of_files_has_size_checksum_origin_and_date(tmp_path):
    with serving(pages=PAGES) as web:
        files = list_remote_files(web.url)
        fetch_files(files, tmp_path)
    entries = json.loads((tmp_path / FILE_LIST).read_text())["files"]
    assert [entry["path"] for entry in entries] == sorted(file.path for file in files)
    for entry in entries:
        data = PAGES["/" + entry["path"]]
        assert entry["size"] == len(data)
        assert entry["sha256"] == compute_sha256(data)
        assert entry["origin"] == f"{web.url}/{entry['path']}"
        assert entry["date"].startswith("20")


def test_verifying_says_what_is_wrong_with_each_file(tmp_path):
    with serving(pages=PAGES) as web:
        files = list_remote_files(web.url, known=False)
        fetch_files(files, tmp_path)
    (tmp_path / "a/one.txt").write_bytes(b"eno")
    (tmp_path / "a/sub/two.txt").write_bytes(b"two")
    (tmp_path / "three.txt").unlink()
    checks = verify_files(files, tmp_path)
    assert list_statuses(checks) == ["wrong sha256", "wrong size", "missing"]
    assert compute_sha256(b"one") in checks[0].detail
    assert compute_sha256(b"eno") in checks[0].detail
    assert checks[1].detail == "3 bytes, expected 7"
    assert all(check.is_wrong for check in checks)


def test_the_released_checksum_counts_more_than_the_listed_one(tmp_path):
    (tmp_path / "x").write_bytes(b"other")
    fetch_files([RemoteFile("x", "http://127.0.0.1:9/x")], tmp_path)
    released = RemoteFile("x", "", 5, compute_sha256(b"right"))
    assert list_statuses(verify_files([released], tmp_path)) == ["wrong sha256"]


def test_files_put_by_hand_are_listed_and_later_changes_noticed(tmp_path):
    (tmp_path / "x").write_bytes(b"mine")
    files = [RemoteFile("x", "http://127.0.0.1:9/x")]
    assert list_statuses(verify_files(files, tmp_path)) == ["no known checksum"]
    assert fetch_files(files, tmp_path) == []
    assert read_file_list(tmp_path)["x"]["origin"] == "put here by hand"
    assert list_statuses(verify_files(files, tmp_path)) == ["ok"]
    (tmp_path / "x").write_bytes(b"ours")
    assert list_statuses(verify_files(files, tmp_path)) == ["wrong sha256"]


def test_fetching_overwrites_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.txt").write_bytes(b"something else")
    with (
        serving(pages=PAGES) as web,
        pytest.raises(ValueError, match="1 files are not the released ones; delete") as raised,
    ):
        fetch_files(list_remote_files(web.url), tmp_path)
    assert "one.txt: wrong size, 14 bytes, expected 3" in str(raised.value)
    assert web.asked == []
    assert (tmp_path / "a/one.txt").read_bytes() == b"something else"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x"])
def test_a_path_outside_the_folder_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match="no path in the folder of a data set"):
        fetch_files([RemoteFile(path, "http://127.0.0.1:9/x")], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_files_fetched_before_an_error_stay_and_are_listed(tmp_path):
    with serving(pages={"/a/one.txt": b"one"}) as web:
        files = list_remote_files(web.url, known=False)
        with pytest.raises(ValueError, match="two.txt could not be had .404"):
            fetch_files(files, tmp_path, pause=0)
        assert list(read_file_list(tmp_path)) == ["a/one.txt"]
        web.pages = PAGES
        assert fetch_files(files, tmp_path) == ["a/sub/two.txt", "three.txt"]


def test_a_mirror_serves_the_same_paths(tmp_path):
    mirrored = {"/pre/fix" + path: data for path, data in PAGES.items()}
    with serving(pages=mirrored) as web:
        files = list_remote_files("https://example.invalid")
        assert len(fetch_files(files, tmp_path, mirror=f"{web.url}/pre/fix/")) == 3
    assert read_file_list(tmp_path)["three.txt"]["origin"] == f"{web.url}/pre/fix/three.txt"


def test_without_a_mirror_the_address_stays():
    assert replace_server("https://a.org/b/c", None) == "https://a.org/b/c"


@pytest.mark.parametrize("mirror", ["somewhere", "ftp://x.org", "http://"])
def test_a_mirror_must_be_the_address_of_a_server(tmp_path, mirror):
    """It is refused before a folder is made."""
    files = list_remote_files("https://a.org")
    with pytest.raises(ValueError, match=f"mirror={mirror} must be the address of a server"):
        fetch_files(files, tmp_path / "new", mirror=mirror)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"files": [{}]}'])
def test_a_damaged_list_of_files_is_one_clear_error(tmp_path, text):
    (tmp_path / FILE_LIST).write_text(text)
    with pytest.raises(ValueError, match=r"files.json is damaged .* delete it"):
        fetch_files([], tmp_path)


def count_fetched_files(url: str, folder: Path, both_ready, counts: SimpleQueue) -> None:
    """Fetches the pages as soon as another process is ready to do so too."""
    both_ready.wait(timeout=600)
    counts.put(len(fetch_files(list_remote_files(url), folder)))


def test_two_processes_fetch_each_file_once(tmp_path):
    # Forked processes would inherit the server and its threads.
    context = multiprocessing.get_context("spawn")
    both_ready = context.Barrier(2)
    counts = context.SimpleQueue()
    with serving(pages=PAGES, pause=0.05) as web:
        arguments = (web.url, tmp_path, both_ready, counts)
        processes = [context.Process(target=count_fetched_files, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=600)
        assert [process.exitcode for process in processes] == [0, 0]
        assert sorted([counts.get(), counts.get()]) == [0, 3]
        assert sorted(web.paths) == sorted(PAGES)


def test_addresses_name_the_revision(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    path = "datasets/o/r/resolve/abc/d/f.x"
    assert describe_hub_file("o/r", "abc", "d/f.x").url == f"https://huggingface.co/{path}"
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.local/")
    assert describe_hub_file("o/r", "abc", "d/f.x").url == f"http://hub.local/{path}"
    file = describe_github_file("o/r", "abc", "d/f.x", "f.x", 3, "s")
    assert file == RemoteFile("f.x", "https://raw.githubusercontent.com/o/r/abc/d/f.x", 3, "s")


@pytest.mark.parametrize(
    ("module", "name", "languages"), [(xquad_r, "xquad-r", 11), (mlqa_r, "mlqa-r", 7)]
)
def test_the_released_files_have_the_recorded_checksums(shared, module, name, languages):
    files = module.list_files()
    checks = verify_files(files, shared / "data" / name)
    assert list_statuses(checks) == ["ok"] * (languages + 1)
    assert [file.path for file in module.list_files(["en", "de"])] == [
        "LICENSE",
        "de.json",
        "en.json",
    ]
    with pytest.raises(ValueError, match=r"languages=\['xx'\] must be .* some of \['ar', 'de'"):
        module.list_files("xx")
