"""Where the files of MIRACL are, for the corpus of its training split and for its benchmark."""

# Repositories of data sets on the hub, each with the commit that is read.
MIRACL_TOPICS = ("miracl/miracl", "5be20db9509754dadad47689368639fcec739c00")
MIRACL_CORPUS = ("miracl/miracl-corpus", "d921ec7e349ce0d28daf30b2da9da5ee698bef0d")
# How many files the passages of a language are in.
MIRACL_SHARDS = {
    "ar": 5,
    "bn": 1,
    "de": 32,
    "en": 66,
    "es": 21,
    "fa": 5,
    "fi": 4,
    "fr": 30,
    "hi": 2,
    "id": 3,
    "ja": 14,
    "ko": 3,
    "ru": 20,
    "sw": 1,
    "te": 2,
    "th": 2,
    "yo": 1,
    "zh": 10,
}


def list_topic_files(language: str, split: str) -> list[str]:
    """Returns the path of the questions of a split and the path of its qrels, in this order."""
    return [
        f"miracl-v1.0-{language}/{kind}/{kind}.miracl-v1.0-{language}-{split}.tsv"
        for kind in ("topics", "qrels")
    ]


def list_passage_files(language: str) -> list[str]:
    """Returns the paths of all passages of a language."""
    return [
        f"miracl-corpus-v1.0-{language}/docs-{shard}.jsonl.gz"
        for shard in range(MIRACL_SHARDS[language])
    ]
