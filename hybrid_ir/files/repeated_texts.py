"""Notices languages that have the same texts, as if one text were in two languages."""

from collections.abc import Iterable, Mapping, Sequence

from hybrid_ir.files.problems import Problems

TEXTS_COMPARED = 1_000_000  # of all languages together; of more texts those with some hashes


def report_repeated_texts(
    texts_of_language: Mapping[str, Sequence[str | None]], what: str, problems: Problems
) -> None:
    """Adds a problem for every two languages of which one repeats most texts of the other.

    Each of these passages would be in the pool or the training twice, and one of them in a language
    that it is not in.

    Args:
        texts_of_language: the passages of each language.
        what: where a language is, for messages: "folder" or "file".
        problems: gets what is found.
    """
    total = sum(map(len, texts_of_language.values()))
    step = 1 + total // TEXTS_COMPARED
    hashes: dict[str, set[int]] = {}
    for language, texts in texts_of_language.items():
        hashes[language] = _hash_texts(texts, step)
        for other, of_other in hashes.items():
            if other == language:
                continue
            shared = len(hashes[language] & of_other)
            fewest = min(len(hashes[language]), len(of_other))
            if shared > 1 and 2 * shared > fewest:
                problems.add(
                    f"the {what}s of {other} and {language} hold the same passages ({shared:,} "
                    f"texts of {fewest:,} are equal), and each would count as one of its own "
                    "language. For queries in several languages over one corpus put one "
                    "corpus.jsonl, queries.jsonl and qrels into the folder itself, with the "
                    'language of every line, as in "language": "en"'
                )


def _hash_texts(texts: Iterable[str | None], step: int) -> set[int]:
    """Returns the hashes of texts that are multiples of a number."""
    hashes = set()
    for text in texts:
        text_hash = hash(text)
        if text is not None and text_hash % step == 0:
            hashes.add(text_hash)
    return hashes
