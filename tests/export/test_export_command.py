"""`hybrid-ir export` as users type it: a run, its card, its numbers again, and bad input."""

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from hybrid_ir.cli.export import read_licence
from hybrid_ir.export.settings import FORMATS
from hybrid_ir.export.snippets import PASSAGES, QUERIES
from hybrid_ir.runs.encoders import load_encoder
from tests.support.in_process import CommandResult, hybrid_ir_in_process

GATE = ("benchmark=cldr_facts_dev", "max_questions=4")
LATENCY = {
    "card": {"machine": {"device": "cpu", "threads": 1}},
    "latency": [
        {
            "checkpoint": "small",
            "backend": "torch_fp32",
            "search": "exact",
            "batch_size": 1,
            "queries_per_second": 120.5,
            "ms": {"per_query": {"p50": 8.25, "p95": 9.5}},
        }
    ],
}


def run_export(place: Path, *arguments: str) -> CommandResult:
    return hybrid_ir_in_process(place, "export", *arguments)


@pytest.fixture(scope="module")
def exported(trained, place) -> Path:
    """The run of `trained` in every format."""
    study = place / "latency_study"
    study.mkdir()
    (study / "latency.json").write_text(json.dumps(LATENCY))
    folder = place / "exported"
    ended = run_export(
        place,
        f"checkpoint={trained}",
        f"to={folder}",
        f"formats=[{','.join(FORMATS)}]",
        f"latency={study}",
        "licence=mit",
        *GATE,
    )
    assert ended.returncode == 0, ended.stderr
    for line in ("compare onnx_int8 with the encoder", "load it: SentenceTransformer("):
        assert line in ended.stdout
    return folder


def test_the_folder_holds_what_clients_look_for(exported):
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "onnx/model.onnx",
        "onnx/model_int8.onnx",
        "parity.json",
        "special_tokens_map.json",
        "tokenizer.json",
    } <= names
    assert not [path for path in exported.parent.iterdir() if path.name.startswith(".exported")]
    gate = json.loads((exported / "parity.json").read_text())
    assert [parity["name"] for parity in gate["formats"]] == list(FORMATS)
    for parity in gate["formats"]:
        least = 0.95 if parity["name"] == "onnx_int8" else 0.9999
        assert parity["cosines"]["least"] >= least
        assert parity["cosines"]["texts"] > 2 * 54


def test_every_snippet_of_the_card_gives_the_vectors_of_the_run(trained, exported, monkeypatch):
    monkeypatch.chdir(exported.parent)
    encoder = load_encoder(str(trained))
    card = (exported / "README.md").read_text()
    snippets = re.findall(r"### ([^\n]+)\n\n```python\n(.*?)```", card, re.DOTALL)
    assert [library for library, _ in snippets] == [
        "sentence-transformers",
        "transformers",
        "onnxruntime",
        "onnxruntime, int8",
        "hybrid-ir",
    ]
    for library, code in snippets:
        names: dict = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, library, "exec"), names)
        tolerance = 0.05 if "int8" in library else 1e-5
        for vectors, expected in (
            (names["query_vectors"], encoder.encode_queries(QUERIES)),
            (names["passage_vectors"], encoder.encode_passages(PASSAGES)),
        ):
            np.testing.assert_allclose(vectors, expected, atol=tolerance, err_msg=library)
        assert names["scores"].shape == (len(QUERIES), len(PASSAGES))


def test_evaluate_measures_the_export_like_the_run(trained, exported, place):
    out = place / "export_evaluated"
    ended = hybrid_ir_in_process(
        place, "evaluate", f"model={exported}", "benchmark=[cldr_facts_dev]", f"out={out}"
    )
    assert ended.returncode == 0, ended.stderr
    results = []
    for folder in (trained, out / "cldr_facts_dev"):
        metrics = json.loads((folder / "metrics.json").read_text())["macro_over_settings"]
        results.append([metrics[view]["map"] for view in ("mono", "cross", "multi")])
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)


def test_the_card_has_the_head_of_the_hub_and_the_numbers_of_the_run(trained, exported):
    card = ModelCard.load(exported / "README.md")
    assert card.data.license == "mit"
    assert card.data.library_name == "sentence-transformers"
    assert card.data.pipeline_tag == "sentence-similarity"
    assert {"ar", "de", "zh"} <= set(card.data.language)
    metrics = json.loads((trained / "metrics.json").read_text())["macro_over_settings"]
    values = {}
    for result in card.data.eval_results:
        values[result.dataset_config, result.metric_type] = result.metric_value
    for view in ("mono", "cross", "multi"):
        assert values[view, "map"] == pytest.approx(metrics[view]["map"], abs=1e-4)
    for line in (
        "| alpha (monolingual share) | 0.5 |",
        "| loss | InfoNCE |",
        "| batch (pairs) | 64 |",
        "| steps of these weights | 20 |",
        "| small, torch_fp32, exact | 1 | 8.25 | 9.50 | 120 |",
        "in training 64 for queries and 128 for passages",
        "Training texts (cldr_facts): data: Unicode License V3",
        "arXiv:2408.10536",
        "## What int8 costs each language",
        "one-target gap",
    ):
        assert line in card.text
    (picture,) = re.findall(r"!\[.*\]\((.+)\)", card.text)
    assert (exported / picture).read_bytes().startswith(b"\x89PNG")


