"""Uploads an export to the Hugging Face hub."""

from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from hybrid_ir.files.hub import get_endpoint

# What the hub puts into a new repository itself.
FILES_OF_A_NEW_REPOSITORY = {".gitattributes", "README.md"}


def require_upload(hub: str) -> None:
    """Raises ValueError for what would keep a finished export from being uploaded.

    Args:
        hub: owner/name of the model.
    """
    try:
        validate_repo_id(hub)
        is_complete = hub.count("/") == 1
    except HFValidationError:
        is_complete = False
    if not is_complete:
        raise ValueError(f"hub={hub!r} must be the name of a model on the hub, as owner/name")
    if constants.HF_HUB_OFFLINE:
        raise ValueError(f"hub={hub}: HF_HUB_OFFLINE is set, so nothing can be uploaded: unset it")
    if get_token() is None:
        raise ValueError(
            f"hub={hub}: there is no token to upload with: run `hf auth login`, or set HF_TOKEN"
        )


def upload_export(folder: Path, hub: str, private: bool) -> str:
    """Uploads an export to a new or empty repository, and returns its address.

    Args:
        folder: of the export, which stays as it is.
        hub: owner/name of the model.
        private: whether a repository that is made is private.

    Raises:
        ValueError: the repository has files, or the upload failed; it says how to go on.
    """
    api = HfApi(endpoint=get_endpoint())
    try:
        # The address comes from the hub, whose host may be another one.
        address = str(api.create_repo(hub, private=private, exist_ok=True))
        present = set(api.list_repo_files(hub)) - FILES_OF_A_NEW_REPOSITORY
        if present:
            raise ValueError(
                f"hub={hub} has {len(present)} files, such as {min(present)}: nothing is "
                f"overwritten and nothing was uploaded. The export is in {folder}; upload it under "
                f"another name with `hf upload OWNER/NAME {folder}`"
            )
        api.upload_folder(
            repo_id=hub, folder_path=folder, commit_message="Upload of an export of hybrid-ir"
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        # A connection that is cut or too slow often has no message.
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise ValueError(
            f"hub={hub}: the upload failed ({reason}). The export is complete in {folder}: when "
            f"the cause is mended, go on with `hf upload {hub} {folder}`"
        ) from error
    return address
