"""Mixture: several corpora as one; every batch is of one of them, drawn by its size."""

# L languages of all corpora together, N ids

from collections.abc import Mapping, Sequence

from hybrid_ir.data.corpus import KINDS, AllTexts, ParallelCorpus
from hybrid_ir.data.language_view import LanguageView
from hybrid_ir.types import Source, parse_languages


class Mixture:
    """Kind of batch first, then the corpus among those that can serve it, by size ** tau times its weight, then the languages.

    With tau = 1 that is "sampled based on dataset size" (arXiv 2408.10536, section 4.1). A batch is of one corpus, whose rows
    come without replacement within a pass over it.

    Args:
        parts: corpora by name.
        tau: 1 draws by the number of pairs, 0 all alike.
        sizes: name -> pairs to count it with, instead of those that it has.
        weights: name -> factor on top, 1 for those not named.
        languages: codes to use, all by default.
        languages_of: name -> codes to use of it, all for those not named.
        kinds: name -> of `monolingual` and `cross_lingual` batches those that it may serve, both for those not named.
        left_out: name -> why the mixture has it not; on every card.
        name: of the mixture.
    """

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
        never = {
            part for part in parts if (sizes or {}).get(part) == 0 or (weights or {}).get(part) == 0
        }
        self.left_out, self.negatives = (
            dict(left_out or {}) | dict.fromkeys(sorted(never), "drawn with weight 0"),
            None,
        )
        chosen = {
            part: parse_languages((languages_of or {}).get(part))
            for part in {*parts, *(languages_of or {})}
        }
        served = {
            part: parse_languages((kinds or {}).get(part)) or list(KINDS)
            for part in {*parts, *(kinds or {})}
        }
        require_valid_mixture(
            parts, tau, sizes or {}, weights or {}, parse_languages(languages), chosen, served
        )
        parts = {part: corpus for part, corpus in parts.items() if part not in never}
        used = {
            part: [
                code
                for code in chosen[part] or corpus.languages
                if code in (parse_languages(languages) or corpus.languages)
            ]
            for part, corpus in parts.items()
        }
        self.languages = tuple(sorted({language for own in used.values() for language in own}))
        self.parts = tuple(
            LanguageView(corpus, self.languages, used[part], served[part], part)
            for part, corpus in parts.items()
        )
        if not any(part.usable for part in self.parts):
            raise ValueError(
                "mixture: no corpus with a weight above 0 has a pair in the chosen languages"
            )
        counted = [
            (sizes or {}).get(given, part.usable)
            for given, part in zip(parts, self.parts, strict=True)
        ]
        self.part_weights = tuple(
            (size / max(counted)) ** tau * float((weights or {}).get(given, 1)) if size else 0.0
            for given, size in zip(parts, counted, strict=True)
        )
        choices = {"sizes": sizes, "weights": weights, "kinds": kinds, "languages_of": languages_of}
        shares = {
            part: weight / sum(self.part_weights)
            for part, weight in zip(parts, self.part_weights, strict=True)
        }
        self.source = Source(
            name,
            f"a mixture of {', '.join(parts)}, drawn by size ** {tau}",
            "those of its corpora",
            "those of its corpora",
            choices={
                "tau": str(tau),
                **{key: str(dict(value)) for key, value in choices.items() if value},
                "drawn": ", ".join(f"{part} {share:.2%}" for part, share in shares.items())
                + ", where they serve the kind of batch",
            },
        )

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def texts(self) -> AllTexts:
        """All texts, for a tokenizer to train on."""
        return AllTexts(self.parts)


def require_valid_mixture(
    parts: Mapping[str, ParallelCorpus],
    tau: float,
    sizes: Mapping[str, int],
    weights: Mapping[str, float],
    overall: Sequence[str] | None,
    languages: Mapping[str, Sequence[str] | None],
    kinds: Mapping[str, Sequence[str]],
) -> None:
    """Raise everything wrong at once."""
    wrong = [] if parts else ["it has no corpus: add one, as in +corpus@corpus.parts.NAME=NAME"]
    if not 0 <= tau <= 100:
        wrong.append(f"tau={tau} must be between 0 and 100")
    for key, named in (
        ("sizes", sizes),
        ("weights", weights),
        ("languages_of", languages),
        ("kinds", kinds),
    ):
        if unknown := sorted(set(named) - set(parts)):
            wrong.append(f"{key} names {unknown}, it has {sorted(parts)}")
    for key, numbers in (("sizes", sizes), ("weights", weights)):
        if bad := {
            name: number
            for name, number in numbers.items()
            if not (number == 0 or 1e-12 <= number <= 1e12)
        }:
            wrong.append(f"{key} has {bad}: use 0, or numbers between 1e-12 and 1e12")
    if unknown := sorted(
        set(overall or ()) - {code for corpus in parts.values() for code in corpus.languages}
    ):
        wrong.append(f"languages has {unknown}, which none of its corpora has")
    for name, own in languages.items():
        if name in parts and own and (unknown := sorted(set(own) - set(parts[name].languages))):
            wrong.append(
                f"languages_of.{name} has {unknown}, that corpus has {list(parts[name].languages)}"
            )
    if bad := {name: list(own) for name, own in kinds.items() if not own or set(own) - set(KINDS)}:
        wrong.append(f"kinds has {bad}: use one or both of {list(KINDS)}")
    if wrong:
        raise ValueError("mixture: " + "; ".join(wrong))
