"""Writes an encoder as a folder that sentence-transformers and transformers load.

The small JSON files have the form of models on the hub, which older versions of
sentence-transformers, text-embeddings-inference and fastembed read as well.
"""

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModel

from hybrid_ir.export.parts import EncoderParts
from hybrid_ir.files.atomic import SCRATCH_PREFIX
from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.prompts import PROMPT_NAMES
from hybrid_ir.model.sentence_transformers_modules import group_layers

SENTENCE_TRANSFORMERS_EXTRA = (
    "formats=[sentence_transformers] needs sentence-transformers: pip install "
    "'hybrid-ir[sentence-transformers]', or leave this format out"
)
# Names of modules before version 6 of sentence-transformers, which all versions know.
OLD_MODULE_PREFIX = "sentence_transformers.models."
OLD_POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
# What every Transformer module says, and older versions do not know.
USUAL_TRANSFORMER_CONFIG = {
    "transformer_task": "feature-extraction",
    "modality_config": {
        "text": {"method": "forward", "method_output_name": "last_hidden_state"},
    },
    "module_output_name": "token_embeddings",
}
MODULES_BEFORE_LAYERS = 2  # the transformer and the pooling
USUAL_DENSE_KEYS = ("module_input_name", "module_output_name")


def require_sentence_transformers() -> None:
    """Raises ValueError, which names the extra, where sentence-transformers is not installed."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise ValueError(SENTENCE_TRANSFORMERS_EXTRA) from error


def write_tokenizer(parts: EncoderParts, folder: Path) -> None:
    """Writes the tokenizer, which cuts texts at the length of the export."""
    tokenizer = copy.deepcopy(parts.tokenizer)
    _forget_last_call(tokenizer)
    tokenizer.model_max_length = parts.max_length
    if parts.model is None:
        tokenizer.padding_side = "right"  # as our encoder pads
    tokenizer.save_pretrained(folder)
    _write_special_tokens(tokenizer, folder)


def write_transformer(parts: EncoderParts, folder: Path) -> None:
    """Writes the transformer and its tokenizer as a plain Hugging Face folder.

    Layers behind the pooling are written beside it as sentence-transformers does.
    """
    with _with_pooler(parts), quiet_transformers():
        parts.transformer.save_pretrained(folder)
    write_tokenizer(parts, folder)
    for place, layer in list_weighted_layers(parts):
        weights = {}
        prefix = "linear" if isinstance(layer, nn.Linear) else "norm"
        for name, value in layer.state_dict().items():
            weights[f"{prefix}.{name}"] = value.contiguous().cpu()
        (folder / place).mkdir()
        save_file(weights, folder / place / "model.safetensors")


def list_weighted_layers(parts: EncoderParts) -> Iterator[tuple[str, nn.Module]]:
    """Yields the folder and the layer of each module with weights behind the pooling."""
    for number, module in enumerate(group_layers(parts.layers), start=MODULES_BEFORE_LAYERS):
        yield f"{number}_{module.kind}", module.layer


def write_sentence_transformer(parts: EncoderParts, folder: Path) -> None:
    """Writes a sentence-transformers model, by that library.

    Raises:
        ValueError: it is not installed.
    """
    require_sentence_transformers()
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder.parent) as scratch:
        if parts.model is None:
            # The library reads a transformer from files only, and must not write over the file
            # that it has mapped.
            write_transformer(parts, Path(scratch))
            model = _build_sentence_transformer(parts, Path(scratch))
        else:
            model = _wrap_sentence_transformer(parts)
        _forget_last_call(model.tokenizer)
        with quiet_transformers():
            model.save(str(folder), create_model_card=False)
        _write_special_tokens(model.tokenizer, folder)
    _rewrite_config_files(folder, parts)


def _forget_last_call(tokenizer: Any) -> None:
    """Takes out of a fast tokenizer how its last call cut and padded, which its file would keep."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def _write_special_tokens(tokenizer: Any, folder: Path) -> None:
    """Writes special_tokens_map.json, which transformers 5 leaves out and fastembed asks for."""
    path = folder / "special_tokens_map.json"
    if path.is_file():
        return
    tokens = {}
    for name, token in tokenizer.special_tokens_map.items():
        if isinstance(token, str):
            tokens[name] = token
    _write_json(path, tokens)


@contextmanager
def _with_pooler(parts: EncoderParts) -> Iterator[None]:
    """Gives a transformer the pooler that its class expects, with weights of zero, for a block.

    Nothing uses it. Without it other libraries would draw random weights, and warn of them.
    """
    transformer = parts.transformer
    has_place = hasattr(transformer, "pooler") and transformer.pooler is None
    pooler = _build_pooler(transformer) if has_place else None
    if pooler is None:
        yield
        return
    transformer.pooler = pooler
    try:
        yield
    finally:
        transformer.pooler = None


