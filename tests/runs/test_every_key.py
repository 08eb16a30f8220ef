"""Every key of conf/ that a training has: another value changes something, or is refused."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.jobs import read_objective
from hybrid_ir.runs.session import count_processes_to_start
from hybrid_ir.training.datamodule import RetrievalData
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines
from tests.support.every_key import (
    Built,
    Changed,
    Outcome,
    Probe,
    Refused,
    Row,
    build_encoder,
    build_trainer,
    plan_batches,
)

TINY = (
    "corpus.languages=[de,en]",
    "sampler.batch_size=8",
    "model.backbone.vocab_size=300",
    "model.backbone.width=32",
    "model.backbone.heads=2",
    "model.backbone.intermediate=48",
    "benchmark=none",
    "benchmark@validation=none",
    "callbacks=last_only",
    "trainer.max_steps=3",
    "trainer.log_every_n_steps=1",
    "trainer.limit_val_batches=0",
)
VALIDATED = (
    "benchmark@validation=beir_folder",
    "validation.folder=benchmark",
    "callbacks=default",
    "trainer.limit_val_batches=1.0",
    "trainer.val_check_interval=1",
)
WATCHED = (
    "benchmark@validation=by_corpus",
    "callbacks=default",
    "trainer.limit_val_batches=1.0",
)
OWN = ("corpus=jsonl", "corpus.path=pairs.jsonl", "sampler.batch_size=4")
SWITCHED = ("data=code_switched", "data.code_switching.share=1", "data.code_switching.words=1")
MONOLINGUAL = ("sampler=x_x_mono",)
MIXED = ("sampler=x_y",)
DDP = ("trainer=ddp_cpu",)
IMPATIENT = ("trainer.max_steps=5", "callbacks.early_stopping.patience=1")
ONE_LAYER = ("model.backbone.layers=1",)
WITH_LORA = (*ONE_LAYER, "model/lora=default")
CSV = ("logger=csv",)
TENSORBOARD = ("logger=tensorboard",)
WANDB = ("logger=wandb",)
TRACED = ("debug=profile", "callbacks.trace.first_step=2", "callbacks.trace.steps=1")
# Keys that only debug=profile has.
TRACE_KEYS = {("callbacks", f"trace.{key}") for key in ("folder", "first_step", "steps")}
BEST_OF = ("callbacks.checkpoint_best.save_top_k=3", "callbacks.checkpoint_best.filename='b{step}'")


def look_at_rates(outcome: Outcome) -> list[float]:
    return [row["train/learning_rate"] for row in outcome.rows]


def look_at_validations(outcome: Outcome) -> list[int]:
    return [row["step"] for row in outcome.rows if "val/loss" in row]


def look_at_validation_values(outcome: Outcome) -> list[dict]:
    return [row for row in outcome.rows if "val/loss" in row]


def look_at_checkpoints(outcome: Outcome) -> list[str]:
    return [name for name in outcome.files if name.endswith(".ckpt")]


def look_at_switched_share(outcome: Outcome) -> dict:
    return outcome.read_json("batch_card.json")["code_switched"]


def look_at_best_step(outcome: Outcome) -> int:
    [name] = [name for name in look_at_checkpoints(outcome) if "best" in name]
    return torch.load(outcome.folder / name, weights_only=True)["global_step"]


def look_at_objective(outcome: Outcome) -> float | None:
    """Returns the value by which a sweep would rank the run."""
    objective = OmegaConf.load(outcome.folder / "config.yaml").objective
    return read_objective(outcome.folder, objective)


def look_at_output(outcome: Outcome) -> str:
    """Returns what was printed, but for paths and times."""
    lines = outcome.ended.stdout.splitlines()
    return "\n".join(line for line in lines if "it/s" not in line and "/" not in line)


def look_at_folders(outcome: Outcome) -> set[str]:
    return {str(Path(name).parent) for name in outcome.files}


def look_beside(outcome: Outcome) -> set[str]:
    """Returns what is beside the folder of the run, but for other runs and caches."""
    names = {path.name for path in outcome.folder.parent.iterdir()}
    return {name for name in names if name in ("another", "csv1", "tb1", "wb1", "other_cache")}


def encode(cfg: DictConfig, role: str = "passage") -> list:
    """Returns the vectors of a short and of a long text."""
    encoder = build_encoder(cfg)
    texts = ["Kabul, currency: afghani", "Ghana, capital: Accra. " * 9]
    ids, _ = encoder.tokenizers[role].read(texts)
    lengths = [len(one) for one in ids]
    cache = Path(cfg.paths.cache_dir)
    tokens = encoder.tokenizers[role].store(texts, cache).take(range(2))
    return [lengths, encoder(tokens).tolist()]


def encode_queries(cfg: DictConfig) -> list:
    return encode(cfg, "query")


def count_slices(cfg: DictConfig) -> int:
    encoder = build_encoder(cfg)
    texts = [f"text {number} " * 5 for number in range(20)]
    tokens = encoder.tokenizers["query"].store(texts, Path(cfg.paths.cache_dir)).take(range(20))
    calls = []
    encoder.backbone.register_forward_hook(lambda *_: calls.append(1))
    encoder(tokens)
    return len(calls)


def list_dropout_rates(cfg: DictConfig) -> list[float]:
    layers = build_encoder(cfg).modules()
    return [layer.p for layer in layers if isinstance(layer, torch.nn.Dropout)]


def list_trained_weights(cfg: DictConfig) -> list[str]:
    parameters = build_encoder(cfg).named_parameters()
    return [name for name, parameter in parameters if parameter.requires_grad]


def list_trained_shapes(cfg: DictConfig) -> list[tuple]:
    encoder = build_encoder(cfg)
    return [tuple(weight.shape) for weight in encoder.parameters() if weight.requires_grad]


def list_lora_scales(cfg: DictConfig) -> list[dict]:
    layers = build_encoder(cfg).modules()
    return [layer.scaling for layer in layers if hasattr(layer, "scaling") and layer.scaling]


def build_data(cfg: DictConfig) -> RetrievalData:
    corpus = build(cfg.corpus)
    encoder = build(cfg.model)(texts=corpus.texts())
    data = build(cfg.data)(
        sampler=build(cfg.sampler)(corpus=corpus),
        tokenizers=encoder.tokenizers,
        validation=build(cfg.validation),
    )
    data.trainer = build_trainer(cfg)
    return data


def count_workers(cfg: DictConfig) -> int:
    return build_data(cfg).train_dataloader().num_workers


def count_chunks(cfg: DictConfig) -> int:
    return len(build_data(cfg).val_dataloader())


def look_at_new_files(cfg: DictConfig) -> bool:
    """Builds the data, and returns whether its cache is the usual one."""
    build_data(cfg).setup("fit")
    return not (Path(cfg.paths.cache_dir).parent / "elsewhere").exists()


def look_at_optimizer(cfg: DictConfig) -> dict:
    return build(cfg.optimizer)([torch.nn.Parameter(torch.zeros(1))]).defaults


def look_at_strategy(cfg: DictConfig) -> list:
    strategy = build_trainer(cfg).strategy
    return [type(strategy), getattr(strategy, "_ddp_kwargs", None), *list_of_strategy(strategy)]


def list_of_strategy(strategy) -> list:
    names = ("_process_group_backend", "_timeout")
    return [getattr(strategy, name, None) for name in names]


def look_at_bar(cfg: DictConfig) -> int:
    return build(cfg.callbacks.progress).refresh_rate


def look_at_mfu(outcome: Outcome) -> float | None:
    return outcome.read_json("throughput.json")["mfu"]


def look_at_wandb(cfg: DictConfig) -> dict:
    config = OmegaConf.masked_copy(cfg.logger.wandb, ["project", "tags", "log_model", "_target_"])
    config.update({"save_dir": cfg.paths.cache_dir, "offline": True})
    for key in ("name", "group"):
        if "${" not in str(OmegaConf.to_container(cfg.logger.wandb, resolve=False)[key]):
            config[key] = cfg.logger.wandb[key]
    logger = build(config)
    settings = {key: logger._wandb_init.get(key) for key in ("project", "tags", "name", "group")}
    return {**settings, "log_model": logger.logs_checkpoint}


ROWS: dict[tuple[str, str], Row] = {
    ("train", "seed"): Changed("seed=2"),
    ("train", "threads"): Changed("threads=2", lambda _: torch.get_num_threads()),
    ("train", "nonfinite"): Refused("nonfinite=ignore", "nonfinite='ignore' must be 'stop' or"),
    ("train", "fit"): Changed("fit=false", look_at_checkpoints),
    ("train", "resume"): Changed("resume=auto", lambda outcome: "resume: " in outcome.output),
    ("train", "ckpt_path"): Changed("ckpt_path={run}"),
    ("benchmark/by_corpus", "languages"): Changed(
        "validation.languages=[de]", look_at_validation_values, WATCHED
    ),
    ("benchmark/by_corpus", "max_queries"): Changed(
        "validation.max_queries=3", look_at_validation_values, WATCHED
    ),
    ("train", "resume_from"): Changed(
        "resume_from={run}", "steps", together=("resume_from={run}", "trainer.max_steps=5")
    ),
    ("train", "test_checkpoint"): Refused("test_checkpoint=first", "test_checkpoint='first'"),
    ("train", "objective"): Changed("objective=val/mono/map", look_at_objective, VALIDATED),
    ("train", "cache_gradients"): Refused("cache_gradients=1", "cache_gradients=1 must be true"),
    ("paths", "output_dir"): Built("paths.output_dir=o", lambda cfg: cfg.paths.output_dir),
    ("paths", "cache_dir"): Changed("paths.cache_dir=other_cache", look_beside),
    ("paths", "data_dir"): Refused("paths.data_dir=nowhere", "nowhere", ("corpus=squad",)),
    ("sampler", "monolingual_share"): Built("sampler.monolingual_share=1", plan_batches),
    ("sampler", "level"): Built("sampler.level=example", plan_batches),
    ("sampler", "batch_size"): Built("sampler.batch_size=9", plan_batches),
    ("sampler", "languages"): Built("sampler.languages=[en]", plan_batches, MONOLINGUAL),
    ("sampler", "language_weights"): Built(
        "sampler.language_weights={de: 99}", plan_batches, MONOLINGUAL
    ),
    ("sampler", "allow_same_language"): Built(
        "sampler.allow_same_language=true", plan_batches, MIXED
    ),
    ("sampler", "seed"): Built("sampler.seed=5", plan_batches),
    ("data", "hard_negatives"): Changed("data.hard_negatives=1", base=OWN),
    ("data", "distinct_batches"): Changed("data.distinct_batches=1"),
    ("data", "texts_per_chunk"): Built("data.texts_per_chunk=1", count_chunks, VALIDATED),
    ("data", "num_workers"): Built("data.num_workers=1", count_workers),
    ("data", "cache"): Built("data.cache=${paths.cache_dir}/../elsewhere", look_at_new_files),
    ("data", "code_switching"): Changed("data=code_switched"),
    ("data", "code_switching.share"): Changed(
        "data.code_switching.share=0.1", look_at_switched_share, SWITCHED
    ),
    ("data", "code_switching.words"): Changed("data.code_switching.words=0.5", base=SWITCHED),
    ("data", "code_switching.sides"): Changed(
        "data.code_switching.sides=[passage]", look_at_switched_share, SWITCHED
    ),
    ("data", "code_switching.languages"): Changed(
        "data.code_switching.languages=[fr]", base=SWITCHED
    ),
    ("data", "code_switching.lexicon"): Changed(
        "data.code_switching.lexicon=lexicon", look_at_switched_share, SWITCHED
    ),
    ("loss/infonce", "temperature"): Changed("loss.temperature=0.2"),
    ("loss/infonce", "learn_temperature"): Changed("loss.learn_temperature=true"),
    ("loss/infonce", "negatives"): Changed(
        "loss.negatives=explicit", base=(*OWN, "data.hard_negatives=1")
    ),
    ("loss/infonce", "symmetric"): Changed("loss.symmetric=true"),
    ("loss/infonce", "mask"): Changed("loss.mask=none", base=OWN),
    ("optimizer/adamw", "lr"): Changed("optimizer.lr=1e-3"),
    ("optimizer/adamw", "betas"): Changed("optimizer.betas=[0.8,0.9]"),
    ("optimizer/adamw", "weight_decay"): Changed("optimizer.weight_decay=0.5"),
    ("optimizer/adamw", "fused"): Built("optimizer.fused=false", look_at_optimizer),
    ("optimizer/sgd", "lr"): Changed("optimizer.lr=0.1", base=("optimizer=sgd",)),
    ("optimizer/sgd", "momentum"): Changed("optimizer.momentum=0.9", base=("optimizer=sgd",)),
    ("optimizer/sgd", "weight_decay"): Changed(
        "optimizer.weight_decay=0.1", base=("optimizer=sgd",)
    ),
    ("scheduler/linear", "warmup_share"): Changed("scheduler.warmup_share=0.7", look_at_rates),
    ("scheduler/linear", "max_steps"): Changed("scheduler.max_steps=9", look_at_rates),
    ("model", "backbone"): Refused("model.backbone=nowhere", "model.backbone='nowhere' could not"),
    ("model", "backbone.vocab_size"): Built("model.backbone.vocab_size=310", encode),
    ("model", "backbone.width"): Built("model.backbone.width=16", encode),
    ("model", "backbone.layers"): Built("model.backbone.layers=2", encode),
    ("model", "backbone.heads"): Built("model.backbone.heads=4", encode),
    ("model", "backbone.intermediate"): Built("model.backbone.intermediate=16", encode),
    ("model", "backbone.max_positions"): Refused(
        "model.backbone.max_positions=32",
        "passage_max_length=64",
        ("model.passage_max_length=64",),
    ),
    ("model", "backbone.seed"): Built("model.backbone.seed=9", encode),
    ("model", "pooling"): Built("model.pooling=cls", encode),
    ("model", "normalize"): Built("model.normalize=false", encode),
    ("model", "lora"): Built("model/lora=default", list_trained_weights, ONE_LAYER),
    ("model/lora", "rank"): Built("model.lora.rank=3", list_trained_shapes, WITH_LORA),
    ("model/lora", "alpha"): Built("model.lora.alpha=3.0", list_lora_scales, WITH_LORA),
    ("model/lora", "dropout"): Built("model.lora.dropout=0.3", list_dropout_rates, WITH_LORA),
    ("model/lora", "targets"): Built("model.lora.targets=[query]", list_trained_weights, WITH_LORA),
    ("model", "projection"): Built("model.projection=4", encode),
    ("model", "query_prefix"): Built("model.query_prefix=''", encode_queries),
    ("model", "passage_prefix"): Built("model.passage_prefix=''", encode),
    ("model", "query_max_length"): Built("model.query_max_length=14", encode_queries),
    ("model", "passage_max_length"): Built("model.passage_max_length=14", encode),
    ("model", "train_embeddings"): Built("model.train_embeddings=false", list_trained_weights),
    ("model", "dropout"): Built("model.dropout=0.3", list_dropout_rates),
    ("model", "gradient_checkpointing"): Built(
        "model.gradient_checkpointing=true",
        lambda cfg: build_encoder(cfg).backbone.is_gradient_checkpointing,
    ),
    ("model", "compile"): Built(
        "model.compile=true",
        lambda cfg: build_encoder(cfg).backbone._compiled_call_impl is not None,
    ),
    ("model", "attention"): Built(
        "model.attention=eager",
        lambda cfg: build_encoder(cfg).backbone.config._attn_implementation,
    ),
    ("model", "packing"): Built(
        "model.packing=off", lambda cfg: build_encoder(cfg).packing is None
    ),
    ("model", "tokens_per_slice"): Built("model.tokens_per_slice=64", count_slices),
    ("model", "revision"): Refused("model.revision=abc", "a folder has no revisions"),
    ("model", "trust_remote_code"): Refused(
        "model.trust_remote_code=true",
        "the code of the model ran",
        ("model.backbone=remote_code",),
    ),
    ("model", "cache"): Built(
        "model.cache=${paths.cache_dir}/../models",
        lambda cfg: (build_encoder(cfg).name, Path(cfg.paths.cache_dir, "../models").exists()),
    ),
    ("trainer", "accelerator"): Refused("trainer.accelerator=gpu", "trainer=cpu trains without"),
    ("trainer", "devices"): Built(
        "trainer.devices=3", lambda cfg: count_processes_to_start(cfg.trainer), ("trainer=ddp_cpu",)
    ),
}
ROWS |= {
    ("trainer", "num_nodes"): Refused(
        "trainer.num_nodes=2", "processes of several machines are started by"
    ),
    ("trainer", "strategy"): Built("trainer.strategy=ddp", look_at_strategy),
    ("trainer", "strategy.gradient_as_bucket_view"): Built(
        "trainer.strategy.gradient_as_bucket_view=false", look_at_strategy, DDP
    ),
    ("trainer", "strategy.process_group_backend"): Built(
        "trainer.strategy.process_group_backend=nccl", look_at_strategy, DDP
    ),
    ("trainer", "strategy.timeout.minutes"): Built(
        "trainer.strategy.timeout.minutes=1", look_at_strategy, DDP
    ),
    ("trainer", "precision"): Changed("trainer.precision=bf16-mixed"),
    ("trainer", "max_steps"): Changed("trainer.max_steps=2", "steps"),
    ("trainer", "max_epochs"): Refused("trainer.max_epochs=2", "there are no epochs"),
    ("trainer", "val_check_interval"): Changed(
        "trainer.val_check_interval=3", look_at_validations, VALIDATED
    ),
    ("trainer", "limit_val_batches"): Changed(
        "trainer.limit_val_batches=0", look_at_validations, VALIDATED
    ),
    ("trainer", "check_val_every_n_epoch"): Changed(
        "trainer.check_val_every_n_epoch=2", look_at_validations, VALIDATED
    ),
    ("trainer", "num_sanity_val_steps"): Built(
        "trainer.num_sanity_val_steps=1", lambda cfg: build_trainer(cfg).num_sanity_val_steps
    ),
    ("trainer", "gradient_clip_val"): Changed("trainer.gradient_clip_val=0.01"),
    ("trainer", "gradient_clip_algorithm"): Changed(
        "trainer.gradient_clip_algorithm=value", base=("trainer.gradient_clip_val=0.01",)
    ),
    ("trainer", "accumulate_grad_batches"): Changed("trainer.accumulate_grad_batches=2"),
    ("trainer", "log_every_n_steps"): Changed("trainer.log_every_n_steps=3", "steps"),
    ("trainer", "use_distributed_sampler"): Refused(
        "trainer.use_distributed_sampler=true", "trainer.use_distributed_sampler=true would"
    ),
    ("trainer", "enable_model_summary"): Changed(
        "trainer.enable_model_summary=true", lambda outcome: "encoder" in outcome.ended.stdout
    ),
    ("trainer", "deterministic"): Changed(
        "trainer.deterministic=true", lambda _: torch.are_deterministic_algorithms_enabled()
    ),
    ("trainer", "plugins"): Built(
        "trainer.plugins=[]", lambda cfg: type(build_trainer(cfg).strategy.checkpoint_io)
    ),
    ("trainer", "profiler"): Built(
        "+trainer.profiler=simple", lambda cfg: type(build_trainer(cfg).profiler)
    ),
    ("callbacks", "checkpoint_best.dirpath"): Changed(
        "callbacks.checkpoint_best.dirpath='${hydra:runtime.output_dir}/other'",
        look_at_checkpoints,
        VALIDATED,
    ),
    ("callbacks", "checkpoint_best.filename"): Changed(
        "callbacks.checkpoint_best.filename=good", look_at_checkpoints, VALIDATED
    ),
    ("callbacks", "checkpoint_best.monitor"): Refused(
        "callbacks.checkpoint_best.monitor=val/nothing", "val/nothing", VALIDATED
    ),
    ("callbacks", "checkpoint_best.mode"): Changed(
        "callbacks.checkpoint_best.mode=max", look_at_best_step, VALIDATED
    ),
    ("callbacks", "checkpoint_best.save_top_k"): Changed(
        "callbacks.checkpoint_best.save_top_k=2", look_at_checkpoints, (*VALIDATED, *BEST_OF)
    ),
    ("callbacks", "checkpoint_best.auto_insert_metric_name"): Changed(
        "callbacks.checkpoint_best.auto_insert_metric_name=true",
        look_at_checkpoints,
        (*VALIDATED, *BEST_OF),
    ),
    ("callbacks", "checkpoint_best.enable_version_counter"): Changed(
        "callbacks.checkpoint_best.enable_version_counter=true",
        look_at_checkpoints,
        (*VALIDATED, "callbacks.checkpoint_best.save_top_k=2"),
    ),
    ("callbacks", "checkpoint_last.dirpath"): Changed(
        "callbacks.checkpoint_last.dirpath='${hydra:runtime.output_dir}/other'",
        look_at_checkpoints,
    ),
    ("callbacks", "checkpoint_last.every_n_train_steps"): Changed(
        "callbacks.checkpoint_last.every_n_train_steps=1", look_at_checkpoints
    ),
    ("callbacks", "early_stopping.monitor"): Refused(
        "callbacks.early_stopping.monitor=val/nothing", "val/nothing", VALIDATED
    ),
    ("callbacks", "early_stopping.mode"): Changed(
        "callbacks.early_stopping.mode=max", "steps", (*VALIDATED, *IMPATIENT)
    ),
    ("callbacks", "early_stopping.patience"): Changed(
        "callbacks.early_stopping.patience=3",
        "steps",
        (*VALIDATED, *IMPATIENT, "callbacks.early_stopping.mode=max"),
    ),
    ("callbacks", "throughput.peak_teraflops"): Changed(
        "callbacks.throughput.peak_teraflops=1.5", look_at_mfu
    ),
    ("callbacks", "trace.folder"): Changed(
        "callbacks.trace.folder='${hydra:runtime.output_dir}/traces'", "files", TRACED
    ),
    ("callbacks", "trace.first_step"): Refused(
        "callbacks.trace.first_step=4", "records up to step 4 of this start", TRACED
    ),
    ("callbacks", "trace.steps"): Refused(
        "callbacks.trace.steps=3", "records up to step 4 of this start", TRACED
    ),
    ("callbacks", "progress.refresh_rate"): Built("callbacks.progress.refresh_rate=1", look_at_bar),
    ("logger/csv", "csv.save_dir"): Changed("logger.csv.save_dir=csv1", look_beside, CSV),
    ("logger/csv", "csv.name"): Changed("logger.csv.name=csv2", "files", CSV),
    ("logger/csv", "csv.version"): Changed("logger.csv.version=csv3", "files", CSV),
    ("logger/tensorboard", "tensorboard.save_dir"): Changed(
        "logger.tensorboard.save_dir=tb1", look_beside, TENSORBOARD
    ),
    ("logger/tensorboard", "tensorboard.name"): Changed(
        "logger.tensorboard.name=tb2", look_at_folders, TENSORBOARD
    ),
    ("logger/tensorboard", "tensorboard.version"): Changed(
        "logger.tensorboard.version=tb3", look_at_folders, TENSORBOARD
    ),
    ("logger/wandb", "wandb.save_dir"): Changed("logger.wandb.save_dir=wb1", look_beside, WANDB),
    ("logger/wandb", "wandb.project"): Built("logger.wandb.project=p", look_at_wandb, WANDB),
    ("logger/wandb", "wandb.name"): Built("logger.wandb.name=n", look_at_wandb, WANDB),
    ("logger/wandb", "wandb.group"): Built("logger.wandb.group=g", look_at_wandb, WANDB),
    ("logger/wandb", "wandb.tags"): Built("logger.wandb.tags=[t]", look_at_wandb, WANDB),
    ("logger/wandb", "wandb.log_model"): Built("logger.wandb.log_model=true", look_at_wandb, WANDB),
    ("hydra/default", "run.dir"): Changed("hydra.run.dir=another", look_beside),
    ("hydra/default", "job.name"): Changed("hydra.job.name=other", "files"),
    ("hydra/default", "job.chdir"): Changed(
        "hydra.job.chdir=true",
        "files",
        ("callbacks.checkpoint_last.dirpath=kept", "corpus=cldr_facts"),
    ),
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> Probe:
    """Runs trainings in a folder that has a corpus of one's own, a lexicon and a model."""
    place = tmp_path_factory.mktemp("every_key")
    write_own_pairs(place / "pairs.jsonl")
    write_benchmark(place / "benchmark")
    write_lexicon(place / "lexicon")
    write_model_with_code(place / "remote_code")
    return Probe(place, "train", TINY)


