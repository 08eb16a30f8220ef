"""The part of the hub's API that takes models in: repositories, commits, and large files."""

import base64
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from tests.support.hub_server import HubServer, answer_json, find_commit, refuse, using_hub
from tests.support.web import Answer, running

UPLOAD_PATH = re.compile(
    r"/api/models/(?P<name>[^/]+/[^/]+)/(?P<verb>preupload|commit)/(?P<revision>[^/]+)"
)
LARGE_FILES_PATH = re.compile(r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
CONTENT_PATH = re.compile(r"/upload/(?P<oid>[0-9a-f]{64})")


@dataclass
class ReceivingHub(HubServer):
    """A hub that also takes uploads of one user; see `HubServer` for the rest.

    Args:
        token: of the user.
        private: whether each repository that was made is private.
        contents: of the large files so far, by their SHA-256.
        full: answers every large file as a hub does whose storage is full.
    """

    token: str = "hf_test"
    private: dict[str, bool] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    full: bool = False

    def answer(self, path: str, asked: Mapping[str, str], form: str) -> Answer:
        """Returns the answer to a request of an upload, or of anything else."""
        address = urlsplit(path).path
        content = CONTENT_PATH.fullmatch(address)
        if content is not None:
            return self._take_content(content["oid"], form)
        upload = UPLOAD_PATH.fullmatch(address)
        large_files = LARGE_FILES_PATH.fullmatch(address)
        is_other = address not in ("/api/repos/create", "/api/validate-yaml")
        if upload is None and large_files is None and is_other:
            return super().answer(path, asked, form)
        if asked.get("Authorization") != f"Bearer {self.token}":
            return refuse(401, "Unauthorized")
        if address == "/api/validate-yaml":
            return answer_json({"errors": [], "warnings": []})
        if address == "/api/repos/create":
            return self._create(json.loads(form))
        if large_files is not None:
            return self._list_actions(json.loads(form))
        if upload["verb"] == "preupload":
            return self._choose_modes(json.loads(form))
        return self._commit(upload["name"], form)

    def _create(self, request: dict) -> Answer:
        name = f"{request['organization']}/{request['name']}"
        status = 200
        if name in self.models:
            status = 409
        else:
            self.models[name] = {".gitattributes": b"*.onnx filter=lfs\n"}
            self.private[name] = request["visibility"] == "private"
        _, body, headers = answer_json({"url": f"{self.url}/{name}", "id": name})
        return status, body, headers

    def _choose_modes(self, request: dict) -> Answer:
        files = []
        for file in request["files"]:
            is_large = file["path"].endswith((".safetensors", ".onnx", ".png"))
            mode = "lfs" if is_large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        return answer_json({"files": files})

    def _list_actions(self, request: dict) -> Answer:
        objects = []
        for item in request["objects"]:
            action = {"href": f"{self.url}/upload/{item['oid']}", "header": {}}
            objects.append({**item, "actions": {"upload": action}})
        return answer_json({"transfer": "basic", "objects": objects})

    def _take_content(self, oid: str, form: str) -> Answer:
        if self.full:
            return refuse(400, "StorageFull")
        self.contents[oid] = form.encode(errors="surrogateescape")
        return 200, b"", {"Content-Length": "0"}

    def _commit(self, name: str, form: str) -> Answer:
        files = self.models[name]
        for line in form.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.contents[value["oid"]]
        commit = find_commit(name, "main")
        address = f"{self.url}/{name}/commit/{commit}"
        return answer_json({"success": True, "commitOid": commit, "commitUrl": address})


@contextmanager
def receiving_hub(cache: Path, **choices):
    """Runs a hub that takes uploads, which huggingface_hub uses in this process with its token."""
    with (
        running(ReceivingHub(**choices)) as hub,
        using_hub(cache, hub.url),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("HF_TOKEN", hub.token)
        # The newer protocol for large files is not spoken here; the older one is.
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub
