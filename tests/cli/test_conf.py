"""Every file in conf/ composes and names a real thing with real arguments."""

import inspect
import re
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import compose_config, find_shipped_file
from hybrid_ir.runs.errors import describe_error
from hybrid_ir.system.environment import prepare_process

CONF = find_shipped_file("conf")
# Groups that build nothing of their own, or are chosen by another group.
NO_PARTS = ("encoder", "hydra", "local", "recipe", "study")


def list_all_options() -> list[tuple[str, str]]:
    options = []
    for path in sorted(CONF.glob("*/*.yaml")):
        group = path.parent.name
        is_base = path.stem == "default" and group in ("sampler", "model")
        if group not in NO_PARTS and not is_base:
            options.append((group, path.stem))
    return options


OPTIONS = list_all_options()


def find_targets(config) -> list[tuple[str, DictConfig]]:
    """Every node with a _target_, at any depth."""
    targets = []
    if not OmegaConf.is_dict(config):
        return targets
    if "_target_" in config:
        targets.append((config._target_, config))
    for key in config:
        node = config._get_node(key)
        if OmegaConf.is_config(node) and not OmegaConf.is_missing(config, key):
            targets += find_targets(config[key])
    return targets


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids="/".join)
def test_every_option_composes_and_its_keys_are_arguments(group, name):
    cfg = compose_config("train", [f"{group}={name}"])
    nodes = find_targets(cfg)
    assert nodes
    for target, node in nodes:
        if target == "datetime.timedelta":  # a built-in has no signature
            continue
        parameters = inspect.signature(get_object(target)).parameters.values()
        keys = {key for key in node if not key.startswith("_")}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            assert keys <= {parameter.name for parameter in parameters}, target
        required = set()
        for parameter in parameters:
            is_named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if is_named and parameter.default is parameter.empty:
                required.add(parameter.name)
        assert required <= keys or node.get("_partial_"), f"{target} needs {required - keys}"


@pytest.mark.parametrize("group", ["sampler", "model", "loss", "scheduler", "trainer"])
def test_every_option_of_a_group_has_the_same_keys(group):
    """So that switching an option never makes an override fail."""
    keys = {}
    for other, name in OPTIONS:
        if other == group and name != "none":
            keys[name] = frozenset(compose_config("train", [f"{group}={name}"])[group])
    assert len(set(keys.values())) == 1, keys


@pytest.mark.parametrize(
    ("overrides", "learning_rate", "temperature"),
    [
        ([], 2e-3, 0.1),
        (["model=e5_small"], 3e-5, 0.05),
        (["model.backbone=some/folder"], 3e-5, 0.05),
        (["model=e5_small", "optimizer.lr=1e-4"], 1e-4, 0.05),
        (["loss.temperature=0.02"], 2e-3, 0.02),
        (["optimizer=sgd"], 0.01, 0.1),
        (["experiment=mlqa_to_xquad"], 5e-5, 0.05),
    ],
)
def test_rates_follow_the_backbone_unless_they_are_given(overrides, learning_rate, temperature):
    cfg = compose_config("train", overrides)
    assert cfg.optimizer.lr == learning_rate
    assert cfg.loss.temperature == temperature


def test_rates_follow_the_backbone_of_an_option_of_ones_own(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "small.yaml").write_text("defaults: [tiny, _self_]\npooling: cls\n")
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "fast.yaml").write_text("defaults: [adamw, _self_]\nfused: false\n")
    cfg = compose_config("train", ["model=small", "optimizer=fast"], [tmp_path])
    assert cfg.optimizer.lr == 2e-3
    assert cfg.loss.temperature == 0.1


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_optimizer_has_a_learning_rate_and_weight_decay(name):
    keys = compose_config("train", [f"optimizer={name}"]).optimizer
    assert {"_target_", "_partial_", "lr", "weight_decay"} <= set(keys)


