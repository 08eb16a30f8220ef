"""Miniatures of the released data sets in their raw formats, as pages of a server: path -> bytes."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.evaluation.benchmarks import belebele, miracl, mldr, squadshifts
from hybrid_ir.files.fetching import RemoteFile

Pages = dict[str, bytes]


def lines(*rows: dict) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def at(files: list[RemoteFile], contents: dict[str, bytes]) -> Pages:
    """Contents by the path in the folder -> by the path on the server."""
    return {"/" + file.url.split("/", 3)[3]: contents[file.path] for file in files}


def belebele_pages(*variants: str) -> Pages:
    """900 questions over 488 passages; the lines of every variant are in another order."""
    contents = {}
    for number, name in enumerate(variants):
        rows = [
            {
                "link": f"https://x.org/{i % 488:03}",
                "question_number": i // 488 + 1,
                "flores_passage": f"{name} text {i % 488}",
                "question": f"{name} asks {i}",
                "mc_answer1": "a",
                "correct_answer_num": "1",
                "ds": "2023-05-03",
                "dialect": name,
            }
            for i in range(900)
        ]
        contents[f"data/{name}.jsonl"] = lines(*rows[number * 7 :], *rows[: number * 7])
    return at(belebele.list_files(variants), contents)


MIRACL = {
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


def miracl_pages() -> Pages:
    """sw in one shard, te in two."""
    contents = {}
    for name, passages in MIRACL.items():
        topics, qrels = (
            f"miracl-v1.0-{name}/{kind}/{kind}.miracl-v1.0-{name}-dev.tsv"
            for kind in ("topics", "qrels")
        )
        contents[topics] = "".join(f"{qid}\t{text}\n" for qid, text in MIRACL_TOPICS[name]).encode()
        contents[qrels] = "".join(
            f"{qid}\tQ0\t{docid}\t{score}\n" for qid, docid, score in MIRACL_QRELS[name]
        ).encode()
        rows = [{"docid": docid, "title": title, "text": text} for docid, title, text in passages]
        shards = [rows[i :: miracl.MIRACL_SHARDS[name]] for i in range(miracl.MIRACL_SHARDS[name])]
        contents |= {
            f"miracl-corpus-v1.0-{name}/docs-{i}.jsonl.gz": gzip.compress(lines(*shard))
            for i, shard in enumerate(shards)
        }
    return at(miracl.list_files(list(MIRACL)), contents)


def parquet(rows: list[dict]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def hard_negatives_pages() -> Pages:
    contents = {}
    for name, passages in MIRACL.items():
        parts = {
            "corpus": [
                {"_id": docid, "title": title, "text": text} for docid, title, text in passages
            ],
            "queries": [{"_id": qid, "text": text} for qid, text in MIRACL_TOPICS[name]],
            "qrels": [
                {"query-id": qid, "corpus-id": docid, "score": score}
                for qid, docid, score in MIRACL_QRELS[name]
            ],
        }
        contents |= {
            f"{name}-{part}/dev-00000-of-00001.parquet": parquet(rows)
            for part, rows in parts.items()
        }
    return at(miracl.list_files(list(MIRACL), pool="hard_negatives"), contents)


def mldr_pages() -> Pages:
    contents = {}
    for name in ("de", "pt"):
        documents = [{"docid": f"doc-{name}-{i}", "text": f"{name} {i} " * 50} for i in range(3)]
        queries = [
            {
                "query_id": f"q-{name}-{i}",
                "query": f"{name}? {i}",
                "positive_passages": [documents[i]],
                "negative_passages": [],
            }
            for i in range(2)
        ]
        contents[f"mldr-v1.0-{name}/corpus.jsonl.gz"] = gzip.compress(lines(*documents))
        contents[f"mldr-v1.0-{name}/test.jsonl.gz"] = gzip.compress(lines(*queries))
    return at(mldr.list_files(["de", "pt"]), contents)


def squadshifts_pages() -> Pages:
    """Two paragraphs have the same text; of nyt, as the sizes of the other domains are known."""

    def paragraph(text: str, *ids: str) -> dict:
        return {
            "context": text,
            "qas": [{"id": name, "question": f"{name}?", "answers": []} for name in ids],
        }

    articles = [
        {"title": "t", "paragraphs": [paragraph("one", "a", "b"), paragraph("two", "c")]},
        {"title": "u", "paragraphs": [paragraph("one", "d"), paragraph("three")]},
    ]
    page = json.dumps({"version": "1", "data": articles}).encode()
    return at(squadshifts.list_files(["nyt"]), {"datasets/nyt_v1.0.json": page})
