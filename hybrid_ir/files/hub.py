"""Files of the Hugging Face hub, and their way through its cache."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import are_symlinks_supported
from huggingface_hub.utils.sha import git_hash

from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.files.download import OTHER_WAYS
from hybrid_ir.files.hub_connection import find_connection_problem

# What to do about an error of huggingface_hub; the first kind that it is of counts.
CURES = (
    (GatedRepoError, "Accept its terms on its page, and set HF_TOKEN or run `hf auth login`."),
    (RepositoryNotFoundError, "Check the name; if it is private, set HF_TOKEN."),
    (RevisionNotFoundError, "Check the revision."),
    (RemoteEntryNotFoundError, "Check the path: there is no such file."),
    (OfflineModeIsEnabled, "The cache has no good copy: unset HF_HUB_OFFLINE and fetch it."),
    (HfHubHTTPError, "Try again later; if access is denied, set HF_TOKEN."),
)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    Args:
        repository: its owner and name.
        revision: a commit, branch or tag.
        path: the path of the file in the repository.
        repository_type: "dataset" or "model".
    """

    repository: str
    revision: str
    path: str
    repository_type: str = "dataset"

    def get_address(self, mirror: str | None = None) -> str:
        """Returns the address of the file on a mirror, or else on the hub."""
        return hf_hub_url(
            self.repository,
            self.path,
            repo_type=self.repository_type,
            revision=self.revision,
            endpoint=get_endpoint(mirror),
        )


def get_endpoint(mirror: str | None = None) -> str:
    """Returns the address of a mirror, or else of the hub, which HF_ENDPOINT may name."""
    # huggingface_hub reads the variable only once, when it is imported.
    address = mirror or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    return address.rstrip("/")


def fetch_to_cache(file: HubFile, place: Path, mirror: str | None = None) -> Path:
    """Downloads a file to the hub's cache, if it is not there.

    Args:
        file: the file.
        place: where a user could put it by hand; for the text of an error.
        mirror: another server that speaks the hub's API. No token is sent to it.

    Returns:
        The path of the file in the cache.

    Raises:
        ValueError: if there is no such file, no permission or no connection, or if what came is
            not what the hub has announced.
    """
    problem = None
    if not constants.is_offline_mode():
        problem = find_connection_problem(get_endpoint(mirror))
    damage = ""
    for is_forced in (False, True):  # what is damaged in the cache is downloaded once more
        try:
            cached = hf_hub_download(
                file.repository,
                file.path,
                repo_type=file.repository_type,
                revision=file.revision,
                endpoint=get_endpoint(mirror),
                token=None if mirror is None else False,
                force_download=is_forced and problem is None,
                local_files_only=problem is not None,
            )
        except Exception as error:  # the errors of its HTTP client are no part of its interface
            reason = explain_failure(error) if problem is None else f"{problem}."
            raise ValueError(
                f"{file.get_address(mirror)} could not be had: {damage}{reason} "
                f"{OTHER_WAYS.format(path=place)}"
            ) from error
        path = Path(cached).absolute()
        damage = _find_damage(path)
        if not damage:
            return path
    _delete_cached_file(path)
    raise ValueError(
        f"{file.get_address(mirror)} is not the file that the server announces: {damage}What came "
        f"is deleted; try again. {OTHER_WAYS.format(path=place)}"
    )


def require_undamaged(path: Path, what: str) -> None:
    """Raises ValueError, and deletes the file, if it is not what the hub has announced.

    Args:
        path: of the file in the hub's cache.
        what: the file in the message.
    """
    damage = _find_damage(path)
    if damage:
        _delete_cached_file(path)
        raise ValueError(
            f"{what} is not the file that the hub announces: {damage}What came is deleted; try "
            "again."
        )


def _delete_cached_file(path: Path) -> None:
    blob = path.parent / os.readlink(path)
    path.unlink()
    blob.unlink()


def _find_damage(path: Path) -> str:
    """Returns how the checksum of a file in the cache differs from what the hub has announced.

    The cache keeps that as the name of what it links to: SHA-256 of a large file, the checksum of
    git of a small one. Where it has no links, huggingface_hub has checked the size alone.
    """
    if not path.is_symlink():
        return ""
    announced = Path(os.readlink(path)).name
    if len(announced) == 64:
        actual = compute_sha256(path)
    elif len(announced) == 40:
        actual = git_hash(path.read_bytes())
    else:
        return ""  # the version of another kind of server
    return "" if actual == announced else f"checksum expected {announced}, found {actual}. "


def explain_failure(error: Exception) -> str:
    """Returns sentences that say why the hub did not deliver something, and what to do."""
    if isinstance(error, (LocalEntryNotFoundError, ValueError)) and error.__cause__ is not None:
        error = error.__cause__  # these two say only that there was another error
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    for kind, cure in CURES:
        if isinstance(error, kind):
            return f"{text}. {cure}"
    return f"{text}."


def link_or_copy(cached: Path, place: Path) -> None:
    """Puts a link to a file of the cache at `place`, or a copy where no link is possible.

    HF_HUB_DISABLE_SYMLINKS asks for copies. A link at `place` whose file is gone is replaced.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    if are_symlinks_supported(place.parent):
        os.symlink(cached, place)
        return
    with write_atomically(place, durable=True) as temporary:
        shutil.copyfile(cached, temporary)
