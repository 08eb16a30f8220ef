"""SQuADShifts: English questions on new Wikipedia, news, Reddit and Amazon paragraphs (2004.14444); candidates are paragraphs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hybrid_ir.evaluation.benchmarks.judged import Query, chosen_languages, option, some
from hybrid_ir.files.fetching import RemoteFile, github_file
from hybrid_ir.files.json_lines import get_text_field
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY, REVISION = (
    "modestyachts/squadshifts-website",
    "b7cc4d50af791c36c49417fb94dd739d6a9e7bef",
)
DOMAINS = {  # file; its size and sha256, where they could be checked; questions
    "amazon": (
        "amazon_reviews_v1.0.json",
        4177842,
        "9db7bdee84a91f0fb80b9e74f365042fbbb217cb8e0a7e73bb071245472589b6",
        9885,
    ),
    "new_wiki": (
        "new_wiki_v1.0.json",
        3607393,
        "1d50a0ca4cdab88d038b52ea8a2d0510af6038d7f41a0a256b9659237769d0ee",
        7938,
    ),
    "nyt": ("nyt_v1.0.json", None, None, 10065),
    "reddit": (
        "reddit_v1.0.json",
        4170330,
        "b4ac346dbf1816fdec80fdcf91d06a4b754fa51e47960fa8614a94f37ea42a4b",
        9803,
    ),
}
SOURCE = Source(
    name="squadshifts",
    description="SQuADShifts: English questions on paragraphs of up to four domains that SQuAD does not have",
    licence="CC BY 4.0",
    citation="Miller et al. 2020, The Effect of Natural Distribution Shift on Question Answering Models, arXiv 2004.14444",
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)


def files(domains: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """One file per domain."""
    return [
        github_file(REPOSITORY, REVISION, f"datasets/{name}", None, size, sha256)
        for name, size, sha256, _ in (DOMAINS[domain] for domain in chosen_domains(domains, None))
    ]


def chosen_domains(domains: str | Sequence[str] | None, max_queries: int | None) -> tuple[str, ...]:
    names = [domains] if isinstance(domains, str) else list(DOMAINS if domains is None else domains)
    wrong = [
        problem for name in names or ["none"] for problem in option("domains", name, tuple(DOMAINS))
    ]
    chosen_languages("squadshifts", None, ["en"], max_queries, wrong)
    return tuple(sorted(set(names)))


def load(
    folder: str,
    domains: str | list[str] | None = None,
    require_counts: bool = True,
    max_queries: int | None = None,
) -> Benchmark:
    """SQuADShifts from a folder with `datasets/*.json`; the paragraphs of all `domains` are one pool.

    Relevant are the paragraph of the question and every other with the same text. `max_queries` counts over all domains.
    """
    chosen = chosen_domains(domains, max_queries)
    problems = Problems(f"{folder} (hybrid-ir data fetch squadshifts gets it)")
    paragraphs = {
        domain: _domain(Path(folder), domain, require_counts, problems) for domain in chosen
    }
    texts = [context for found in paragraphs.values() for context, _ in found]
    ids = [
        f"{domain}:{number}" for domain, found in paragraphs.items() for number in range(len(found))
    ]
    asked = [
        (query, context)
        for found in paragraphs.values()
        for context, queries in found
        for query in queries
    ]
    repeated([query for query, _ in asked], problems)
    problems.stop()
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, []).append(row)
    context_of = {query.id: context for query, context in asked}
    kept = some([query for query, _ in asked], max_queries)
    choices = {
        "domains": ", ".join(chosen),
        "candidates": "paragraph",
        "require_counts": str(require_counts),
        "max_queries": str(max_queries or "all"),
    }
    return Benchmark(
        languages=("en",),
        queries=[query.text for query in kept],
        query_languages=np.zeros(len(kept), np.int64),
        question_ids=[query.question_id for query in kept],
        passages=texts,
        passage_languages=np.zeros(len(texts), np.int64),
        passage_ids=ids,
        relevant=[np.array(rows[context_of[query.id]]) for query in kept],
        source=replace(SOURCE, choices=choices),
    )


def _domain(
    folder: Path, domain: str, require_counts: bool, problems: Problems
) -> list[tuple[str, list[Query]]]:
    """Context and questions of every paragraph of a domain."""
    name, *_, released = DOMAINS[domain]
    before, found = problems.number, _paragraphs(folder / "datasets" / name, domain, problems)
    questions = sum(len(queries) for _, queries in found)
    if require_counts and problems.number == before and questions != released:
        problems.add(
            f"{folder / 'datasets' / name} has {questions:,} questions, released are {released:,}: fetch it again, "
            "or set require_counts=false to measure on a part of it"
        )
    return found


def repeated(queries: Sequence[Query], problems: Problems) -> None:
    first: dict[str, str] = {}
    for query in queries:
        if query.id in first:
            problems.add(f"{query.where}: the id {query.id!r} is also in {first[query.id]}")
        first.setdefault(query.id, query.where)
    if not queries and not problems.number:
        problems.add("no questions at all")


def _paragraphs(path: Path, domain: str, problems: Problems) -> list[tuple[str, list[Query]]]:
    """The same of a file in SQuAD's form."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        raw = [paragraph for article in articles for paragraph in article["paragraphs"]]
    except FileNotFoundError:
        problems.add(f"{path} is missing")
        return []
    except json.JSONDecodeError as error:
        problems.add(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})")
        return []
    except UnicodeDecodeError as error:
        problems.add(f"{path}: not UTF-8 ({error.reason} at byte {error.start})")
        return []
    except (KeyError, TypeError):
        problems.add(f"{path}: not in SQuAD's form, need data[].paragraphs[]")
        return []
    found = []
    for number, paragraph in enumerate(raw):
        where = f"{path}, paragraph {number}"
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
            problems.add(f"{where}: need an object with context and qas")
            continue
        context = get_text_field(paragraph, "context", where, problems)
        queries = [
            query for one in paragraph["qas"] if (query := _query(one, domain, where, problems))
        ]
        if context is not None:
            found.append((context, queries))
    return found


def _query(raw: dict, domain: str, where: str, problems: Problems) -> Query | None:
    if not isinstance(raw, dict):
        problems.add(f"{where}: {raw!r:.40} is not a question")
        return None
    name, text = (
        get_text_field(raw, "id", where, problems),
        get_text_field(raw, "question", where, problems),
    )
    return (
        None
        if name is None or text is None
        else Query("en", f"{domain}:{name}", text, f"{domain}:{name}", where)
    )
