"""The code on a model card: how each library loads an export and compares a query with passages.

Every snippet ends with `query_vectors`, `passage_vectors` and `scores`; a test runs all of them.
"""

from collections.abc import Sequence

from torch import nn

from hybrid_ir.export.model_files import list_weighted_layers
from hybrid_ir.export.parts import EncoderParts

QUERIES = ["Where is Kabul?", "Wo liegt Lima?"]
PASSAGES = ["Kabul is the capital of Afghanistan.", "Lima est la capitale du Pérou."]
POOLING_LINES = {
    "cls": ["vectors = hidden[:, 0]"],
    "max": ["vectors = hidden.masked_fill(mask == 0, float('-inf')).amax(1)"],
    "mean": ["vectors = (hidden * mask).sum(1) / mask.sum(1)"],
    "mean_sqrt_len_tokens": ["vectors = (hidden * mask).sum(1) / mask.sum(1).sqrt()"],
    "weightedmean": [
        "weights = mask * mask.cumsum(1)",
        "vectors = (hidden * weights).sum(1) / weights.sum(1)",
    ],
    "lasttoken": [
        "last = (inputs['attention_mask'] * torch.arange(hidden.shape[1])).argmax(1)",
        "vectors = hidden[torch.arange(len(hidden)), last]",
    ],
}


def build_snippets(
    parts: EncoderParts, formats: Sequence[str], name: str, hub: str | None
) -> dict[str, str]:
    """Returns the code for each library that loads one of the formats, by the library's name.

    Args:
        parts: of the encoder.
        formats: that the export holds.
        name: of the folder.
        hub: owner/name of the model on the hub, if it goes there.
    """
    snippets = {}
    if "sentence_transformers" in formats:
        snippets["sentence-transformers"] = _write_sentence_transformers(hub or name)
    if "transformers" in formats:
        snippets["transformers"] = _write_transformers(parts, name, hub)
    if "onnx" in formats:
        snippets["onnxruntime"] = _write_onnxruntime(parts, name, hub, "model.onnx")
    if "onnx_int8" in formats:
        title = "onnxruntime, int8"
        snippets[title] = _write_onnxruntime(parts, name, hub, "model_int8.onnx")
    has_no_layers = "transformers" in formats and not parts.layers and parts.normalizes
    if "sentence_transformers" in formats:
        snippets["hybrid-ir"] = _write_hybrid_ir(hub or name, {})
    elif has_no_layers and parts.pooling in ("mean", "cls"):
        reading = {
            "pooling": parts.pooling,
            "query_prefix": parts.prompts["query"],
            "passage_prefix": parts.prompts["passage"],
            "query_max_length": parts.max_length,
            "passage_max_length": parts.max_length,
        }
        snippets["hybrid-ir"] = _write_hybrid_ir(hub or name, reading)
    return snippets


def _write_texts() -> list[str]:
    queries = ", ".join(f'"{text}"' for text in QUERIES)
    passages = ", ".join(f'"{text}"' for text in PASSAGES)
    return [f"queries = [{queries}]", f"passages = [{passages}]"]


def _write_scores(multiply: str = "query_vectors @ passage_vectors.T") -> list[str]:
    return [f"scores = {multiply}", "print(scores)"]


def _write_folder(name: str, hub: str | None) -> tuple[list[str], list[str]]:
    """Returns the lines that import what finds the folder, and those that find it."""
    if hub is None:
        return [], [f'folder = "{name}"']
    imports = ["from huggingface_hub import snapshot_download"]
    return imports, [f'folder = snapshot_download("{hub}")']


def _write_sentence_transformers(place: str) -> str:
    lines = [
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{place}")',
        *_write_texts(),
        "query_vectors = model.encode_query(queries)",
        "passage_vectors = model.encode_document(passages)",
        *_write_scores("model.similarity(query_vectors, passage_vectors)"),
    ]
    return "\n".join(lines)


