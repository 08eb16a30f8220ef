"""A benchmark of the Hugging Face hub in the layout of BEIR or MTEB, in one language or many.

Corpus, queries and judgements are configurations of one data set, as `corpus`, `queries` and
`default`, or as `sw-corpus`, `sw-queries` and `sw-qrels` for each language.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybrid_ir.evaluation.benchmarks.beir_folder import EMPTY_PASSAGES
from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    check_option,
    choose_languages,
    raise_errors,
    record_choices,
)
from hybrid_ir.evaluation.benchmarks.hub_tables import TableReader, check_columns
from hybrid_ir.evaluation.benchmarks.relevance import JudgementRules, UnknownPassages
from hybrid_ir.files.arrow_texts import load_or_convert_rows
from hybrid_ir.files.hub_repository import HubRepository, open_hub_repository
from hybrid_ir.files.hub_table import HubTable
from hybrid_ir.files.languages import (
    canonicalize_language,
    explain_wrong_code,
    find_canonical_code,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

TABLES = ("corpus", "queries", "qrels")
PLACEHOLDER = "{language}"
# The usual names of the configurations; the first that the data set has is used.
SINGLE_NAMES = {"corpus": ("corpus",), "queries": ("queries",), "qrels": ("qrels", "default")}
LANGUAGE_NAMES = {
    "corpus": ("{language}-corpus",),
    "queries": ("{language}-queries",),
    "qrels": ("{language}-qrels", "{language}-default", "{language}"),
}
DEFAULT_SPLIT = "test"
# How data sets of mteb name a pair of languages, first that of the queries: `ara-deu`, and
# `acm_Arab-eng_Latn`. Most of them name a single language twice.
PAIR_OF_LANGUAGES = re.compile(r"([a-z]{3}(?:_[A-Z][a-z]{3})?)-([a-z]{3}(?:_[A-Z][a-z]{3})?)")


def load(
    repository: str,
    revision: str,
    cache: str,
    configurations: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    language: str = "und",
    query_language: str | None = None,
    title: bool = True,
    unknown_passages: UnknownPassages = "error",
    empty_passages: str = "drop",
    ignore_identical_ids: bool = True,
    relevance_threshold: float = 0.0,
    streaming: bool = False,
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads a benchmark from a data set of the hub.

    Args:
        repository: owner and name of the data set.
        revision: its commit; of a branch or tag the commit of now is used, and put on the card.
        cache: where the converted passages go.
        configurations: of `corpus`, `queries` and `qrels`; with {language} in each name there is
            one for each language. By default those with the usual names.
        splits: of `corpus`, `queries` and `qrels`. By default the judgements are of test, and the
            others of the split of the same name, of the one called like the table, or of the only
            one.
        columns: names of columns that are not the usual ones, by table and by what they hold.
        language: of texts that name none, where the configurations do not tell it.
        query_language: of queries that name none, where it is another one, as in a cross-lingual
            subset of mteb; by default `language`.
        title: whether to put the title of a passage in front of its text.
        unknown_passages, empty_passages, ignore_identical_ids, relevance_threshold: as of
            `beir_folder.load`.
        streaming: whether to read the files from the hub instead of keeping a copy of them.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language.

    Raises:
        ValueError: with what is wrong with the choices or with the data, and what there is.
    """
    rules = JudgementRules(unknown_passages, ignore_identical_ids, relevance_threshold)
    errors = rules.list_errors() + check_option("empty_passages", empty_passages, EMPTY_PASSAGES)
    errors += check_columns(columns or {}) + check_max_queries(max_queries)
    errors += _check_names("configurations", configurations) + _check_names("splits", splits)
    raise_errors(repository, errors)
    found = open_hub_repository(repository, revision)
    names = _choose_names(found, configurations or {})
    source = Source(
        repository.rpartition("/")[2],
        f"{repository} of the Hugging Face hub, in the layout of BEIR",
        found.licence,
        f"huggingface.co/datasets/{repository}",
        f"{repository}@{found.commit}",
    )
    qrels_split = (splits or {}).get("qrels", DEFAULT_SPLIT)
    source = record_choices(source, split=qrels_split, title=title, max_queries=max_queries)
    keeps_empty = empty_passages == "keep"
    builder = BenchmarkBuilder(source, Problems(repository), keeps_empty)
    loader = _TableLoader(found, splits or {}, streaming, Path(cache), builder, keeps_empty)
    if PLACEHOLDER in names["corpus"]:
        known = _list_languages(found, names)
        chosen = choose_languages(source.name, languages, known)
        languages_may_be_empty = False
        if query_language is not None:
            raise ValueError(
                f"query_language={query_language}: the configurations of {repository} tell the "
                "language; leave it out, or name those of one pair of languages"
            )
        for code in chosen:
            reader = TableReader(code, f"{code}:", title, columns or {})
            named = {}
            for table, name in names.items():
                named[table] = name.replace(PLACEHOLDER, known[code])
            loader.add(reader, named)
    else:
        reader = TableReader(canonicalize_language(language), "", title, columns or {})
        query_code = canonicalize_language(query_language or language)
        loader.add(reader, names, replace(reader, language=query_code))
        builder.require_converted_passages()
        chosen = choose_languages(source.name, languages, builder.languages)
        languages_may_be_empty = len(chosen) > 1
    return builder.build(chosen, max_queries, rules, languages_may_be_empty)


