"""A benchmark of one's own: a folder in the format of BEIR (2104.08663), in any languages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    check_option,
    choose_languages,
    raise_errors,
    record_choices,
)
from hybrid_ir.evaluation.benchmarks.relevance import JudgementRules, UnknownPassages
from hybrid_ir.files.arrow_texts import ConvertedPassages, PassageRow, load_or_convert_passages
from hybrid_ir.files.beir import (
    FORMAT,
    BeirFolder,
    BeirText,
    find_language_folders,
    name_folders_by_language,
    read_beir_texts,
)
from hybrid_ir.files.judgement_rows import read_beir_judgements
from hybrid_ir.files.languages import canonicalize_language
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.repeated_texts import report_repeated_texts
from hybrid_ir.files.scripts import TEXTS_LOOKED_AT, explain_wrong_script
from hybrid_ir.types import Benchmark, Source

EMPTY_PASSAGES = ("drop", "keep")


def load(
    folder: str,
    cache: str,
    split: str = "test",
    language: str = "und",
    title: bool = True,
    unknown_passages: UnknownPassages = "error",
    empty_passages: str = "drop",
    ignore_identical_ids: bool = True,
    relevance_threshold: float = 0.0,
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads the benchmark in a folder, or in one subfolder per language, named by its code.

    Only the queries that the judgements of the split name are measured.

    Args:
        folder: with corpus.jsonl, queries.jsonl and qrels, or with folders of these; see
            `BeirFolder`.
        cache: where the converted passages go.
        split: of the qrels, if there are several.
        language: of texts that name none.
        title: whether to put the title of a passage in front of its text.
        unknown_passages: what becomes of judgements of passages that are not in the corpus, see
            `JudgementRules`.
        empty_passages: `drop` leaves passages without a text out, `keep` ranks them with the
            others.
        ignore_identical_ids: whether a passage with the id of a query is left out of the rankings
            of this query.
        relevance_threshold: the least score that is relevant for all measures but nDCG.
        languages: codes to choose; None for all. Judgements across languages are kept if both are
            chosen.
        max_queries: questions to keep of each language, the same in every language by their
            `question_id`.
    """
    root = Path(folder)
    folders = _find_folders(folder)
    rules = JudgementRules(unknown_passages, ignore_identical_ids, relevance_threshold)
    errors = rules.list_errors() + check_option("empty_passages", empty_passages, EMPTY_PASSAGES)
    source = Source(root.name, f"{root.name}, a folder in the form of BEIR", "yours", "yours")
    source = record_choices(source, split=split, title=title, max_queries=max_queries)
    keeps_empty = empty_passages == "keep"
    builder = BenchmarkBuilder(source, Problems(folder), keeps_empty)
    if folders:
        chosen = choose_languages(root.name, languages, folders, max_queries, errors)
        texts = {}
        for code in chosen:
            reader = _FolderReader(folders[code], code, f"{code}:", title, keeps_empty)
            passages = reader.add_to(builder, split, Path(cache))
            if passages is not None and code in passages.languages:
                texts[code] = passages.languages[code].texts
        report_repeated_texts(texts, "folder", builder.problems)
        return builder.build(chosen, max_queries, rules)
    raise_errors(root.name, errors + check_max_queries(max_queries))
    language = canonicalize_language(language)
    reader = _FolderReader(BeirFolder(root), language, "", title, keeps_empty)
    reader.add_to(builder, split, Path(cache))
    builder.require_converted_passages()
    builder.require_all_languages_named(language)
    chosen = choose_languages(root.name, languages, builder.languages, max_queries)
    # Queries of several languages may ask for passages of one, or the other way round.
    return builder.build(chosen, max_queries, rules, languages_may_be_empty=len(chosen) > 1)


def _find_folders(folder: str) -> dict[str, BeirFolder]:
    """Returns the subfolders that hold a language each; none if the folder itself has a corpus.

    Raises:
        ValueError: there is no corpus, or one in the folder and others below it, or a subfolder
            with a corpus is not named by a language.
    """
    root = Path(folder)
    place = f"benchmark.folder={folder}"
    if not root.is_dir():
        raise ValueError(f"{place}: there is no such folder. It needs {FORMAT}.")
    folders = find_language_folders(root)
    has_corpus = BeirFolder(root).has_corpus()
    if has_corpus and folders:
        names = ", ".join(sorted(folders))
        raise ValueError(f"{place}: both a corpus and folders {names}. It needs {FORMAT}.")
    if not has_corpus and not folders:
        raise ValueError(f"{place}: no corpus.jsonl in it or below it. It needs {FORMAT}.")
    return name_folders_by_language(folders, place)


