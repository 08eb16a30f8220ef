"""Why a model could not be loaded, in a line that names the file and the cure."""

import json
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

ADAPTER_FILE = "adapter_config.json"
CONFIG_FILE = "config.json"
MODULES_FILE = "modules.json"
TOKENIZER_FILES = ("tokenizer.", "vocab", "spiece", "sentencepiece")  # beginnings of names
BYTES_OF_A_BEGINNING = 200
LONGEST_REASON = 300  # characters
LFS_POINTER = b"version https://git-lfs"
WEB_PAGES = (b"<!doctype", b"<html")
ZIP_FILE = b"PK"  # what torch writes since version 1.6
CHECKED_SUFFIXES = (".json", ".safetensors", ".bin")
COPY_AGAIN = "copy the whole model again"


def explain_load_error(error: Exception, place: str) -> str:
    """Returns why a library could not load a model, and what to do, in a line.

    Args:
        error: of the library.
        place: folder or hub id of the model.
    """
    if "trust_remote_code" in str(error):
        return (
            "it brings code of its own, which is not run unless you allow it. Read its files, and "
            "set trust_remote_code=true if you trust them"
        )
    folder = Path(place).expanduser()
    is_folder = folder.is_dir()
    damage = describe_damage(folder) if is_folder else None
    if damage is not None:
        return damage
    if _is_about_unsafe_content(error):
        files = ", ".join(map(str, sorted(folder.rglob("*.bin")))) if is_folder else "its .bin file"
        return (
            f"{files} holds more than weights, which could be code, or is damaged. Nothing of it "
            "was run. Take the model's model.safetensors instead, from whoever made it"
        )
    if is_folder:
        lacks = "" if _has_tokenizer(folder) else ", and has no file of a tokenizer"
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return (
            f"the folder {folder} is no complete Hugging Face checkpoint{lacks}: {COPY_AGAIN}. "
            f"({reason:.{LONGEST_REASON}})"
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        "it is no folder with a complete Hugging Face checkpoint, and the hub did not deliver it. "
        f"Give a local path, or check the name and the network. ({reason})"
    )


def require_no_bare_adapter(place: str) -> None:
    """Raises ValueError for a folder that holds the adapter of a model without the model.

    Args:
        place: folder or hub id of a model.
    """
    folder = Path(place).expanduser()
    file = folder / ADAPTER_FILE
    if not file.is_file() or (folder / CONFIG_FILE).is_file():
        return
    try:
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"model={place!r}: {file} is damaged: {COPY_AGAIN}") from error
    base = base or "the model it was trained on"
    raise ValueError(
        f"model={place!r} is an adapter of {base} ({ADAPTER_FILE}), without the weights that it "
        f"belongs to. Merge both into a new folder and give that: load {base} by AutoModel, then "
        f"peft.PeftModel.from_pretrained(model, {place!r}).merge_and_unload()"
        ".save_pretrained(NEW), and save the tokenizer of the base there"
    )


def describe_damage(folder: Path) -> str | None:
    """Returns what is wrong with the first damaged file of a model's folder; None if none is."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in CHECKED_SUFFIXES and path.is_file():
            problem = _find_problem(path)
            if problem is not None:
                return f"{path} {problem}"
    return None


def _has_tokenizer(folder: Path) -> bool:
    for path in folder.rglob("*"):
        if path.name.startswith(TOKENIZER_FILES) or path.suffix == ".model":
            return True
    return False


def _find_problem(path: Path) -> str | None:
    """Returns what is wrong with a file of a model, and the cure; None if it is sound."""
    with path.open("rb") as file:
        beginning = file.read(BYTES_OF_A_BEGINNING)
    if not beginning.strip():
        return f"is empty: {COPY_AGAIN}"
    if beginning.startswith(LFS_POINTER):
        return "is a pointer of Git LFS, not the file itself: run git lfs pull in its repository"
    if beginning.lstrip().lower().startswith(WEB_PAGES):
        return "is a web page, not the file of the model: download the file itself"
    if path.suffix == ".json":
        return _find_problem_of_json(path)
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt"):
                return None
        except (SafetensorError, OSError, ValueError) as error:
            return f"is damaged or cut off ({error}): {COPY_AGAIN}"
    if beginning.startswith(ZIP_FILE) and not zipfile.is_zipfile(path):
        return f"is damaged or cut off: {COPY_AGAIN}"
    return None


def _find_problem_of_json(path: Path) -> str | None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"is no JSON ({error}): {COPY_AGAIN}"
    if path.name == "tokenizer.json":
        try:
            Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises no narrower class
            reason = str(error).partition("\n")[0]
            return f"is no tokenizer ({reason}): {COPY_AGAIN}"
    return None


def _is_about_unsafe_content(error: BaseException | None) -> bool:
    """Returns whether an error, or one that it came from, is of a file with more than weights."""
    while error is not None:
        if type(error).__name__ == "UnpicklingError":
            return True
        error = error.__cause__ or error.__context__
    return False
