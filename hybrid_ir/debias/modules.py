"""Puts a correction into a sentence-transformers model, with modules of that library alone.

So the folder of the model loads everywhere without `trust_remote_code`. A correction with one map
is a Dense module. Any other is a Router, whose routes are the roles `query` and `document`, and
for languages that are given `query_de`, `document_de` and so on.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from hybrid_ir.debias.correction import LanguageCorrection
from hybrid_ir.debias.maps import AffineMap
from hybrid_ir.evaluation.postprocess import ROLES
from hybrid_ir.model.adapters import TASKS, BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.sentence_transformers_modules import build_sentence_transformer
from hybrid_ir.types import Role, TextEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def name_route(role: Role, language: str | None = None) -> str:
    """Returns the route of a role, or of a role and a language: the `task` of `encode`."""
    return TASKS[role] if language is None else f"{TASKS[role]}_{language}"


def build_corrected_model(
    encoder: TextEncoder, correction: LanguageCorrection
) -> "SentenceTransformer":
    """Builds a sentence-transformers model that gives corrected vectors, on the CPU.

    Args:
        encoder: that `load_encoder` gave; its prompts and lengths are those of the new model.
        correction: fitted on vectors of this encoder.

    Raises:
        ValueError: the encoder is of another kind, or is corrected already.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize

    model = get_sentence_transformer(encoder)
    modules = list(model)
    if any(type(module).__name__ == "Router" for module in modules):
        raise ValueError(
            f"{encoder.name} has a Router, as a model has that is corrected already: give the "
            "model that it was made of"
        )
    if encoder.similarity == "cosine" and type(modules[-1]).__name__ != "Normalize":
        modules.append(Normalize())  # The correction was fitted on vectors of length 1.
    if correction.has_one_map:
        shared_map = correction.common["query"]
        if shared_map.bias_D is None and type(modules[-1]).__name__ == "Normalize":
            modules.pop()  # A matrix keeps the direction of a vector of any length.
        modules += list(_build_route(shared_map, correction.unit_length))
    else:
        modules.append(_build_router(correction))
    return SentenceTransformer(
        modules=modules,
        prompts={**model.prompts, **_name_prompts(encoder)},
        similarity_fn_name=encoder.similarity,
        device="cpu",
    )


def get_sentence_transformer(encoder: TextEncoder) -> "SentenceTransformer":
    """Returns the sentence-transformers model of an encoder, with weights in float32.

    Raises:
        ValueError: it is neither one of ours nor one of that library.
    """
    if isinstance(encoder, BiEncoderAdapter):
        return build_sentence_transformer(encoder.encoder)
    if isinstance(encoder, SentenceTransformerAdapter):
        return encoder.model.cpu()
    raise ValueError(f"{type(encoder).__name__} cannot be written as sentence-transformers model")


def _name_prompts(encoder: TextEncoder) -> dict[str, str]:
    """Returns the prompts of both roles under the names that the library looks for."""
    reading = encoder.reading()
    passage_prompt = reading["passage_prefix"]
    return {"query": reading["query_prefix"], "document": passage_prompt, "passage": passage_prompt}


def _build_router(correction: LanguageCorrection) -> nn.Module:
    from sentence_transformers.base.modules import Router

    routes = {}
    for role in ROLES:
        routes[name_route(role)] = list(
            _build_route(correction.common[role], correction.unit_length)
        )
        for language, language_map in correction.by_language[role].items():
            route = list(_build_route(language_map, correction.unit_length))
            routes[name_route(role, language)] = route
    return Router(routes, default_route=TASKS["passage"])


def _build_route(affine_map: AffineMap, unit_length: bool) -> Iterator[nn.Module]:
    """Yields the modules of a map; none for the identity, which keeps a vector to the bit."""
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import Dense

    width = len(affine_map.weight_DD)
    is_identity = torch.equal(affine_map.weight_DD, torch.eye(width, dtype=torch.float64))
    if is_identity and affine_map.bias_D is None:
        return
    bias_D = None if affine_map.bias_D is None else affine_map.bias_D.float()
    yield Dense(
        width,
        width,
        bias=bias_D is not None,
        activation_function=nn.Identity(),
        init_weight=affine_map.weight_DD.float(),
        init_bias=bias_D,
    )
    if unit_length:
        yield Normalize()


def encode_texts(
    model: "SentenceTransformer",
    texts: Sequence[str],
    role: Role,
    languages: Sequence[str | None] | None = None,
    batch_size: int = 32,
) -> torch.Tensor:
    """Encodes texts with a corrected model, each with the map of its language.

    Args:
        model: of a folder that `hybrid-ir debias` wrote.
        texts: N texts.
        role: of all of them.
        languages: N codes; None for a text whose language is not known. None for all of them.
        batch_size: texts encoded at once.

    Returns:
        Vectors (N, D), float32 on the CPU. A language that the model has no map of, and an
        unknown one, gets the common map; see `list_routes`.

    Raises:
        ValueError: there are not as many languages as texts.
    """
    if languages is None:
        languages = [None] * len(texts)
    if len(languages) != len(texts):
        raise ValueError(f"{len(languages)} languages for {len(texts)} texts: give each text one")
    routes = list_routes(model)
    rows_by_route: dict[str, list[int]] = {}
    for row, language in enumerate(languages):
        route = name_route(role, language)
        if route not in routes:
            route = name_route(role)
        rows_by_route.setdefault(route, []).append(row)
    vectors_ND = torch.zeros(len(texts), model.get_embedding_dimension())
    for route, rows in rows_by_route.items():
        vectors_BD = model.encode(
            [texts[row] for row in rows],
            prompt_name=TASKS[role],
            task=route,
            batch_size=batch_size,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        vectors_ND[torch.tensor(rows)] = vectors_BD.float().cpu()
    return vectors_ND


def list_routes(model: "SentenceTransformer") -> list[str]:
    """Returns the routes of a corrected model; none if all texts get the same map."""
    for module in model:
        if type(module).__name__ == "Router":
            return list(module.sub_modules)
    return []
