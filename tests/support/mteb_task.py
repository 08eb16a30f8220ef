"""A task in mteb's format with data in memory: two languages, a cross-lingual subset, grades."""

from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ZAHLEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"]
PASSAGES = {
    "en": {f"en{i}": f"{word} follows {NUMBERS[i - 1]}" for i, word in enumerate(NUMBERS)},
    "de": {f"de{i}": f"{word} folgt auf {ZAHLEN[i - 1]}" for i, word in enumerate(ZAHLEN)},
}
QUERIES = {
    "en": {f"q-en{i}": f"what is after {word}?" for i, word in enumerate(NUMBERS)},
    "de": {f"q-de{i}": f"was kommt nach {word}?" for i, word in enumerate(ZAHLEN)},
}
# A subset of mteb -> the languages of its queries and of its passages.
SUBSETS = {"en": ("en", "en"), "de": ("de", "de"), "de-en": ("de", "en")}
SCRIPTS = {"en": "eng-Latn", "de": "deu-Latn"}
SPLIT = "dev"


def judge(query_language: str, passage_language: str) -> dict[str, dict[str, int]]:
    """Returns the grades of passages by query: 3 for the answer, 1 for the number after it.

    The last query is judged by nothing, and the first has one passage of grade 0.
    """
    grades = {}
    for i in range(9):
        row = {f"{passage_language}{i + 1}": 3}
        if i % 2:
            row[f"{passage_language}{(i + 2) % 10}"] = 1
        grades[f"q-{query_language}{i}"] = row
    grades[f"q-{query_language}0"][f"{passage_language}5"] = 0
    return grades


class SmallRetrieval(AbsTaskRetrieval):
    """The numbers after others."""

    metadata = TaskMetadata(
        name="SmallRetrieval",
        description="Which number follows another one, in two languages and across them.",
        dataset={"path": "hybrid-ir/small", "revision": "1" * 40},
        reference=None,
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[SPLIT],
        eval_langs={
            "en": ["eng-Latn"],
            "de": ["deu-Latn"],
            "de-en": ["deu-Latn", "eng-Latn"],
        },
        main_score="ndcg_at_10",
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )

    def load_data(self, num_proc: int | None = None, **kwargs) -> None:
        self.dataset = {}
        for subset in self.hf_subsets:
            query_language, passage_language = SUBSETS[subset]
            self.dataset[subset] = {
                SPLIT: {
                    "corpus": list_texts(PASSAGES[passage_language]),
                    "queries": list_texts(QUERIES[query_language]),
                    "relevant_docs": judge(query_language, passage_language),
                    "top_ranked": None,
                }
            }
        self.data_loaded = True


class UnreachableRetrieval(AbsTaskRetrieval):
    """A task whose data is on the hub, where no test can reach it."""

    metadata = SmallRetrieval.metadata.model_copy(
        update={
            "name": "UnreachableRetrieval",
            "dataset": {"path": "no/such", "revision": "2" * 40},
        }
    )


def list_texts(texts: dict[str, str]) -> Dataset:
    """Returns texts by id as a Dataset."""
    return Dataset.from_list([{"id": key, "text": text} for key, text in texts.items()])
