"""Any bi-encoder as texts in, vectors out: ours, or a sentence-transformers model.

Shapes: B texts of a batch, N texts, D width of the vectors.
"""

import math
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.prompts import choose_prompts
from hybrid_ir.model.reading import count_positions
from hybrid_ir.model.sentence_transformers_loading import load_sentence_transformer
from hybrid_ir.model.token_store import RaggedTokens, concatenate_tokens
from hybrid_ir.model.tokens import compute_tokenizer_canary, cut_into_windows
from hybrid_ir.model.vocabulary import ReadableTokenizer, require_room_for_text
from hybrid_ir.system.progress import count_texts
from hybrid_ir.types import Role, Text

PRECISIONS = ("fp32", "bf16")
Similarity = Literal["cosine", "dot"]
# Roles as sentence-transformers calls them: tasks of `encode`, and names of prompts.
TASKS: dict[Role, str] = {"query": "query", "passage": "document"}
BATCH_SIZE = 32  # texts, the default of sentence-transformers


def autocast_to(precision: str, device: torch.device) -> AbstractContextManager:
    """Returns a context with matrix products in bfloat16, or all in float32 as stored."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class _TextListEncoder:
    """Turns lists of texts into vectors with the methods of a TextEncoder.

    Attributes:
        width: of the vectors; every subclass sets it.
    """

    width: int

    def encode_queries(self, texts: Sequence[Text], batch_size: int = BATCH_SIZE) -> torch.Tensor:
        """Returns the vectors of queries, in their order, float32 on the CPU (N, D).

        The prefix or prompt of queries is put before each text.

        Args:
            texts: N queries.
            batch_size: texts encoded at once.

        Example:
            queries_QD = encoder.encode_queries(["Where is Kabul?", "Πού είναι η Αθήνα;"])
            passages_ND = encoder.encode_passages(["Kabul is the capital of Afghanistan."])
            scores_QN = queries_QD @ passages_ND.T
        """
        return self._encode_texts(texts, "query", batch_size)

    def encode_passages(self, texts: Sequence[Text], batch_size: int = BATCH_SIZE) -> torch.Tensor:
        """Returns the vectors of passages, in their order, float32 on the CPU (N, D).

        The prefix or prompt of passages is put before each text. Texts that are longer than the
        encoder reads are cut.

        Args:
            texts: N passages; a tuple is a pair of texts, for example a sentence and its context.
            batch_size: texts encoded at once.

        Example:
            passages_ND = encoder.encode_passages(["Kabul is the capital of Afghanistan."])
        """
        return self._encode_texts(texts, "passage", batch_size)

    def _encode_texts(self, texts: Sequence[Text], role: Role, batch_size: int) -> torch.Tensor:
        """Encodes texts of similar length together, which saves padding, and restores the order."""
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        vectors_ND = torch.zeros(len(texts), self.width)
        lengths_N = np.array([len(join_text_pair(text)) for text in texts], np.int64)
        order_N = np.argsort(-lengths_N, kind="stable")
        for start in range(0, len(texts), batch_size):
            rows_B = order_N[start : start + batch_size]
            items = self.read([texts[row] for row in rows_B], role)
            vectors_BD = self.forward(self.tensors(items, role))
            vectors_ND[torch.from_numpy(rows_B)] = vectors_BD.cpu()
        return vectors_ND


class BiEncoderAdapter(_TextListEncoder):
    """Our BiEncoder as a TextEncoder.

    What it reads of a text are its token ids as bytes, so texts of the same tokens are equal.

    Args:
        encoder: moved to the device, and put into evaluation mode.
        name: for cards and tables.
        precision: one of PRECISIONS.
        device: as torch names it.
        prompt_origins: where the prefixes of the encoder come from, for cards; None leaves it out.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        name: str,
        precision: str = "fp32",
        device: str = "cpu",
        prompt_origins: str | None = None,
    ):
        self.prompt_origins = prompt_origins
        self.encoder = encoder.to(device).eval()
        self.similarity: Similarity = "cosine" if encoder.normalize else "dot"
        self.width = encoder.width
        self.name = name
        self.precision = precision
        self.device = torch.device(device)
        self.texts_read = {"query": 0, "passage": 0}
        self.texts_cut = {"query": 0, "passage": 0}

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """Returns the token ids of each text as bytes, and counts texts that are too long."""
        ids, cut = self.encoder.tokenizers[role].read(texts)
        self.texts_read[role] += len(texts)
        self.texts_cut[role] += cut
        return [np.asarray(row, np.int32).tobytes() for row in ids]

    def count_tokens(self, items: Sequence[Hashable]) -> int:
        """Counts the tokens of texts that were read."""
        return sum(len(item) for item in items) // np.dtype(np.int32).itemsize

    def tensors(self, items: Sequence[Hashable], role: Role) -> RaggedTokens:
        """Returns texts that were read as one input of the encoder, on its device."""
        return concatenate_tokens([np.frombuffer(item, np.int32) for item in items]).to(self.device)

    @torch.inference_mode()
    def forward(self, inputs: RaggedTokens) -> torch.Tensor:
        """Returns the vectors of one input (B, D), float32."""
        with autocast_to(self.precision, self.device):
            return self.encoder(inputs)

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        """Returns the vectors of texts that were read (N, D), float32."""
        return self.forward(self.tensors(items, role))

    def windows(self, text: Text, overlap: float) -> list[Text]:
        """Cuts a passage into overlapping pieces that the encoder reads completely."""
        role_tokenizer = self.encoder.tokenizers["passage"]
        return cut_into_windows(
            text,
            role_tokenizer.tokenizer,
            role_tokenizer.max_length,
            overlap,
            role_tokenizer.prefix,
        )

    def reading(self) -> dict[str, Any]:
        """Returns everything that decides which vector a text gets, besides the weights."""
        reading = {
            **self.encoder.describe_reading(),
            "query_max_length": self.encoder.tokenizers["query"].max_length,
            "passage_max_length": self.encoder.tokenizers["passage"].max_length,
            "similarity": self.similarity,
            "width": self.width,
            "precision": self.precision,
            "tokenizer_canary": compute_tokenizer_canary(self.encoder.tokenizer),
        }
        if self.prompt_origins is not None:
            reading["prompts"] = self.prompt_origins
        return reading


