"""`hybrid-ir data identify`: a copy of texts in which every line names its language."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hybrid_ir.cli.config import parse_command_line, read_languages
from hybrid_ir.cli.value_checks import require_values

if TYPE_CHECKING:
    from hybrid_ir.files.identified_copy import IdentificationReport

SHOWN_CHARACTERS = 60  # of an uncertain text


def main(arguments: Sequence[str]) -> None:
    """Runs the command with its arguments."""
    cfg = parse_command_line("identify", arguments)
    if cfg is not None:
        _identify(cfg)


def _identify(cfg: DictConfig) -> None:
    require_values(cfg, "data identify", "path", "to")
    least = cfg.least_confidence
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        raise ValueError(f"least_confidence={least} must be a number from 0 to 1")
    languages = read_languages(cfg.languages)
    if languages is not None and len(languages) < 2:
        raise ValueError(
            f"languages={languages}: with fewer than two candidates there is nothing to identify; "
            "null takes all languages that py3langid knows"
        )
    # Imported here, so that a misspelt key is refused before they are loaded.
    from hybrid_ir.files.identified_copy import write_identified_copy
    from hybrid_ir.files.language_identification import LanguageGuesser

    path = Path(cfg.path).expanduser()
    to = Path(cfg.to).expanduser()
    report = write_identified_copy(path, to, LanguageGuesser(languages), least)
    _print_report(report, to, least, knows_candidates=languages is not None)


def _print_report(
    report: "IdentificationReport", to: Path, least: float, knows_candidates: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    from hybrid_ir.files.languages import describe_spellings

    title = f"{to}: {report.identified:,} of {report.lines:,} lines named no language and have one"
    table = Table(title=title, title_justify="left")
    table.add_column("language")
    for name in ("passages", "queries", "uncertain"):
        table.add_column(name, justify="right")
    for language in report.languages:
        passages = report.texts["passage"][language]
        queries = report.texts["query"][language]
        uncertain = report.uncertain[language]
        table.add_row(language, f"{passages:,}", f"{queries:,}", f"{uncertain:,}")
    Console().print(table)
    for warning in describe_spellings(report.languages):
        print(f"note: {warning}")
    _print_uncertain(report, least)
    if report.identified and not knows_candidates:
        print(
            "a language with few lines may be a wrong guess: languages=[en,de,...] with those that "
            "the texts are in leaves no others"
        )
    if report.texts["query"].total():
        print(f"are models biased on it: hybrid-ir bias model=MODEL corpus={to}")
    else:
        print(f"search it: hybrid-ir index path={to} model=MODEL to=INDEX")


def _print_uncertain(report: "IdentificationReport", least: float) -> None:
    """Prints how many lines are uncertain, the first of them, and what to do."""
    count = report.uncertain.total()
    if not count:
        return
    print(
        f"uncertain lines, with a confidence below {least:g} or without letters: {count:,}. Each "
        "has the likeliest language all the same: correct it in the file where it is wrong"
    )
    for line in report.first_uncertain:
        text = " ".join(line.text.split())
        print(
            f"  {line.place}: {line.guess.language} ({line.guess.confidence:.3f}) "
            f"{text:.{SHOWN_CHARACTERS}}"
        )
