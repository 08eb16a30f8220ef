"""What the files of a sentence-transformers model say of how it makes vectors.

They are read here without the library, since a training takes the parts over into its own encoder:
the transformer, its pooling, the layers behind it, prompts and lengths.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache
from safetensors.torch import load_file
from torch import nn
from transformers.utils import cached_file

from hybrid_ir.files.hub_connection import go_offline_if_unreachable
from hybrid_ir.model.head import build_head, find_activation, load_linear
from hybrid_ir.model.load_errors import MODULES_FILE, explain_load_error
from hybrid_ir.model.pooling import POOLINGS

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Keys of a pooling's config before one key named the pooling.
OLD_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
CURE = "Give pooling=mean (or cls, lasttoken) to read it as a plain Hugging Face encoder"


class IncompleteModelError(ValueError):
    """A model whose files do not say how it makes vectors, so that no library can know it."""


@dataclass(frozen=True)
class ModuleFiles:
    """The modules of a sentence-transformers model, as its files describe them.

    Attributes:
        place: folder or hub id.
        revision: of a hub model.
        transformer_folder: of the transformer inside the model; mostly "".
        pooling: one of POOLINGS.
        layers: kind and folder of what follows the pooling.
        normalizes: whether the vectors get length 1.
        max_length: in tokens, special ones included; None where the tokenizer says it.
        prompts: by name.
        default_prompt_name: of the prompt for texts of no role.
        similarity: `cosine`, `dot` or another; None where the files do not say.
    """

    place: str
    revision: str | None
    transformer_folder: str
    pooling: str
    layers: tuple[tuple[str, str], ...]
    normalizes: bool
    max_length: int | None
    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity: str | None

    def load_head(self) -> nn.Module:
        """Loads the layers between the pooling and the length of the vectors, with their weights.

        Raises:
            ValueError: a layer that only sentence-transformers runs, or a file is missing.
        """
        layers: list[nn.Module] = []
        for kind, folder in self.layers:
            config = self._read_json(f"{folder}/config.json")
            if kind == "Dense":
                layers.extend(self._load_dense(folder, config))
            elif kind == "LayerNorm":
                weights = self._load_weights(folder)
                layer = nn.LayerNorm(len(weights["norm.weight"]))
                layer.load_state_dict(
                    {"weight": weights["norm.weight"].float(), "bias": weights["norm.bias"].float()}
                )
                layers.append(layer)
            else:
                layers.append(nn.Dropout(config.get("dropout", 0.2)))
        return build_head(layers)

    def _load_dense(self, folder: str, config: Mapping[str, Any]) -> list[nn.Module]:
        """Returns a dense layer and its activation."""
        text_in = config.get("module_input_name", "sentence_embedding")
        text_out = config.get("module_output_name") or text_in
        if config.get("use_residual") or {text_in, text_out} != {"sentence_embedding"}:
            raise ValueError(
                f"{self.place}: {folder}/config.json has a residual or works on "
                f"tokens, which only sentence-transformers runs. {CURE}"
            )
        name = config.get("activation_function", "torch.nn.modules.activation.Tanh")
        activation = find_activation(name)
        if activation is None:
            raise ValueError(
                f"{self.place}: {folder}/config.json has the activation {name!r}, "
                f"which is no module of torch.nn. {CURE}"
            )
        weights = self._load_weights(folder)
        if config.get("bias") and "linear.bias" not in weights:
            raise ValueError(
                f"{self.place}: the weights in {folder}/ lack the bias that its config.json "
                f"names: copy the whole model. {CURE}"
            )
        try:
            return [load_linear(weights), activation()]
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{self.place}: the weights in {folder}/ are not those of a dense layer "
                f"({reason}): copy the whole model. {CURE}"
            ) from error

    def _load_weights(self, folder: str) -> dict[str, torch.Tensor]:
        for file in WEIGHT_FILES:
            path = find_model_file(self.place, f"{folder}/{file}", self.revision)
            if path is not None:
                return load_weights(path)
        raise ValueError(
            f"{self.place}: {folder}/ has neither {' nor '.join(WEIGHT_FILES)}: "
            f"copy the whole model. {CURE}"
        )

    def _read_json(self, file: str) -> dict[str, Any]:
        return _read_json_file(self.place, file, self.revision) or {}


def is_hub_id(place: str | None) -> bool:
    """Returns whether the place of a model has the form of a hub id, and is no folder here."""
    if place is None or HUB_ID.fullmatch(place) is None:
        return False
    return not Path(place).exists()


def find_model_file(place: str, file: str, revision: str | None = None) -> Path | None:
    """Returns the path of a file of a model, None if the model has no such file.

    Args:
        place: folder or hub id; of the latter the file is fetched if it is not in the cache.
        file: its path inside the model.
        revision: of a hub model.
    """
    if Path(place).expanduser().is_dir():
        path = Path(place).expanduser() / file
        return path if path.is_file() else None
    go_offline_if_unreachable()
    try:
        path = cached_file(
            place,
            file,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:  # There is no such model: whoever loads its weights says so.
        return None
    return None if path is None else Path(path)


def is_known_to_lack(place: str, file: str, revision: str | None = None) -> bool:
    """Returns whether a model has no such file for sure: the hub, or the folder, has said so.

    A hub that could not be reached says nothing.

    Args:
        place: folder or hub id.
        file: its path inside the model.
        revision: of a hub model.
    """
    if Path(place).expanduser().is_dir():
        return not (Path(place).expanduser() / file).is_file()
    return try_to_load_from_cache(place, file, revision=revision) is _CACHED_NO_EXIST


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a file by name, without running anything that it may hold.

    Raises:
        ValueError: the file is damaged, holds more than weights, or values that are not finite.
    """
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of two libraries
        raise ValueError(explain_load_error(error, str(path.parent))) from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: the weight {name!r} has values that are not finite")
    return weights


