"""A real server on loopback that speaks the API of the Hugging Face hub, as far as it is used.

Set HF_ENDPOINT to its address before huggingface_hub or datasets is imported in a process. Both
then work as with the hub; use HF_HOME for a cache of their own.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from huggingface_hub import constants

from tests.support.web import Answer, Web, running

REPOSITORY = r"(?P<name>[^/]+/[^/]+)"
FILE_PATH = re.compile(
    rf"/(?P<kind>datasets/)?{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)
API_PATH = re.compile(
    rf"/api/(?P<kind>datasets|models)/{REPOSITORY}"
    r"(/(?P<verb>revision|tree|paths-info)/(?P<revision>[^/]+)(/(?P<path>.+))?)?"
)
JSON_TYPE = "application/json; charset=utf-8"


@dataclass
class HubServer(Web):
    """Repositories, and how they are served; see `Web` for the misbehaviours.

    Every file has a checksum of git as its ETag. If there is a `storage`, each file is a redirect
    to that other server, with the SHA-256 of its content, as large files are on the hub.

    Args:
        datasets: the files of data sets: by owner/name, then by path. The files of one revision
            are under owner/name@REVISION.
        models: the same of models.
        revisions: the names of branches and tags. Every commit is known: it has 40 digits.
        gated: the repositories for which a token is needed.
        tokens: the tokens of users who may read the gated repositories.
        storage: the server of the contents.
        page_size: the files that are listed at once.
    """

    datasets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: tuple[str, ...] = ("main",)
    gated: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    storage: Web | None = None
    page_size: int = 1000

    @property
    def downloads(self) -> list[str]:
        """The paths of all downloads of pages and of files of repositories, as often as asked."""
        paths = []
        for path, method in zip(self.paths, self.methods, strict=True):
            if method == "GET" and not path.startswith("/api/"):
                paths.append(unquote(urlsplit(path).path))
        return paths

    def find_cut(self, path: str) -> int | None:
        """Returns where a file breaks off; lists of files never do."""
        return None if path.startswith("/api/") else super().find_cut(path)

    def answer(self, path: str, asked: Mapping[str, str], form: str) -> Answer:
        """Returns the answer to a request; what is no request of the hub's API is a page."""
        address = urlsplit(path)
        match = FILE_PATH.fullmatch(address.path) or API_PATH.fullmatch(address.path)
        if match is None:
            return super().answer(path, asked, form)
        if self.statuses:
            return self.statuses.pop(0), b"no", {"Content-Length": "2"}
        kind = (match["kind"] or "models").strip("/")
        name = match["name"]
        known = self.datasets if kind == "datasets" else self.models
        revision = unquote(match["revision"] or "main")
        files = known.get(f"{name}@{revision}", known.get(name))
        if files is None:
            return refuse(401, "RepoNotFound")
        if name in self.gated:
            token = asked.get("Authorization", "").removeprefix("Bearer ")
            if token not in self.tokens:
                return refuse(403 if token else 401, "GatedRepo")
        if not re.fullmatch("[0-9a-f]{40}", revision) and revision not in self.revisions:
            return refuse(404, "RevisionNotFound")
        commit = find_commit(name, revision)
        path_in_repository = unquote(match["path"] or "")
        if match.re is FILE_PATH:
            return self._answer_content(files, path_in_repository, commit, asked)
        if match["verb"] == "tree":
            return self._answer_tree(files, path_in_repository, address, commit)
        if match["verb"] == "paths-info":
            entries = list_entries(files, commit)
            paths = parse_qs(form).get("paths", [])
            return answer_json([entry for entry in entries if entry["path"] in paths])
        return answer_json(describe_repository(name, files, commit))

    def _answer_content(
        self, files: Mapping[str, bytes], path: str, commit: str, asked: Mapping[str, str]
    ) -> Answer:
        if path not in files:
            status, body, headers = refuse(404, "EntryNotFound")
            return status, body, {**headers, "X-Repo-Commit": commit}
        content = files[path]
        if self.storage is None:
            status, body, headers = self.answer_file(content, hash_blob(content), asked)
            return status, body, {**headers, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        sha256 = hashlib.sha256(content).hexdigest()
        self.storage.pages.setdefault(f"/{sha256}", content)
        headers = {
            "Location": f"{self.storage.url}/{sha256}",
            "Content-Length": "0",
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(content)),
            "X-Linked-Etag": f'"{sha256}"',
            **self.linked,
        }
        return 302, b"", headers

    def _answer_tree(
        self, files: Mapping[str, bytes], folder: str, address: Any, commit: str
    ) -> Answer:
        query = parse_qs(address.query)
        is_recursive = query.get("recursive", ["False"])[0].lower() == "true"
        start = int(query.get("cursor", ["0"])[0])
        prefix = f"{folder}/" if folder else ""
        entries = []
        for entry in list_entries(files, commit):
            rest = entry["path"].removeprefix(prefix)
            is_inside = entry["path"].startswith(prefix) and rest
            if is_inside and (is_recursive or "/" not in rest):
                entries.append(entry)
        if folder and not entries:
            return refuse(404, "EntryNotFound")
        end = start + self.page_size
        status, body, headers = answer_json(entries[start:end])
        if end < len(entries):
            pairs = [f"recursive={is_recursive}", f"cursor={end}"]
            headers["Link"] = f'<{self.url}{quote(address.path)}?{"&".join(pairs)}>; rel="next"'
        return status, body, headers


