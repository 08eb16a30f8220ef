"""How an encoder reads texts: by the keys of the user, else by the files of the model."""

import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from hybrid_ir.model.module_files import MODULES_FILE, ModuleFiles, is_known_to_lack
from hybrid_ir.model.prompts import (
    choose_prompts,
    describe_missing_prompts,
    describe_unused_prompts,
    recognise_family,
)

# How a backbone is read whose files do not say, as it is in the paper.
DEFAULT_POOLING = "mean"
DEFAULT_PREFIXES = {"query": "Query: ", "passage": "Passage: "}
DEFAULT_MAX_LENGTHS = {"query": 64, "passage": 256}  # tokens, special ones included
# Kinds of models whose position ids start behind the padding id.
MODELS_WITH_SHIFTED_POSITIONS = (
    "camembert",
    "data2vec-text",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)


@dataclass(frozen=True)
class Reading:
    """How an encoder makes a vector of a text; None where that is still open.

    Attributes:
        pooling: one of POOLINGS.
        query_prefix: put before every query.
        passage_prefix: put before every passage.
        query_max_length: in tokens, special ones included.
        passage_max_length: in tokens, special ones included.
    """

    pooling: str | None
    query_prefix: str | None
    passage_prefix: str | None
    query_max_length: int | None
    passage_max_length: int | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the choices by name."""
        return asdict(self)

    def complete(
        self, place: str, files: ModuleFiles | None, tokenizer_max_length: int, positions: int
    ) -> "Reading":
        """Returns the reading with everything that is open chosen.

        What the model's sentence-transformers files say is taken. For a model without such files it
        is the paper's choice. No length is more than the backbone takes.

        Args:
            place: of the model, for messages.
            files: of the model; None if it is no sentence-transformers model, or is not read as
                one.
            tokenizer_max_length: in tokens, where the files of a sentence-transformers model leave
                their maximum length since its version 5.
            positions: tokens that the backbone takes.
        """
        if files is None:
            prefixes = DEFAULT_PREFIXES
            lengths = DEFAULT_MAX_LENGTHS
            pooling = DEFAULT_POOLING
        else:
            prefixes = self._choose_prompts_of_files(place, files)
            length = files.max_length or tokenizer_max_length
            lengths = {"query": length, "passage": length}
            pooling = files.pooling
        defaults = {
            "pooling": pooling,
            "query_prefix": prefixes["query"],
            "passage_prefix": prefixes["passage"],
            "query_max_length": min(lengths["query"], positions),
            "passage_max_length": min(lengths["passage"], positions),
        }
        chosen = {}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                chosen[name] = value
        return replace(self, **chosen)

    def _choose_prompts_of_files(self, place: str, files: ModuleFiles) -> dict[str, str]:
        """Returns the prompts of a model's files; says what is missing there, or not used."""
        keys = {"query": self.query_prefix, "passage": self.passage_prefix}
        chosen = choose_prompts(keys, files.prompts, files.default_prompt_name)
        _print_once(describe_unused_prompts(place, chosen))
        if not any(chosen.texts.values()) and set(keys.values()) == {None}:
            _print_once(describe_missing_prompts(place, recognise_family(place)))
        return chosen.texts


def report_unknown_files(place: str, revision: str | None) -> None:
    """Says that a model is read as a plain one only because its files could not be asked for.

    Args:
        place: folder or hub id of a model whose modules.json was not found.
        revision: of a hub model.
    """
    if not is_known_to_lack(place, MODULES_FILE, revision):
        _print_once(
            f"warning: the hub could not be asked whether {place} has a {MODULES_FILE}, so it is "
            "read as a plain Hugging Face model: check model.pooling, prefixes and lengths, or "
            "fetch the whole model once"
        )


def report_other_similarity(files: ModuleFiles, normalize: bool) -> None:
    """Says that a model which compares by something else is read with vectors of length 1."""
    if normalize and files.similarity not in (None, "cosine") and not files.normalizes:
        _print_once(
            f"note: {files.place} compares by {files.similarity}, and is read with vectors of "
            "length 1, compared by cosine (model.normalize=false leaves their length)"
        )


@rank_zero_only
def _print_once(line: str | None) -> None:
    """Prints a line on the first rank, if there is one."""
    if line is not None:
        print(line, file=sys.stderr)


def count_positions(config: Any, pad_id: int) -> int | None:
    """Returns the number of tokens that a backbone takes; None if its config does not say.

    Args:
        config: of the backbone.
        pad_id: of its tokenizer.
    """
    positions = getattr(config, "max_position_embeddings", None)
    is_shifted = getattr(config, "model_type", None) in MODELS_WITH_SHIFTED_POSITIONS
    if positions is not None and is_shifted:
        positions -= pad_id + 1
    return positions
