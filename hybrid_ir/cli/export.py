"""`hybrid-ir export`: an encoder as files of other libraries, compared with it before."""

import sys
import time
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from huggingface_hub import metadata_load
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
)
from hybrid_ir.export.export import Export, export_encoder
from hybrid_ir.export.model_card import (
    MeasuredResult,
    Provenance,
    read_json_record,
    read_results,
)
from hybrid_ir.export.model_files import require_sentence_transformers
from hybrid_ir.export.parity import choose_benchmark
from hybrid_ir.export.settings import ExportSettings
from hybrid_ir.export.snippets import build_snippets
from hybrid_ir.export.upload import require_upload, upload_export
from hybrid_ir.files.atomic import require_new_folder
from hybrid_ir.model.module_files import is_hub_id
from hybrid_ir.runs.building import build_own_benchmark, require_own_benchmark
from hybrid_ir.runs.encoders import EncoderSettings, LoadedEncoder, load_any_encoder
from hybrid_ir.runs.training_record import load_run_config
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Source

BYTES_PER_MEBIBYTE = 2**20
SEED = 1  # of conf/encoder
# What decides a vector, besides the weights, and is the same for a run and its exports.
READING_OF_RESULTS = ("query_prefix", "passage_prefix", "width", "similarity", "tokenizer_canary")


def run(cfg: DictConfig) -> None:
    """Exports the encoder of a config, uploads it if asked for, and prints what was measured."""
    settings = read_export_settings(cfg)
    to = Path(cfg.to).expanduser()
    require_new_folder(to)
    if "sentence_transformers" in settings.formats:
        require_sentence_transformers()
    if cfg.hub:
        require_upload(cfg.hub)
    prepare_process(cfg.seed, cfg.threads)
    results: list[MeasuredResult] = []
    for folder in _to_list(cfg.results):
        results += read_results(Path(folder).expanduser())
    latency = None
    if cfg.latency:
        file = Path(cfg.latency).expanduser() / "latency.json"
        latency = read_json_record(file)
        if not {"card", "latency"} <= set(latency):
            raise ValueError(f"{file} is no study of hybrid-ir latency: copy the whole folder")
    console = Console()
    report = _build_report(console)
    report("load the encoder and the benchmark")
    place = str(cfg.checkpoint or cfg.model)
    loaded = _load(place, EncoderSettings.from_config(cfg))
    benchmark = choose_benchmark(build_own_benchmark(cfg.benchmark), cfg.max_questions)
    if cfg.data_licence and loaded.training is None:
        raise ValueError(
            f"data_licence={cfg.data_licence} changes nothing: {place} was not trained here, so "
            "its card says nothing of training texts"
        )
    _require_own_results(results, loaded)
    provenance = describe_provenance(loaded, cfg, results, latency)
    export = export_encoder(loaded.encoder, benchmark, to, settings, provenance, report)
    report("complete")
    console.print(build_export_table(export))
    console.print(
        f"{to}: README.md is the model card, parity.json what was measured",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    _print_usage(console, export)
    if cfg.hub:
        report(f"upload to {cfg.hub}")
        console.print(upload_export(to, cfg.hub, cfg.private), soft_wrap=True, markup=False)


def _load(place: str, settings: EncoderSettings) -> LoadedEncoder:
    """Loads an encoder. Raises ValueError, with the key, for a model that brings its own code."""
    try:
        return load_any_encoder(place, settings)
    except ValueError as error:
        if settings.trust_remote_code or "custom code" not in str(error):
            raise
        raise ValueError(
            f"{place} brings code of its own, which is not run unasked: read it, and say "
            f"trust_remote_code=true if you trust it. ({error})"
        ) from error


def read_export_settings(cfg: DictConfig) -> ExportSettings:
    """Returns the settings of an export. Raises ValueError that names everything wrong at once."""
    problems = []
    if OmegaConf.is_missing(cfg, "to") or not cfg.to:
        problems.append("to=FOLDER: not given")
    if bool(cfg.checkpoint) == bool(cfg.model):
        problems.append(
            "say what to export: checkpoint=RUN for a run of ours, or model=NAME for any other "
            "encoder, not both"
        )
    if not cfg.benchmark:
        problems.append(
            "benchmark=none has no texts to compare the export on: choose a name in conf/benchmark"
        )
    require_own_benchmark(cfg.benchmark)
    if cfg.max_questions is not None:
        problems += find_number_problems(cfg, {"max_questions": 1})
    problems += find_boolean_problems(cfg, "private", "int8_embeddings", "trust_remote_code")
    if cfg.precision != "fp32":
        problems.append(
            f"precision={cfg.precision}: an export holds and compares the weights in float32, "
            "leave it out"
        )
    if cfg.seed != SEED:
        problems.append(f"seed={cfg.seed} changes nothing: nothing is drawn by chance")
    if cfg.private is False and not cfg.hub:
        problems.append("private=false changes nothing without hub=owner/name")
    formats = _to_list(cfg.formats)
    problems += _find_useless_keys(cfg, formats)
    settings = None
    try:
        settings = ExportSettings(
            formats=formats,
            min_cosine=cfg.min_cosine,
            max_map_difference=cfg.max_map_difference,
            int8_min_cosine=cfg.int8_min_cosine,
            int8_mean_cosine=cfg.int8_mean_cosine,
            int8_max_map_loss=cfg.int8_max_map_loss,
            int8_methods=_to_list(cfg.int8_methods),
            int8_embeddings=cfg.int8_embeddings,
            trust_remote_code=cfg.trust_remote_code,
        )
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems) + "; hybrid-ir export --help lists the keys")
    return settings


