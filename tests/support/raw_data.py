"""Small copies of released data sets in their raw formats, as pages of a server: path -> bytes."""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.evaluation.benchmarks import belebele, miracl, mldr, squadshifts
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.files.miracl import MIRACL_SHARDS

Pages = dict[str, bytes]


def encode_json_lines(*rows: Mapping[str, Any]) -> bytes:
    """Returns JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def encode_tab_lines(*rows: Sequence[Any]) -> bytes:
    """Returns lines with tabs between their values."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def encode_parquet(rows: list[dict]) -> bytes:
    """Returns a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def map_to_pages(files: Sequence[RemoteFile], contents: Mapping[str, bytes]) -> Pages:
    """Returns contents, which are by path in the folder of a data set, by path on the server."""
    pages = {}
    for file in files:
        path_on_server = "/" + file.url.split("/", 3)[3]
        pages[path_on_server] = contents[file.path]
    return pages


def build_belebele_pages(*variants: str) -> Pages:
    """Returns 900 questions on 488 passages; the lines of every variant are in another order."""
    contents = {}
    for number, name in enumerate(variants):
        rows = [build_belebele_row(name, question) for question in range(900)]
        start = number * 7
        contents[f"data/{name}.jsonl"] = encode_json_lines(*rows[start:], *rows[:start])
    return map_to_pages(belebele.list_files(variants), contents)


def build_belebele_row(variant: str, question: int) -> dict[str, Any]:
    """Returns the row of a question in a variant."""
    passage = question % 488
    return {
        "link": f"https://x.org/{passage:03}",
        "question_number": question // 488 + 1,
        "flores_passage": f"{variant} text {passage}",
        "question": f"{variant} asks {question}",
        "mc_answer1": "a",
        "correct_answer_num": "1",
        "ds": "2023-05-03",
        "dialect": variant,
    }


MIRACL = {  # id, title and text of passages
    "sw": [
        ("1#0", "Afrika", "bara la pili"),
        ("1#1", "Afrika", "watu wengi"),
        ("2#0", "Ziwa", "maji"),
    ],
    "te": [("1#0", "భారత్", "దేశం"), ("9#3", "నది", "నీరు"), ("9#4", "నది", "")],
}
MIRACL_TOPICS = {"sw": [("7", "bara gani?"), ("8", "ziwa gani?")], "te": [("7", "దేశం ఏది?")]}
MIRACL_QRELS = {
    "sw": [("7", "1#0", 1), ("7", "1#1", 1), ("7", "2#0", 0), ("8", "2#0", 1)],
    "te": [("7", "9#3", 1), ("7", "1#0", 0)],
}


def build_miracl_pages() -> Pages:
    """Returns MIRACL with Swahili in one file of passages, and Telugu in two."""
    contents = {}
    for name, passages in MIRACL.items():
        ending = f"miracl-v1.0-{name}-dev.tsv"
        qrels = [(query, "Q0", passage, score) for query, passage, score in MIRACL_QRELS[name]]
        contents[f"miracl-v1.0-{name}/topics/topics.{ending}"] = encode_tab_lines(
            *MIRACL_TOPICS[name]
        )
        contents[f"miracl-v1.0-{name}/qrels/qrels.{ending}"] = encode_tab_lines(*qrels)
        rows = [{"docid": docid, "title": title, "text": text} for docid, title, text in passages]
        shards = MIRACL_SHARDS[name]
        for shard in range(shards):
            path = f"miracl-corpus-v1.0-{name}/docs-{shard}.jsonl.gz"
            contents[path] = gzip.compress(encode_json_lines(*rows[shard::shards]))
    return map_to_pages(miracl.list_files(list(MIRACL)), contents)


def build_hard_negatives_pages() -> Pages:
    """Returns MIRACL with its hard negatives as the pool."""
    contents = {}
    for name, passages in MIRACL.items():
        parts = {
            "corpus": [
                {"_id": docid, "title": title, "text": text} for docid, title, text in passages
            ],
            "queries": [{"_id": query, "text": text} for query, text in MIRACL_TOPICS[name]],
            "qrels": [
                {"query-id": query, "corpus-id": docid, "score": score}
                for query, docid, score in MIRACL_QRELS[name]
            ],
        }
        for part, rows in parts.items():
            contents[f"{name}-{part}/dev-00000-of-00001.parquet"] = encode_parquet(rows)
    return map_to_pages(miracl.list_files(list(MIRACL), pool="hard_negatives"), contents)


def build_mldr_pages() -> Pages:
    """Returns MLDR in German and Portuguese, with three documents and two questions each."""
    contents = {}
    for name in ("de", "pt"):
        documents = [{"docid": f"doc-{name}-{i}", "text": f"{name} {i} " * 50} for i in range(3)]
        queries = []
        for number in range(2):
            queries.append(
                {
                    "query_id": f"q-{name}-{number}",
                    "query": f"{name}? {number}",
                    "positive_passages": [documents[number]],
                    "negative_passages": [],
                }
            )
        contents[f"mldr-v1.0-{name}/corpus.jsonl.gz"] = gzip.compress(encode_json_lines(*documents))
        contents[f"mldr-v1.0-{name}/test.jsonl.gz"] = gzip.compress(encode_json_lines(*queries))
    return map_to_pages(mldr.list_files(["de", "pt"]), contents)


def build_squadshifts_pages() -> Pages:
    """Returns two articles of nyt, as the sizes of the other domains are known.

    A paragraph comes twice.
    """
    first = [build_squad_paragraph("one", "a", "b"), build_squad_paragraph("two", "c")]
    second = [build_squad_paragraph("one", "d"), build_squad_paragraph("three")]
    articles = [{"title": "t", "paragraphs": first}, {"title": "u", "paragraphs": second}]
    page = json.dumps({"version": "1", "data": articles}).encode()
    return map_to_pages(squadshifts.list_files(["nyt"]), {"datasets/nyt_v1.0.json": page})


def build_squad_paragraph(text: str, *ids: str) -> dict[str, Any]:
    """Returns a paragraph in SQuAD's form, with a question for each id."""
    questions = [{"id": name, "question": f"{name}?", "answers": []} for name in ids]
    return {"context": text, "qas": questions}
