"""Mixture: several corpora as one, where every batch comes from one of them."""

import copy
from collections.abc import Mapping, Sequence

from hybrid_ir.data.corpus import KINDS, AllTexts, ParallelCorpus
from hybrid_ir.data.language_view import LanguageView
from hybrid_ir.files.languages import respell_languages
from hybrid_ir.types import Source, parse_languages


class Mixture:
    """Several corpora as one, drawn by size ** tau times weight.

    For each batch a sampler draws the kind (monolingual or not) first, then the corpus among those
    that can serve this kind, then the languages. The rows of a corpus come without replacement
    within a pass over it. With tau = 1, batches are "sampled based on dataset size" (arXiv
    2408.10536, section 4.1).

    Args:
        parts: name -> corpus.
        tau: 1 draws the corpora by their numbers of pairs, 0 draws all of them equally often.
        sizes: name -> number of pairs to count a corpus with, instead of those that it has.
        weights: name -> factor on top, 1 for a corpus that is not named.
        languages: codes to use, all by default.
        languages_of: name -> codes to use of this corpus, all for one that is not named.
        kinds: name -> `monolingual`, `cross_lingual` or both: the batches that may come from this
            corpus; both for one that is not named.
        left_out: name -> why a corpus is missing from the mixture; every card shows it.
        name: of the mixture.

    Raises:
        ValueError: If a choice is not valid (it names all problems), or if no pair can be drawn.
    """

    negatives = None  # each part has its own

    def __init__(
        self,
        parts: Mapping[str, ParallelCorpus],
        tau: float = 1.0,
        sizes: Mapping[str, int] | None = None,
        weights: Mapping[str, float] | None = None,
        languages: str | Sequence[str] | None = None,
        languages_of: Mapping[str, str | Sequence[str]] | None = None,
        kinds: Mapping[str, str | Sequence[str]] | None = None,
        left_out: Mapping[str, str] | None = None,
        name: str = "mixture",
    ):
        sizes = dict(sizes or {})
        weights = dict(weights or {})
        languages_of = dict(languages_of or {})
        kinds = dict(kinds or {})
        choices = {"sizes": sizes, "weights": weights, "kinds": kinds, "languages_of": languages_of}
        known = set()
        for corpus in parts.values():
            known.update(corpus.languages)
        codes = respell_languages(parse_languages(languages), sorted(known))
        codes_of = {}
        for part, value in languages_of.items():
            codes_of[part] = respell_languages(parse_languages(value), sorted(known))
        kinds_of = {part: parse_languages(value) or list(KINDS) for part, value in kinds.items()}
        problems = _find_part_problems(parts, tau, choices)
        problems += _find_language_problems(parts, codes, codes_of)
        problems += _find_kind_problems(kinds_of)
        if problems:
            raise ValueError("mixture: " + "; ".join(problems))

        # Corpora that would never be drawn are left out.
        undrawn_parts = {part for part in parts if sizes.get(part) == 0 or weights.get(part) == 0}
        self.left_out = dict(left_out or {})
        for part in sorted(undrawn_parts):
            self.left_out[part] = "drawn with weight 0"
        drawn_parts = {part: corpus for part, corpus in parts.items() if part not in undrawn_parts}

        # Every other corpus is shown with the languages of the whole mixture.
        languages_of_part = {}
        for part, corpus in drawn_parts.items():
            languages_of_part[part] = _choose_languages(corpus, codes, codes_of.get(part))
        self.languages = tuple(sorted(set().union(*languages_of_part.values())))
        views = {}
        for part, corpus in drawn_parts.items():
            part_kinds = kinds_of.get(part, KINDS)
            views[part] = LanguageView(
                corpus, self.languages, languages_of_part[part], part_kinds, name=part
            )
        self.parts = tuple(views.values())
        if not any(view.usable_pair_count for view in self.parts):
            raise ValueError(
                "mixture: no corpus with a weight above 0 has a pair in the chosen languages"
            )

        pair_counts = {
            part: sizes.get(part, view.usable_pair_count) for part, view in views.items()
        }
        part_weights = _weigh_parts(pair_counts, tau, weights)
        self.part_weights = tuple(part_weights.values())
        self.source = _describe_mixture(name, tau, part_weights, choices)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def texts(self) -> AllTexts:
        """Returns the texts of all parts, for a tokenizer to train on."""
        return AllTexts(self.parts)

    def with_parts(self, parts: Sequence[ParallelCorpus]) -> "Mixture":
        """Returns the mixture with other parts in the same order, drawn as often as before."""
        mixture = copy.copy(self)
        mixture.parts = tuple(parts)
        return mixture