def test_the_samplers_are_two_numbers():
    expected = {
        "x_x_mono": (1.0, "batch"),
        "x_y": (0.0, "batch"),
        "hybrid": (0.5, "batch"),
        "x_x": (1.0, "example"),
        "hybrid_example": (0.5, "example"),
        "en_en": (1.0, "batch"),
    }
    numbers = {}
    for group, name in OPTIONS:
        if group == "sampler":
            sampler = compose_config("train", [f"sampler={name}"]).sampler
            numbers[name] = (sampler.monolingual_share, sampler.level)
            assert sampler.languages == (["en"] if name == "en_en" else None)
    assert numbers == expected


def test_only_a_model_from_scratch_brings_its_own_rates():
    tiny = compose_config("train")
    released = compose_config("train", ["model=labse"])
    given = compose_config("train", ["optimizer.lr=1", "loss.temperature=0.2"])
    of_experiment = compose_config("train", ["experiment=mlqa_to_xquad"])
    assert (tiny.optimizer.lr, tiny.loss.temperature) == (2e-3, 0.1)
    assert (released.optimizer.lr, released.loss.temperature) == (3e-5, 0.05)
    assert (given.optimizer.lr, given.loss.temperature) == (1, 0.2)
    assert (of_experiment.optimizer.lr, of_experiment.loss.temperature) == (5e-5, 0.05)


def test_a_misspelt_key_in_a_file_is_an_error():
    cfg = compose_config("train", ["+loss.temprature=3"])
    with pytest.raises(ValueError, match="temprature.*did you mean temperature"):
        build(cfg.loss)


def test_configs_are_short():
    for path in CONF.rglob("*.yaml"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_experiments_only_say_what_differs():
    for path in (CONF / "experiment").glob("*.yaml"):
        assert "@package _global_" in path.read_text() and "_target_" not in path.read_text()


def test_conf_is_the_one_in_the_clone():
    assert Path(__file__).parents[2] / "conf" == CONF


@pytest.mark.parametrize(
    ("group", "override", "message"),
    [
        ("sampler", "sampler.batch_size=abc", "sampler.batch_size='abc' must be of type int"),
        ("sampler", "sampler.batch_size=2.5", "sampler.batch_size=2.5 must be of type int"),
        ("sampler", "sampler.languages=5", "sampler.languages=5 must be of type"),
        (
            "sampler",
            "sampler.language_weights={en: x}",
            "sampler.language_weights={'en': 'x'} must be of type",
        ),
        ("loss", "loss.symmetric=perhaps", "loss.symmetric='perhaps' must be of type bool"),
        ("model", "model.backbone.layers=x", "model.backbone.layers='x' must be of type int"),
        ("model", "model.dropout=2", "model.dropout=2 must be 0 or more and below 1"),
        ("model", "model.tokens_per_slice=0", "model.tokens_per_slice=0 must be at least 1"),
        (
            "benchmark",
            "benchmark.max_queries=some",
            "benchmark.max_queries='some' must be of type int | None",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_by_its_key(group, override, message):
    pattern = message.replace("|", r"\|").replace("{", r"\{")
    with pytest.raises((ValueError, InstantiationException)) as error:
        build_part = build(compose_config("train", [override])[group])
        build_part(texts=["text"])
    assert re.search(pattern, describe_error(error.value))


@pytest.mark.parametrize(("seed", "threads"), [("x", 1), (-1, 1), (1.5, 1), (1, 0), (1, True)])
def test_seed_and_threads_are_whole_numbers(seed, threads):
    with pytest.raises(ValueError, match="must be (auto, or )?a whole number from"):
        prepare_process(seed, threads)


def test_keys_of_a_mixture_may_point_to_others():
    cfg = compose_config(
        "train",
        [
            "corpus=mixture",
            "+corpus@corpus.parts.facts=cldr_facts",
            "corpus.tau=${seed}",
            "corpus.languages=${sampler.languages}",
            "sampler.languages=[en,de]",
            "seed=1",
        ],
    )
    assert build(cfg.corpus).languages == ("de", "en")
