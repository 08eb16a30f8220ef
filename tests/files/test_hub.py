"""Files of the hub from a real server that speaks its API: cached once, linked, and checked."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files.fetching import (
    RemoteFile,
    describe_hub_file,
    fetch_files,
    read_file_list,
    verify_files,
)
from hybrid_ir.files.hub import HubFile, link_or_copy
from hybrid_ir.files.hub_repository import open_hub_repository
from tests.support.hub_server import find_commit, serving_hub, using_hub
from tests.support.web import serving

ROOT = Path(__file__).parents[2]
COMMIT = "a1" * 20
BYTES = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200)) * 40
FILES = {"one.txt": b"one", "sub/two.txt": b"two two"}
SET = {"owner/set": FILES}
FETCH = """
import sys
from pathlib import Path
from hybrid_ir.files.fetching import describe_hub_file, fetch_files
files = [describe_hub_file("owner/set", sys.argv[2], path) for path in sys.argv[3:]]
print(fetch_files(files, Path(sys.argv[1])))
"""


def describe_files(*paths: str, repository: str = "owner/set", revision: str = COMMIT):
    return [describe_hub_file(repository, revision, path) for path in paths or FILES]


def start_fetch(
    folder: Path, *paths: str, home: Path, endpoint: str, **variables: str
) -> subprocess.Popen:
    """Fetches files of a data set in a real process."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(folder), COMMIT, *paths],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen) -> str:
    """Returns the output of a process that succeeds."""
    output, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return output


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def without_pauses(monkeypatch):
    """Lets huggingface_hub try again at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def test_a_file_is_a_link_into_the_cache_and_is_listed_and_verified(tmp_path):
    folder = tmp_path / "data"
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path / "hub", hub.url):
        files = describe_files()
        assert fetch_files(files, folder) == list(FILES)
        assert fetch_files(files, folder) == []
        assert len(hub.downloads) == len(FILES)
        address = f"{hub.url}/datasets/owner/set/resolve/{COMMIT}/sub/two.txt"
    snapshot = tmp_path / "hub" / "datasets--owner--set" / "snapshots" / COMMIT
    for path, data in FILES.items():
        assert os.readlink(folder / path) == str(snapshot / path)
        assert (folder / path).read_bytes() == data
    entry = read_file_list(folder)["sub/two.txt"]
    assert entry["origin"] == address
    assert entry["size"] == 7
    assert entry["sha256"] == hashlib.sha256(b"two two").hexdigest()
    assert {check.status for check in verify_files(files, folder)} == {"ok"}


def test_what_is_in_the_cache_is_not_downloaded_again(tmp_path):
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path / "hub", hub.url):
        for name in ("first", "second"):
            assert fetch_files(describe_files(), tmp_path / name) == list(FILES)
        assert len(hub.asked) == 2 * len(FILES)  # size and checksum, then the bytes


def test_a_file_that_is_here_is_not_touched(tmp_path):
    place = tmp_path / "data" / "one.txt"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path / "hub", hub.url):
        assert fetch_files(describe_files("one.txt"), tmp_path / "data") == []
    assert hub.asked == []
    assert not place.is_symlink()
    assert place.read_bytes() == b"mine"


def test_a_link_whose_file_is_gone_is_missing_and_fetched_again(tmp_path):
    folder = tmp_path / "data"
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path / "hub", hub.url):
        files = describe_files("one.txt")
        fetch_files(files, folder)
        shutil.rmtree(tmp_path / "hub")
        assert [check.status for check in verify_files(files, folder)] == ["missing"]
        assert fetch_files(files, folder) == ["one.txt"]
    assert (folder / "one.txt").read_bytes() == b"one"


@settings(max_examples=15, deadline=None)
@given(
    name=st.text("aZ9 é中#%?+&=,;()'", min_size=1).filter(lambda name: name.strip() == name),
    revision=st.sampled_from(["main", "refs/convert/parquet", "v1.0", COMMIT]),
)
def test_any_name_and_revision_finds_its_file(tmp_path_factory, name, revision):
    folder = tmp_path_factory.mktemp("names")
    path = f"d/{name}"
    datasets = {"owner/set": {path: b"other"}, f"owner/set@{revision}": {path: b"this"}}
    with (
        serving_hub(datasets=datasets, revisions=("main", revision)) as hub,
        using_hub(folder / "hub", hub.url),
    ):
        assert open_hub_repository("owner/set", revision).paths == [path]
        fetch_files(describe_files(path, revision=revision), folder / "data")
    assert (folder / "data" / path).read_bytes() == b"this"
    commit = find_commit("owner/set", revision)
    assert commit in os.readlink(folder / "data" / path)


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_all_files_are_listed_however_many_come_at_once(tmp_path, page_size):
    paths = ["a.txt", "d/b.txt", "d/e/c.txt", "f/g.txt"]
    datasets = {"owner/set": dict.fromkeys(paths, b"")}
    with (
        serving_hub(datasets=datasets, page_size=page_size) as hub,
        using_hub(tmp_path, hub.url),
    ):
        assert open_hub_repository("owner/set", "main").paths == paths


@pytest.mark.parametrize(
    ("repository", "revision", "path", "token", "problem"),
    [
        ("owner/other", COMMIT, "one.txt", "", "401 .*Repository Not Found.* Check the name"),
        ("owner/set", "v9", "one.txt", "", "404 .*Revision Not Found.* Check the revision"),
        ("owner/set", COMMIT, "three.txt", "", "404 .*Entry Not Found.* there is no such file"),
        ("owner/gated", COMMIT, "one.txt", "", "401 .*gated.*Accept its terms.* HF_TOKEN"),
        ("owner/gated", COMMIT, "one.txt", "bad", "403 .*gated.*Accept its terms.* HF_TOKEN"),
    ],
)
def test_a_file_that_the_hub_refuses_is_one_clear_error(
    tmp_path, monkeypatch, repository, revision, path, token, problem
):
    datasets = {**SET, "owner/gated": FILES}
    with (
        serving_hub(datasets=datasets, gated=("owner/gated",), tokens=("good",)) as hub,
        using_hub(tmp_path / "hub", hub.url),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        files = describe_files(path, repository=repository, revision=revision)
        with pytest.raises(ValueError, match=f"could not be had: {problem}") as raised:
            fetch_files(files, tmp_path / "data")
    message = str(raised.value)
    assert message.startswith(f"{hub.url}/datasets/{repository}/resolve/{revision}/{path} ")
    assert f"(mirror=URL), or put the file by hand at {tmp_path / 'data' / path}." in message
    assert list(read_file_list(tmp_path / "data")) == []


def test_a_hub_that_stays_broken_is_one_clear_error(tmp_path, without_pauses):
    with (
        serving_hub(datasets=SET, statuses=[503] * 99) as hub,
        using_hub(tmp_path / "hub", hub.url),
        pytest.raises(ValueError, match="503 Service Unavailable.* Try again later.*by hand at"),
    ):
        fetch_files(describe_files(), tmp_path / "data")


def test_without_a_connection_there_is_one_clear_error(tmp_path, without_pauses):
    with (
        using_hub(tmp_path / "hub", f"http://127.0.0.1:{find_free_port()}"),
        pytest.raises(ValueError, match="could not be had: .*refused.*mirror=URL.*by hand at"),
    ):
        fetch_files(describe_files(), tmp_path / "data")


def test_a_mirror_that_is_no_hub_is_one_clear_error(tmp_path):
    page = f"/datasets/owner/set/resolve/{COMMIT}/one.txt"
    with (
        serving(pages={page: b"one"}) as web,
        using_hub(tmp_path / "hub"),
        pytest.raises(ValueError, match="not seem to be served by a Hugging Face Hub.*by hand at"),
    ):
        fetch_files(describe_files("one.txt"), tmp_path / "data", mirror=web.url)


@pytest.mark.parametrize("repository", ["owner/other", "owner/set"])
def test_a_list_that_the_hub_refuses_is_one_clear_error(tmp_path, repository):
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path, hub.url):
        problem = f"the data set {repository} of the Hugging Face hub (is not there|has no such)"
        with pytest.raises(ValueError, match=problem):
            open_hub_repository(repository, "v9")


@pytest.mark.parametrize(
    ("released", "problem"),
    [
        ({"size": 5}, "wrong size, 3 bytes, expected 5"),
        ({"sha256": "0" * 64}, "wrong sha256, .*, expected 000"),
    ],
)
def test_another_file_than_the_released_one_is_refused(tmp_path, released, problem):
    file = RemoteFile("one.txt", HubFile("owner/set", COMMIT, "one.txt"), **released)
    with (
        serving_hub(datasets=SET) as hub,
        using_hub(tmp_path / "hub", hub.url),
        pytest.raises(ValueError, match=f"is not the released file: {problem}"),
    ):
        fetch_files([file], tmp_path / "data")
    assert not (tmp_path / "data" / "one.txt").exists()


@pytest.mark.parametrize("is_large", [False, True])
def test_a_file_that_is_damaged_in_the_cache_is_downloaded_again(tmp_path, is_large):
    place = tmp_path / "data" / "one.txt"
    with (
        serving() as storage,
        serving_hub(datasets=SET, storage=storage if is_large else None) as hub,
        using_hub(tmp_path / "hub", hub.url),
    ):
        files = describe_files("one.txt")
        fetch_files(files, place.parent)
        place.write_bytes(b"eno")  # through the link
        assert [check.status for check in verify_files(files, place.parent)] == ["wrong sha256"]
        place.unlink()
        assert fetch_files(files, place.parent) == ["one.txt"]
        assert [check.status for check in verify_files(files, place.parent)] == ["ok"]
    assert place.read_bytes() == b"one"


def test_a_file_that_is_damaged_in_the_cache_is_one_clear_error_offline(tmp_path, monkeypatch):
    with serving_hub(datasets=SET) as hub, using_hub(tmp_path / "hub", hub.url):
        fetch_files(describe_files("one.txt"), tmp_path / "a")
        (tmp_path / "a" / "one.txt").write_bytes(b"eno")  # through the link
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(ValueError, match="checksum expected .*, found .*unset HF_HUB_OFFLINE"):
            fetch_files(describe_files("one.txt"), tmp_path / "b")
    assert not (tmp_path / "b" / "one.txt").exists()


@pytest.mark.parametrize("is_large", [False, True])
def test_other_bytes_than_announced_are_refused_and_leave_the_cache(tmp_path, is_large):
    announced = "b" * 64 if is_large else "b" * 40
    with (
        serving() as storage,
        serving_hub(
            datasets=SET,
            storage=storage if is_large else None,
            linked={"X-Linked-Etag": f'"{announced}"'},
            headers={"ETag": f'"{announced}"'},
        ) as hub,
        using_hub(tmp_path / "hub", hub.url),
    ):
        with pytest.raises(ValueError, match=f"announces: checksum expected {announced}, found"):
            fetch_files(describe_files("one.txt"), tmp_path / "data")
        hub.headers = {}
        hub.linked = {}
        fetch_files(describe_files("one.txt"), tmp_path / "data")
    assert (tmp_path / "data" / "one.txt").read_bytes() == b"one"
    assert not list((tmp_path / "hub").rglob(announced))


def test_the_token_is_sent_to_the_hub_and_to_no_other_server(tmp_path, monkeypatch):
    with (
        serving() as storage,
        serving_hub(datasets=SET, storage=storage) as hub,
        serving_hub(datasets=SET) as mirror,
        using_hub(tmp_path / "hub", hub.url),
    ):
        monkeypatch.setenv("HF_TOKEN", "secret")
        fetch_files(describe_files("one.txt"), tmp_path / "data")
        fetch_files(describe_files(), tmp_path / "data", mirror=mirror.url)
    hub_headers = [headers.get("authorization") for _, headers in hub.asked]
    assert set(hub_headers) == {"Bearer secret"}
    assert len(storage.asked) == 1
    assert len(mirror.asked) == 2
    for _, headers in storage.asked + mirror.asked:
        assert "authorization" not in {name.lower() for name in headers}


def test_a_download_that_breaks_off_is_continued(tmp_path, without_pauses):
    """huggingface_hub does so in pieces of 10 MiB."""
    large = BYTES * 80
    with (
        serving(cuts=[15_000_000]) as storage,
        serving_hub(datasets={"owner/set": {"large": large}}, storage=storage) as hub,
        using_hub(tmp_path / "hub", hub.url),
    ):
        fetch_files(describe_files("large"), tmp_path / "data")
    assert (tmp_path / "data" / "large").read_bytes() == large
    [_, (_, headers)] = storage.asked
    assert headers["Range"] == f"bytes={10 << 20}-"


def test_after_a_kill_the_files_that_had_come_are_not_asked_for_again(tmp_path):
    """The file that was cut starts over: huggingface_hub keeps no part of it, see decisions.md."""
    folder = tmp_path / "data"
    paths = ("one.txt", "large", "sub/two.txt")
    datasets = {"owner/set": {**FILES, "large": BYTES}}
    with serving_hub(datasets=datasets, pause=0.05, step=16_384) as hub:
        process = start_fetch(folder, *paths, home=tmp_path, endpoint=hub.url)
        deadline = time.monotonic() + 600
        while len(hub.downloads) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert list(read_file_list(folder)) == ["one.txt"]
        assert not (folder / "large").exists()
        hub.pause = 0.0
        hub.asked.clear()
        hub.methods.clear()
        process = start_fetch(folder, *paths, home=tmp_path, endpoint=hub.url)
        assert finish(process) == "['large', 'sub/two.txt']\n"
        names = [path.rpartition(f"{COMMIT}/")[2] for path in hub.downloads]
        assert names == ["large", "sub/two.txt"]
    assert (folder / "large").read_bytes() == BYTES


def test_a_filled_cache_needs_no_connection_and_an_empty_one_is_a_clear_error(tmp_path):
    full = tmp_path / "full"
    with serving_hub(datasets=SET) as hub:
        process = start_fetch(tmp_path / "a", "one.txt", home=full, endpoint=hub.url)
        assert finish(process) == "['one.txt']\n"
    closed = hub.url  # nobody answers there any more
    process = start_fetch(tmp_path / "b", "one.txt", home=full, endpoint=closed, HF_HUB_OFFLINE="1")
    assert finish(process) == "['one.txt']\n"
    assert (tmp_path / "b" / "one.txt").read_bytes() == b"one"
    process = start_fetch(
        tmp_path / "c", "one.txt", home=tmp_path / "empty", endpoint=closed, HF_HUB_OFFLINE="1"
    )
    _, error = process.communicate(timeout=600)
    assert process.returncode == 1
    message = error.rpartition("ValueError: ")[2]
    assert "The cache has no good copy: unset HF_HUB_OFFLINE and fetch it." in message
    assert f"by hand at {tmp_path / 'c' / 'one.txt'}" in message


def test_there_are_copies_where_the_user_wants_no_links(tmp_path):
    folder = tmp_path / "data"
    with serving_hub(datasets=SET) as hub:
        process = start_fetch(
            folder, *FILES, home=tmp_path, endpoint=hub.url, HF_HUB_DISABLE_SYMLINKS="1"
        )
        assert finish(process) == f"{list(FILES)}\n"
    for path, data in FILES.items():
        assert not (folder / path).is_symlink()
        assert (folder / path).read_bytes() == data
    assert {check.status for check in verify_files(describe_files(), folder)} == {"ok"}


@pytest.mark.filterwarnings("ignore:`huggingface_hub` cache-system uses symlinks")
def test_there_is_a_copy_where_no_link_can_be_made(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("no links in this file system")

    monkeypatch.setattr("os.symlink", refuse)
    (tmp_path / "cached").write_bytes(b"one")
    link_or_copy(tmp_path / "cached", tmp_path / "data" / "one.txt")
    assert not (tmp_path / "data" / "one.txt").is_symlink()
    assert (tmp_path / "data" / "one.txt").read_bytes() == b"one"


@pytest.mark.parametrize("names", [("data", "data"), ("data", "data2")])
def test_two_processes_download_each_file_once(tmp_path, names):
    """Into one folder, and into two folders with one cache."""
    with serving_hub(datasets=SET, pause=0.05) as hub:
        processes = []
        for name in names:
            process = start_fetch(tmp_path / name, *FILES, home=tmp_path, endpoint=hub.url)
            processes.append(process)
        outputs = [finish(process) for process in processes]
        assert len(hub.downloads) == len(FILES)
    expected = ["[]\n", f"{list(FILES)}\n"] if names[0] == names[1] else [f"{list(FILES)}\n"] * 2
    assert sorted(outputs) == sorted(expected)
    for name in names:
        statuses = {check.status for check in verify_files(describe_files(), tmp_path / name)}
        assert statuses == {"ok"}


def test_a_path_outside_the_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no path in the folder of a data set"):
        fetch_files(describe_files("../one.txt"), tmp_path / "data")
    assert not (tmp_path / "data").exists()