def _check_names(key: str, names: Any) -> list[str]:
    """Returns what is wrong with names by table."""
    if names is None:
        return []
    if not isinstance(names, Mapping):
        return [f"{key}={names!r} must name some of {', '.join(TABLES)}"]
    errors = []
    for table, name in names.items():
        if table not in TABLES:
            errors.append(f"{key}.{table} must be one of {', '.join(TABLES)}")
        elif not isinstance(name, str):
            errors.append(f"{key}.{table}={name!r} must be a name")
    return errors


def _choose_names(found: HubRepository, configurations: Mapping[str, str]) -> dict[str, str]:
    """Returns the configuration of each table, with {language} in all of them or in none.

    Raises:
        ValueError: if the data set has no configurations of the usual names, and none are named.
    """
    is_by_language = "corpus" not in found.configurations
    if configurations:
        is_by_language = any(PLACEHOLDER in name for name in configurations.values())
    usual_names = LANGUAGE_NAMES if is_by_language else SINGLE_NAMES
    names = {}
    errors = []
    for table in TABLES:
        candidates = usual_names[table]
        if table in configurations:
            candidates = (configurations[table],)
        present = [name for name in candidates if _is_known(found, name)]
        if present:
            names[table] = present[0]
        else:
            errors.append(f"none is called {' or '.join(candidates)}, for {table}")
    with_language = [table for table, name in names.items() if PLACEHOLDER in name]
    if not errors and len(with_language) not in (0, len(TABLES)):
        errors.append(f"only those of {', '.join(with_language)} have {PLACEHOLDER}: all or none")
    if errors:
        known = ", ".join(found.configurations) or "none"
        raise ValueError(
            f"configurations of {found.name} at {found.commit}: {'; '.join(errors)}; there are "
            f"{known}. Name them, as in "
            "'configurations={corpus: corpus, queries: queries, qrels: default}'"
        )
    return names


def _is_known(found: HubRepository, name: str) -> bool:
    """Returns whether a data set has a configuration, in any language if its name has none."""
    return bool(_match_languages(found, name)) or name in found.configurations


def _match_languages(found: HubRepository, name: str) -> set[str]:
    """Returns the languages for which a data set has a configuration, whose name has {language}."""
    if PLACEHOLDER not in name:
        return set()
    start, _, end = name.partition(PLACEHOLDER)
    pattern = re.compile(f"{re.escape(start)}(.+){re.escape(end)}")
    languages = set()
    for configuration in found.configurations:
        match = pattern.fullmatch(configuration)
        if match:
            languages.add(match[1])
    return languages