def _find_useless_keys(cfg: DictConfig, formats: list[str]) -> list[str]:
    """Returns keys of int8 that were given though nothing becomes int8."""
    if "onnx_int8" in formats:
        return []
    problems = []
    for setting in fields(ExportSettings):
        value = OmegaConf.select(cfg, setting.name)
        if OmegaConf.is_list(value):
            value = tuple(value)
        if setting.name.startswith("int8_") and value != setting.default:
            problems.append(f"{setting.name}={value} changes nothing without formats=[onnx_int8]")
    return problems


def _require_own_results(results: list[MeasuredResult], loaded: LoadedEncoder) -> None:
    """Raises ValueError for results that cannot be those of an encoder as it is exported."""
    reading = loaded.encoder.reading()
    problems = []
    for result in results:
        measured = result.card.get("reading") or {}
        for key in READING_OF_RESULTS:
            if key in measured and measured[key] != reading[key]:
                problems.append(f"{result.name}: {key}={measured[key]!r}, here {reading[key]!r}")
        correction = (result.card.get("postprocess") or {}).get("name", "none")
        if correction != "none":
            problems.append(f"{result.name}: postprocess={correction}, which no export has")
        name = (result.card.get("model") or {}).get("name")
        if not problems and name not in (None, loaded.model["name"]):
            print(
                f"note: the results of {result.name} were measured with {name}, and the card "
                f"gives them as those of {loaded.model['name']}",
                file=sys.stderr,
            )
    if problems:
        raise ValueError(f"results= are those of another encoder: {'; '.join(problems)}")