def copy_run(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("wandb"))
    return folder


def cut_checkpoint(run: Path) -> None:
    content = (run / "checkpoints/best.ckpt").read_bytes()
    (run / "checkpoints/best.ckpt").write_bytes(content[: len(content) // 2])


def remove_config(run: Path) -> None:
    (run / "config.yaml").unlink()


def remove_batch_card(run: Path) -> None:
    (run / "batch_card.json").unlink()


def change_canary(run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["tokenizer_canary"] = "0" * 16
    torch.save(checkpoint, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_checkpoint, "best.ckpt"),
        (remove_config, "its run's config.yaml is not at"),
        (remove_batch_card, "batch_card.json is missing or damaged"),
        (change_canary, "tokenizer"),
    ],
)
def test_a_damaged_run_is_one_clear_line(trained, place, tmp_path, damage, message):
    run = copy_run(trained, tmp_path / "run")
    damage(run)
    ended = run_export(place, f"checkpoint={run}", f"to={tmp_path / 'export'}", *GATE)
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "export").exists()


def test_a_licence_is_not_known_if_the_card_of_a_model_is_broken(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n")
    assert read_licence(str(tmp_path)) == "mit"
    card.write_text("---\nlicense: [mit\n---\n")
    assert read_licence(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("reading", {"width": 7}, "results= are those of another encoder: .*: width=7, here"),
        ("postprocess", {"name": "center"}, "postprocess=center, which no export has"),
    ],
)
def test_results_of_another_encoder_are_refused(trained, place, tmp_path, part, content, message):
    shutil.copy(trained / "metrics.json", tmp_path)
    card = json.loads((trained / "evaluation_card.json").read_text())
    card[part] = {**card[part], **content}
    (tmp_path / "evaluation_card.json").write_text(json.dumps(card))
    ended = run_export(place, f"checkpoint={trained}", "to=unused", f"results=[{tmp_path}]", *GATE)
    assert ended.returncode == 2
    assert re.search(message, ended.stderr)
    assert not (place / "unused").exists()


def test_a_failed_gate_exits_with_2_and_leaves_nothing(trained, place, tmp_path):
    to = tmp_path / "export"
    ended = run_export(place, f"checkpoint={trained}", f"to={to}", "min_cosine=1.0", *GATE)
    assert ended.returncode == 2
    assert "nothing was written: sentence_transformers: the vector of the" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_code_of_its_own_is_refused_unless_trusted(exported, place, tmp_path):
    folder = tmp_path / "custom"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(exported / name, folder)
    weights = {"model." + name: value for name, value in load_weights(exported).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((exported / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    config["model_type"] = "own_bert"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(OWN_CODE)
    to = tmp_path / "export"
    arguments = [f"model={folder}", "pooling=mean", f"to={to}", "passage_max_length=128", *GATE]
    refused = run_export(place, *arguments)
    assert refused.returncode == 2 and "trust_remote_code" in refused.stderr
    assert not (tmp_path / "export").exists()
    trusted = run_export(place, *arguments, "trust_remote_code=true", "formats=[transformers]")
    assert trusted.returncode == 0, trusted.stderr
    assert (tmp_path / "export" / "own.py").is_file()


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {name: value for name, value in weights.items() if not name.startswith("pooler.")}


OWN_CODE = """
from transformers import BertConfig, BertModel, PreTrainedModel


class OwnConfig(BertConfig):
    model_type = "own_bert"


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = BertModel(config, add_pooling_layer=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **kwargs):
        return self.model(input_ids, attention_mask, token_type_ids)
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("formats=[tflite]",), "formats: tflite must be one of sentence_transformers,"),
        (("model=e5_small",), "say what to export: checkpoint=RUN for a run of ours, or"),
        (("precision=bf16",), "precision=bf16: an export holds and compares the weights in"),
        (("hub=plain", "to=new"), "hub='plain' must be the name of a model on the hub"),
        (("hub=a/b", "to=new"), "HF_HUB_OFFLINE is set"),
        (("int8_min_cosine=0.9",), "int8_min_cosine=0.9 changes nothing without formats="),
        (("to=taken",), "exists: nothing is overwritten"),
        (("benchmark=none",), "benchmark=none has no texts to compare the export on"),
        (("benchmark=mteb",), "benchmark=mteb: its tasks are evaluated by mteb itself"),
        (("private=1", "max_questions=0"), "max_questions=0 must be a whole.*private=1 must be"),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(
    trained, place, monkeypatch, arguments, message
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (place / "taken").mkdir(exist_ok=True)
    ended = run_export(place, f"checkpoint={trained}", "to=unused", *arguments)
    assert ended.returncode == 2
    assert re.search(message, ended.stderr)
    assert not (place / "unused").exists() and not (place / "new").exists()


@pytest.mark.parametrize("package", ["sentence_transformers", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(trained, place, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    formats = {"sentence_transformers": "sentence_transformers", "onnxruntime": "onnx"}[package]
    ended = run_export(place, f"checkpoint={trained}", "to=unused", f"formats=[{formats}]", *GATE)
    assert ended.returncode == 2
    assert "pip install 'hybrid-ir[" in ended.stderr
    assert not (place / "unused").exists()