def _list_languages(found: HubRepository, names: Mapping[str, str]) -> dict[str, str]:
    """Returns the languages that have all three tables: the canonical code, and how they are named.

    Pairs of two languages are left out: their passages are those of one of the languages again.

    Raises:
        ValueError: if something else than a language is in the place of one, or one comes twice.
    """
    spellings = _match_languages(found, names["corpus"])
    for table in ("queries", "qrels"):
        spellings &= _match_languages(found, names[table])
    languages: dict[str, str] = {}
    errors = []
    for spelling in sorted(spellings):
        first, second = _split_pair(spelling)
        if first != second:
            continue
        code = find_canonical_code(first)
        if code is None:
            errors.append(explain_wrong_code(spelling))
        elif code in languages:
            errors.append(f"{languages[code]} and {spelling} are one language")
        else:
            languages[code] = spelling
    if errors:
        raise ValueError(
            f"configurations of {found.name} called {names['corpus']}: {'; '.join(errors)}"
        )
    return languages


def _split_pair(spelling: str) -> tuple[str, str]:
    """Returns the languages of queries and passages that the name of a configuration has.

    A name that is of no pair is returned twice.
    """
    pair = PAIR_OF_LANGUAGES.fullmatch(spelling)
    if pair:
        return pair[1], pair[2]
    first, _, second = spelling.partition("-")
    are_languages = find_canonical_code(first) is not None and find_canonical_code(second)
    if find_canonical_code(spelling) is None and are_languages:
        return first, second
    return spelling, spelling


@dataclass(frozen=True)
class _TableLoader:
    """Adds the tables of a data set to a builder.

    Args:
        found: the data set.
        splits: of each table, as far as they are named.
        streaming: whether to read the files from the hub instead of keeping a copy of them.
        cache: where the converted passages go.
        builder: gets everything.
        keeps_empty: whether passages without a text are among the others.
    """

    found: HubRepository
    splits: Mapping[str, str]
    streaming: bool
    cache: Path
    builder: BenchmarkBuilder
    keeps_empty: bool

    def add(
        self,
        reader: TableReader,
        names: Mapping[str, str],
        query_reader: TableReader | None = None,
    ) -> None:
        """Adds the tables of these configurations; queries may have a reader of their own."""
        query_reader = query_reader or reader
        problems = self.builder.problems
        files = self._find_files("corpus", names["corpus"])

        def read_passages(file: HubTable, problems: Problems):
            return reader.read_passages(self._get_file(file), problems)

        passages = load_or_convert_rows(
            files,
            [self.found.name, self.found.commit, *(file.path for file in files)],
            f"hub {reader.language} {reader.prefix} {reader.title} {dict(reader.columns)}",
            read_passages,
            self.cache,
            problems,
            self.keeps_empty,
            unit="row",
        )
        self.builder.add_stored_passages(passages)
        for file in self._find_files("queries", names["queries"]):
            for query in query_reader.read_queries(self._get_file(file), problems):
                self.builder.add_query(query)
        for file in self._find_files("qrels", names["qrels"]):
            judgements = reader.read_judgements(self._get_file(file), problems)
            self.builder.add_judgements(judgements)

    def _get_file(self, file: HubTable) -> HubTable:
        return self.found.provide(file, self.streaming)

    def _find_files(self, table: str, configuration: str) -> Sequence[HubTable]:
        return self.found.find_split(configuration, self._choose_split(table, configuration))

    def _choose_split(self, table: str, configuration: str) -> str:
        """Returns the split of a table; one that is not there is refused where it is looked for."""
        if table in self.splits:
            return self.splits[table]
        qrels_split = self.splits.get("qrels", DEFAULT_SPLIT)
        if table == "qrels":
            return qrels_split
        known = self.found.list_splits(configuration)
        for split in (qrels_split, table):
            if split in known:
                return split
        return known[0] if len(known) == 1 else qrels_split