def read_module_files(
    place: str, revision: str | None = None, pooling: str | None = None
) -> ModuleFiles | None:
    """Reads what the files of a sentence-transformers model say; None if it is none.

    Args:
        place: folder or hub id.
        revision: of a hub model.
        pooling: instead of the model's; the layers behind that one are left out then, and its
            modules need not be known.

    Raises:
        IncompleteModelError: a file is missing or damaged. It names the file and the cure.
        ValueError: a module that is run by sentence-transformers only.
    """
    modules = _read_json_file(place, MODULES_FILE, revision)
    if modules is None:
        return None
    try:
        kinds = [_name_kind(str(module["type"])) for module in modules]
        folders = [str(module.get("path") or "") for module in modules]
    except (TypeError, KeyError, AttributeError) as error:
        if pooling is not None:
            return None
        raise IncompleteModelError(
            f"{place}: {MODULES_FILE} is no list of modules with a type and a "
            f"path: copy the whole model. {CURE}"
        ) from error
    config = _read_json_file(place, "config_sentence_transformers.json", revision) or {}
    transformer_folder = folders[0] if folders else ""
    transformer_file = f"{transformer_folder}/sentence_bert_config.json".lstrip("/")
    transformer = _read_json_file(place, transformer_file, revision) or {}
    if transformer.get("do_lower_case"):
        raise ValueError(
            f"{place}: {transformer_file} has do_lower_case=true, which only "
            f"sentence-transformers does. {CURE}"
        )
    if pooling is None:
        pools_by_itself = transformer.get("module_output_name") == "sentence_embedding"
        _require_known_modules(place, kinds, pools_by_itself)
        pooling = _read_pooling(place, folders[1], revision)
    else:
        kinds = kinds[:1]
    layers = []
    for kind, folder in zip(kinds[2:], folders[2:], strict=False):
        if kind != "Normalize":
            layers.append((kind, folder))
    prompts = config.get("prompts") or {}
    return ModuleFiles(
        place=place,
        revision=revision,
        transformer_folder=transformer_folder,
        pooling=pooling,
        layers=tuple(layers),
        normalizes=kinds[-1:] == ["Normalize"],
        max_length=transformer.get("max_seq_length"),
        prompts={name: text for name, text in prompts.items() if text},
        default_prompt_name=config.get("default_prompt_name"),
        similarity=config.get("similarity_fn_name"),
    )


def _name_kind(module_type: str) -> str:
    """Returns the class of a module of sentence-transformers; the whole type of any other.

    A model may bring a class of the same name along, which is another one.
    """
    package, _, kind = module_type.rpartition(".")
    return kind if package.partition(".")[0] in ("", "sentence_transformers") else module_type


def _require_known_modules(place: str, kinds: list[str], pools_by_itself: bool) -> None:
    """Raises ValueError unless modules are a transformer, a pooling, and layers that we know.

    Args:
        place: of the model, for messages.
        kinds: of its modules.
        pools_by_itself: whether the transformer gives one vector of a text.
    """
    if kinds[:1] in ([], ["Transformer"]) and kinds[1:2] != ["Pooling"] and not pools_by_itself:
        raise IncompleteModelError(
            f"{place}: {MODULES_FILE} names {', '.join(kinds) or 'no modules'}, and no Pooling "
            f"behind a Transformer, so nothing says how vectors are pooled. {CURE}"
        )
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ValueError(
            f"{place}: the modules {', '.join(kinds)} are run by sentence-transformers only. {CURE}"
        )
    for position, kind in enumerate(kinds[2:], start=2):
        is_known = kind in ("Dense", "LayerNorm", "Dropout")
        is_last_normalize = kind == "Normalize" and position == len(kinds) - 1
        if not is_known and not is_last_normalize:
            raise ValueError(
                f"{place}: {MODULES_FILE} has the modules {', '.join(kinds)}; "
                f"{kind} as number {position} is run by sentence-transformers only. {CURE}"
            )


def _read_pooling(place: str, folder: str, revision: str | None) -> str:
    """Returns the name of the pooling in the config of its folder."""
    file = f"{folder}/config.json"
    config = _read_json_file(place, file, revision)
    if config is None:
        raise IncompleteModelError(
            f"{place}: {file} is missing, though {MODULES_FILE} names it, so "
            f"nothing says how vectors are pooled: copy the whole model. {CURE}"
        )
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [name for key, name in OLD_POOLING_KEYS.items() if config.get(key)]
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if (
        not isinstance(mode, str)
        or mode not in POOLINGS
        or mode == "labse"
        or config.get("include_prompt") is False
    ):
        known = ", ".join(name for name in POOLINGS if name != "labse")
        prompt = (
            " without the tokens of the prompt" if config.get("include_prompt") is False else ""
        )
        raise ValueError(
            f"{place}: {file} pools by {mode!r}{prompt}, which is run by "
            f"sentence-transformers only (here: {known}). {CURE}"
        )
    return mode


def _read_json_file(place: str, file: str, revision: str | None) -> Any:
    """Returns the content of a JSON file of a model, None if there is no such file.

    Raises:
        ValueError: the file is no JSON.
    """
    path = find_model_file(place, file, revision)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IncompleteModelError(
            f"{place}: {file} is no JSON ({error}): copy the whole model. {CURE}"
        ) from error
