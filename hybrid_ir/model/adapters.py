"""Any bi-encoder as texts in, vectors out: ours, a Hugging Face checkpoint, a sentence-transformers model."""

# B texts, D width of the vectors

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.token_store import RaggedTokens, concatenate_tokens
from hybrid_ir.model.tokens import compute_tokenizer_canary, cut_into_windows
from hybrid_ir.types import Role, Text

PRECISIONS = ("fp32", "bf16")
Similarity = Literal["cosine", "dot"]
BATCH_SIZE = 32  # of sentence-transformers, its default


def autocast_to(precision: str, device: torch.device) -> AbstractContextManager:
    """Matrix products in bfloat16, or everything in float32 as stored."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class BiEncoderAdapter:
    """Our BiEncoder. What it reads of a text are token ids as bytes, so texts of the same tokens are the same."""

    similarity: Similarity = "cosine"

    def __init__(self, encoder: BiEncoder, name: str, precision: str = "fp32", device: str = "cpu"):
        self.encoder, self.name, self.precision = encoder.to(device).eval(), name, precision
        self.device = torch.device(device)
        self.texts_read, self.texts_cut = {"query": 0, "passage": 0}, {"query": 0, "passage": 0}

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        ids, cut = self.encoder.tokenizers[role].read(texts)
        self.texts_read[role] += len(texts)
        self.texts_cut[role] += cut
        return [np.asarray(row, np.int32).tobytes() for row in ids]

    def tensors(self, items: Sequence[Hashable], role: Role) -> RaggedTokens:
        return concatenate_tokens([np.frombuffer(item, np.int32) for item in items]).to(self.device)

    @torch.inference_mode()
    def forward(self, inputs: RaggedTokens) -> torch.Tensor:
        with autocast_to(self.precision, self.device):
            return self.encoder(inputs)

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        return self.forward(self.tensors(items, role))

    def windows(self, text: Text, overlap: float) -> list[Text]:
        reader = self.encoder.tokenizers["passage"]
        return cut_into_windows(text, reader.tokenizer, reader.max_length, overlap, reader.prefix)

    def reading(self) -> dict[str, Any]:
        lengths = {
            f"{role}_max_length": reader.max_length
            for role, reader in self.encoder.tokenizers.items()
        }
        return {
            **self.encoder.reading(),
            **lengths,
            "similarity": self.similarity,
            "width": self.encoder.width,
            "precision": self.precision,
            "tokenizer_canary": compute_tokenizer_canary(self.encoder.tokenizer),
        }


class SentenceTransformerAdapter:
    """A sentence-transformers model by its own code: modules, pooling and prompts as its files say.

    Args:
        path: folder or hub id.
        prompts: of `query` and `passage`, instead of the model's own; None for its own.
        max_length: in tokens, instead of the model's own.
        similarity: `cosine` or `dot`, instead of the model's own.
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
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ValueError(
                f"{path!r} is a sentence-transformers model: pip install 'hybrid-ir[sentence-transformers]', or "
                "say loader=transformers pooling=mean to read it as a plain Hugging Face encoder"
            ) from error
        with quiet_transformers():
            self.model = SentenceTransformer(
                path,
                device=device,
                revision=revision,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": torch.float32},
            ).eval()
        if max_length is not None:
            self.model.max_seq_length = max_length
        self.name, self.precision, self.device = Path(path).name, precision, torch.device(device)
        own = {"query": ("query",), "passage": ("document", "passage", "corpus")}
        # the library adds an empty `document` to every model: it must not hide a `passage` that the model has
        self.prompts = {
            role: prompts[role]
            if prompts[role] is not None
            else next(
                (self.model.prompts[name] for name in names if self.model.prompts.get(name)), ""
            )
            for role, names in own.items()
        }
        found = similarity or self.model.similarity_fn_name or "cosine"
        if found not in ("cosine", "dot"):
            raise ValueError(
                f"{path!r} compares by {found}, which is no inner product: say similarity=cosine or dot"
            )
        self.similarity: Similarity = found
        fast = hasattr(
            self.model.tokenizer, "backend_tokenizer"
        )  # a slow one would tokenise twice as long only to count
        self.texts_read, self.texts_cut = (
            {"query": 0, "passage": 0},
            dict.fromkeys(("query", "passage"), 0 if fast else None),
        )

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        self.texts_read[role] += len(texts)
        limit = self.model.max_seq_length
        if self.texts_cut[role] is not None and limit:
            lengths = self.model.tokenizer(
                [self.prompts[role] + join_text_pair(text) for text in texts],
                verbose=False,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            self.texts_cut[role] += sum(len(row) > limit for row in lengths)
        return [join_text_pair(text) for text in texts]

    def tensors(self, items: Sequence[Hashable], role: Role) -> dict[str, Any]:
        features = self.model.preprocess(list(items), prompt=self.prompts[role] or None)
        return {
            name: value.to(self.device) if torch.is_tensor(value) else value
            for name, value in features.items()
        }

    @torch.inference_mode()
    def forward(self, inputs: dict[str, Any]) -> torch.Tensor:
        with autocast_to(self.precision, self.device):
            return self._comparable(self.model(inputs)["sentence_embedding"])

    @torch.inference_mode()
    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        with autocast_to(self.precision, self.device):
            return self._comparable(
                encode(
                    list(items),
                    prompt=self.prompts[role],
                    batch_size=BATCH_SIZE,
                    convert_to_tensor=True,
                    show_progress_bar=False,
                )
            )

    def _comparable(self, vectors_BD: torch.Tensor) -> torch.Tensor:
        return (
            F.normalize(vectors_BD.float(), dim=-1)
            if self.similarity == "cosine"
            else vectors_BD.float()
        )

    def windows(self, text: Text, overlap: float) -> list[Text]:
        if not self.model.max_seq_length:
            raise ValueError(
                f"{self.name} has no maximum length, so nothing says how long a window is: give passage_max_length"
            )
        return cut_into_windows(
            join_text_pair(text),
            self.model.tokenizer,
            self.model.max_seq_length,
            overlap,
            self.prompts["passage"],
        )

    def reading(self) -> dict[str, Any]:
        pooling = next(
            (
                module.get_config_dict().get("pooling_mode")
                for module in self.model
                if type(module).__name__ == "Pooling"
            ),
            None,
        )
        width = self.model.get_embedding_dimension()
        return {
            "pooling": pooling,
            "modules": [type(module).__name__ for module in self.model],
            **{f"{role}_prefix": prompt for role, prompt in self.prompts.items()},
            "query_max_length": self.model.max_seq_length,
            "passage_max_length": self.model.max_seq_length,
            "similarity": self.similarity,
            "width": width,
            "precision": self.precision,
            "tokenizer_canary": compute_tokenizer_canary(self.model.tokenizer),
        }


def join_text_pair(text: Text) -> str:
    """One text for a model that takes no pairs."""
    return text if isinstance(text, str) else " ".join(text)
