"""Tables of a benchmark on the Hugging Face hub: passages, queries and judgements."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hybrid_ir.evaluation.benchmarks.beir_folder import LanguageReader
from hybrid_ir.evaluation.benchmarks.builder import Query
from hybrid_ir.files.arrow_texts import PassageRow
from hybrid_ir.files.beir import read_beir_text
from hybrid_ir.files.hub_table import HubTable
from hybrid_ir.files.judgement_rows import drop_repeated_judgements, read_beir_judgement
from hybrid_ir.files.judgements import Judgement
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.tables import READING_ERRORS, describe_first_line

# For each table what its columns may hold, and what such a column is usually called.
COLUMNS = {
    "corpus": {"id": "_id", "text": "text", "title": "title", "language": "language"},
    "queries": {
        "id": "_id",
        "text": "text",
        "question_id": "question_id",
        "language": "language",
    },
    "qrels": {"query": "query-id", "passage": "corpus-id", "score": "score"},
}
EXAMPLE = "{corpus: {id: key, text: body}, qrels: {score: grade}}"


def check_columns(columns: Any) -> list[str]:
    """Returns what is wrong with a map of columns by table."""
    if not isinstance(columns, Mapping):
        return [f"columns={columns!r} must be like {EXAMPLE}"]
    errors = []
    for table, names in columns.items():
        known = COLUMNS.get(table)
        if known is None:
            errors.append(f"columns.{table} must be one of {', '.join(COLUMNS)}")
        elif not isinstance(names, Mapping):
            errors.append(f"columns.{table}={names!r} must be like {EXAMPLE}")
        else:
            for key in names:
                if key not in known:
                    errors.append(f"columns.{table}.{key} must be one of {', '.join(known)}")
    return errors


@dataclass(frozen=True)
class TableReader:
    """Reads passages, queries and judgements, whose columns may be called as in a BEIR folder.

    Args:
        language: of texts that name none.
        prefix: put in front of all ids, to keep those of several languages distinct.
        title: whether to put the title of a passage in front of its text.
        columns: names of columns that are called otherwise, by table and by what they hold.
    """

    language: str
    prefix: str
    title: bool
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def read_passages(self, file: HubTable, problems: Problems) -> Iterator[PassageRow]:
        """Yields the passages of a file."""
        languages = self._create_language_reader(file, problems)
        for number, row in self._read_rows(file, "corpus", problems):
            passage = read_beir_text(row, f"{file}, row {number}", number, problems)
            if passage is not None:
                text = passage.text
                if self.title:
                    text = f"{passage.title} {text}".strip()
                yield languages.read(passage), self.prefix + passage.id, text, number
        languages.report_mixture()

    def read_queries(self, file: HubTable, problems: Problems) -> Iterator[Query]:
        """Yields the queries of a file."""
        languages = self._create_language_reader(file, problems)
        for number, row in self._read_rows(file, "queries", problems):
            query = read_beir_text(row, f"{file}, row {number}", number, problems)
            if query is not None:
                language = languages.read(query)
                question_id = query.question_id or f"{language}:{query.id}"
                yield Query(language, self.prefix + query.id, query.text, question_id, query.place)
        languages.report_mixture()

    def _create_language_reader(self, file: HubTable, problems: Problems) -> LanguageReader:
        # Ids have a prefix where each language has tables of its own.
        return LanguageReader(file.place, self.language, problems, self.prefix != "")

    def read_judgements(self, file: HubTable, problems: Problems) -> Iterator[Judgement]:
        """Yields the judgements of a file."""
        judgements = self._read_judgement_rows(file, problems)
        for judgement in drop_repeated_judgements(judgements, problems):
            query_id = self.prefix + judgement.query_id
            passage_id = self.prefix + judgement.passage_id
            yield replace(judgement, query_id=query_id, passage_id=passage_id)

    def _read_judgement_rows(self, file: HubTable, problems: Problems) -> Iterator[Judgement]:
        for number, row in self._read_rows(file, "qrels", problems):
            judgement = read_beir_judgement(row, f"{file}, row {number}", problems)
            if judgement is not None:
                yield judgement

    def _read_rows(
        self, file: HubTable, table: str, problems: Problems
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields number (from 1) and values of every row, by the usual names of the columns."""
        number = 0
        try:
            for block in file.iterate_blocks().batches:
                names = self._rename_columns(table, block.schema.names)
                for row in block.rename_columns(names).to_pylist():
                    number += 1
                    yield number, row
        except ConnectionError:
            raise
        except READING_ERRORS as error:
            problems.add(
                f"{file}, rows from {number + 1} on: cannot be read ({describe_first_line(error)})",
                file_unreadable=True,
            )

    def _rename_columns(self, table: str, names: list[str]) -> list[str]:
        """Returns the usual names of columns in place of those that the map says.

        Raises:
            ValueError: if the map names a column that is not there.
        """
        renamed = list(names)
        for key, name in self.columns.get(table, {}).items():
            if name not in names:
                raise ValueError(
                    f"no column {name!r} for columns.{table}.{key}, there are {', '.join(names)}"
                )
            usual_name = COLUMNS[table][key]
            if usual_name != name and usual_name in renamed:
                renamed[renamed.index(usual_name)] = f"{usual_name} (not used)"
            renamed[names.index(name)] = usual_name
        return renamed
