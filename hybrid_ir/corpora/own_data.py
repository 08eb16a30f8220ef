"""Files of a user that are imported as a corpus, into a folder or into the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.checking import RecordRules
from hybrid_ir.corpora.importing import Importer, PartReader, import_records
from hybrid_ir.corpora.stored import build_cached_corpus, write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_view import restrict_languages
from hybrid_ir.files.checksums import list_file_states
from hybrid_ir.files.languages import explain_wrong_code, match_languages
from hybrid_ir.types import Source, parse_languages


@dataclass(frozen=True)
class OwnData:
    """Files to import as a corpus.

    Args:
        name: the name of the corpus.
        files: the files; another size or time of change makes another corpus.
        parts: readers of the files.
        rules: what a record may be.
        languages: the languages to use, all by default.
        choices: further choices that decide what the corpus is.
        source: where the data comes from; by default it is named after the files.
    """

    name: str
    files: Sequence[Path]
    parts: Sequence[PartReader]
    rules: RecordRules
    languages: str | Sequence[str] | None
    choices: Mapping[str, Any] | None = None
    source: Source | None = None

    def load(self, cache: str, to: str | None) -> ParallelCorpus:
        """Loads the corpus from the folder `to` or else from the cache, where it is built once."""
        self._check_language_codes()
        key = {
            "files": list_file_states(self.files),
            "rules": vars(self.rules),
            **(self.choices or {}),
        }
        if to:
            corpus = write_corpus(to, self._import, {**key, "name": self.name})
        else:
            corpus = build_cached_corpus(cache, self.name, key, self._import)
        return restrict_languages(corpus, self.languages)

    def _check_language_codes(self) -> None:
        problems = []
        for language in parse_languages(self.languages) or ():
            problem = explain_wrong_code(language)
            if problem:
                problems.append(problem)
        if problems:
            raise ValueError(f"corpus.languages: {'; '.join(problems)}")

    def _import(self, writer: CorpusWriter) -> None:
        import_records(
            writer,
            self.parts,
            self.rules,
            self._describe_source(),
            f"the data of corpus '{self.name}'",
            self._require_languages,
        )

    def _require_languages(self, importer: Importer) -> None:
        _, unknown = match_languages(parse_languages(self.languages) or (), importer.languages)
        if unknown:
            raise ValueError(
                f"languages={sorted(unknown)}: the data has {sorted(importer.languages)}"
            )

    def _describe_source(self) -> Source:
        if self.source is not None:
            return self.source
        names = ", ".join(file.name for file in self.files[:5])
        if len(self.files) > 5:
            names += " ..."
        return Source(self.name, f"imported from {names}", "yours", "yours")


def name_after(path: str) -> str:
    """Returns the name of a corpus after the file or folder that it comes from."""
    return Path(path).name.partition(".")[0].replace("*", "") or "own"
