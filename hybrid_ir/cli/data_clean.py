"""`hybrid-ir data clean`: a corpus without the texts of benchmarks, and without repetitions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hybrid_ir.cli.config import parse_command_line
from hybrid_ir.cli.value_checks import require_values

if TYPE_CHECKING:
    from hybrid_ir.corpora.cleaning import Contamination
    from hybrid_ir.data.corpus import ParallelCorpus


def main(arguments: Sequence[str]) -> None:
    """Runs the command with its arguments."""
    cfg = parse_command_line("clean", arguments, benchmark_list="against")
    if cfg is not None:
        _clean(cfg)


def _clean(cfg: DictConfig) -> None:
    # Imported here, so that a misspelt key is refused before torch is loaded.
    from hybrid_ir.corpora.cleaning import DUPLICATES, find_contamination, write_clean_corpus
    from hybrid_ir.corpora.stored import write_corpus
    from hybrid_ir.corpora.writing import CorpusWriter
    from hybrid_ir.data.overlap import BenchmarkTexts
    from hybrid_ir.runs.building import build, build_own_benchmark

    if cfg.duplicates not in DUPLICATES:
        raise ValueError(f"duplicates={cfg.duplicates} must be one of {', '.join(DUPLICATES)}")
    if not isinstance(cfg.near, int | float) or not 0 <= cfg.near <= 1:
        raise ValueError(
            f"near={cfg.near} is a similarity: use more than 0 and at most 1, or 0 for exact "
            "matches alone"
        )
    require_values(cfg, "data clean", "to")
    corpus = build(cfg.corpus)
    if len(corpus.parts) > 1:
        raise ValueError("a mixture has no ids of its own: clean its corpora one by one")
    benchmarks = []
    for config in cfg.against.values():
        benchmarks.append(BenchmarkTexts.from_benchmark(build_own_benchmark(config)))
    contamination = find_contamination(corpus, benchmarks, cfg.near, cfg.duplicates)
    change = f"cleaned of {', '.join(cfg.against) or 'repetitions'}"

    def write(writer: CorpusWriter) -> None:
        write_clean_corpus(corpus, contamination, writer, change)

    write_corpus(cfg.to, write)
    _print_summary(cfg.to, corpus, contamination)


def _print_summary(to: str, corpus: "ParallelCorpus", contamination: "Contamination") -> None:
    from rich.console import Console
    from rich.table import Table

    from hybrid_ir.corpora.cleaning import REMOVED

    counts = contamination.count_reasons()
    kept = len(corpus) - counts.total()
    table = Table(title=f"{to}: {kept:,} of {len(corpus):,} pairs are left", title_justify="left")
    table.add_column("left out because")
    table.add_column("pairs", justify="right")
    for reason, count in counts.most_common():
        table.add_row(reason, f"{count:,}")
    Console().print(table)
    for match in contamination.matches[:5]:
        print(f"{match.benchmark}, {match.how} {match.role} in {match.language}: {match.text:.100}")
    print(
        f"{REMOVED} in it lists them; train with it: hybrid-ir train corpus=folder corpus.path={to}"
    )
