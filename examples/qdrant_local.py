"""Loads the vectors of an index into Qdrant's local mode, and searches there.

pip install qdrant-client
python examples/qdrant_local.py INDEX_FOLDER "Who won Super Bowl 50?" [LANGUAGE]
"""

import sys

from qdrant_client import QdrantClient, models

from hybrid_ir import load_index

NAME = "passages"


def copy_to_qdrant(index, client: QdrantClient) -> None:
    """Copies all vectors of an index, with id, language and text, into a collection."""
    distance = models.Distance.COSINE if index.card["similarity"] == "cosine" else "Dot"
    size = models.VectorParams(size=index.card["width"], distance=distance)
    client.create_collection(NAME, vectors_config=size)
    for start, vectors in index.vectors.iterate_blocks():
        points = []
        for row, vector in enumerate(vectors.tolist(), start=start):
            payload = {
                "id": index.passages.ids[row],
                "language": index.passages.get_language(row),
                "text": index.passages.texts[row],
            }
            points.append(models.PointStruct(id=row, vector=vector, payload=payload))
        client.upsert(NAME, points)


def search_qdrant(index, client: QdrantClient, question: str, k: int = 5, language=None) -> list:
    """Returns the best points for a question, in one language if it is named."""
    chosen = None
    if language is not None:
        match = models.MatchValue(value=language)
        chosen = models.Filter(must=[models.FieldCondition(key="language", match=match)])
    vector = index.encode_queries([question])[0].tolist()
    return client.query_points(NAME, query=vector, query_filter=chosen, limit=k).points


if __name__ == "__main__":
    opened = load_index(sys.argv[1])
    local = QdrantClient(":memory:")  # or QdrantClient(path="FOLDER"), which keeps it
    copy_to_qdrant(opened, local)
    for point in search_qdrant(opened, local, sys.argv[2], language=(sys.argv[3:] or [None])[0]):
        print(f"{point.score:.4f}", point.payload["language"], point.payload["text"], sep="\t")
