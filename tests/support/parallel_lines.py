"""Small texts in some languages as lines of JSON, and a tiny encoder that knows their words."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hybrid_ir.model.backbone import FromScratch
from tests.support.in_process import CommandResult, hybrid_ir_in_process


def list_parallel_lines(languages: Sequence[str], questions: int) -> list[dict[str, str]]:
    """Returns a query and a passage for each question in each language; ids join translations."""
    lines = []
    for language in languages:
        for number in range(questions):
            for role in ("query", "passage"):
                text = f"{language} {role} {number} of it"
                lines.append({"text": text, "language": language, "role": role, "id": str(number)})
    return lines


def build_plain_encoder(place: Path, name: str, texts: Iterable[str]) -> Path:
    """Builds an untrained transformer without modules in a folder of a place, and returns it."""
    recipe = FromScratch(
        vocab_size=300, width=16, layers=1, heads=2, intermediate=16, max_positions=64
    )
    return recipe.build(list(texts), place / "cache").rename(place / name)


def ask_bias(place: Path, *arguments: str) -> CommandResult:
    """Runs `hybrid-ir bias` on the encoder `plain` of a place."""
    return hybrid_ir_in_process(place, "bias", "model=plain", "pooling=mean", *arguments)
