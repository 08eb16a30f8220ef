"""SQuADShifts: English questions on paragraphs of Wikipedia, news, Reddit, Amazon (2004.14444)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    check_option,
    raise_errors,
    record_choices,
)
from hybrid_ir.files.fetching import RemoteFile, describe_github_file
from hybrid_ir.files.json_lines import get_text_field
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY = "modestyachts/squadshifts-website"
REVISION = "b7cc4d50af791c36c49417fb94dd739d6a9e7bef"


@dataclass(frozen=True)
class Domain:
    """A released file; size in bytes and sha256 where they could be checked."""

    file: str
    size: int | None
    sha256: str | None
    questions: int


DOMAINS = {
    "amazon": Domain(
        "amazon_reviews_v1.0.json",
        4177842,
        "9db7bdee84a91f0fb80b9e74f365042fbbb217cb8e0a7e73bb071245472589b6",
        9885,
    ),
    "new_wiki": Domain(
        "new_wiki_v1.0.json",
        3607393,
        "1d50a0ca4cdab88d038b52ea8a2d0510af6038d7f41a0a256b9659237769d0ee",
        7938,
    ),
    "nyt": Domain("nyt_v1.0.json", None, None, 10065),
    "reddit": Domain(
        "reddit_v1.0.json",
        4170330,
        "b4ac346dbf1816fdec80fdcf91d06a4b754fa51e47960fa8614a94f37ea42a4b",
        9803,
    ),
}
SOURCE = Source(
    name="squadshifts",
    description=(
        "SQuADShifts: English questions on paragraphs of up to four domains that SQuAD does not "
        "have"
    ),
    licence="CC BY 4.0",
    citation=(
        "Miller et al. 2020, The Effect of Natural Distribution Shift on Question Answering "
        "Models, arXiv 2004.14444"
    ),
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)


def list_files(domains: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists one file per domain."""
    files = []
    for name in _choose_domains(domains, None):
        domain = DOMAINS[name]
        path = f"datasets/{domain.file}"
        files.append(
            describe_github_file(REPOSITORY, REVISION, path, None, domain.size, domain.sha256)
        )
    return files


def load(
    folder: str,
    domains: str | list[str] | None = None,
    require_counts: bool = True,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads SQuADShifts, in which the paragraphs of all chosen domains are one pool.

    Relevant are the paragraph of the question and every other with the same text.

    Args:
        folder: with the files `datasets/*.json`.
        domains: of amazon, new_wiki, nyt, reddit; None for all.
        require_counts: whether to refuse files with other numbers of questions than the released.
        max_queries: questions to keep over all domains.

    Raises:
        ValueError: files are missing, broken or not the released ones.
    """
    chosen = _choose_domains(domains, max_queries)
    problems = Problems(f"{folder} (hybrid-ir data fetch squadshifts gets it)")
    source = record_choices(
        SOURCE,
        domains=", ".join(chosen),
        candidates="paragraph",
        require_counts=require_counts,
        max_queries=max_queries,
    )
    builder = BenchmarkBuilder(source, problems)
    for domain in chosen:
        path = Path(folder) / "datasets" / DOMAINS[domain].file
        _add_domain(builder, path, domain, require_counts)
    return builder.build(("en",), max_queries)


def _choose_domains(
    domains: str | Sequence[str] | None, max_queries: int | None
) -> tuple[str, ...]:
    """Returns the domains to load, sorted, after a check of the choices."""
    if domains is None:
        names = list(DOMAINS)
    elif isinstance(domains, str):
        names = [domains]
    else:
        names = list(domains)
    errors = []
    for name in names or ["none"]:
        errors += check_option("domains", name, tuple(DOMAINS))
    raise_errors("squadshifts", errors + check_max_queries(max_queries))
    return tuple(sorted(set(names)))


def _add_domain(builder: BenchmarkBuilder, path: Path, domain: str, require_counts: bool) -> None:
    """Adds the queries and the paragraphs of a file."""
    problems = builder.problems
    problems_before = problems.number
    questions = 0
    paragraphs = 0
    for where, paragraph in _read_paragraphs(path, problems):
        context = get_text_field(paragraph, "context", where, problems)
        for question in paragraph["qas"]:
            query = _read_query(question, context, domain, where, problems)
            if query is not None:
                builder.add_query(query)
                questions += 1
        if context is not None:
            builder.add_passage("en", f"{domain}:{paragraphs}", context, topics=[context])
            paragraphs += 1
    released = DOMAINS[domain].questions
    if require_counts and problems.number == problems_before and questions != released:
        problems.add(
            f"{path} has {questions:,} questions, released are {released:,}: fetch it again, or "
            "set require_counts=false to measure on a part of it"
        )


def _read_paragraphs(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields place and content of the paragraphs of a file in SQuAD's form that have questions."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        paragraphs = []
        for article in articles:
            paragraphs += article["paragraphs"]
    except FileNotFoundError:
        problems.add(f"{path} is missing")
        return
    except json.JSONDecodeError as error:
        problems.add(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})")
        return
    except UnicodeDecodeError as error:
        problems.add(f"{path}: not UTF-8 ({error.reason} at byte {error.start})")
        return
    except (KeyError, TypeError):
        problems.add(f"{path}: not in SQuAD's form, need data[].paragraphs[]")
        return
    for number, paragraph in enumerate(paragraphs):
        where = f"{path}, paragraph {number}"
        if isinstance(paragraph, dict) and isinstance(paragraph.get("qas"), list):
            yield where, paragraph
        else:
            problems.add(f"{where}: need an object with context and qas")


def _read_query(
    question: Any, context: str | None, domain: str, where: str, problems: Problems
) -> Query | None:
    """Returns the query of a question on a paragraph; None after adding a problem."""
    if not isinstance(question, dict):
        problems.add(f"{where}: {question!r:.40} is not a question")
        return None
    name = get_text_field(question, "id", where, problems)
    text = get_text_field(question, "question", where, problems)
    if name is None or text is None or context is None:
        return None
    query_id = f"{domain}:{name}"
    return Query("en", query_id, text, query_id, where, topics=(context,))
