"""MtebEncoder: any encoder of ours as one that `mteb.evaluate` takes."""

# B texts of a batch, N texts, M texts they are compared with, D width of the vectors

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import langcodes
import numpy as np
import torch

from hybrid_ir.model.module_files import HUB_ID, is_hub_id
from hybrid_ir.mteb_tasks.library import import_mteb
from hybrid_ir.types import Role, TextEncoder

if TYPE_CHECKING:
    from mteb.models import ModelMeta

# What mteb calls the role of a text. Texts of tasks without roles are read as queries, as the
# authors of E5 advise for symmetric tasks.
ROLES: dict[str | None, Role] = {"query": "query", "document": "passage", None: "query"}
BATCH_SIZE = 32  # texts, mteb's default
NO_REVISION = "no_revision_available"  # mteb's word for it
OWNER = "hybrid-ir"  # of models that are on no hub: mteb's names have the form owner/name
BYTES_PER_MEGABYTE = 1024**2


class MtebEncoder:
    """An encoder as mteb sees one, with the prompts of its two roles.

    Queries are read with the prompt and the maximum length of queries, documents with those of
    passages, exactly as in an evaluation of ours; the prompts that mteb's tasks suggest to
    instruction models are not used. Vectors are compared by their inner product.

    Args:
        encoder: of `load_encoder`, or any object that follows `hybrid_ir.types.TextEncoder`.
        name: of the model in mteb's results, as owner/name. By default that of its hub model, or
            hybrid-ir/NAME for a model that is on no hub.
        revision: of the model in mteb's results. By default the commit of a hub model, if the
            encoder knows it.
        languages: codes of the languages that the model is meant for; None where that is unknown.
        adapted_from: name of the model that this one was trained from.

    Raises:
        ValueError: If mteb is not installed, or the name has no owner.

    Example:
        >>> import mteb
        >>> from hybrid_ir import MtebEncoder, load_encoder
        >>> model = MtebEncoder(load_encoder("outputs/RUN"), name="me/my-model")
        >>> result = mteb.evaluate(model, mteb.get_tasks(tasks=["BelebeleRetrieval"]))
    """

    def __init__(
        self,
        encoder: TextEncoder,
        name: str | None = None,
        revision: str | None = None,
        languages: Iterable[str] | None = None,
        adapted_from: str | None = None,
    ):
        import_mteb()
        self.encoder = encoder
        self.name = choose_model_name(encoder) if name is None else name
        if not HUB_ID.fullmatch(self.name):
            raise ValueError(f"model_name={self.name!r} must have the form owner/name")
        self.revision = revision or find_hub_commit(encoder, self.name) or NO_REVISION
        self.languages = None if languages is None else list_language_scripts(languages)
        self.adapted_from = adapted_from

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb writes of the model beside its results, as far as it is known here."""
        from mteb.models import ModelMeta

        reading = self.encoder.reading()
        module = _find_module(self.encoder)
        lengths = [reading.get("query_max_length"), reading.get("passage_max_length")]
        known_lengths = [length for length in lengths if length]
        prompts = [reading.get("query_prefix"), reading.get("passage_prefix")]
        framework = ["PyTorch", "Transformers"]
        if hasattr(self.encoder, "model"):
            framework = ["Sentence Transformers", "PyTorch"]
        return ModelMeta(
            loader=None,
            name=self.name,
            revision=self.revision,
            release_date=None,
            languages=self.languages,
            n_parameters=_count_parameters(module),
            n_embedding_parameters=_count_embedding_parameters(module),
            memory_usage_mb=_measure_megabytes(module),
            max_tokens=max(known_lengths) if known_lengths else None,
            embed_dim=reading.get("width"),
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=framework,
            similarity_fn_name=self.encoder.similarity,
            use_instructions=any(prompts),
            training_datasets=None,
            adapted_from=self.adapted_from,
        )

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        task_metadata: Any = None,
        hf_split: str | None = None,
        hf_subset: str | None = None,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Returns the vectors of all texts of a loader of mteb (N, D), float32 on the CPU.

        Args:
            inputs: batches whose `text` is a list of texts.
            task_metadata, hf_split, hf_subset: not used: a text has one vector in every task.
            prompt_type: mteb's `query` or `document`; None, in tasks without these roles, reads
                the texts as queries.
            kwargs: `batch_size` is the number of texts that are encoded at once; all others are
                not used.

        Raises:
            ValueError: If the texts are quantised by mteb, or the task has no texts.
        """
        if kwargs.get("precision") not in (None, "float32"):
            raise ValueError(f"precision={kwargs['precision']!r}: vectors are float32 here")
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise ValueError(f"a batch of {sorted(batch)} has no text: the encoder reads texts")
            texts.extend(batch["text"])
        role = ROLES[None if prompt_type is None else getattr(prompt_type, "value", prompt_type)]
        return self._encode_texts(texts, role, kwargs.get("batch_size", BATCH_SIZE))

    def _encode_texts(self, texts: Sequence[str], role: Role, batch_size: int) -> torch.Tensor:
        """Encodes texts of similar length together, which saves padding, and restores the order."""
        lengths_N = np.array([len(text) for text in texts], np.int64)
        order_N = np.argsort(-lengths_N, kind="stable")
        vectors_ND = torch.zeros(0, 0)
        for start in range(0, len(texts), batch_size):
            rows_B = order_N[start : start + batch_size]
            items = self.encoder.read([texts[row] for row in rows_B], role)
            vectors_BD = self.encoder.encode(items, role).float().cpu()
            if start == 0:
                vectors_ND = torch.zeros(len(texts), vectors_BD.shape[1])
            vectors_ND[torch.from_numpy(rows_B)] = vectors_BD
        return vectors_ND

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Returns the inner products (N, M) of two sets of vectors (N, D) and (M, D).

        These are cosines where the encoder gives unit vectors.
        """
        vectors_ND = torch.atleast_2d(_as_tensor(embeddings1)).to(self.encoder.device)
        vectors_MD = torch.atleast_2d(_as_tensor(embeddings2)).to(self.encoder.device)
        return (vectors_ND @ vectors_MD.T).cpu()

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Returns the inner product of each pair of vectors (N) of two sets of as many (N, D)."""
        vectors_ND = torch.atleast_2d(_as_tensor(embeddings1))
        others_ND = torch.atleast_2d(_as_tensor(embeddings2))
        return (vectors_ND * others_ND).sum(dim=1)


