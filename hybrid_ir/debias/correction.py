"""Corrections of language bias: which map the vector of a text gets, by its role and language."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from hybrid_ir.debias.maps import (
    METHODS,
    AffineMap,
    find_directions,
    fit_subspace,
    guess_offset,
    identity_map,
    list_languages,
    project_out,
    stack_means,
)
from hybrid_ir.evaluation.postprocess import ROLES, EstimationSplit, LanguageRemoval
from hybrid_ir.types import Role


@dataclass(frozen=True)
class LanguageCorrection:
    """A correction that was fitted once, and is part of a model from then on.

    Attributes:
        method: one of METHODS.
        common: by role, the map of a text whose language is not given, or that had no texts when
            the correction was fitted.
        by_language: by role, the map of each language; empty where no language is needed.
        unit_length: whether vectors get length 1 behind the map, for models that compare by cosine.
    """

    method: str
    common: Mapping[Role, AffineMap]
    by_language: Mapping[Role, Mapping[str, AffineMap]]
    unit_length: bool

    @property
    def has_one_map(self) -> bool:
        """Whether all texts get the same map, whatever their role and language."""
        has_languages = any(self.by_language.values())
        return not has_languages and self.common["query"] is self.common["passage"]

    def apply(
        self, vectors_ND: torch.Tensor, role: Role, language: str | None = None
    ) -> torch.Tensor:
        """Returns corrected vectors (N, D), float64.

        Args:
            vectors_ND: of the uncorrected model.
            role: of all these texts.
            language: of all of them; None if it is not known.
        """
        correct = self.by_language[role].get(language, self.common[role])
        corrected_ND = correct(vectors_ND)
        return F.normalize(corrected_ND, dim=-1) if self.unit_length else corrected_ND


def fit_correction(
    split: EstimationSplit,
    method: str,
    passages_only: bool = False,
    components: int | None = None,
    source: str = "en",
    unit_length: bool = True,
) -> LanguageCorrection:
    """Fits a correction on the vectors of some texts whose languages are known.

    - `subspace` projects away the mean vectors of all languages. It needs no language of a text.
    - `center` subtracts the mean vector of the language (Libovický et al. 2020, arXiv 2004.05160).
    - `lir` projects away the first singular directions of the language (Yang et al. 2021,
      arXiv 2109.04727).
    - `shift` subtracts from passages the mean difference to their translations in a source
      language (arXiv 2606.18801).

    For a text of unknown language, `center` and `shift` subtract what a linear regression expects
    from the vector, and `lir` projects away the directions of all languages.

    Args:
        split: the moments of the vectors.
        method: one of METHODS.
        passages_only: leave the vectors of queries as they are.
        components: directions of `subspace` (None: all) and of `lir` (None: 1 of each language).
        source: language of `shift`.
        unit_length: give vectors length 1 behind the map.

    Raises:
        ValueError: an unknown method, components out of range, or texts that are too few for it.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} must be one of {', '.join(METHODS)}")
    if components is not None and method not in ("subspace", "lir"):
        raise ValueError(f"components={components} is for method=subspace and lir alone")
    common: dict[Role, AffineMap] = {}
    by_language: dict[Role, dict[str, AffineMap]] = {}
    if method == "subspace":
        shared_map = fit_subspace(split, components)
        common = dict.fromkeys(ROLES, shared_map)
        by_language = {role: {} for role in ROLES}
    else:
        for role in ROLES:
            is_unchanged = role == "query" and (passages_only or method == "shift")
            if is_unchanged or not list_languages(split, role):
                continue
            common[role], by_language[role] = _fit_role(
                split, role, method, passages_only, components or 1, source
            )
    if not common:
        raise ValueError(f"on={split.name} has no texts that method={method} can be fitted on")
    width = len(next(iter(common.values())).weight_DD)
    for role in ROLES:
        if role not in common or (role == "query" and passages_only):
            common[role] = identity_map(width)
            by_language[role] = {}
    return LanguageCorrection(method, common, by_language, unit_length)


def _fit_role(
    split: EstimationSplit,
    role: Role,
    method: str,
    passages_only: bool,
    components: int,
    source: str,
) -> tuple[AffineMap, dict[str, AffineMap]]:
    """Fits the common map of a role, and those of its languages."""
    if method == "lir":
        return _fit_language_removal(split, role, components)
    languages = list_languages(split, role)
    if method == "center":
        offsets_LD = stack_means(split, role)
        if passages_only:
            # Queries keep what all texts have in common, so passages have to keep it, too.
            offsets_LD = offsets_LD - offsets_LD.mean(0)
    else:
        offsets_LD = _stack_shifts(split, languages, source)
    identity_DD = torch.eye(offsets_LD.shape[1], dtype=torch.float64)
    maps = {}
    for language, offset_D in zip(languages, offsets_LD, strict=True):
        maps[language] = AffineMap(identity_DD, -offset_D)
    return guess_offset(split, role, offsets_LD), maps


def _stack_shifts(split: EstimationSplit, languages: list[str], source: str) -> torch.Tensor:
    """Returns the mean offset of each language's passages to their translations (L, D)."""
    if source not in languages:
        raise ValueError(
            f"source={source!r}: on={split.name} has passages in {', '.join(languages)} alone"
        )
    offsets = []
    for language in languages:
        if language == source:
            offsets.append(torch.zeros_like(split.moments["passage", source].sum_D))
        else:
            try:
                offsets.append(split.compute_offset(language, source))
            except ValueError as error:
                raise ValueError(
                    f"method=shift needs passages in '{language}' and their translations in "
                    f"source='{source}', and on={split.name} has none: choose other texts, another "
                    "source, or method=subspace, which needs no translations"
                ) from error
    return torch.stack(offsets)


def _fit_language_removal(
    split: EstimationSplit, role: Role, components: int
) -> tuple[AffineMap, dict[str, AffineMap]]:
    """Fits LIR for the languages of a role; the common map takes the directions of all of them."""
    removal = LanguageRemoval(split, components)
    maps = {}
    directions = []
    for language in list_languages(split, role):
        directions_DK = _compute_directions(removal, split, role, language)
        maps[language] = project_out(directions_DK)
        directions.append(directions_DK.T)
    return project_out(find_directions(torch.cat(directions))), maps


def _compute_directions(
    removal: LanguageRemoval, split: EstimationSplit, role: Role, language: str
) -> torch.Tensor:
    """Returns the first singular directions of a language (D, K)."""
    width = len(split.get_moments(role, language).sum_D)
    identity_DD = torch.eye(width, dtype=torch.float64)
    try:
        removed_DD = identity_DD - removal(role, language, identity_DD)
    except ValueError as error:
        text = str(error).replace("postprocess_components", "components")
        raise ValueError(text) from error
    return torch.linalg.eigh(removed_DD).eigenvectors[:, -removal.components :]
