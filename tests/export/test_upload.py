"""Uploads of exports to a hub on loopback that speaks the API of the real one."""

from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, constants, snapshot_download

from hybrid_ir.export.upload import require_upload, upload_export
from tests.support.hub_uploads import receiving_hub

FILES = {
    "README.md": b"---\nlibrary_name: sentence-transformers\n---\n# small\n",
    "model.safetensors": bytes(range(256)) * 20,
    "onnx/model.onnx": b"\x00\xff\xfe graph",
    "1_Pooling/config.json": b"{}",
}


@pytest.fixture
def export(tmp_path) -> Path:
    folder = tmp_path / "export"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.parametrize("private", [True, False])
def test_an_upload_comes_back_byte_by_byte(export, tmp_path, private):
    with receiving_hub(tmp_path / "hub") as hub:
        require_upload("someone/small")
        address = upload_export(export, "someone/small", private)
        folder = Path(snapshot_download("someone/small", endpoint=hub.url))
        contents = {name: (folder / name).read_bytes() for name in FILES}
    assert address == f"{hub.url}/someone/small"
    assert contents == FILES
    assert hub.private == {"someone/small": private}


def test_nothing_is_uploaded_over_the_files_of_a_model(export, tmp_path):
    models = {"someone/small": {"model.safetensors": b"other"}}
    refused = pytest.raises(ValueError, match="has 1 files, such as model.safetensors")
    with receiving_hub(tmp_path / "hub", models=models) as hub, refused:
        upload_export(export, "someone/small", True)
    assert hub.models["someone/small"] == {"model.safetensors": b"other"}


@pytest.mark.parametrize("trouble", [{"full": True}, {"token": "hf_other"}])
def test_a_failed_upload_keeps_the_export_and_says_how_to_go_on(
    export, tmp_path, monkeypatch, trouble
):
    with receiving_hub(tmp_path / "hub", **trouble):
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        with pytest.raises(ValueError, match="the upload failed") as error:
            upload_export(export, "someone/small", True)
    assert f"go on with `hf upload someone/small {export}`" in str(error.value)
    assert all((export / name).read_bytes() == content for name, content in FILES.items())


def test_a_connection_that_ends_without_a_message_is_named_by_its_kind(
    export, tmp_path, monkeypatch
):
    def end(*arguments: object, **options: object) -> None:
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(HfApi, "create_repo", end)
    with pytest.raises(ValueError, match=r"the upload failed \(ReadTimeout\)"):
        upload_export(export, "someone/small", True)


@pytest.mark.parametrize("name", ["plain", "a/b/c", "some one/small"])
def test_a_name_that_the_hub_cannot_have_is_refused(name):
    with pytest.raises(ValueError, match="must be the name of a model on the hub"):
        require_upload(name)


def test_an_upload_offline_or_without_a_token_is_refused_before_anything_is_made(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        require_upload("someone/small")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    with pytest.raises(ValueError, match="there is no token to upload with"):
        require_upload("someone/small")
