"""Other libraries that load an export, each as a function from texts to vectors.

Nothing here uses the encoder that was exported: what it gives is what a stranger gets.

Shapes: B texts, T tokens of the longest text, H width of the transformer, D width of the vectors.
"""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from hybrid_ir.export.model_files import list_weighted_layers
from hybrid_ir.export.parts import EncoderParts
from hybrid_ir.inference.sessions import start_onnx_session
from hybrid_ir.model.adapters import BATCH_SIZE, join_text_pair
from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.onnx_graph import ONNX_INPUTS
from hybrid_ir.types import Role, Text

# Texts of a role to vectors (B, D), float32 on the CPU; the last argument is how many at once.
EncodeTexts = Callable[[Sequence[str], Role, int], torch.Tensor]


class ClientEncoder:
    """A client as a TextEncoder, so that a benchmark can be measured with it.

    Args:
        encode_texts: of the client.
        name: for cards.
        similarity: `cosine` or `dot`.
    """

    precision = "fp32"

    def __init__(self, encode_texts: EncodeTexts, name: str, similarity: str):
        self.encode_texts = encode_texts
        self.name = name
        self.similarity = similarity
        self.device = torch.device("cpu")
        self.texts_read = {"query": 0, "passage": 0}
        self.texts_cut = {"query": None, "passage": None}

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """Returns the texts themselves."""
        self.texts_read[role] += len(texts)
        return [join_text_pair(text) for text in texts]

    def tensors(self, items: Sequence[Hashable], role: Role) -> tuple[list[Hashable], Role]:
        """Returns the items with their role, all that `forward` needs."""
        return list(items), role

    def forward(self, inputs: tuple[list[Hashable], Role]) -> torch.Tensor:
        """Returns the vectors of one input (B, D)."""
        items, role = inputs
        return self.encode_texts(items, role, BATCH_SIZE)

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        """Returns the vectors of texts (N, D); texts of similar length are encoded together."""
        lengths_N = np.array([len(item) for item in items], np.int64)
        order_N = np.argsort(-lengths_N, kind="stable")
        vectors_ND = self.encode_texts([items[row] for row in order_N], role, BATCH_SIZE)
        return vectors_ND[torch.from_numpy(np.argsort(order_N))]

    def windows(self, text: Text, overlap: float) -> list[Text]:
        """Refuses: a client cuts long passages. Raises ValueError."""
        raise ValueError("other libraries read no windows of a passage: they cut it")

    def reading(self) -> dict[str, Any]:
        """Returns what a card needs to know."""
        return {"pooling": None, "similarity": self.similarity, "tokenizer_canary": None}


def open_with_sentence_transformers(
    folder: Path, device: str, trust_remote_code: bool
) -> EncodeTexts:
    """Opens an export with sentence-transformers, which knows prompts and lengths itself."""
    from sentence_transformers import SentenceTransformer

    with quiet_transformers():
        model = SentenceTransformer(
            str(folder), device=device, trust_remote_code=trust_remote_code
        ).eval()

    def encode_texts(texts: Sequence[str], role: Role, batch_size: int) -> torch.Tensor:
        encode = model.encode_query if role == "query" else model.encode_document
        vectors_BD = encode(
            list(texts), batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
        )
        return vectors_BD.float().cpu()

    return encode_texts