@contextmanager
def serving_hub(**choices):
    """Runs a hub; the choices are those of `HubServer`."""
    with running(HubServer(**choices)) as hub:
        yield hub


@contextmanager
def using_hub(cache: Path, endpoint: str | None = None):
    """Lets huggingface_hub use the network in this process, and a cache for it alone.

    Args:
        cache: the folder of the cache.
        endpoint: the address of a hub for HF_ENDPOINT, if any.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.delenv("HF_TOKEN", raising=False)
        if endpoint:
            patch.setenv("HF_ENDPOINT", endpoint)
        yield


def sort_pages(pages: Mapping[str, bytes]) -> dict[str, Any]:
    """Returns the choices of a hub which has the pages of the hub and those of other servers."""
    datasets = {}
    revisions = {"main"}
    others = {}
    for path, content in pages.items():
        match = FILE_PATH.fullmatch(path)
        if match is None:
            others[path] = content
            continue
        revision = unquote(match["revision"])
        revisions.add(revision)
        files = datasets.setdefault(f"{match['name']}@{revision}", {})
        files[unquote(match["path"])] = content
    return {"datasets": datasets, "revisions": tuple(revisions), "pages": others}


@contextmanager
def serving_pages(pages: Mapping[str, bytes], cache: Path):
    """Runs a hub with pages of the hub and of other servers; huggingface_hub uses it."""
    with serving_hub(**sort_pages(pages)) as hub, using_hub(cache, hub.url):
        yield hub


def find_commit(name: str, revision: str) -> str:
    """Returns the commit that a revision of a repository means."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return hashlib.sha1(f"{name}@{revision}".encode()).hexdigest()


def hash_blob(content: bytes) -> str:
    """Returns the checksum of git."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def list_entries(files: Mapping[str, bytes], commit: str) -> list[dict[str, Any]]:
    """Returns the files of a repository and their folders as the hub lists them."""
    entries = {}
    last_commit = {"id": commit, "title": "files", "date": "2024-01-01T00:00:00.000Z"}
    for path, content in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries[folder] = {"type": "directory", "oid": commit, "size": 0, "path": folder}
        entries[path] = {
            "type": "file",
            "oid": hash_blob(content),
            "size": len(content),
            "path": path,
            "lastCommit": last_commit,
        }
    return [entries[path] for path in sorted(entries)]


def describe_repository(name: str, files: Mapping[str, bytes], commit: str) -> dict[str, Any]:
    """Returns what the hub says of a repository at a commit."""
    return {
        "_id": "0",
        "id": name,
        "author": name.partition("/")[0],
        "sha": commit,
        "lastModified": "2024-01-01T00:00:00.000Z",
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "siblings": [{"rfilename": path} for path in files],
    }


def answer_json(value: Any) -> Answer:
    """Returns an answer with a value as JSON."""
    body = json.dumps(value).encode()
    return 200, body, {"Content-Type": JSON_TYPE, "Content-Length": str(len(body))}


def refuse(status: int, code: str) -> Answer:
    """Returns an answer with the hub's code of an error."""
    return status, b"", {"Content-Length": "0", "X-Error-Code": code}