def _build_pooler(transformer: nn.Module) -> nn.Module | None:
    """Returns the pooler that a transformer of this class has, with weights of zero, if any."""
    try:
        with torch.device("meta"):
            skeleton = AutoModel.from_config(transformer.config)
    except (ValueError, KeyError):  # a class of a model with custom code
        return None
    pooler = getattr(skeleton, "pooler", None)
    if pooler is None:
        return None
    pooler = pooler.to_empty(device="cpu")
    for parameter in pooler.parameters():
        nn.init.zeros_(parameter)
    return pooler


def _build_sentence_transformer(parts: EncoderParts, transformer_folder: Path) -> Any:
    """Returns a sentence-transformers model with the parts of one of our encoders."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as kinds

    with quiet_transformers():
        transformer = kinds.Transformer(str(transformer_folder), max_seq_length=parts.max_length)
    modules = [transformer, kinds.Pooling(parts.transformer.config.hidden_size, parts.pooling)]
    for module in group_layers(parts.layers):
        modules.append(module.build())
    if parts.normalizes:
        modules.append(kinds.Normalize())
    return SentenceTransformer(
        modules=modules,
        prompts=_name_prompts(parts),
        similarity_fn_name=parts.similarity,
        device="cpu",
    )


def _wrap_sentence_transformer(parts: EncoderParts) -> Any:
    """Returns a model with the same modules, and with the prompts of the export."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = list(parts.model)
    if parts.normalizes and type(modules[-1]).__name__ != "Normalize":
        modules.append(Normalize())
    prompts = _keep_other_prompts(parts)
    prompts.update(_name_prompts(parts))
    default_name = parts.model.default_prompt_name
    # A role without a prompt would be read with the default one; see `choose_prompts`.
    if default_name not in prompts or not all(parts.prompts.values()):
        default_name = None
    model = SentenceTransformer(
        modules=modules,
        prompts=prompts,
        default_prompt_name=default_name,
        similarity_fn_name=parts.similarity,
        device=str(parts.model.device),
    )
    model.module_kwargs = parts.model.module_kwargs
    return model


def _keep_other_prompts(parts: EncoderParts) -> dict[str, str]:
    """Returns the prompts of a model without those that say something else of a role."""
    prompts = {}
    for name, text in parts.model.prompts.items():
        is_contradicted = False
        for role, names in PROMPT_NAMES.items():
            if name.lower() in names and text != parts.prompts[role]:
                is_contradicted = True
        if not is_contradicted:
            prompts[name] = text
    return prompts


def _name_prompts(parts: EncoderParts) -> dict[str, str]:
    """Returns the prompts under the names that sentence-transformers looks for."""
    return {"query": parts.prompts["query"], "document": parts.prompts["passage"]}


def _rewrite_config_files(folder: Path, parts: EncoderParts) -> None:
    """Gives the JSON files of known modules the form that older versions and servers read."""
    modules = _read_json(folder / "modules.json")
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        is_own = module["type"].startswith("sentence_transformers.")
        if not is_own or kind not in ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"):
            continue
        module["type"] = f"{OLD_MODULE_PREFIX}{kind}"
        place = folder / module["path"]
        if kind == "Transformer":
            _rewrite_transformer_config(place / "sentence_bert_config.json", parts)
        elif kind == "Pooling":
            _rewrite_pooling_config(place / "config.json")
        elif kind == "Dense":
            _rewrite_dense_config(place / "config.json")
    _write_json(folder / "modules.json", modules)


def _rewrite_transformer_config(path: Path, parts: EncoderParts) -> None:
    config = _read_json(path)
    lower_case = bool(config.pop("do_lower_case", False))
    if config != USUAL_TRANSFORMER_CONFIG:
        return
    _write_json(path, {"max_seq_length": parts.max_length, "do_lower_case": lower_case})


def _rewrite_pooling_config(path: Path) -> None:
    config = _read_json(path)
    mode = config.get("pooling_mode")
    if mode not in OLD_POOLING_KEYS:
        return
    old = {"word_embedding_dimension": config["embedding_dimension"]}
    for name, key in OLD_POOLING_KEYS.items():
        old[key] = name == mode
    old["include_prompt"] = config.get("include_prompt", True)
    _write_json(path, old)


def _rewrite_dense_config(path: Path) -> None:
    config = _read_json(path)
    names = {config.get(key) for key in USUAL_DENSE_KEYS}
    if names <= {"sentence_embedding", None}:
        for key in USUAL_DENSE_KEYS:
            config.pop(key, None)
    _write_json(path, config)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
