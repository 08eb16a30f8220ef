"""Every key of the commands' config files: another value changes something, or is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.model.backbone import FromScratch
from tests.golden import made_data
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import list_pairs, write_json_lines
from tests.support.every_key import (
    Changed,
    Outcome,
    Probe,
    Refused,
    Row,
    change_together,
)
from tests.support.in_process import hybrid_ir_in_process
from tests.support.number_words import train_translation_model

EVALUATE = ("model=plain", "pooling=mean")
LATENCY_BENCHMARK = ("benchmark=beir_folder", "benchmark.folder=benchmark", "max_queries=3")
MTEB_TASK = "benchmark.mteb.tasks=[tests.support.mteb_task.SmallRetrieval]"
# What each command measures, but where the row of a key says something else.
USUAL_BASES = {
    "encoder": ("benchmark=[beir_folder]", "benchmark.beir_folder.folder=benchmark"),
    "evaluate": ("benchmark=[beir_folder]", "benchmark.beir_folder.folder=benchmark"),
    "index": ("path=passages.jsonl",),
    "latency": LATENCY_BENCHMARK,
    "benchmark/mteb": ("benchmark=[mteb]", MTEB_TASK),
    "export": ("benchmark=beir_folder", "benchmark.folder=benchmark"),
}
OTHER_BASES = (
    ("index", "corpus.languages"),
    ("index", "measure"),
    ("index", "measure_depth"),
    ("evaluate", "benchmark"),
    ("evaluate", "corpus.languages"),
    ("latency", "corpus.languages"),
    ("export", "corpus.languages"),
)
VECTORS = ("save_embeddings=true",)
WINDOWS = ("long_passages=max_passage", "passage_max_length=8")
CENTRED = ("postprocess=center", "postprocess_on=test")
SHIFTED = ("postprocess=shift", "postprocess_on=test")
COMPARE = ("runs=[results]", "flips=40", "resamples=40")
LATENCY = (
    "checkpoints=[plain]",
    "pooling=mean",
    "pools=[20]",
    "batch_sizes=[1]",
    "rounds=1",
    "warmup=1",
    "pool_passages=4",
)
EXPORT = ("model=plain", "pooling=mean", "formats=[transformers]")
MINE = ("corpus=jsonl", "corpus.path=pairs.jsonl", "checkpoint=plain", "pooling=mean", "margin=-1")
INDEX = ("model=plain", "pooling=mean", "measure_depth=4")
INDEX_OF_BENCHMARK = ("benchmark=beir_folder", "benchmark.folder=benchmark")
SEARCH = ("index=searched", "query=de asks 3")
CLEAN = ("corpus=jsonl", "corpus.path=pairs.jsonl", "duplicates=keep")
IDENTIFY = ("path=benchmark/de",)
SERVE = ("index=searched", "port=0")
OF_CORPUS = ("index=null", "model=plain")
STUDY = ("study=mine", "--config-dir=study_conf", "texts=[texts.jsonl]")
DEBIAS = ("model=plain", "pooling=mean", "on=texts.jsonl")
BIAS = ("model=plain", "pooling=mean", "corpus=texts.jsonl")
TRANSLATE = (
    "corpus=jsonl",
    "corpus.path=numbers.jsonl",
    "model=translator",
    "languages=[de]",
    "language_letters=0",
    "max_length=12",
)


def look_at_vectors(outcome: Outcome) -> dict[str, str]:
    paths = outcome.folder.rglob("*.safetensors")
    return {path.name: compute_sha256(path) for path in paths}


def look_at_bias(outcome: Outcome) -> dict:
    return outcome.read_json("bias.json")["texts"]


def look_at_table(outcome: Outcome) -> str:
    return (outcome.folder / "leaderboard.md").read_text()


def look_at_mteb_scores(outcome: Outcome) -> list:
    return outcome.read_json("mteb/mteb_scores.json")["scores"]


def look_at_maps(outcome: Outcome) -> list[str]:
    return [compute_sha256(path) for path in sorted(outcome.folder.rglob("*.safetensors"))]


def look_at_comparison(outcome: Outcome) -> dict:
    return outcome.read_json("comparison.json")


def look_at_corpus(outcome: Outcome) -> list:
    return list_pairs(load_corpus_folder(outcome.folder))


def look_at_lines(outcome: Outcome) -> str:
    return (outcome.folder / "corpus.jsonl").read_text()


def look_at_rejects(outcome: Outcome) -> list:
    rejects = [compute_sha256(path) for path in sorted(outcome.folder.glob("rejects-*"))]
    return [rejects, look_at_corpus(outcome)]


def look_at_card(outcome: Outcome) -> dict:
    return outcome.read_json("index.json")["languages"]


def look_at_quality(outcome: Outcome) -> dict:
    return outcome.read_json("quality.json")["searches"]


def look_at_print(outcome: Outcome) -> str:
    return outcome.ended.stdout


def count_threads(_: Outcome) -> int:
    return torch.get_num_threads()


def look_beside(outcome: Outcome) -> list[str]:
    return sorted(path.name for path in outcome.folder.parent.glob("other-*"))


def look_at_gate(outcome: Outcome) -> dict:
    return outcome.read_json("parity.json")["benchmark"]


def look_at_model_card(outcome: Outcome) -> str:
    return (outcome.folder / "README.md").read_text().replace(outcome.folder.name, "")


def look_at_setting(key: str):
    """Returns what looks at a setting on the card of a latency study."""

    def look(outcome: Outcome) -> Any:
        return outcome.read_json("latency.json")["card"]["settings"][key]

    return look


ROWS: dict[tuple[str, str], Row] = {
    ("encoder", "pooling"): Changed("pooling=cls", look_at_vectors, VECTORS),
    ("encoder", "query_prefix"): Changed("query_prefix=Q", look_at_vectors, VECTORS),
    ("encoder", "passage_prefix"): Changed("passage_prefix=P", look_at_vectors, VECTORS),
    ("encoder", "query_max_length"): Changed("query_max_length=4", look_at_vectors, VECTORS),
    ("encoder", "passage_max_length"): Changed("passage_max_length=4", look_at_vectors, VECTORS),
    ("encoder", "precision"): Changed("precision=bf16", look_at_vectors, VECTORS),
    ("encoder", "backbone"): Refused("backbone=other", "backbone='other': not for the plain"),
    ("encoder", "similarity"): Refused("similarity=dot", "similarity='dot': not for the plain"),
    ("encoder", "revision"): Refused("revision=abc", "a folder has no revisions"),
    ("encoder", "trust_remote_code"): Refused("trust_remote_code=1", "must be true or false"),
    ("encoder", "test_checkpoint"): Refused("test_checkpoint=first", "test_checkpoint='first'"),
    ("encoder", "backend"): Refused("backend=other", "backend='other' must be one of torch"),
    ("encoder", "device"): Refused("device=tpu", "device='tpu' cannot be used here"),
    ("encoder", "threads"): Changed("threads=2", count_threads),
    ("encoder", "seed"): Refused("seed=2", "seed=2 changes nothing"),
    ("evaluate", "checkpoint"): Refused("checkpoint=run", "checkpoint=RUN for a run of ours, or"),
    ("evaluate", "model"): Refused("model=./nowhere", "does not exist"),
    ("evaluate", "benchmark"): Refused("benchmark=[other]", "benchmark=other must be one of"),
    ("evaluate", "corpus.languages"): Refused(
        "corpus.languages=[xx]", "xx", ("benchmark=[cldr_facts_dev]",)
    ),
    ("evaluate", "logger"): Refused("logger=csv", "logger='csv' must be one of none, wandb"),
    ("evaluate", "long_passages"): Changed(
        "long_passages=max_passage", look_at_vectors, (*VECTORS, "passage_max_length=8")
    ),
    ("evaluate", "window_overlap"): Changed(
        "window_overlap=0", look_at_vectors, (*VECTORS, *WINDOWS)
    ),
    ("evaluate", "out"): Changed("out=other-evaluate", look_beside),
    ("evaluate", "postprocess"): Changed("postprocess=lir", "files", CENTRED),
    ("evaluate", "postprocess_on"): Refused(
        "postprocess_on=other", "postprocess_on=other must be one of", CENTRED
    ),
    ("evaluate", "postprocess_source"): Refused(
        "postprocess_source=xx", "postprocess_source='xx'", SHIFTED
    ),
    ("evaluate", "postprocess_components"): Refused(
        "postprocess_components=2", "is for postprocess=lir alone"
    ),
    ("evaluate", "run_depth"): Changed("run_depth=2", "files"),
    ("evaluate", "save_embeddings"): Changed("save_embeddings=true", "files"),
    ("evaluate", "split"): Refused("split=dev", "split=dev is no key of its own"),
    ("evaluate", "texts_per_chunk"): Refused("texts_per_chunk=0", "texts_per_chunk=0 must be"),
    ("compare", "runs"): Changed("runs=[results2]", look_at_comparison),
    ("compare", "metric"): Changed("metric=mrr@10", look_at_comparison),
    ("compare", "baseline"): Changed("baseline=x_y", look_at_comparison),
    ("compare", "paper"): Refused("paper=1", "paper=1 must be true or false"),
    ("benchmark/mteb", "tasks"): Refused("benchmark.mteb.tasks=[no]", "has no task 'no'"),
    ("benchmark/mteb", "languages"): Refused("benchmark.mteb.languages=[fr]", "has no subset for"),
    ("benchmark/mteb", "subsets"): Changed("benchmark.mteb.subsets=[en]", look_at_mteb_scores),
    ("benchmark/mteb", "splits"): Refused("benchmark.mteb.splits=[x]", "none of the splits x"),
    ("benchmark/mteb", "batch_size"): Refused("benchmark.mteb.batch_size=0", "batch_size=0 must"),
    ("benchmark/mteb", "model_name"): Changed("benchmark.mteb.model_name=a/b", "files"),
    ("benchmark/mteb", "model_revision"): Changed("benchmark.mteb.model_revision=b", "files"),
    ("compare", "benchmark"): Refused("benchmark=[other]", "benchmark=other must be one of"),
    ("compare", "corpus.languages"): Refused(
        "corpus.languages=[xx]", "xx", ("benchmark=[cldr_facts]",)
    ),
    ("compare", "logger"): Refused("logger=csv", "logger='csv' must be one of none, wandb"),
    ("compare", "flips"): Changed("flips=60", look_at_comparison),
    ("compare", "resamples"): Changed("resamples=60", look_at_comparison),
    ("compare", "seed"): Changed("seed=2", look_at_comparison),
    ("compare", "out"): Changed("out=other-compare", look_beside),
    ("export", "checkpoint"): Refused("checkpoint=run", "checkpoint=RUN for a run of ours, or"),
    ("export", "model"): Refused("model=./nowhere", "does not exist"),
    ("export", "to"): Changed("to=other-export", look_beside),
    ("export", "formats"): Refused("formats=[tflite]", "formats: tflite must be one of"),
    ("export", "max_questions"): Changed("max_questions=2", look_at_gate),
    ("export", "int8_methods"): Refused("int8_methods=[none]", "int8_methods: none must be one"),
    ("export", "int8_embeddings"): Refused("int8_embeddings=false", "changes nothing without"),
    ("export", "results"): Refused("results=[nowhere]", "has no metrics.json"),
    ("export", "latency"): Refused("latency=nowhere", "latency.json is missing or damaged"),
    ("export", "licence"): Changed("licence=mit", look_at_model_card),
    ("export", "data_licence"): Refused("data_licence=mit", "data_licence=mit changes nothing"),
    ("export", "hub"): Refused("hub=plain", "must be the name of a model on the hub"),
    ("export", "private"): Refused("private=false", "private=false changes nothing without hub"),
    ("export", "corpus.languages"): Refused(
        "corpus.languages=[xx]", "xx", ("benchmark=cldr_facts",)
    ),
    ("latency", "checkpoints"): Refused("checkpoints=[./nowhere]", "does not exist"),
    ("latency", "languages"): Changed("languages=[de]", lambda o: o.read_json("latency.json")),
    ("latency", "backends"): Refused("backends=[none]", "backends"),
    ("latency", "search"): Refused("search=[none]", "search"),
    ("latency", "pool_vectors"): Refused("pool_vectors=none", "pool_vectors"),
    ("latency", "corpus.languages"): Refused(
        "corpus.languages=[xx]", "xx", ("benchmark=cldr_facts",)
    ),
    ("latency", "out"): Changed("out=other-latency", look_beside),
    **change_together(
        "latency",
        {
            "batch_sizes": ("batch_sizes=[2]", look_at_setting("batch_sizes")),
            "pools": ("pools=[10]", look_at_setting("pools")),
            "top_k": ("top_k=3", look_at_setting("top_k")),
            "margin": ("margin=0.1", look_at_setting("margin")),
            "rounds": ("rounds=2", look_at_setting("rounds")),
            "warmup": ("warmup=2", look_at_setting("warmup")),
            "pool_dtype": ("pool_dtype=float16", look_at_setting("pool_dtype")),
            "pool_passages": ("pool_passages=5", look_at_setting("pool_passages")),
            "max_queries": ("max_queries=2", lambda o: o.read_json("latency.json")),
        },
    ),
    ("index", "path"): Changed("path=benchmark/de", look_at_vectors),
    ("index", "language"): Changed("language=de", look_at_card),
    ("index", "title"): Changed("title=false", look_at_vectors),
    ("index", "checkpoint"): Refused("checkpoint=run", "checkpoint=RUN for a run of ours, or"),
    ("index", "model"): Refused("model=./nowhere", "does not exist"),
    ("index", "to"): Changed("to=other-index", look_beside),
    ("index", "dtype"): Changed("dtype=float16", look_at_vectors),
    ("index", "quantise"): Changed("quantise=int8", "files"),
    ("index", "rescore_multiplier"): Refused(
        "rescore_multiplier=0", "rescore_multiplier=0 must be"
    ),
    ("index", "faiss"): Changed("faiss=flat", "files"),
    ("index", "measure"): Changed("measure=false", "files", INDEX_OF_BENCHMARK),
    ("index", "measure_depth"): Changed("measure_depth=1", look_at_quality, INDEX_OF_BENCHMARK),
    ("index", "texts_per_shard"): Changed("texts_per_shard=4", "files"),
    ("index", "processes"): Refused("processes=0", "processes=0 must be"),
    ("index", "corpus.languages"): Refused(
        "corpus.languages=[xx]", "xx", ("benchmark=cldr_facts",)
    ),
    ("search", "index"): Refused("index=nowhere", "nowhere is no index"),
    ("search", "query"): Changed("query=en asks 1", look_at_print),
    ("search", "queries"): Changed("queries=benchmark/en/queries.jsonl", look_at_print),
    ("search", "k"): Changed("k=2", look_at_print),
    ("search", "languages"): Changed("languages=[de]", look_at_print),
    ("search", "json"): Changed("json=true", look_at_print),
    ("search", "method"): Refused("method=best", "method='best' must be one of"),
    ("search", "effort"): Refused("effort=3", "effort=3 is for an index with faiss"),
    ("search", "rescore_multiplier"): Refused(
        "rescore_multiplier=0", "rescore_multiplier=0 must be"
    ),
    ("search", "verify"): Refused("verify=1", "verify=1 must be true or false"),
    ("search", "model"): Refused("model=./nowhere", "does not exist"),
    ("search", "backend"): Refused("backend=other", "backend='other' must be one of torch"),
    ("search", "device"): Refused("device=tpu", "device='tpu' cannot be used here"),
    ("search", "threads"): Changed("threads=2", count_threads),
    ("serve", "index"): Refused("index=nowhere", "nowhere is no index"),
    ("serve", "model"): Refused("model=[a,b,c]", "model= names 3"),
    ("serve", "host"): Refused("host=256.0.0.1", "it is no address of this machine"),
    ("serve", "port"): Refused("port=70000", "port=70000 must be at most 65535"),
    ("serve", "token"): Refused("token=short", "at least 16 letters"),
    ("serve", "k"): Refused("k=0", "k=0 must be"),
    ("serve", "max_characters"): Refused("max_characters=0", "max_characters=0 must be"),
    ("serve", "method"): Refused("method=best", "method='best' must be one of"),
    ("serve", "verify"): Refused("verify=1", "verify=1 must be true or false"),
    ("serve", "corpus"): Refused("corpus=nowhere", "no name in conf/benchmark", OF_CORPUS),
    ("serve", "languages"): Refused("languages=[xx]", "xx", (*OF_CORPUS, "corpus=cldr_facts")),
    ("serve", "max_queries"): Refused("max_queries=0", "max_queries=0 must be", OF_CORPUS),
    ("serve", "split"): Refused("split=dev", "split=dev is no key of its own", OF_CORPUS),
    ("mine", "checkpoint"): Refused("checkpoint=./nowhere", "does not exist"),
    ("mine", "count"): Changed("count=2", look_at_corpus),
    ("mine", "depth"): Changed("depth=2", look_at_corpus),
    ("mine", "languages"): Changed("languages=other", look_at_corpus),
    ("mine", "margin"): Changed("margin=0.0001", look_at_corpus),
    ("mine", "texts_per_chunk"): Refused("texts_per_chunk=0", "texts_per_chunk=0 must be"),
    ("mine", "to"): Changed("to=other-mine", look_beside),
    ("clean", "against"): Refused("against=[other]", "against=other must be one of"),
    ("clean", "near"): Refused("near=3", "near=3 is a similarity"),
    ("clean", "duplicates"): Changed("duplicates=exact", look_at_corpus),
    ("clean", "to"): Changed("to=other-clean", look_beside),
    ("identify", "path"): Changed("path=benchmark/en", look_at_lines),
    ("identify", "to"): Changed("to=other-identify", look_beside),
    ("identify", "languages"): Changed("languages=[th,zh]", look_at_lines),
    ("identify", "least_confidence"): Refused(
        "least_confidence=2", "least_confidence=2 must be a number from 0 to 1"
    ),
    ("bias", "model"): Refused("model=./nowhere", "does not exist"),
    ("bias", "corpus"): Refused("corpus=other", "corpus=other is no name in conf/benchmark"),
    ("bias", "languages"): Refused("languages=[de]", "there is no other language"),
    ("bias", "max_queries"): Changed("max_queries=4", look_at_bias),
    ("bias", "split"): Refused("split=dev", "split=dev is no key of its own"),
    ("bias", "fail_if"): Refused("fail_if=map", "must be a measure, one of"),
    ("bias", "json"): Changed("json=true", look_at_print),
    ("bias", "out"): Changed("out=other-bias", look_beside),
    ("study/encoders", "encoders"): Refused(
        "study.encoders=[{name: a}]", "must have name and model"
    ),
    ("study", "to"): Refused("to=texts.jsonl", "texts.jsonl"),
    ("study", "only"): Refused("only=[no]", "only: there is no encoder no"),
    ("study", "models"): Refused("models=[plain,other/plain]", "the name plain comes twice"),
    ("study", "texts"): Changed("texts=[texts.jsonl,benchmark]", "files"),
    ("study", "languages"): Refused("languages=[de]", "has been measured"),
    ("study", "max_queries"): Changed("max_queries=4", look_at_table),
    ("study", "precision"): Refused("precision=other", "has been measured"),
    ("study", "trust_remote_code"): Refused("trust_remote_code=1", "must be true or false"),
    ("study", "threads"): Refused("threads=none", "has been measured"),
    ("debias", "model"): Refused("model=./nowhere", "does not exist"),
    ("debias", "to"): Changed("to=other-debias", look_beside),
    ("debias", "on"): Refused("on=other", "on=other is no name in conf/benchmark"),
    ("debias", "split"): Refused("split=dev", "split=dev is no key of its own"),
    ("debias", "method"): Changed("method=center", look_at_maps),
    ("debias", "passages_only"): Changed("passages_only=true", "files"),
    ("debias", "components"): Changed("components=1", look_at_maps),
    ("debias", "source"): Refused("source=de", "source=de is for method=shift alone"),
    ("debias", "questions"): Changed("questions=4", look_at_maps),
    ("debias", "threads"): Changed("threads=3", count_threads),
    ("debias", "corpus.languages"): Refused("corpus.languages=[xx]", "xx", ("on=cldr_facts_dev",)),
    ("translate", "model"): Refused("model=./nowhere", "there is no such folder"),
    ("translate", "revision"): Refused("revision=abc", "a folder has no revisions"),
    ("translate", "source"): Refused("source=xx", "xx"),
    ("translate", "languages"): Changed("languages=[es]", look_at_rejects),
    ("translate", "to"): Changed("to=other-translate", look_beside),
    ("translate", "codes"): Refused("+codes.de=nothing", "nothing"),
    ("translate", "processes"): Refused("processes=0", "processes=0 must be"),
    ("translate", "device"): Refused("device=tpu", "device='tpu' cannot be used here"),
    ("translate", "precision"): Refused("precision=other", "precision='other' must be"),
    ("translate", "threads"): Changed("threads=2", count_threads),
    ("translate", "beams"): Refused("beams=0", "beams=0 must be"),
    ("translate", "max_length"): Changed("max_length=6", look_at_rejects),
    ("translate", "tokens_per_batch"): Refused("tokens_per_batch=0", "tokens_per_batch=0 must be"),
    ("translate", "unit"): Refused("unit=0", "unit=0 must be"),
    ("translate", "length_ratio"): Changed("length_ratio=0.5", look_at_rejects),
    ("translate", "language_letters"): Refused(
        "language_letters=-1", "language_letters=-1 must be a whole number from 0"
    ),
    ("translate", "copied"): Refused("copied=-1", "copied=-1 must be a number from 0"),
    ("translate", "identical"): Changed("identical=1", look_at_rejects),
    ("translate", "repeated"): Refused("repeated=-1", "repeated=-1 must be a whole number from 0"),
}

BOUNDS = ("min_cosine", "max_map_difference")
INT8_BOUNDS = ("int8_min_cosine", "int8_mean_cosine", "int8_max_map_loss")
for bound in (*BOUNDS, *INT8_BOUNDS):
    refused = Refused(f"{bound}=2", f"{bound}=2 must be a number from 0 to 1")
    ROWS["export", bound] = refused

for key, row in ROWS.items():
    if key not in OTHER_BASES:
        base = USUAL_BASES.get(key[0], ())
        ROWS[key] = replace(row, base=(*base, *row.base))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a plain encoder, a translation model, a benchmark, pairs and results."""
    place = tmp_path_factory.mktemp("commands")
    records = []
    texts = []
    for number in range(12):
        texts += [f"en asks {number}", f"de tells {number} of it"]
        query = {"en": f"en asks {number}", "de": f"de asks {number}"}
        passage = {"en": f"en tells {number} of it", "de": f"de tells {number} of it"}
        records.append({"id": str(number), "query": query, "passage": passage})
    records.append({**records[0], "id": "again"})
    write_json_lines(place / "pairs.jsonl", *records)
    lines = []
    for number in range(12):
        for language in ("de", "en"):
            for role in ("query", "passage"):
                text = f"{language} {role} {number}"
                line = {"text": text, "language": language, "role": role, "id": number}
                lines.append(line)
    write_json_lines(place / "texts.jsonl", *lines)
    numbers = [f"{number} 3 4 5 0" for number in "23456789"]
    numbered = []
    for text in numbers:
        record = {"id": text, "query": {"en": f"{text} 1"}, "passage": {"en": text}}
        numbered.append(record)
    write_json_lines(place / "numbers.jsonl", *numbered)
    for language in ("de", "en"):
        passages = [{"_id": str(i), "text": f"{language} tells {i} of it " * 4} for i in range(8)]
        passages[0]["text"] = f"{language} tells 0 of it"
        queries = [{"_id": str(i), "text": f"{language} asks {i}"} for i in range(8)]
        qrels = "".join(f"{i}\t{i}\t1\n" for i in range(8))
        write_beir_folder(place / "benchmark" / language, passages, queries, qrels)
    recipe = FromScratch(
        vocab_size=300, width=16, layers=1, heads=2, intermediate=16, max_positions=256
    )
    shutil.copytree(recipe.build(texts, place / "cache"), place / "plain")
    (place / "study_conf" / "study").mkdir(parents=True)
    encoders = [{"name": "plain", "model": "plain", "pooling": "mean"}]
    OmegaConf.save({"encoders": encoders}, place / "study_conf" / "study" / "mine.yaml")
    titled = []
    for number in range(6):
        titled.append({"id": str(number), "title": "of it", "text": f"en tells {number}"})
    write_json_lines(place / "passages.jsonl", *titled)
    searched = ("index", *INDEX, *INDEX_OF_BENCHMARK, "measure=false", "to=searched")
    made = hybrid_ir_in_process(place, *searched)
    assert made.returncode == 0, made.stderr
    made_data.write_results(place / "results")
    shutil.copytree(place / "results", place / "results2")
    for path in sorted((place / "results2").iterdir())[:2]:
        shutil.rmtree(path)
    train_translation_model(place / "translator", steps=60)
    return place