def _choose_languages(
    corpus: ParallelCorpus, codes: Sequence[str] | None, codes_of_part: Sequence[str] | None
) -> list[str]:
    """Returns the languages to use of a corpus: those chosen for it and for the whole mixture."""
    allowed = codes or corpus.languages
    return [code for code in codes_of_part or corpus.languages if code in allowed]


def _weigh_parts(
    pair_counts: Mapping[str, int], tau: float, weights: Mapping[str, float]
) -> dict[str, float]:
    """Returns how often each part is drawn, relative to the others: (size / largest) ** tau.

    Args:
        pair_counts: name -> the number of pairs that a part counts with.
        tau: exponent.
        weights: name -> factor on top.
    """
    largest = max(pair_counts.values())
    part_weights = {}
    for part, size in pair_counts.items():
        if size:
            part_weights[part] = (size / largest) ** tau * float(weights.get(part, 1))
        else:
            part_weights[part] = 0.0
    return part_weights


def _describe_mixture(
    name: str,
    tau: float,
    part_weights: Mapping[str, float],
    choices: Mapping[str, Mapping],
) -> Source:
    """Returns what the cards say of a mixture: its parts, how often each is drawn, the choices."""
    shown = {"tau": str(tau)}
    for key, value in choices.items():
        if value:
            shown[key] = str(value)
    total = sum(part_weights.values())
    shares = [f"{part} {weight / total:.2%}" for part, weight in part_weights.items()]
    shown["drawn"] = ", ".join(shares) + ", where they serve the kind of batch"
    return Source(
        name,
        f"a mixture of {', '.join(part_weights)}, drawn by size ** {tau}",
        licence="those of its corpora",
        citation="those of its corpora",
        choices=shown,
    )


def _find_part_problems(
    parts: Mapping[str, ParallelCorpus], tau: float, choices: Mapping[str, Mapping]
) -> list[str]:
    """Returns what is wrong with tau, the names of parts, and the numbers that are chosen for them.

    Args:
        parts: name -> corpus.
        tau: see Mixture.
        choices: `sizes`, `weights`, `kinds` and `languages_of`, each by the name of a part.
    """
    problems = []
    if not parts:
        problems.append("it has no corpus: add one, as in +corpus@corpus.parts.NAME=NAME")
    if not 0 <= tau <= 100:
        problems.append(f"tau={tau} must be between 0 and 100")
    for key, by_part in choices.items():
        unknown = sorted(set(by_part) - set(parts))
        if unknown:
            problems.append(f"{key} names {unknown}, it has {sorted(parts)}")
    for key in ("sizes", "weights"):
        invalid = {}
        for part, number in choices[key].items():
            if number != 0 and not 1e-12 <= number <= 1e12:
                invalid[part] = number
        if invalid:
            problems.append(f"{key} has {invalid}: use 0, or numbers between 1e-12 and 1e12")
    return problems


def _find_language_problems(
    parts: Mapping[str, ParallelCorpus],
    codes: Sequence[str] | None,
    codes_of: Mapping[str, Sequence[str] | None],
) -> list[str]:
    """Returns which chosen languages the corpora do not have."""
    problems = []
    known = set()
    for corpus in parts.values():
        known.update(corpus.languages)
    unknown = sorted(set(codes or ()) - known)
    if unknown:
        problems.append(f"languages has {unknown}, which none of its corpora has")
    for part, chosen in codes_of.items():
        if part not in parts or not chosen:
            continue
        available = list(parts[part].languages)
        unknown = sorted(set(chosen) - set(available))
        if unknown:
            problems.append(f"languages_of.{part} has {unknown}, that corpus has {available}")
    return problems


def _find_kind_problems(kinds_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns which kinds of batches do not exist."""
    invalid = {part: kinds for part, kinds in kinds_of.items() if set(kinds) - set(KINDS)}
    return [f"kinds has {invalid}: use one or both of {list(KINDS)}"] if invalid else []
