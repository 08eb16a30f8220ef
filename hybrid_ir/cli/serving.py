"""What `hybrid-ir serve` loads: models, and an index of the passages for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hybrid_ir.cli.asked_texts import load_asked_texts
from hybrid_ir.cli.config import parse_list
from hybrid_ir.evaluation.benchmarks.choices import require_named_languages
from hybrid_ir.files.checksums import hash_values
from hybrid_ir.index.build import IndexJob, build_index
from hybrid_ir.index.card import read_index_card, require_undamaged_index
from hybrid_ir.index.layout import IndexSettings
from hybrid_ir.index.opened import METHODS, PassageIndex, choose_method
from hybrid_ir.index.passages import PassagesToIndex, take_benchmark_passages
from hybrid_ir.runs.building import build_own_benchmark
from hybrid_ir.runs.encoder_settings import FIXED_BY_TRAINING
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.runs.indexes import OF_THE_MACHINE, describe_index_model, load_index
from hybrid_ir.runs.model_names import name_model
from hybrid_ir.runs.model_places import expand_home, is_run, require_model
from hybrid_ir.runs.shipped_files import list_options
from hybrid_ir.serve.engine import Engine, ServedModel
from hybrid_ir.serve.loading import LoadingState
from hybrid_ir.serve.same_passages import require_same_passages
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Benchmark, Source

TEXTS_PER_SHARD = 256  # few, so that progress is seen and little is lost by Ctrl-C
KEY_DIGITS = 16


def require_valid_indexes(folders: Sequence[Path], method: str, verify: bool) -> None:
    """Checks the files of indexes before anything is loaded.

    Raises:
        ValueError: one is no index, is damaged, or has no such search, or two have not the same
            passages.
    """
    for folder in folders:
        card = read_index_card(folder)
        choose_method(method, card)
        require_undamaged_index(folder, card, check_bytes=verify)
    if len(folders) > 1:
        require_same_passages(*folders)


def load_engine(
    cfg: DictConfig, models: Sequence[str], folders: Sequence[Path], state: LoadingState
) -> Engine:
    """Loads what answers questions, and notes how far it is.

    Args:
        cfg: of the command.
        models: the names of one or two models; none for those of the indexes.
        folders: of one or two indexes; none where a benchmark is encoded.
        state: where progress is noted.

    Raises:
        ValueError: there is no such model or benchmark, or a model does not fit its index.
    """
    models = [expand_home(place) for place in models]
    for place in models:  # before texts are encoded by the first one, which takes minutes
        require_model(place, cfg.revision, cfg.config_folders)
    if cfg.method not in METHODS:
        raise ValueError(f"method={cfg.method!r} must be one of {', '.join(METHODS)}")
    prepare_process(cfg.seed, cfg.threads)
    benchmark = None
    name = None
    if folders:
        indexes = _open_indexes(cfg, models, folders, state)
    else:
        chosen = choose_name(cfg)
        texts = _load_texts(cfg, chosen, state)
        require_named_languages(texts)
        name = label_texts(cfg, chosen, texts)
        passages = take_benchmark_passages(texts)
        indexes = []
        for number, place in enumerate(models, 1):
            part = f"model {number} of {len(models)}" if len(models) > 1 else ""
            indexes.append(_encode_passages(cfg, place, passages, state, part))
        # Texts without known answers are passages alone.
        if any(len(rows) for rows in texts.relevant):
            benchmark = texts
    served = []
    for label, index in zip(_choose_labels(indexes), indexes, strict=True):
        served.append(ServedModel(label, index))
    return Engine(served, benchmark, cfg.k, cfg.max_characters, name)


def choose_name(cfg: DictConfig) -> str:
    """Returns what the user calls the texts: the value of `corpus`, else that of `benchmark`."""
    return str(cfg.chosen_options.benchmark if cfg.corpus is None else cfg.corpus)


def label_texts(cfg: DictConfig, chosen: str, texts: Benchmark) -> str:
    """Returns the name of texts for the page.

    Texts of one's own have the name of their folder or file. A benchmark has the chosen name, as
    several names in conf/benchmark may be parts of one.
    """
    known = list_options("benchmark", cfg.config_folders)
    is_of_benchmark = chosen in known and texts.source.name in known
    return chosen if is_of_benchmark else texts.source.name


def _load_texts(cfg: DictConfig, chosen: str, state: LoadingState) -> Benchmark:
    """Loads the texts of `corpus`, or the chosen benchmark."""
    if cfg.corpus is not None:
        state.begin(f"reading {chosen}")
        return load_asked_texts(cfg)
    # The embedded texts ask the config for the languages of a corpus.
    cfg.corpus = {"languages": "xquad"}
    state.begin(f"reading the benchmark {chosen}")
    return build_own_benchmark(cfg.benchmark)


def _open_indexes(
    cfg: DictConfig, models: Sequence[str], folders: Sequence[Path], state: LoadingState
) -> list[PassageIndex]:
    """Opens indexes with their models; a second model of one index gets an index of its own."""
    settings = _list_given_settings(cfg)
    indexes = []
    for number, folder in enumerate(folders):
        place = models[number] if models else None
        state.begin(f"opening {folder} with {place or 'its model'}")
        index = load_index(
            folder,
            model=place,
            method=cfg.method,
            verify=False,  # checked before the server began
            **settings,
        )
        indexes.append(index)
    for place in models[len(folders) :]:
        passages = _take_index_passages(indexes[0])
        indexes.append(_encode_passages(cfg, place, passages, state, "model 2 of 2"))
    return indexes


def _list_given_settings(cfg: DictConfig) -> dict[str, Any]:
    """Returns the settings of the encoder that are not the default, which override the card's."""
    default = EncoderSettings()
    chosen = EncoderSettings.from_config(cfg)
    given = {"config_folders": chosen.config_folders, "cache_dir": chosen.cache_dir}
    for setting in fields(EncoderSettings):
        value = getattr(chosen, setting.name)
        is_of_model = setting.name not in OF_THE_MACHINE or setting.name == "device"
        if is_of_model and value != getattr(default, setting.name):
            given[setting.name] = value
    return given