@pytest.fixture(scope="module")
def probes(place) -> dict[str, Probe]:
    evaluate = Probe(place, "evaluate", EVALUATE, "out")
    return {
        "encoder": evaluate,
        "evaluate": evaluate,
        "benchmark/mteb": evaluate,
        "compare": Probe(place, "compare", COMPARE, "out"),
        "export": Probe(place, "export", EXPORT, "to"),
        "latency": Probe(place, "latency", LATENCY, "out"),
        "index": Probe(place, "index", INDEX, "to"),
        "search": Probe(place, "search", SEARCH, None),
        "serve": Probe(place, "serve", SERVE, None),
        "mine": Probe(place, "mine", MINE, "to"),
        "clean": Probe(place, "data-clean", CLEAN, "to"),
        "identify": Probe(place, "data-identify", IDENTIFY, "to"),
        "translate": Probe(place, "translate", TRANSLATE, "to"),
        "debias": Probe(place, "debias", DEBIAS, "to"),
        "bias": Probe(place, "bias", BIAS, "out"),
        "study": Probe(place, "study", STUDY, "to"),
        "study/encoders": Probe(place, "study", STUDY, "to"),
    }


@pytest.fixture(autouse=True)
def process_as_before():
    """Puts back what a command sets for its process."""
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_another_value_of_a_key_changes_something_or_is_refused(probes, key):
    owner, _ = key
    ROWS[key].check(probes[owner])