class SentenceTransformerAdapter(_TextListEncoder):
    """A sentence-transformers model by its own code, with the modules and prompts of its files.

    Args:
        path: folder or hub id.
        prompts: of `query` and `passage`, instead of the model's; None for the model's, see
            `choose_prompts`.
        max_length: in tokens, instead of the model's.
        similarity: `cosine` or `dot`, instead of the model's.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        precision: one of PRECISIONS.
        device: as torch names it.

    Raises:
        ValueError: sentence-transformers is not installed or cannot load the model, or the model's
            similarity is no inner product.
    """

    def __init__(
        self,
        path: str,
        prompts: dict[Role, str | None],
        max_length: int | None = None,
        similarity: Similarity | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        precision: str = "fp32",
        device: str = "cpu",
    ):
        self.model = load_sentence_transformer(path, device, revision, trust_remote_code)
        self.model[0].register_forward_hook(_count_texts_of_batch)
        self.name = Path(path).name
        if max_length is not None:
            self._set_max_length(max_length)
        self.width = self.model.get_embedding_dimension()
        self.precision = precision
        self.device = torch.device(device)
        self.chosen_prompts = choose_prompts(
            prompts, self.model.prompts, self.model.default_prompt_name
        )
        self.prompts = self.chosen_prompts.texts
        self._require_room_for_texts()
        self.similarity = similarity or self.model.similarity_fn_name or "cosine"
        if self.similarity not in ("cosine", "dot"):
            raise ValueError(
                f"{path!r} compares by {self.similarity}, which is no inner product: say "
                "similarity=cosine or dot"
            )
        self.texts_read = {"query": 0, "passage": 0}
        # A slow tokenizer would run twice as long only to count.
        has_fast_tokenizer = hasattr(self.model.tokenizer, "backend_tokenizer")
        initial_count = 0 if has_fast_tokenizer else None
        self.texts_cut: dict[Role, int | None] = {
            "query": initial_count,
            "passage": initial_count,
        }

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """Returns the texts as the model takes them, and counts those that are too long."""
        joined = [join_text_pair(text) for text in texts]
        self.texts_read[role] += len(texts)
        limit = self._find_max_length()
        if self.texts_cut[role] is not None and limit is not None:
            prompt = self.prompts[role]
            ids = self.model.tokenizer(
                [prompt + text for text in joined],
                verbose=False,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            self.texts_cut[role] += sum(len(row) > limit for row in ids)
        return joined

    def tensors(self, items: Sequence[Hashable], role: Role) -> dict[str, Any]:
        """Returns texts that were read as one input of the model, on its device."""
        task = TASKS[role]
        features = self.model.preprocess(list(items), prompt=self.prompts[role] or None, task=task)
        # A Router, as a model with a correction may have, takes the route of its role.
        inputs: dict[str, Any] = {"task": task} if self._has_router() else {}
        for name, value in features.items():
            inputs[name] = value.to(self.device) if torch.is_tensor(value) else value
        return inputs

    @torch.inference_mode()
    def forward(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Returns the vectors of one input (B, D), float32."""
        with autocast_to(self.precision, self.device):
            return self._make_comparable(self.model(inputs)["sentence_embedding"])

    @torch.inference_mode()
    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        """Returns the vectors of texts that were read (N, D), in the model's batches, float32."""
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        with autocast_to(self.precision, self.device):
            vectors_ND = encode(
                list(items),
                prompt=self.prompts[role],
                batch_size=BATCH_SIZE,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            return self._make_comparable(vectors_ND)

    def _make_comparable(self, vectors_BD: torch.Tensor) -> torch.Tensor:
        """Returns vectors whose inner products are the similarity."""
        vectors_BD = vectors_BD.float()
        return F.normalize(vectors_BD, dim=-1) if self.similarity == "cosine" else vectors_BD

    def windows(self, text: Text, overlap: float) -> list[Text]:
        """Cuts a passage into overlapping pieces that the model reads completely.

        Raises:
            ValueError: the model has no maximum length.
        """
        max_length = self._find_max_length()
        if max_length is None:
            raise ValueError(
                f"{self.name} has no maximum length, so nothing says how long a window is: give "
                "passage_max_length"
            )
        return cut_into_windows(
            join_text_pair(text),
            self.model.tokenizer,
            max_length,
            overlap,
            self.prompts["passage"],
        )

    def reading(self) -> dict[str, Any]:
        """Returns everything that decides which vector a text gets, besides the weights."""
        return {
            "pooling": self._get_pooling_mode(),
            "modules": [type(module).__name__ for module in self.model],
            "query_prefix": self.prompts["query"],
            "passage_prefix": self.prompts["passage"],
            "prompts": self.chosen_prompts.describe(),
            "query_max_length": self._find_max_length(),
            "passage_max_length": self._find_max_length(),
            "similarity": self.similarity,
            "width": self.width,
            "precision": self.precision,
            "tokenizer_canary": compute_tokenizer_canary(self.model.tokenizer),
        }

    def _find_max_length(self) -> int | None:
        """Returns the tokens that a text may have; None for any, as in a table of word vectors."""
        length = self.model.max_seq_length
        return int(length) if length is not None and math.isfinite(length) else None

    def _set_max_length(self, max_length: int) -> None:
        """Has the model read so many tokens. Raises ValueError if it cannot."""
        if not math.isfinite(self.model.max_seq_length or 0):
            raise ValueError(
                f"query_max_length and passage_max_length={max_length}: {self.name} reads texts of "
                "any length completely; leave them out"
            )
        config = getattr(getattr(self.model[0], "model", None), "config", None)
        pad_id = getattr(self.model.tokenizer, "pad_token_id", None) or 0
        positions = count_positions(config, pad_id)
        if positions is not None and max_length > positions:
            raise ValueError(
                f"query_max_length and passage_max_length={max_length} are more than the "
                f"{positions} positions of {self.name}"
            )
        self.model.max_seq_length = max_length

    def _require_room_for_texts(self) -> None:
        """Raises ValueError if the maximum length leaves no token of a text."""
        length = self._find_max_length()
        tokenizer = self.model.tokenizer
        if length is None or not isinstance(tokenizer, ReadableTokenizer):
            return
        for role in TASKS:
            require_room_for_text(f"{role}_max_length", length, tokenizer, self.prompts[role])

    def _has_router(self) -> bool:
        return any(type(module).__name__ == "Router" for module in self.model)

    def _get_pooling_mode(self) -> str | None:
        for module in self.model:
            if type(module).__name__ == "Pooling":
                return module.get_config_dict().get("pooling_mode")
        return None


def _count_texts_of_batch(module: torch.nn.Module, inputs: tuple, outputs: Any) -> None:
    """Notes, after the first module of a model, how many texts it has read."""
    features = inputs[0]
    # A length that is asked for while a graph is exported would be fixed in the graph.
    if torch.compiler.is_compiling() or "input_ids" not in features:
        return
    # A table of word vectors takes the tokens of all texts in one row, and where each text begins.
    count_texts(len(features.get("offsets", features["input_ids"])))


def join_text_pair(text: Text) -> str:
    """Returns a text, or both texts of a pair as one, for a model that takes no pairs."""
    return text if isinstance(text, str) else " ".join(text)
