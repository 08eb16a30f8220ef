"""Downloads from a real server that misbehaves: a file is whole and right under its name, or not there at all."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files import download as module
from hybrid_ir.files.download import PartialFile, ServerPromise, download
from tests.support.web import serving

PAGE = (
    b"".join(hashlib.sha256(bytes([i])).digest() for i in range(200)) * 40
)  # 256 kB without repeats in sight
SHA = hashlib.sha256(PAGE).hexdigest()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@given(
    cuts=st.lists(st.integers(0, len(PAGE)), max_size=8),
    ranges=st.booleans(),
    etag=st.booleans(),
    known=st.booleans(),
    statuses=st.lists(st.sampled_from([429, 500, 503]), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_cuts_the_file_is_whole_or_absent(
    tmp_path_factory, cuts, ranges, etag, known, statuses
):
    place = tmp_path_factory.mktemp("cuts") / "page.bin"
    headers = {} if etag else {"ETag": ""}
    with serving(
        pages={"/page": PAGE}, cuts=cuts, ranges=ranges, headers=headers, statuses=statuses
    ) as web:
        for _ in range(4):  # a user who tries again
            try:
                download(
                    f"{web.url}/page",
                    place,
                    len(PAGE) if known else None,
                    SHA if known else None,
                    pause=0,
                )
                break
            except ValueError as error:
                assert "could not be had" in str(error) and not place.exists()
        assert place.read_bytes() == PAGE and hidden(place.parent) == []


def test_a_cut_is_continued_where_it_broke_off(tmp_path):
    with serving(pages={"/page": PAGE}, cuts=[100_000, 50_000]) as web:
        seen = []
        download(
            f"{web.url}/page",
            tmp_path / "page",
            pause=0,
            show=lambda done, total: seen.append((done, total)),
        )
        assert [asked.get("Range") for _, asked in web.asked] == [
            None,
            "bytes=100000-",
            "bytes=150000-",
        ]
        assert {asked["If-Range"] for _, asked in web.asked[1:]} == {
            f'"{hashlib.md5(PAGE).hexdigest()}"'
        }
        assert seen[-1] == (len(PAGE), len(PAGE)) and [done for done, _ in seen] == sorted(
            done for done, _ in seen
        )


def test_as_many_cuts_as_you_like_if_bytes_come_between_them(tmp_path):
    with serving(pages={"/page": PAGE}, cuts=[9_000] * (3 * module.TRIES)) as web:
        download(f"{web.url}/page", tmp_path / "page", sha256=SHA, pause=0)
        assert len(web.asked) == 3 * module.TRIES + 1


def test_a_range_that_starts_elsewhere_is_not_appended(tmp_path):
    with serving(pages={"/page": PAGE}, cuts=[100_000], from_start=True) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_between_the_tries_is_the_new_one(tmp_path, honest):
    """Also from a server that sends a range of the new version although the old one was asked for."""
    new = PAGE[::-1]
    with serving(pages={"/page": PAGE}, cuts=[100_000] + [0] * module.TRIES) as web:
        with pytest.raises(ValueError, match="could not be had"):
            download(f"{web.url}/page", tmp_path / "page", pause=0)
        assert PartialFile(tmp_path / "page").size == 100_000
        web.cuts.clear()
        web.pages["/page"], web.if_range = new, honest
        download(f"{web.url}/page", tmp_path / "page", pause=0)
        assert "Range" in web.asked[module.TRIES][1]
    assert (tmp_path / "page").read_bytes() == new


def test_a_part_longer_than_the_file_starts_over(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.start(ServerPromise(etag='"x"', size=len(PAGE) + 9))
    part.data.write_bytes(b"z" * (len(PAGE) + 5))
    with serving(pages={"/page": PAGE}, headers={"ETag": '"x"'}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == PAGE


def test_a_damaged_note_starts_over(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.data.write_bytes(b"old bytes")
    part.note.write_text('{"etag": "')
    with serving(pages={"/page": PAGE}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
        assert "Range" not in web.asked[0][1]
    assert (tmp_path / "page").read_bytes() == PAGE


def test_a_whole_part_is_checked_without_asking_again(tmp_path):
    part = PartialFile(tmp_path / "page")
    part.start(ServerPromise(etag='"x"', size=len(PAGE), sha256=SHA))
    part.data.write_bytes(PAGE)
    download("http://127.0.0.1:9/page", tmp_path / "page")
    assert (tmp_path / "page").read_bytes() == PAGE and hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "how", "said"),
    [
        ({"sha256": "0" * 64}, {}, ["sha256 expected " + "0" * 64, f"found {SHA}"]),
        ({"size": 5}, {}, [f"has {len(PAGE):,} bytes, expected 5"]),
        ({}, {"headers": {"ETag": f'"{"a" * 64}"'}}, ["sha256 expected " + "a" * 64]),
        (
            {"size": len(PAGE) - 1},
            {"headers": {"Content-Length": "", "ETag": ""}},
            [f"bytes expected {len(PAGE) - 1}, found {len(PAGE)}"],
        ),
        (
            {"size": len(PAGE) + 1},
            {"headers": {"Content-Length": "", "ETag": ""}},
            ["could not be had", "bytes came"],
        ),
    ],
)
def test_another_file_than_expected_is_refused_and_deleted(tmp_path, arguments, how, said):
    with serving(pages={"/page": PAGE}, **how) as web, pytest.raises(ValueError) as raised:
        download(f"{web.url}/page", tmp_path / "page", pause=0, **arguments)
    for text in [*said, f"{web.url}/page", "mirror=URL", str(tmp_path / "page")]:
        assert text in str(raised.value)
    assert not (tmp_path / "page").exists()
    if "could not be had" not in said:
        assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("linked", "said"),
    [
        ({"X-Linked-Size": str(len(PAGE)), "X-Linked-ETag": f'"{SHA}"'}, None),
        ({"X-Linked-ETag": f'"{"b" * 64}"'}, "sha256 expected " + "b" * 64),
    ],
)
def test_the_hub_says_the_checksum_on_its_redirect(tmp_path, linked, said):
    with (
        serving(pages={"/page": PAGE}) as storage,
        serving(redirect=storage.url, linked=linked) as hub,
    ):
        if said is None:
            download(f"{hub.url}/page", tmp_path / "page", pause=0)
            assert (tmp_path / "page").read_bytes() == PAGE and storage.paths == ["/page"]
        else:
            with pytest.raises(ValueError, match=said):
                download(f"{hub.url}/page", tmp_path / "page", pause=0)
            assert not (tmp_path / "page").exists()


def test_the_token_goes_to_the_hub_and_to_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serving(pages={"/page": PAGE}) as storage, serving(redirect=storage.url) as hub:
        download(f"{hub.url}/page", tmp_path / "one", pause=0)
        assert not any("Authorization" in asked for _, asked in hub.asked + storage.asked)
        monkeypatch.setattr(module, "HUB", hub.url)
        download(f"{hub.url}/page", tmp_path / "two", pause=0)
        assert (
            hub.asked[-1][1]["Authorization"] == "Bearer secret"
            and "Authorization" not in storage.asked[-1][1]
        )
    assert module.build_authorization("https://huggingface.co.example.org/x") == {}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404, no such file"),
        (401, "401, access denied"),
        (403, "accept its terms on its page and set HF_TOKEN"),
        (410, "status 410"),
    ],
)
def test_an_answer_without_the_file_is_one_clear_error(tmp_path, status, said):
    with (
        serving(pages={"/page": PAGE}, statuses=[status]) as web,
        pytest.raises(ValueError, match=said) as raised,
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (
        f"{web.url}/page" in str(raised.value)
        and "by hand at" in str(raised.value)
        and web.paths == ["/page"]
    )


def test_a_refused_connection_is_one_clear_error_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ValueError, match="could not be had .*refused.*mirror=URL.*by hand"):
        download(f"http://127.0.0.1:{port}/page", tmp_path / "page")
    assert time.monotonic() - started < 1


def test_a_server_that_stays_broken_is_given_up(tmp_path):
    with (
        serving(pages={"/page": PAGE}, statuses=[500] * 99) as web,
        pytest.raises(ValueError, match="status 500"),
    ):
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert len(web.asked) == module.TRIES


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "http://[/x"])
def test_what_is_no_address_is_one_clear_error(tmp_path, url):
    with pytest.raises(ValueError, match="could not be had"):
        download(url, tmp_path / "page", pause=0)


def test_an_empty_file_is_a_file(tmp_path):
    with serving(pages={"/page": b""}) as web:
        download(f"{web.url}/page", tmp_path / "page", pause=0)
    assert (tmp_path / "page").read_bytes() == b""


def test_a_killed_download_leaves_no_file_under_its_name_and_the_next_call_goes_on(tmp_path):
    place = tmp_path / "page"
    with serving(pages={"/page": PAGE}, pause=0.02, step=4096) as web:
        code = (
            f"from pathlib import Path; from hybrid_ir.files.download import download; download({web.url + '/page'!r}, "
            f"Path({str(place)!r}))"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        part = PartialFile(place)
        deadline = time.monotonic() + 20
        while part.size < 20_000 and time.monotonic() < deadline:
            assert not place.exists()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not place.exists() and 20_000 <= part.size < len(PAGE)
        kept, web.pause = part.size, 0.0
        assert json.loads(part.note.read_text())["size"] == len(PAGE)
        download(f"{web.url}/page", place, sha256=SHA)
        assert web.asked[-1][1]["Range"] == f"bytes={kept}-" and hidden(tmp_path) == []
    assert place.read_bytes() == PAGE
