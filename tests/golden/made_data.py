"""Data for the golden records, made by arithmetic alone: the same bytes at every call."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LANGUAGES = ("de", "en", "ru", "zh")
PLACES = {
    "de": ["Deutschland", "Griechenland", "Indien", "Spanien", "Türkei", "Japan", "Chile", "Kenia"],
    "en": ["Germany", "Greece", "India", "Spain", "Türkiye", "Japan", "Chile", "Kenya"],
    "ru": ["Германия", "Греция", "Индия", "Испания", "Турция", "Япония", "Чили", "Кения"],
    "zh": ["德国", "希腊", "印度", "西班牙", "土耳其", "日本", "智利", "肯尼亚"],
}
QUESTIONS = {"de": "welche Zahl hat", "en": "which number has", "ru": "какое число у", "zh": "数字"}
ANSWERS = {"de": "die Zahl von", "en": "the number of", "ru": "число", "zh": "的 数"}

# Pairs of the long corpus: from 1,048,577 rows on, a pass is put in order by another method.
LONG = 1_100_000

VIEWS = ("mono", "cross", "multi")
METRICS = ("map", "ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10", "tie_rate")
METRICS_ACROSS_LANGUAGES = (
    "rank_distance",
    "rank_distance_excess",
    "rank_distance_normalised",
    "max_rank",
    "max_rank_normalised",
    "complete@20",
    "complete@100",
    "tlr@20",
    "lpr@1",
)
RESULT_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MOST_QUESTIONS = 12
TRAINED_LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]
# Sampler -> its share of monolingual batches, and how hard it finds a question.
SYSTEMS = {"x_x_mono": (1.0, 1.2), "x_y": (0.0, 1.5), "hybrid": (0.5, 0.9)}
SEEDS = (1, 2)
# As the paper measured, so that its numbers stand beside the made ones.
CHOICES = {"queries": "distinct_text", "candidates": "sentence", "max_queries": "all"}


def write_parallel_pairs(path: Path, count: int = 96) -> Path:
    """Writes pairs that are there in all languages, each with two hard negatives.

    Two neighbours have one passage, so that the masks of the loss have something to find.
    """
    records = []
    for number in range(count):
        negatives = [answer_in_all_languages(number + 2), answer_in_all_languages(number + 4)]
        record = {
            "id": f"pair-{number}",
            "query": question_in_all_languages(number),
            "passage": answer_in_all_languages(number),
            "negatives": negatives,
        }
        records.append(record)
    return write_json_lines(path, records)


def write_pairs_with_gaps(path: Path, count: int = 200) -> Path:
    """Writes pairs whose questions and passages each lack other languages."""
    records = []
    for number in range(count):
        query = question_in_all_languages(number)
        passage = answer_in_all_languages(number)
        for place, language in enumerate(LANGUAGES):
            if (7 * number + 3 * place) % 5 == 0:
                del query[language]
            if (5 * number + 11 * place + number // 9) % 6 == 0:
                del passage[language]
        records.append({"id": f"gap-{number}", "query": query, "passage": passage})
    return write_json_lines(path, records)


def write_pairs_to_import(path: Path) -> Path:
    """Writes pairs of many scripts with gaps and more or fewer negatives, and some wrong lines."""
    scripts = {
        "ar": "ما هي عاصمة هذا البلد؟",
        "hi": "राजधानी कौन सी है?",
        "th": "เมืองหลวงคืออะไร",
        "en": "cafe\u0301 or café, 🙂 and “quotes”",
        "tr": "İstanbul ve ısı",
    }
    records = []
    for number in range(60):
        query = {}
        passage = {}
        for place, (language, text) in enumerate(scripts.items()):
            if (number + place) % 4:
                query[language] = f"{text} {number}"
            if (number + 2 * place) % 3:
                passage[language] = f"{number // 2} {text}"
        negatives = []
        for rank in range(number % 4):
            negatives.append({"en": f"not {number} but {rank}", "hi": f"{rank} नहीं"})
        record = {"query": query, "passage": passage, "negatives": negatives}
        if number % 5:
            record["id"] = f"nr. {number}"
        records.append(record)
    records.append({"id": "nr. 1", "query": {"en": "said again"}, "passage": {"en": "again"}})
    records.append({"id": "blank", "query": {"en": "  "}, "passage": {"en": "an answer"}})
    records.append({"id": "half", "query": {"en": "and the answer?"}, "passage": {}})
    return write_json_lines(path, records)


def question_in_all_languages(number: int) -> dict[str, str]:
    """Returns one question by language."""
    texts = {}
    for language in LANGUAGES:
        place = PLACES[language][number % 8]
        texts[language] = f"{QUESTIONS[language]} {place} {number * number}"
    return texts


def answer_in_all_languages(number: int) -> dict[str, str]:
    """Returns the passage that answers a question, by language; two questions share one."""
    shared = number // 2
    texts = {}
    for language in LANGUAGES:
        place = PLACES[language][shared % 8]
        texts[language] = f"{ANSWERS[language]} {place} {shared * shared}"
    return texts


def write_json_lines(path: Path, records: list[dict]) -> Path:
    """Writes one JSON object a line."""
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def write_long_corpus(folder: Path) -> Path:
    """Writes a stored corpus of more than a million pairs in two languages, whose texts are empty.

    A plan reads no text, and to import so many lines would take a minute.
    """
    folder.mkdir(parents=True)
    languages = ["de", "en"]
    rows = np.arange(LONG, dtype=np.int32)
    both_languages = np.full((LONG, 1), 0b11000000, dtype=np.uint8)
    arrays = {
        "pairs": np.stack([rows, rows], axis=1),
        "runs": np.zeros(1, dtype=np.int64),
        "run_languages": np.full((1, 2, 1), 0b11000000, dtype=np.uint8),
        "query_languages": both_languages,
        "query_content": rows,
        "passage_languages": both_languages,
        "content": rows,
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    table = pa.table({"text": pa.array([""]).take(pa.array(np.zeros(LONG, dtype=np.int64)))})
    for role in ("query", "passage"):
        for language in languages:
            path = folder / f"{role}-{language}.arrow"
            with pa.ipc.new_stream(str(path), table.schema) as stream:
                stream.write_table(table)
    write_corpus_card(folder, languages)
    return folder


def write_corpus_card(folder: Path, languages: list[str]) -> None:
    """Writes corpus.json, which says what files of a stored corpus there are."""
    sizes = {}
    hashes = {}
    for path in sorted(folder.iterdir()):
        sizes[path.name] = path.stat().st_size
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    source = {
        "name": "long",
        "description": "made for a test",
        "licence": "none",
        "citation": "none",
        "revision": "",
        "choices": {},
    }
    card = {
        "version": 2,
        "key": None,
        "languages": languages,
        "queries": LONG,
        "passages": LONG,
        "pairs": LONG,
        "most_negatives": 0,
        "source": source,
        "report": {},
        "files": sizes,
        "sha256": hashes,
    }
    (folder / "corpus.json").write_text(json.dumps(card), encoding="utf-8")


def write_results(folder: Path) -> Path:
    """Writes the result folders of systems that never existed, one for each system and seed."""
    for place, (sampler, (share, hardness)) in enumerate(SYSTEMS.items()):
        for seed in SEEDS:
            random = np.random.default_rng([place, seed])
            result = folder / f"{sampler}_seed{seed}"
            result.mkdir(parents=True)
            rows = make_rows(random, hardness)
            write_per_query(result / "per_query.parquet", rows)
            write_json(result / "metrics.json", make_metrics(rows))
            write_json(result / "evaluation_card.json", make_card(sampler, share, seed))
    return folder


def make_rows(random: np.random.Generator, hardness: float) -> list[dict]:
    """Returns a row for each query in each pool."""
    rows = []
    for view in VIEWS:
        query = 0
        for asked in RESULT_LANGUAGES:
            for question in range(count_questions(asked)):
                for pool in list_pools(view, asked):
                    row = {
                        "view": view,
                        "query": query,
                        "question_id": f"q{question}",
                        "query_language": asked,
                        "passage_language": pool,
                    }
                    values = draw_values(random, view, hardness)
                    rows.append(row | values)
                query += 1
    return rows


def count_questions(asked: str) -> int:
    """Returns how many questions a language asks: later ones fewer, so that means differ."""
    return MOST_QUESTIONS - RESULT_LANGUAGES.index(asked) // 2


def list_pools(view: str, asked: str) -> list[str]:
    """Returns the languages of the passages that a query of a language meets in a view."""
    if view == "mono":
        return [asked]
    if view == "multi":
        return ["all"]
    return [language for language in RESULT_LANGUAGES if language != asked]


def draw_values(random: np.random.Generator, view: str, hardness: float) -> dict[str, float]:
    """Returns a value of every metric, NaN for those that only the multilingual view has."""
    values = {}
    for metric in METRICS:
        values[metric] = round(float(random.random() ** hardness), 6)
    for metric in METRICS_ACROSS_LANGUAGES:
        largest = 400 if metric in ("rank_distance", "rank_distance_excess", "max_rank") else 1
        drawn = round(float(random.random() * largest * hardness), 6)
        values[metric] = drawn if view == "multi" else float("nan")
    return values


def write_per_query(path: Path, rows: list[dict]) -> None:
    """Writes the rows as the columns of a Parquet file."""
    columns = {}
    for name in rows[0]:
        columns[name] = [row[name] for row in rows]
    pq.write_table(pa.table(columns), path)


def make_metrics(rows: list[dict]) -> dict:
    """Returns what metrics.json says of the rows."""
    settings = make_settings(rows)
    macro = {}
    micro = {}
    for view in VIEWS:
        macro[view] = average_rows(settings, view)
        micro[view] = average_rows(rows, view)
    benchmark = {
        "name": "xquad_r",
        "revision": "1",
        "choices": CHOICES,
        "languages": list(RESULT_LANGUAGES),
        "queries": sum(map(count_questions, RESULT_LANGUAGES)),
        "pool": dict.fromkeys(RESULT_LANGUAGES, 48),
        "queries_without_relevant": dict.fromkeys(VIEWS, 0),
    }
    return {
        "benchmark": benchmark,
        "loss": None,
        "macro_over_settings": macro,
        "micro_over_questions": micro,
        "undefined_queries": {view: {} for view in VIEWS},
        "settings": settings,
        "language_bias": {},
    }


def make_settings(rows: list[dict]) -> list[dict]:
    """Returns the means over the rows of every view, query language and pool."""
    groups = {}
    for row in rows:
        key = (row["view"], row["query_language"], row["passage_language"])
        groups.setdefault(key, []).append(row)
    settings = []
    for (view, asked, pool), members in groups.items():
        setting = {
            "view": view,
            "query_language": asked,
            "passage_language": pool,
            "queries": len(members),
        }
        settings.append(setting | average_rows(members, view))
    return settings


def average_rows(rows: list[dict], view: str) -> dict[str, float | None]:
    """Returns the mean of every metric over the rows of a view, None where it has no value."""
    chosen = [row for row in rows if row["view"] == view]
    means = {}
    for metric in (*METRICS, *METRICS_ACROSS_LANGUAGES):
        if metric in METRICS or view == "multi":
            means[metric] = float(np.mean([row[metric] for row in chosen]))
        else:
            means[metric] = None
    return means


def make_card(sampler: str, share: float, seed: int) -> dict:
    """Returns the evaluation card of a system that was trained with a seed."""
    training = {
        "sampler": sampler,
        "monolingual_share": share,
        "level": "batch",
        "seed": seed,
        "corpus": "mlqa_r",
        "model": "xlmr",
        "max_steps": 120,
        "batch_size": 64,
        "languages": TRAINED_LANGUAGES,
    }
    benchmark = {
        "name": "xquad_r",
        "revision": "1",
        "sha256": "made",
        "choices": CHOICES,
    }
    return {
        "model": {"name": "xlmr", "kind": "run", "path": "somewhere"},
        "training": training,
        "benchmark": benchmark,
        "postprocess": {"name": "none", "estimated_on": None},
        "precision": "bf16",
    }


def write_json(path: Path, content: dict) -> None:
    """Writes a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")