def open_with_transformers(
    folder: Path, parts: EncoderParts, device: str, trust_remote_code: bool
) -> EncodeTexts:
    """Opens an export with transformers, and does by hand what follows the transformer.

    Args:
        folder: of the export.
        parts: of the encoder; only names and texts are taken from it, the weights from files.
        device: as torch names it.
        trust_remote_code: whether code of the export may run.
    """
    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, trust_remote_code=trust_remote_code)
    model = model.to(device).eval()
    tokenizer = load_tokenizer(folder, trust_remote_code)
    weights = {}
    for place, _ in list_weighted_layers(parts):
        weights[place] = load_file(folder / place / "model.safetensors", device=device)

    @torch.inference_mode()
    def encode_texts(texts: Sequence[str], role: Role, batch_size: int) -> torch.Tensor:
        vectors = []
        for start in range(0, len(texts), batch_size):
            batch = [parts.prompts[role] + text for text in texts[start : start + batch_size]]
            inputs = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            inputs = inputs.to(device)
            hidden_BTH = model(**inputs).last_hidden_state
            vectors_BD = pool_by_hand(hidden_BTH, inputs["attention_mask"], parts.pooling)
            vectors_BD = _run_layers(vectors_BD, parts, weights)
            if parts.normalizes:
                vectors_BD = F.normalize(vectors_BD, dim=-1)
            vectors.append(vectors_BD.float().cpu())
        return torch.cat(vectors)

    return encode_texts


def open_with_onnxruntime(graph: Path, folder: Path, parts: EncoderParts) -> EncodeTexts:
    """Opens a graph of an export with ONNX Runtime on the CPU, and its tokenizer by transformers.

    Args:
        graph: the file.
        folder: of the export, with the tokenizer.
        parts: of the encoder; only the prompts are taken from it.
    """
    session = start_onnx_session(graph, torch.device("cpu"))
    tokenizer = load_tokenizer(folder)

    def encode_texts(texts: Sequence[str], role: Role, batch_size: int) -> torch.Tensor:
        vectors = []
        for start in range(0, len(texts), batch_size):
            batch = [parts.prompts[role] + text for text in texts[start : start + batch_size]]
            (vectors_BD,) = session.run(
                ["sentence_embedding"], tokenise_for_graph(tokenizer, batch)
            )
            vectors.append(torch.from_numpy(vectors_BD))
        return torch.cat(vectors)

    return encode_texts


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of an export."""
    with quiet_transformers():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)


def tokenise_for_graph(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns the two inputs of a graph for texts that have their prompts."""
    inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="np")
    return {name: inputs[name].astype(np.int64) for name in ONNX_INPUTS}


def pool_by_hand(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor, pooling: str) -> torch.Tensor:
    """Returns one vector of each text (B, H), for texts that are padded at their end.

    Args:
        hidden_BTH: of the tokens.
        mask_BT: 1 for tokens, 0 for padding.
        pooling: as sentence-transformers names it.
    """
    mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
    if pooling == "cls":
        return hidden_BTH[:, 0]
    if pooling == "max":
        return hidden_BTH.masked_fill(mask_BT1 == 0, float("-inf")).amax(1)
    if pooling == "lasttoken":
        # The last token, wherever the padding is.
        positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        last_B = (mask_BT * positions_T).argmax(1)
        return hidden_BTH[torch.arange(len(hidden_BTH), device=mask_BT.device), last_B]
    if pooling == "weightedmean":
        mask_BT1 = mask_BT1 * mask_BT1.cumsum(1)
    sums_BH = (hidden_BTH * mask_BT1).sum(1)
    weights_B1 = mask_BT1.sum(1).clamp(min=1e-9)
    if pooling == "mean_sqrt_len_tokens":
        weights_B1 = weights_B1.sqrt()
    return sums_BH / weights_B1


def _run_layers(
    vectors_BD: torch.Tensor, parts: EncoderParts, weights: dict[str, dict[str, torch.Tensor]]
) -> torch.Tensor:
    """Runs the layers behind the pooling with weights that were read from files."""
    places = {id(layer): place for place, layer in list_weighted_layers(parts)}
    for layer in parts.layers:
        place = places.get(id(layer))
        if isinstance(layer, nn.Linear):
            weight = weights[place]["linear.weight"]
            vectors_BD = F.linear(vectors_BD, weight, weights[place].get("linear.bias"))
        elif isinstance(layer, nn.LayerNorm):
            vectors_BD = F.layer_norm(
                vectors_BD,
                layer.normalized_shape,
                weights[place]["norm.weight"],
                weights[place]["norm.bias"],
            )
        else:
            vectors_BD = layer(vectors_BD)
    return vectors_BD