def choose_model_name(encoder: TextEncoder) -> str:
    """Returns what mteb shall call a model: its hub id, or hybrid-ir/NAME if it is on no hub."""
    place = _find_name_or_path(encoder)
    # A run starts from a hub model, and is another model.
    if is_hub_id(place) and Path(place).name == encoder.name:
        return place
    name = re.sub(r"[^\w.-]+", "_", encoder.name) or "encoder"
    return f"{OWNER}/{name}"


def find_hub_commit(encoder: TextEncoder, name: str) -> str | None:
    """Returns the commit of a hub model; None if the encoder is another one, or does not know it.

    Args:
        encoder: whose files may be those of the hub model.
        name: of the hub model.
    """
    if _find_name_or_path(encoder) != name:
        return None
    return getattr(_find_config(encoder), "_commit_hash", None)


def list_language_scripts(languages: Iterable[str]) -> list[str]:
    """Returns languages as mteb writes them, "eng-Latn" for "en"; those it does not know are left.

    Args:
        languages: codes such as `en` or `zh-Hant`.
    """
    from mteb.languages import check_language_code

    known = []
    for code in languages:
        language = langcodes.Language.get(code)
        if language.language is None:  # und, which would be taken for English
            continue
        language = language.maximize()
        spelling = f"{language.to_alpha3()}-{language.script}"
        try:
            check_language_code(spelling)
        except ValueError:
            continue
        known.append(spelling)
    return sorted(set(known))


def _find_module(encoder: TextEncoder) -> torch.nn.Module | None:
    """Returns the torch module in an encoder of ours, None in one that is built otherwise."""
    for name in ("encoder", "model"):
        module = getattr(encoder, name, None)
        if isinstance(module, torch.nn.Module):
            return module
    return None


def _find_config(encoder: TextEncoder) -> Any:
    """Returns the configuration of the Hugging Face model in an encoder, None if it has none."""
    module = _find_module(encoder)
    if module is None:
        return None
    for part in module.modules():
        if hasattr(part, "get_input_embeddings") and hasattr(part, "config"):
            return part.config
    return None


def _find_name_or_path(encoder: TextEncoder) -> str:
    return str(getattr(_find_config(encoder), "_name_or_path", None) or "")


def _count_parameters(module: torch.nn.Module | None) -> int | None:
    if module is None:
        return None
    return sum(parameter.numel() for parameter in module.parameters())


def _count_embedding_parameters(module: torch.nn.Module | None) -> int | None:
    """Counts the parameters of the token embeddings."""
    if module is None:
        return None
    for part in module.modules():
        if hasattr(part, "get_input_embeddings") and hasattr(part, "config"):
            return part.get_input_embeddings().weight.numel()
    return None


def _measure_megabytes(module: torch.nn.Module | None) -> float | None:
    if module is None:
        return None
    size = sum(value.numel() * value.element_size() for value in module.parameters())
    return round(size / BYTES_PER_MEGABYTE, 1)


def _as_tensor(vectors: Any) -> torch.Tensor:
    return torch.as_tensor(vectors, dtype=torch.float32)
