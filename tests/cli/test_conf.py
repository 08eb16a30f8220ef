"""Every file in conf/ composes, names a real thing with real arguments, and a misspelt key is an error."""

import inspect
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder, find_shipped_file
from hybrid_ir.runs.errors import describe_error
from hybrid_ir.system.setup import prepare_process

CONF = find_shipped_file("conf")
NO_PARTS = ("encoder", "hydra", "local")  # groups that build nothing
OPTIONS = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in NO_PARTS
)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


def targets(config) -> list[tuple[str, DictConfig]]:
    """Every node with a _target_, at any depth."""
    found = []
    if OmegaConf.is_dict(config):
        if "_target_" in config:
            found.append((config._target_, config))
        for key in config:
            node = config._get_node(key)
            if OmegaConf.is_config(node):
                found += (
                    targets(config[key])
                    if node is not None and not OmegaConf.is_missing(config, key)
                    else []
                )
    return found


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids="/".join)
def test_every_option_composes_and_its_keys_are_arguments(group, name):
    cfg = composed(f"{group}={name}")
    nodes = targets(cfg)
    assert nodes
    for target, node in nodes:
        if target == "datetime.timedelta":  # a built-in has no signature
            continue
        signature = inspect.signature(get_object(target))
        free = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        keys = {key for key in node if not key.startswith("_")}
        assert free or keys <= set(signature.parameters), (
            f"{target} does not take {keys - set(signature.parameters)}"
        )
        required = {
            name
            for name, p in signature.parameters.items()
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        assert required <= keys or node.get("_partial_"), f"{target} needs {required - keys}"


@pytest.mark.parametrize("group", ["sampler", "loss", "optimizer", "scheduler", "trainer"])
def test_every_option_of_a_group_has_the_same_keys(group):
    """So that switching an option never makes an override fail."""
    keys = {
        name: set(composed(f"{group}={name}")[group] or ())
        for g, name in OPTIONS
        if g == group and name != "none"
    }
    assert len({frozenset(k) for k in keys.values()}) == 1, keys


def test_the_samplers_are_two_numbers():
    expected = {
        "x_x_mono": (1.0, "batch"),
        "x_y": (0.0, "batch"),
        "hybrid": (0.5, "batch"),
        "x_x": (1.0, "example"),
        "hybrid_example": (0.5, "example"),
        "en_en": (1.0, "batch"),
    }
    found = {
        name: composed(f"sampler={name}").sampler for group, name in OPTIONS if group == "sampler"
    }
    assert {name: (s.monolingual_share, s.level) for name, s in found.items()} == expected
    assert found["en_en"].languages == ["en"]
    assert all(set(s) == set(found["hybrid"]) for s in found.values())


@pytest.mark.parametrize(
    "override", ["sampler.aplha=1", "modle=tiny", "sampler=x_z", "seeed=1", "trainer.max_step=3"]
)
def test_a_misspelt_key_is_an_error(override):
    with pytest.raises(Exception, match=override.split("=")[0].split(".")[-1]) as error:
        composed(override)
    assert (
        isinstance(error.value, ConfigCompositionException)
        or "override" in type(error.value).__name__.lower()
    )


def test_a_misspelt_key_in_a_file_is_an_error():
    cfg = composed("+loss.temprature=3")
    with pytest.raises((InstantiationException, TypeError), match="temprature"):
        build(cfg.loss)


def test_configs_are_short():
    for path in CONF.rglob("*.yaml"):
        assert len(path.read_text().splitlines()) <= 38, path


def test_experiments_only_say_what_differs():
    for path in (CONF / "experiment").glob("*.yaml"):
        assert "@package _global_" in path.read_text() and "_target_" not in path.read_text()


def test_conf_is_the_one_in_the_clone():
    assert Path(__file__).parents[2] / "conf" == CONF


@pytest.mark.parametrize(
    ("group", "override", "said"),
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
        ("model", "model.tokens_per_slice=0", "model.tokens_per_slice=0 .* must be at least 1"),
        (
            "benchmark",
            "benchmark.max_queries=some",
            "benchmark.max_queries='some' must be of type int | None",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_by_its_key(group, override, said):
    said = said.replace("|", r"\|").replace("{", r"\{")
    with pytest.raises((ValueError, InstantiationException)) as error:
        built = build(composed(override)[group])
        built(texts=["text"])
    assert re.search(said, describe_error(error.value))


@pytest.mark.parametrize(("seed", "threads"), [("x", 1), (-1, 1), (1.5, 1), (1, 0), (1, True)])
def test_seed_and_threads_are_whole_numbers(seed, threads):
    with pytest.raises(ValueError, match="must be a whole number from"):
        prepare_process(seed, threads)


def test_keys_of_a_mixture_may_point_to_others():
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        cfg = compose(
            "train",
            overrides=[
                "corpus=mixture",
                "+corpus@corpus.parts.facts=cldr_facts",
                "corpus.tau=${seed}",
                "corpus.languages=${sampler.languages}",
                "sampler.languages=[en,de]",
                "seed=1",
            ],
        )
    assert build(cfg.corpus).languages == ("de", "en")