def describe_provenance(
    loaded: LoadedEncoder, cfg: DictConfig, results: list[MeasuredResult], latency: dict | None
) -> Provenance:
    """Returns what the model card says of where an encoder comes from.

    Args:
        loaded: the encoder with what cards say of it.
        cfg: the config of the command.
        results: that the user named; those of the run itself stand before them.
        latency: the content of latency.json, if the user named a study.
    """
    base_model = loaded.model.get("path")
    languages: list[str] = []
    training = loaded.training
    data_licence = None
    name = loaded.encoder.name
    if loaded.model["kind"] == "run":
        folder = Path(loaded.model["path"]).parent.parent
        run_config = load_run_config(folder)
        backbone = run_config.model.backbone
        base_model = None if OmegaConf.is_dict(backbone) else str(backbone)
        languages = list(loaded.training["languages"])
        training = {**loaded.training, "loss": str(run_config.loss.get("_target_"))}
        data_licence = find_corpus_licence(run_config, loaded.training["corpus"], folder)
        if (folder / "metrics.json").is_file():
            results = [*read_results(folder), *results]
    if cfg.hub:
        name = cfg.hub.partition("/")[2]
    return Provenance(
        name=name,
        model=loaded.model,
        training=training,
        base_model=base_model,
        languages=languages,
        licence=cfg.licence or read_licence(base_model),
        data_licence=cfg.data_licence or data_licence,
        results=results,
        latency=latency,
        hub=cfg.hub,
    )


def read_licence(base_model: str | None) -> str | None:
    """Returns the licence on the card of a base model, if its folder is here and has one."""
    if base_model is None or is_hub_id(base_model):
        return None
    card = Path(base_model).expanduser() / "README.md"
    if not card.is_file():
        return None
    try:
        licence = (metadata_load(card) or {}).get("license")
    except (ValueError, YAMLError):  # the card of somebody else: its licence is not known
        return None
    return licence if isinstance(licence, str) else None


def find_corpus_licence(run_config: DictConfig, corpus: str, folder: Path) -> str | None:
    """Returns the licence of the texts that a run was trained on, if it is known without them.

    Args:
        run_config: of the run.
        corpus: its name.
        folder: of the run.
    """
    module_name = str(run_config.corpus.get("_target_")).rpartition(".")[0]
    if module_name.startswith("hybrid_ir."):
        source = getattr(import_module(module_name), "SOURCE", None)
        if isinstance(source, Source):
            return source.licence
    card = folder / "evaluation_card.json"
    if card.is_file():
        benchmark = read_json_record(card).get("benchmark") or {}
        if benchmark.get("name") == corpus:
            return benchmark.get("licence")
    return None


def build_export_table(export: Export) -> Table:
    """Builds the table of what every format was measured to give."""
    table = Table(
        title="least cosine with the encoder, and mAP less that of the encoder",
        title_justify="left",
    )
    table.add_column("format", justify="left", no_wrap=True)
    views = list(export.formats[0].map)
    for column in ("MiB", "cosine", *views):
        table.add_column(column, justify="right", no_wrap=True)
    for parity in export.formats:
        table.add_row(
            parity.name,
            f"{parity.bytes / BYTES_PER_MEBIBYTE:,.1f}",
            f"{parity.cosines.least:.6f}",
            *[f"{parity.map_difference[view]:+.4f}" for view in views],
        )
    return table


def _print_usage(console: Console, export: Export) -> None:
    """Prints the line that loads the export."""
    names = [parity.name for parity in export.formats]
    if "sentence_transformers" in names:
        line = f'SentenceTransformer("{export.folder}")'
    elif "transformers" in names:
        line = f'AutoModel.from_pretrained("{export.folder}"), see its README.md for the rest'
    else:
        line = f'InferenceSession("{export.folder}/onnx/..."), see its README.md for the rest'
    libraries = ", ".join(build_snippets(export.parts, names, export.folder.name, None))
    console.print(f"load it: {line}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"README.md has the code for {libraries}", markup=False, highlight=False)


def _build_report(console: Console) -> Callable[[str], None]:
    """Returns a function that prints a line with the seconds since now before it."""
    start = time.perf_counter()

    def report(line: str) -> None:
        seconds = time.perf_counter() - start
        console.print(f"[{seconds:5.1f} s] {line}", markup=False, highlight=False)

    return report


def _to_list(value: object) -> list[str]:
    """Returns the items of a list of a config, or a single value as a list."""
    if OmegaConf.is_list(value):
        return [str(item) for item in value]
    return [str(value)]
