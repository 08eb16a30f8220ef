"""The tables of a study for the terminal."""

from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.latency.study import Study
from hybrid_ir.latency.summary import Row, by_tokens

STAGES = ("tokenise", "encode", "search", "total")
MOST = 30  # languages shown; latency.json has all


def stages_table(study: Study, rows: list[Row]) -> Table:
    """p50, p95 and p99 of every stage in milliseconds: per query at batch 1, else per batch."""
    title = Plain(f"{study.benchmark.name}: milliseconds per batch, p50 / p95 / p99")
    table = Table(title=title, title_justify="left", title_style="italic")
    table.add_column("checkpoint, backend, search", overflow="fold", min_width=18)
    for column in ("batch", *STAGES, "p50 per\nquery"):
        table.add_column(column, justify="right", no_wrap=True)
    last = None
    for row in rows:
        if last is not None and row["batch_size"] != last:
            table.add_section()
        last, batch = row["batch_size"], f"{row['batch_size']}"
        if row["queries_per_unit"] < row["batch_size"]:
            batch += f" ({row['queries_per_unit']:.1f})"  # what the languages had queries for
        table.add_row(
            Plain(f"{row['checkpoint']}\n{row['backend']}, {row['search']} {row['pool']:,}"),
            batch,
            *(
                "\n".join(milliseconds(row["ms"][stage][name]) for name in ("p50", "p95", "p99"))
                for stage in STAGES
            ),
            milliseconds(row["ms"]["per_query"]["p50"]),
        )
    return table


def languages_table(study: Study, rows: list[Row]) -> Table:
    """p50 of the total and tokens per query by language: smallest batch size, first backend, first search."""
    search, backend = study.searches[0], study.backends[0]
    size = min(row["batch_size"] for row in rows)
    cells = {
        (row["language"], row["checkpoint"]): row
        for row in rows
        if row["batch_size"] == size
        and row["backend"] == backend
        and (row["search"], row["pool"]) == search
    }
    languages = by_tokens(study)
    part = (
        f"; first {MOST} of {len(languages)} languages, most tokens first"
        if len(languages) > MOST
        else ""
    )
    table = Table(
        title=f"batch {size}, {backend}, {search}: tokens per query, p50 in ms{part}",
        title_justify="left",
    )
    table.add_column("query language")
    table.add_column("queries", justify="right")
    readers = readings(study)
    for names in readers.values():
        of = "" if len(readers) == 1 else " of " + ", ".join(names)
        for column in (f"tokens{of}", f"p95{of}"):
            table.add_column(Plain(column), justify="right", overflow="fold")
    checkpoints = [name for name in study.checkpoints if (languages[0], name) in cells]
    for name in checkpoints:
        table.add_column(Plain(f"p50 {name}"), justify="right", overflow="fold")
    for language in languages[:MOST]:
        first = cells[language, checkpoints[0]]
        tokens = [
            cells[language, names[0]]["tokens_per_query"] if (language, names[0]) in cells else {}
            for names in readers.values()
        ]
        table.add_row(
            Plain(language),
            f"{first['queries']:,}",
            *(
                f"{found[name]:.1f}" if found else ""
                for found in tokens
                for name in ("mean", "p95")
            ),
            *(milliseconds(cells[language, name]["ms"]["total"]["p50"]) for name in checkpoints),
        )
    return table


def readings(study: Study) -> dict[bytes, list[str]]:
    """Checkpoints whose queries have the same numbers of tokens."""
    found: dict[bytes, list[str]] = {}
    for checkpoint in study.checkpoints:
        found.setdefault(study.tokens[checkpoint].tobytes(), []).append(checkpoint)
    return found


def equivalence_table(rows: list[Row], margin: float) -> Table:
    """The mean ratio and its verdict; the median is in latency.json."""
    table = Table(
        title=f"how much slower, mean and 90 % interval; same means less than {margin:.1%} apart",
        title_justify="left",
    )
    table.add_column("one against another", overflow="fold")
    for column in ("batch", "slower", "TOST p"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=12)
    for row in rows:
        what = f"{row['search']} {row['pool']:,}: total" if row["search"] else "encode"
        slower = row["slower"]
        ratio = f"{slower['mean']:+.1%} [{slower['mean_low']:+.1%}, {slower['mean_high']:+.1%}]"
        table.add_row(
            Plain(f"{row['second']}\nagainst {row['first']}\n{row['backend']}, {what}"),
            str(row["batch_size"]),
            Plain(ratio),
            "·" if row["p"] is None else f"{row['p']:.4f}",
            row["verdict"] if row["p"] is not None else "inconclusive: too few questions",
        )
    return table


def milliseconds(value: float) -> str:
    """Three digits that mean something."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"
