"""Downloads from a real server that misbehaves: a file is complete and right, or not there."""

import hashlib
import io
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.files import download as download_module
from hybrid_ir.files.download import CHUNK, TRIES, download, get_part_folder
from hybrid_ir.system import progress as progress_module
from tests.support.web import serving

ROOT = Path(__file__).parents[2]
# 256 kB in which no piece repeats for a long time.
PAGE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200)) * 40
PAGE_SHA256 = hashlib.sha256(PAGE).hexdigest()
PAGE_ETAG = f'"{hashlib.md5(PAGE).hexdigest()}"'


def list_hidden_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def write_part(path: Path, data: bytes, etag: str | None) -> None:
    """Writes what a killed download leaves of a file."""
    folder = get_part_folder(path)
    folder.mkdir()
    (folder / "bytes").write_bytes(data)
    if etag is not None:
        (folder / "etag").write_text(etag)


def count_part_bytes(path: Path) -> int:
    data = get_part_folder(path) / "bytes"
    return data.stat().st_size if data.exists() else 0


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
    with serving(pages={"/page": PAGE}, cuts=[100_000, 50_000]) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    requests = [headers for _, headers in web.asked]
    # What has come of the last piece before a cut is lost.
    assert [headers.get("Range") for headers in requests] == [
        None,
        f"bytes={12 * CHUNK}-",
        f"bytes={18 * CHUNK}-",
    ]
    assert [headers.get("If-Range") for headers in requests] == [None, PAGE_ETAG, PAGE_ETAG]
    assert (tmp_path / "page").read_bytes() == PAGE


@pytest.mark.parametrize("headers", [{}, {"Content-Length": ""}])
def test_the_bar_counts_the_bytes_that_are_here(tmp_path, headers):
    cuts = [] if headers else [100_000]
    progress = Progress(console=Console(file=io.StringIO()))
    with serving(pages={"/page": PAGE}, cuts=cuts, headers=headers) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0, progress=progress)
    [task] = progress.tasks
    assert task.description == "page"
    if not headers:
        assert (task.completed, task.total) == (len(PAGE), len(PAGE))


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
    path = tmp_path / "page"
    new_page = PAGE[::-1]
    with serving(pages={"/page": PAGE}, cuts=[100_000] + [0] * TRIES) as web:
        with pytest.raises(ValueError, match="could not be had"):
            download(f"{web.url}/page", path, pause=0)
        assert count_part_bytes(path) == 12 * CHUNK
        web.cuts.clear()
        web.pages["/page"] = new_page
        web.if_range = honours_if_range
        download(f"{web.url}/page", path, pause=0)
    _, first_headers_after_the_change = web.asked[TRIES]
    assert "Range" in first_headers_after_the_change
    assert path.read_bytes() == new_page


@pytest.mark.parametrize("size", [len(PAGE), len(PAGE) + 5])
def test_a_part_as_long_as_the_file_or_longer_starts_over(tmp_path, size):
    write_part(tmp_path / "page", b"z" * size, PAGE_ETAG)
    with serving(pages={"/page": PAGE}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE


def test_a_part_of_an_unknown_version_starts_over(tmp_path):
    write_part(tmp_path / "page", b"old bytes", etag=None)
    with serving(pages={"/page": PAGE}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    _, headers = web.asked[0]
    assert "Range" not in headers
    assert (tmp_path / "page").read_bytes() == PAGE


@pytest.mark.parametrize("data", [PAGE, b"other"])
def test_a_complete_part_is_placed_without_a_request_if_it_is_right(tmp_path, data):
    """It is there when an earlier download was killed between the check and the move."""
    folder = get_part_folder(tmp_path / "page")
    folder.mkdir()
    (folder / "page").write_bytes(data)
    with serving(pages={"/page": PAGE}) as web:
        download(f"{web.url}/page", tmp_path / "page", sha256=PAGE_SHA256)
    assert web.paths == ([] if data == PAGE else ["/page"])
    assert (tmp_path / "page").read_bytes() == PAGE
    assert list_hidden_files(tmp_path) == []


@pytest.mark.parametrize(
    ("expectation", "headers", "messages"),
    [
        ({"sha256": "0" * 64}, {}, ["expected " + "0" * 64, f"got {PAGE_SHA256}"]),
        ({"size": 5}, {}, [f"bytes expected 5, found {len(PAGE):,}"]),
        (
            {"size": len(PAGE) + 1},
            {"Content-Length": "", "ETag": ""},
            [f"bytes expected {len(PAGE) + 1:,}, found {len(PAGE):,}"],
        ),
    ],
)
def test_another_file_than_expected_is_refused_and_deleted(
    tmp_path, expectation, headers, messages
):
    with (
        serving(pages={"/page": PAGE}, headers=headers) as web,
        pytest.raises(ValueError, match="is not the expected file") as raised,
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0, **expectation)
    for message in [*messages, f"{web.url}/page", "mirror=URL", str(tmp_path / "page")]:
        assert message in str(raised.value)
    assert web.paths == ["/page"]
    assert list(tmp_path.iterdir()) == []


def test_the_token_of_the_hub_is_sent_to_no_other_server(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serving(pages={"/page": PAGE}) as storage, serving(redirect=storage.url) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert storage.paths == ["/page"]
    for _, headers in web.asked + storage.asked:
        assert "Authorization" not in headers


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_answer_without_the_file_is_one_clear_error(tmp_path, status):
    with (
        serving(pages={"/page": PAGE}, statuses=[status]) as web,
        pytest.raises(ValueError, match=f"could not be had .{status} Client Error") as raised,
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert f"{web.url}/page" in str(raised.value)
    assert f"by hand at {tmp_path / 'page'}" in str(raised.value)
    assert web.paths == ["/page"]
    assert list(tmp_path.iterdir()) == []


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
        pytest.raises(ValueError, match="could not be had .500 Server Error"),
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
    with serving(pages={"/page": PAGE}, pause=0.05, step=16_384) as web:
        code = (
            "from pathlib import Path\n"
            "from hybrid_ir.files.download import download\n"
            f"download({web.url + '/page'!r}, Path({str(path)!r}))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        deadline = time.monotonic() + 600
        while count_part_bytes(path) < 50_000 and time.monotonic() < deadline:
            assert not path.exists()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        size = count_part_bytes(path)
        assert not path.exists()
        assert 50_000 <= size < len(PAGE)
        web.pause = 0.0
        download(f"{web.url}/page", path, sha256=PAGE_SHA256)
    _, headers = web.asked[-1]
    assert headers["Range"] == f"bytes={size}-"
    assert path.read_bytes() == PAGE
    assert [file.name for file in tmp_path.iterdir()] == ["page"]


def test_lines_tell_how_many_bytes_have_come(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.05)
    with serving(pages={"/page": PAGE}, pause=0.02, step=16_384) as web:
        with progress_module.watch_progress("fetch"):
            download(f"{web.url}/page", tmp_path / "page", pause=0)
        printed = capsys.readouterr().err
    assert "fetch page, bytes: " in printed
    assert f" of {len(PAGE):,} (" in printed
    assert progress_module.describe_present_work(progress_module.LongWork("nothing")).startswith(
        "nothing"
    )
