"""`hybrid-ir compare`: the paper's tables, significance, pictures and one HTML report of measured models."""

from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console

from hybrid_ir.cli.config import parse_list, parse_paths, set_plain_texts, split_plain_texts
from hybrid_ir.comparison.comparison import compare
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.rendering import to_rich_table
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder, require_benchmarks
from hybrid_ir.runs.folder import require_no_results
from hybrid_ir.training.loggers import log_results_to_wandb

SHOWN = ("difference", "95% from", "to", "p Holm")  # of the tested differences, on a terminal
LOGGERS = ("none", "wandb")
TEXTS = ("out", "baseline", "metric")


def main(arguments: list[str]) -> None:
    if set(arguments) & {"-h", "--help"}:
        print((Path(find_conf_folder()) / "compare.yaml").read_text())
        return
    # read here and not by Hydra: paths are no values of its grammar, and conf/ has groups of the other two names
    lists = {"runs": [], "benchmark": [], "logger": ["none"]}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "runs":  # may be given again, as when a shell fills in one for each folder
            lists[key] += parse_paths(value)
        elif key in lists:
            lists[key] = parse_list(value)
    if not lists["runs"]:
        raise ValueError(
            "runs=[A,B,...] must name at least one folder with results: a run, a sweep or an evaluation"
        )
    require_benchmarks("benchmark", lists["benchmark"])
    rest, texts = split_plain_texts(
        [argument for argument in arguments if argument.partition("=")[0] not in lists], TEXTS
    )
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        cfg = compose(
            "compare",
            [*(f"+benchmark@benchmark.{name}={name}" for name in lists["benchmark"]), *rest],
        )
        set_plain_texts(cfg, texts)
        cfg.logger = lists["logger"][0] if lists["logger"] else "none"
        run(cfg, lists["runs"])


def run(cfg: DictConfig, places: list[str]) -> None:
    wrong = [
        f"{key}={cfg[key]!r} must be a whole number from {least}"
        for key, least in (("flips", 1), ("resamples", 1), ("seed", 0))
        if type(cfg[key]) is not int or cfg[key] < least
    ]
    wrong += [f"logger={cfg.logger!r} must be none or wandb"] if cfg.logger not in LOGGERS else []
    wrong += (
        [f"paper={cfg.paper!r} must be true or false"] if not isinstance(cfg.paper, bool) else []
    )
    if wrong:
        raise ValueError("; ".join(wrong))
    out = (
        Path(cfg.out)
        if cfg.out
        else Path(cfg.paths.output_dir) / "compare" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    )
    require_no_results(
        out, "comparison.json", "report.html"
    )  # tables of other systems would stay among the new ones
    if cfg.benchmark:
        # Errors in the results are reported before the benchmarks load, which can take minutes.
        load_results(places)
    comparison = compare(
        places,
        metric=cfg.metric,
        baseline=cfg.baseline,
        paper=cfg.paper,
        benchmarks={name: build(config) for name, config in cfg.benchmark.items()},
        flips=cfg.flips,
        resamples=cfg.resamples,
        seed=cfg.seed,
    )
    comparison.save(out)
    console = Console()
    for table in comparison.overview:
        console.print(to_rich_table(table))
    for benchmark in comparison.benchmarks:
        for table in benchmark.tables["effects"][:1]:
            console.print(to_rich_table(table.select_columns(SHOWN)))
    for note in comparison.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if cfg.logger == "wandb":
        log_results_to_wandb(out, out.name)
    console.print(
        f"report in {out}: report.html, tables.md, tables.tex, a CSV per table, comparison.json, figures",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
