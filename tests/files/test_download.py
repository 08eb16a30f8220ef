"""Downloads from a real server that misbehaves: a file is complete and right, or not there."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files import download as download_module
from hybrid_ir.files.download import TRIES, PartialFile, ServerPromise, download
from tests.support.web import serving

ROOT = Path(__file__).parents[2]
# 256 kB in which no piece repeats for a long time.
PAGE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200)) * 40
PAGE_SHA256 = hashlib.sha256(PAGE).hexdigest()


def list_hidden_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@given(
    cuts=st.lists(st.integers(0, len(PAGE)), max_size=8),
    ranges=st.booleans(),
    etag=st.booleans(),
    known=st.booleans(),
    statuses=st.lists(st.sampled_from([429, 500, 503]), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_a_file_is_complete_or_absent_whatever_breaks_off(
    tmp_path_factory, cuts, ranges, etag, known, statuses
):
    path = tmp_path_factory.mktemp("cuts") / "page.bin"
    headers = {} if etag else {"ETag": ""}
    size = len(PAGE) if known else None
    sha256 = PAGE_SHA256 if known else None
    with serving(
        pages={"/page": PAGE}, cuts=cuts, ranges=ranges, headers=headers, statuses=statuses
    ) as web:
        for _ in range(4):  # a user who tries again
            try:
                download(f"{web.url}/page", path, size, sha256, pause=0)
                break
            except ValueError as error:
                assert "could not be had" in str(error)
                assert not path.exists()
    assert path.read_bytes() == PAGE
    assert list_hidden_files(path.parent) == []


def test_a_download_continues_where_it_broke_off(tmp_path):
    progress = []
    with serving(pages={"/page": PAGE}, cuts=[100_000, 50_000]) as web:
        download(
            f"{web.url}/page",
            tmp_path / "page",
            pause=0,
            show=lambda done, total: progress.append((done, total)),
        )
    requests = [headers for _, headers in web.asked]
    assert [headers.get("Range") for headers in requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
    ]
    etag = f'"{hashlib.md5(PAGE).hexdigest()}"'
    assert [headers.get("If-Range") for headers in requests] == [None, etag, etag]
    assert progress == sorted(progress)
    assert progress[-1] == (len(PAGE), len(PAGE))


def test_cuts_are_no_failures_as_long_as_bytes_come_between_them(tmp_path):
    with serving(pages={"/page": PAGE}, cuts=[9_000] * (3 * TRIES)) as web:
        download(f"{web.url}/page", tmp_path / "page", sha256=PAGE_SHA256, pause=0)
    assert len(web.asked) == 3 * TRIES + 1


def test_a_range_that_starts_elsewhere_is_not_appended(tmp_path):
    with serving(pages={"/page": PAGE}, cuts=[100_000], from_start=True) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changes_between_the_tries_is_the_new_one(tmp_path, honours_if_range):
    """Also where the server sends a range of the new version although the old one was asked for."""
    new_page = PAGE[::-1]
    with serving(pages={"/page": PAGE}, cuts=[100_000] + [0] * TRIES) as web:
        with pytest.raises(ValueError, match="could not be had"):
            download(f"{web.url}/page", tmp_path / "page", pause=0)
        assert PartialFile(tmp_path / "page").size == 100_000
        web.cuts.clear()
        web.pages["/page"] = new_page
        web.if_range = honours_if_range
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    _, first_headers_after_the_change = web.asked[TRIES]
    assert "Range" in first_headers_after_the_change
    assert (tmp_path / "page").read_bytes() == new_page


def test_a_part_longer_than_the_file_starts_over(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.start(ServerPromise(etag='"x"', size=len(PAGE) + 9))
    part.data.write_bytes(b"z" * (len(PAGE) + 5))
    with serving(pages={"/page": PAGE}, headers={"ETag": '"x"'}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE


def test_a_part_with_a_damaged_note_starts_over(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.data.write_bytes(b"old bytes")
    part.note.write_text('{"etag": "')
    with serving(pages={"/page": PAGE}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    _, headers = web.asked[0]
    assert "Range" not in headers
    assert (tmp_path / "page").read_bytes() == PAGE


def test_a_complete_part_is_checked_without_a_request(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.start(ServerPromise(etag='"x"', size=len(PAGE), sha256=PAGE_SHA256))
    part.data.write_bytes(PAGE)
    download("http://127.0.0.1:9/page", tmp_path / "page")
    assert (tmp_path / "page").read_bytes() == PAGE
    assert list_hidden_files(tmp_path) == []


@pytest.mark.parametrize(
    ("expectation", "server", "messages"),
    [
        (
            {"sha256": "0" * 64},
            {},
            ["sha256 expected " + "0" * 64, f"found {PAGE_SHA256}"],
        ),
        ({"size": 5}, {}, [f"has {len(PAGE):,} bytes, expected 5"]),
        ({}, {"headers": {"ETag": f'"{"a" * 64}"'}}, ["sha256 expected " + "a" * 64]),
        (
            {"size": len(PAGE) - 1},
            {"headers": {"Content-Length": "", "ETag": ""}},
            [f"bytes expected {len(PAGE) - 1}, found {len(PAGE)}"],
        ),
    ],
)
def test_another_file_than_expected_is_refused_and_deleted(tmp_path, expectation, server, messages):
    with serving(pages={"/page": PAGE}, **server) as web, pytest.raises(ValueError) as raised:
        download(f"{web.url}/page", tmp_path / "page", pause=0, **expectation)
    for message in [*messages, f"{web.url}/page", "mirror=URL", str(tmp_path / "page")]:
        assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_fewer_bytes_than_expected_are_never_put_in_place(tmp_path):
    headers = {"Content-Length": "", "ETag": ""}
    with (
        serving(pages={"/page": PAGE}, headers=headers) as web,
        pytest.raises(ValueError, match="could not be had .*bytes came.*mirror=URL"),
    ):
        download(f"{web.url}/page", tmp_path / "page", len(PAGE) + 1, pause=0)
    assert not (tmp_path / "page").exists()


def test_the_right_checksum_on_the_redirect_of_the_hub_is_accepted(tmp_path):
    linked = {"X-Linked-Size": str(len(PAGE)), "X-Linked-ETag": f'"{PAGE_SHA256}"'}
    with (
        serving(pages={"/page": PAGE}) as storage,
        serving(redirect=storage.url, linked=linked) as hub,
    ):
        download(f"{hub.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE
    assert storage.paths == ["/page"]


def test_a_wrong_checksum_on_the_redirect_of_the_hub_is_refused(tmp_path):
    linked = {"X-Linked-ETag": f'"{"b" * 64}"'}
    with (
        serving(pages={"/page": PAGE}) as storage,
        serving(redirect=storage.url, linked=linked) as hub,
        pytest.raises(ValueError, match="sha256 expected " + "b" * 64),
    ):
        download(f"{hub.url}/page", tmp_path / "page", pause=0)
    assert not (tmp_path / "page").exists()


def test_the_token_goes_to_the_hub_and_to_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serving(pages={"/page": PAGE}) as storage, serving(redirect=storage.url) as hub:
        download(f"{hub.url}/page", tmp_path / "one", pause=0)
        for _, headers in hub.asked + storage.asked:
            assert "Authorization" not in headers
        monkeypatch.setattr(download_module, "HUB", hub.url)
        download(f"{hub.url}/page", tmp_path / "two", pause=0)
    _, hub_headers = hub.asked[-1]
    _, storage_headers = storage.asked[-1]
    assert hub_headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in storage_headers
    assert download_module.build_authorization("https://huggingface.co.example.org/x") == {}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "404, no such file"),
        (401, "401, access denied"),
        (403, "accept its terms on its page and set HF_TOKEN"),
        (410, "status 410"),
    ],
)
def test_an_answer_without_the_file_is_one_clear_error(tmp_path, status, message):
    with (
        serving(pages={"/page": PAGE}, statuses=[status]) as web,
        pytest.raises(ValueError, match=message) as raised,
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert f"{web.url}/page" in str(raised.value)
    assert "by hand at" in str(raised.value)
    assert web.paths == ["/page"]


def test_a_refused_connection_is_not_tried_again(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download_module.time, "sleep", pauses.append)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ValueError, match="could not be had .*refused.*mirror=URL.*by hand"):
        download(f"http://127.0.0.1:{port}/page", tmp_path / "page")
    assert pauses == []


def test_a_server_that_stays_broken_is_given_up(tmp_path):
    with (
        serving(pages={"/page": PAGE}, statuses=[500] * 99) as web,
        pytest.raises(ValueError, match="status 500"),
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert len(web.asked) == TRIES


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "http://[/x"])
def test_what_is_no_address_is_one_clear_error(tmp_path, url):
    with pytest.raises(ValueError, match="could not be had"):
        download(url, tmp_path / "page", pause=0)


def test_an_empty_file_can_be_downloaded(tmp_path):
    with serving(pages={"/page": b""}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == b""


def test_a_killed_download_leaves_no_file_and_the_next_continues(tmp_path):
    path = tmp_path / "page"
    part = PartialFile(path)
    with serving(pages={"/page": PAGE}, pause=0.02, step=4096) as web:
        code = (
            "from pathlib import Path\n"
            "from hybrid_ir.files.download import download\n"
            f"download({web.url + '/page'!r}, Path({str(path)!r}))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        deadline = time.monotonic() + 600
        while part.size < 20_000 and time.monotonic() < deadline:
            assert not path.exists()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not path.exists()
        size = part.size
        assert 20_000 <= size < len(PAGE)
        assert json.loads(part.note.read_text())["size"] == len(PAGE)
        web.pause = 0.0
        download(f"{web.url}/page", path, sha256=PAGE_SHA256)
    _, headers = web.asked[-1]
    assert headers["Range"] == f"bytes={size}-"
    assert path.read_bytes() == PAGE
    assert list_hidden_files(tmp_path) == []
