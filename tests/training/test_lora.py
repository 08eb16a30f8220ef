"""LoRA: adapters alone are trained and saved, and merge into weights that give the same vectors."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.lora import Lora, is_adapter_weight
from hybrid_ir.runs.encoders import load_encoder
from hybrid_ir.training.checkpoint_callbacks import LastCheckpoint
from hybrid_ir.training.checkpoints import load_encoder_weights
from tests.support.in_process import hybrid_ir_in_process, train_in_process

TEXTS = ["seven", "sieben", "siebzehn"]
LORA = {"lora": Lora(rank=2, alpha=8.0)}


class StopAfter(Callback):
    """Ends a process at a step, as a full disk or a kill would."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise SystemExit


def encode(encoder: BiEncoder) -> torch.Tensor:
    return BiEncoderAdapter(encoder, "any").encode_queries(TEXTS)


def copy_frozen_weights(encoder: BiEncoder) -> dict[str, torch.Tensor]:
    weights = {}
    for name, weight in encoder.named_parameters():
        if not weight.requires_grad:
            weights[name] = weight.detach().clone()
    return weights


def test_adapters_change_nothing_at_first_and_are_trained_alone(build_training):
    plain = build_training().module.encoder
    training = build_training(encoder={**LORA, "projection": 8})
    encoder = training.module.encoder
    without_projection = build_training(encoder=LORA).module.encoder
    assert torch.equal(encode(without_projection), encode(plain))

    frozen = copy_frozen_weights(encoder)
    names = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert "projection.weight" in names
    assert all(is_adapter_weight(name) for name in names - {"projection.weight"})
    assert len(frozen) == len(list(plain.parameters()))
    encoder.train()
    before = encode(encoder)
    training.fit()
    assert (encode(encoder) - before).abs().max() > 0.01
    for name, weight in frozen.items():
        assert torch.equal(encoder.get_parameter(name), weight), name


def test_a_merged_encoder_has_the_plain_weights_and_the_same_vectors(build_training):
    plain = build_training().module.encoder
    encoder = build_training(encoder=LORA, learning_rate=1e-2).fit().module.encoder
    before = encode(encoder)
    encoder.merge_lora()
    assert list(encoder.state_dict()) == list(plain.state_dict())
    assert torch.allclose(encode(encoder), before, atol=1e-6)
    assert (encode(plain) - before).abs().max() > 0.01
    assert not [module for module in encoder.modules() if hasattr(module, "lora_A")]


def test_a_checkpoint_holds_the_adapters_alone_and_goes_on_to_equal_bits(build_training, tmp_path):
    def build(folder: Path, *callbacks: Callback):
        last = LastCheckpoint(str(folder), every_n_train_steps=3)
        choices = {"encoder": {**LORA, "projection": 8, "dropout": 0.2}, "learning_rate": 1e-2}
        return build_training(max_steps=8, callbacks=[last, *callbacks], **choices)

    uninterrupted = build(tmp_path / "uninterrupted").fit()
    with pytest.raises(SystemExit):
        build(tmp_path / "interrupted", StopAfter(step=5)).fit()
    file = tmp_path / "interrupted" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["global_step"] == 3
    names = set(checkpoint["state_dict"])
    assert {"encoder.projection.weight", "loss.log_temperature"} < names
    others = names - {"encoder.projection.weight", "loss.log_temperature"}
    assert others and all(is_adapter_weight(name) for name in others)

    resumed = build(tmp_path / "interrupted").fit(ckpt_path=file, weights_only=True)
    assert torch.equal(resumed.copy_weights(), uninterrupted.copy_weights())


def test_adapters_of_another_backbone_are_refused(build_training, tmp_path):
    last = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
    build_training(max_steps=2, callbacks=[last], encoder=LORA).fit()
    other = build_training(max_steps=4, encoder=LORA)
    with torch.no_grad():
        next(other.module.encoder.backbone.parameters()).add_(1e-3)
    with pytest.raises(ValueError, match="LoRA adapters of a backbone with other weights"):
        other.fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)

    plain = build_training(max_steps=4)
    with pytest.raises(ValueError, match="of another encoder"):
        plain.fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    started = build_training(encoder=LORA).module.encoder
    assert load_encoder_weights(tmp_path / "last.ckpt", started) == (2, [])


def test_targets_are_layers_of_the_backbone(build_training):
    encoder = build_training(encoder={"lora": Lora(rank=2, targets=["query"])}).module.encoder
    adapted = {name for name, _ in encoder.named_parameters() if is_adapter_weight(name)}
    assert adapted and all(".query.lora_" in name for name in adapted)
    with pytest.raises(
        ValueError, match=r"targets=\['nowhere'\]: no layer .* layers: dense, key, query"
    ):
        build_training(encoder={"lora": Lora(targets=["nowhere"])})


@pytest.mark.parametrize("choices", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}])
def test_numbers_out_of_range_are_refused(choices):
    with pytest.raises(ValueError, match="model.lora.rank=.* must be at least 1"):
        Lora(**choices)


def test_the_command_line_trains_resumes_and_measures_adapters(tmp_path):
    run = tmp_path / "run"
    arguments = [
        "debug=smoke",
        "model/lora=default",
        "model.lora.rank=4",
        "model.backbone.layers=1",
        f"hydra.run.dir={run}",
    ]
    done = train_in_process(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    size = (run / "checkpoints" / "last.ckpt").stat().st_size
    encoder = load_encoder(str(run))
    weights = sum(weight.numel() for weight in encoder.encoder.parameters())
    assert size < weights  # bytes; the weights alone would be four times as many
    assert isinstance(encoder.encoder.list_layers(), list)
    assert not [layer for layer in encoder.encoder.modules() if hasattr(layer, "lora_A")]

    longer = [*arguments[:-1], f"hydra.run.dir={tmp_path / 'longer'}", f"resume_from={run}"]
    steps = 24
    went_on = train_in_process(tmp_path, *longer, f"trainer.max_steps={steps}")
    assert went_on.returncode == 0, went_on.stderr
    measured = hybrid_ir_in_process(
        tmp_path,
        "evaluate",
        f"checkpoint={tmp_path / 'longer'}",
        "benchmark=[cldr_facts]",
        "benchmark.languages=[de,en]",
        "benchmark.max_queries=20",
        f"out={tmp_path / 'measured'}",
    )
    assert measured.returncode == 0, measured.stderr


def test_peft_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'hybrid-ir\[lora\]'"):
        Lora().add_to(nn.Linear(2, 2))
