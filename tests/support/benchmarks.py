"""Benchmarks for tests: what is relevant in one, miniatures that are fetched, folders to load."""

from collections.abc import Sequence
from pathlib import Path

from hybrid_ir.files.fetching import RemoteFile, fetch_files, verify_files
from hybrid_ir.types import Benchmark
from tests.support.hub_server import serving_pages
from tests.support.raw_data import Pages, encode_json_lines


def find_answers(benchmark: Benchmark) -> dict[tuple[str, str], set[str]]:
    """Returns the ids of the relevant passages by language and question id."""
    answers = {}
    for row, question_id in enumerate(benchmark.question_ids):
        language = benchmark.languages[benchmark.query_languages[row]]
        passages = {benchmark.passage_ids[passage] for passage in benchmark.relevant[row]}
        answers[language, question_id] = passages
    return answers


def fetch_pages(files: Sequence[RemoteFile], pages: Pages, folder: Path) -> str:
    """Fetches files into a folder from a server on loopback; returns the folder."""
    with serving_pages(pages, folder.with_name(f"{folder.name}-hub")) as hub:
        fetched = fetch_files(files, folder, mirror=hub.url, pause=0)
        fetched_again = fetch_files(files, folder, mirror=hub.url)
    assert len(fetched) == len(files) == len(hub.downloads)
    assert fetched_again == []
    assert {verdict.status for verdict in verify_files(files, folder)} == {"ok"}
    return str(folder)


def write_beir_folder(
    folder: Path,
    corpus: bytes | Sequence[dict] = (),
    queries: Sequence[dict] = (),
    qrels: str = "",
    qrels_name: str = "qrels.tsv",
) -> str:
    """Writes a benchmark in the format of BEIR; the corpus may be raw bytes. Returns the folder."""
    qrels_file = folder / qrels_name
    qrels_file.parent.mkdir(parents=True, exist_ok=True)
    qrels_file.write_text(qrels)
    corpus_bytes = corpus if isinstance(corpus, bytes) else encode_json_lines(*corpus)
    (folder / "corpus.jsonl").write_bytes(corpus_bytes)
    (folder / "queries.jsonl").write_bytes(encode_json_lines(*queries))
    return str(folder)