def _write_transformers(parts: EncoderParts, name: str, hub: str | None) -> str:
    imports, folder = _write_folder(name, hub)
    has_layers = bool(parts.layers)
    if has_layers:
        imports.append("from safetensors.torch import load_file")
    body = [
        "texts = [prompt + text for text in texts]",
        'inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")',
        "hidden = model(**inputs).last_hidden_state",
    ]
    if parts.pooling not in ("cls", "lasttoken"):
        body.append("mask = inputs['attention_mask'].unsqueeze(-1)")
    body += POOLING_LINES[parts.pooling]
    loads, steps = _write_layers(parts)
    body += steps
    if parts.normalizes:
        body.append("vectors = torch.nn.functional.normalize(vectors, dim=-1)")
    body.append("return vectors")
    lines = [
        "import torch",
        *imports,
        "from transformers import AutoModel, AutoTokenizer",
        "",
        *folder,
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModel.from_pretrained(folder).eval()",
        *loads,
        "",
        "",
        "@torch.inference_mode()",
        "def encode(texts, prompt):",
        *[f"    {line}" for line in body],
        "",
        "",
        *_write_texts(),
        f"query_vectors = encode(queries, {parts.prompts['query']!r})",
        f"passage_vectors = encode(passages, {parts.prompts['passage']!r})",
        *_write_scores(),
    ]
    return "\n".join(lines)


def _write_layers(parts: EncoderParts) -> tuple[list[str], list[str]]:
    """Returns the lines that load the layers behind the pooling, and those that run them."""
    places = {id(layer): place for place, layer in list_weighted_layers(parts)}
    loads = []
    steps = []
    for layer in parts.layers:
        place = places.get(id(layer))
        if place is None:
            kind = type(layer)
            steps.append(f"vectors = torch.nn.{kind.__name__}()(vectors)")
            continue
        variable = f"weights_{place.partition('_')[0]}"
        loads.append(f'{variable} = load_file(folder + "/{place}/model.safetensors")')
        if isinstance(layer, nn.Linear):
            bias = f"{variable}['linear.bias']" if layer.bias is not None else "None"
            arguments = f"vectors, {variable}['linear.weight'], {bias}"
            steps.append(f"vectors = torch.nn.functional.linear({arguments})")
        else:
            width = layer.normalized_shape[0]
            steps += [
                "vectors = torch.nn.functional.layer_norm(",
                f'    vectors, ({width},), {variable}["norm.weight"], {variable}["norm.bias"]',
                ")",
            ]
    return loads, steps


def _write_onnxruntime(parts: EncoderParts, name: str, hub: str | None, file: str) -> str:
    imports, folder = _write_folder(name, hub)
    lines = [
        *imports,
        "from onnxruntime import InferenceSession",
        "from transformers import AutoTokenizer",
        "",
        *folder,
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f'session = InferenceSession(folder + "/onnx/{file}")',
        "",
        "",
        "def encode(texts, prompt):",
        "    texts = [prompt + text for text in texts]",
        '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")',
        '    names = ["input_ids", "attention_mask"]',
        "    arrays = {name: inputs[name].astype('int64') for name in names}",
        '    return session.run(["sentence_embedding"], arrays)[0]',
        "",
        "",
        *_write_texts(),
        f"query_vectors = encode(queries, {parts.prompts['query']!r})",
        f"passage_vectors = encode(passages, {parts.prompts['passage']!r})",
        *_write_scores(),
    ]
    return "\n".join(lines)


def _write_hybrid_ir(place: str, reading: dict[str, object]) -> str:
    call = [f'encoder = load_encoder("{place}")']
    if reading:
        call = ["encoder = load_encoder(", f'    "{place}",']
        for key, value in reading.items():
            call.append(f"    {key}={value!r},")
        call.append(")")
    lines = [
        "from hybrid_ir import load_encoder",
        "",
        *call,
        *_write_texts(),
        "query_vectors = encoder.encode_queries(queries)",
        "passage_vectors = encoder.encode_passages(passages)",
        *_write_scores(),
    ]
    return "\n".join(lines)
