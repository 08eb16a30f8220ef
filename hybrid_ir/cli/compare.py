"""`hybrid-ir compare`: tables, significance and pictures of measured models, in one HTML report."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli.config import RESULT_LOGGERS, choose_output_folder
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_choice_problems,
    find_number_problems,
)
from hybrid_ir.comparison.comparison import Comparison, compare
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.rendering import to_rich_tables
from hybrid_ir.comparison.table import list_distinct_tables
from hybrid_ir.comparison.verdict import build_verdict
from hybrid_ir.runs.building import build_own_benchmark
from hybrid_ir.runs.folder import require_no_results

# Columns of the tested differences that fit on a terminal.
TERMINAL_COLUMNS = ("difference", "95% from", "to", "p Holm")


def run(cfg: DictConfig) -> None:
    """Compares the results of a config, writes the report and prints its first tables."""
    require_valid_comparison(cfg)
    runs = OmegaConf.to_object(cfg.runs)
    out = choose_output_folder(cfg, "compare")
    # Tables of other systems would stay among the new ones.
    require_no_results(out, "comparison.json", "report.html")
    if cfg.benchmark:
        # What is wrong with results is reported before benchmarks are loaded, which takes minutes.
        load_results(runs)
    comparison = compare(
        runs,
        metric=cfg.metric,
        baseline=cfg.baseline,
        paper=cfg.paper,
        benchmarks={name: build_own_benchmark(config) for name, config in cfg.benchmark.items()},
        flips=cfg.flips,
        resamples=cfg.resamples,
        seed=cfg.seed,
    )
    comparison.save(out)
    print_comparison(comparison, out)
    if cfg.logger == "wandb":
        config = OmegaConf.to_container(cfg, resolve=True)
        from hybrid_ir.training.wandb_logging import log_results_to_wandb

        log_results_to_wandb(out, out.name, config, job_type="compare")


def require_valid_comparison(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    if not cfg.runs:
        raise ValueError(
            "runs=[A,B,...] must name at least one folder with results: a run, a sweep or an "
            "evaluation"
        )
    problems = find_number_problems(cfg, {"flips": 1, "resamples": 1, "seed": 0})
    problems += find_choice_problems(cfg, "logger", RESULT_LOGGERS)
    problems += find_boolean_problems(cfg, "paper")
    if problems:
        raise ValueError("; ".join(problems))


def print_comparison(comparison: Comparison, out: Path) -> None:
    """Prints the main tables, the notes, and where the rest is."""
    console = Console()
    for benchmark in comparison.benchmarks:
        for sentence in build_verdict(benchmark.macro).sentences:
            console.print(sentence, markup=False, highlight=False)
        console.print()
    tables = list_distinct_tables(comparison.overview)
    for benchmark in comparison.benchmarks:
        for table in benchmark.tables["effects"][:1]:
            tables.append(table.select_columns(TERMINAL_COLUMNS))
    if comparison.mteb is not None:
        tables += comparison.mteb.tables
    for table in tables:
        for part in to_rich_tables(table, console.width):
            console.print(part)
    for note in comparison.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"report in {out}: report.html, tables.md, tables.tex, a CSV per table, comparison.json, "
        "figures",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