def choose_settings(cfg: DictConfig, place: str) -> EncoderSettings:
    """Returns the settings of a model: keys such as query_prefix are not for a run among others.

    A run has them from its training; the other model may need them.
    """
    settings = EncoderSettings.from_config(cfg)
    models = [expand_home(model) for model in parse_list(cfg.model or "")]
    # Where all are runs the keys would do nothing, and loading refuses them.
    if is_run(place) and not all(is_run(model) for model in models):
        default = EncoderSettings()
        settings = replace(settings, **{name: getattr(default, name) for name in FIXED_BY_TRAINING})
    return settings


def _encode_passages(
    cfg: DictConfig, place: str, passages: PassagesToIndex, state: LoadingState, part: str
) -> PassageIndex:
    """Returns an index of passages in the cache, which is built where it is not there yet.

    Args:
        cfg: of the command.
        place: of the model.
        passages: to encode.
        state: where progress is noted.
        part: which of the models it is, as in "model 1 of 2"; empty where there is one.
    """
    state.begin(f"loading {place}", part)
    settings = choose_settings(cfg, place)
    loaded = load_any_encoder(place, settings)
    state.begin(f"encoding {len(passages):,} passages with {place}", part)
    folder = Path(cfg.paths.cache_dir) / "serve"
    stored = IndexSettings(texts_per_shard=TEXTS_PER_SHARD)
    draft = IndexJob(passages, loaded.encoder, stored, folder)
    to = folder / hash_values(draft.choices)[:KEY_DIGITS]
    job = IndexJob(passages, loaded.encoder, stored, to, report=state.count)
    build_index(job, describe_index_model(loaded, place, settings))
    state.begin(f"opening the index of {place}", part)
    return PassageIndex(to, loaded.encoder, "auto", verify=cfg.verify)


@dataclass(frozen=True)
class _IndexTexts(Sequence):
    """The texts or ids of an index, read from disk when they are asked for."""

    values: Any

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return [self.values[row] for row in range(*key.indices(len(self)))]
        return self.values[key]


def _take_index_passages(index: PassageIndex) -> PassagesToIndex:
    """Returns the passages of an index, in its order, for an index of another model."""
    source = index.card["source"]
    return PassagesToIndex(
        source=Source(**source),
        languages=index.passages.languages,
        codes_N=index.passages.codes_N,
        ids=_IndexTexts(index.passages.ids),
        texts=_IndexTexts(index.passages.texts),
    )


def _choose_labels(indexes: Sequence[PassageIndex]) -> list[str]:
    """Returns short names of the models, which are different ones."""
    names = [name_model(index.card["model"]) for index in indexes]
    if len(set(names)) == len(names):
        return names
    return [f"{letter}: {name}" for letter, name in zip("AB", names, strict=False)]