def write_own_pairs(path: Path) -> None:
    """Writes pairs with hard negatives, of which every other one has the same passage."""
    records = []
    for number in range(16):
        passage = {}
        query = {}
        negative = {}
        for language in ("de", "en"):
            query[language] = f"{language} asks {number}"
            passage[language] = f"{language} tells {number // 2}"
            negative[language] = f"{language} tells nothing of {number}"
        records.append(
            {"id": str(number), "query": query, "passage": passage, "negatives": [negative]}
        )
    write_json_lines(path, *records)


def write_benchmark(folder: Path) -> None:
    """Writes a benchmark of six questions in two languages."""
    for language in ("de", "en"):
        passages = [{"_id": str(i), "text": f"{language} tells {i}"} for i in range(6)]
        queries = [{"_id": str(i), "text": f"{language} asks {i}"} for i in range(6)]
        qrels = "".join(f"{i}\t{i}\t1\n" for i in range(6))
        write_beir_folder(folder / language, passages, queries, qrels)


def write_lexicon(folder: Path) -> None:
    folder.mkdir()
    (folder / "en-de.tsv").write_text("capital\tHauptstadt\n")


def write_model_with_code(folder: Path) -> None:
    """Writes a model whose code says that it ran."""
    folder.mkdir()
    (folder / "own.py").write_text("raise ValueError('the code of the model ran')\n")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(autouse=True)
def process_as_before():
    """Puts back what a run sets for its process."""
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_another_value_of_a_key_changes_something_or_is_refused(probe, monkeypatch, key):
    monkeypatch.chdir(probe.place)
    ROWS[key].check(probe)