@dataclass(frozen=True)
class _FolderReader:
    """Reads passages, queries and judgements of one folder.

    Args:
        folder: with the files.
        language: of texts that name none.
        prefix: put in front of all ids, to keep those of several folders distinct.
        title: whether to put the title of a passage in front of its text.
        keeps_empty: whether passages without a text are among the others.
    """

    folder: BeirFolder
    language: str
    prefix: str
    title: bool
    keeps_empty: bool

    def add_to(
        self, builder: BenchmarkBuilder, split: str, cache: Path
    ) -> ConvertedPassages | None:
        """Adds everything to a builder; returns the passages, None if something is wrong there."""
        problems = builder.problems
        passages = load_or_convert_passages(
            self.folder.list_corpus_files(),
            f"beir {self.language} {self.prefix} {self.title}",
            self._read_passages,
            cache,
            problems,
            self.keeps_empty,
        )
        if passages is not None:
            _report_wrong_scripts(self.folder, passages, problems)
        builder.add_stored_passages(passages)
        for path in self.folder.list_query_files():
            for query in self._read_queries(path, problems):
                builder.add_query(query)
        qrels_file = self.folder.find_qrels(split, problems)
        if qrels_file is None:
            return passages
        passage_language = None
        if passages is not None and len(passages.languages) == 1:
            [passage_language] = passages.languages
        for judgement in read_beir_judgements(qrels_file, problems):
            with_prefix = replace(
                judgement,
                query_id=self.prefix + judgement.query_id,
                passage_id=self.prefix + judgement.passage_id,
                passage_language=passage_language,
            )
            builder.add_judgements([with_prefix])
        return passages

    def _read_passages(self, path: Path, problems: Problems) -> Iterator[PassageRow]:
        languages = LanguageReader(path, self.language, problems, self.prefix != "")
        for passage in read_beir_texts(path, problems):
            text = passage.text
            if self.title:
                text = f"{passage.title} {text}".strip()
            yield languages.read(passage), self.prefix + passage.id, text, passage.line
        languages.report_mixture()

    def _read_queries(self, path: Path, problems: Problems) -> Iterator[Query]:
        languages = LanguageReader(path, self.language, problems, self.prefix != "")
        for query in read_beir_texts(path, problems):
            language = languages.read(query)
            question_id = query.question_id or f"{language}:{query.id}"
            yield Query(language, self.prefix + query.id, query.text, question_id, query.place)
        languages.report_mixture()


class LanguageReader:
    """Reads the language of every line of a file: all lines must name one, or none of them.

    Args:
        path: the file, or what messages call it.
        default: the language of lines that name none.
        problems: gets what is wrong.
        is_of_one_language: whether no line may name another language, as in a folder that is named
            by its language.
    """

    def __init__(
        self,
        path: Path | str,
        default: str,
        problems: Problems,
        is_of_one_language: bool = False,
    ):
        self.path = path
        self.is_of_one_language = is_of_one_language
        self.default = default
        self.problems = problems
        self.first_line_with: int | None = None
        self.first_line_without: int | None = None

    def read(self, text: BeirText) -> str:
        """Returns the language of a line."""
        if text.language is not None:
            if self.first_line_with is None:
                self.first_line_with = text.line
            if self.is_of_one_language and text.language != self.default:
                self.problems.add(
                    f"{text.place}: 'language' is {text.language!r}, but the folder is the one of "
                    f"{self.default!r}: move the line there, or put all lines into one folder "
                    "without folders of languages"
                )
            return text.language
        if self.first_line_without is None:
            self.first_line_without = text.line
        return self.default

    def report_mixture(self) -> None:
        """Adds a problem if some lines name a language and others do not."""
        if self.first_line_with is not None and self.first_line_without is not None:
            self.problems.add(
                f"{self.path}: line {self.first_line_with} has a language, line "
                f"{self.first_line_without} has none; give every line one, or none "
                "(`hybrid-ir data identify` writes the likeliest one where there is none)"
            )


def _report_wrong_scripts(
    folder: BeirFolder, passages: ConvertedPassages, problems: Problems
) -> None:
    """Adds a problem for every language whose first passages are in the script of another."""
    for language, pool in passages.languages.items():
        problem = explain_wrong_script(language, pool.texts[:TEXTS_LOOKED_AT])
        if problem:
            problems.add(f"{folder.root}: {problem}")
