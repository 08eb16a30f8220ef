"""Recognises data in the form of another project, to name what reads it."""

from collections.abc import Mapping
from typing import Any


def recognise_format(row: Mapping[str, Any]) -> str | None:
    """Says which known form of data an object is in, and what imports it; None for no known one.

    Args:
        row: the first object of a file that is not in the form of this project.
    """
    if isinstance(row.get("pos"), list) and isinstance(row.get("query"), str):
        return _describe_format("FlagEmbedding (query, pos, neg)", "flagembedding")
    if "positive_passages" in row:
        return _describe_format("tevatron (positive_passages, negative_passages)", "tevatron")
    if "positive_document_ids" in row:
        return (
            "this is in the form of tevatron with ids of documents instead of their texts, which "
            "no import reads: join the texts first, as positive_passages with docid and text"
        )
    if "_id" in row and "text" in row:
        return (
            "this is a file of texts in the form of BEIR: `hybrid-ir data import beir path=FOLDER "
            "language=en to=...` reads the folder that it is in, with corpus.jsonl, queries.jsonl "
            "and qrels"
        )
    texts = [key for key, value in row.items() if isinstance(value, str) and key != "id"]
    if len(texts) > 1 and len(texts) == len([key for key in row if key != "id"]):
        return (
            f"this has a text in each of {', '.join(texts)}, without a language. If each line is "
            "a pair, `hybrid-ir data import datasets path=FILE to=... 'columns={query: {en: "
            f"{texts[0]}}}, passage: {{en: {texts[1]}}}}}'` reads it, with the right code and keys"
        )
    return None


def _describe_format(name: str, form: str) -> str:
    return (
        f"this is in the form of {name}: `hybrid-ir data import {form} path=... language=en "
        "to=...` reads it, with the code of its language"
    )
