"""The LightningModule: one training step, and an evaluation that counts ranks while it encodes."""

from collections.abc import Callable, Iterable

import torch
from lightning import LightningModule
from torch import nn

from hybrid_ir.canary import canary
from hybrid_ir.data.batching import Batch, Chunk
from hybrid_ir.encoder import BiEncoder
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.views import Results
from hybrid_ir.labels import masked_share
from hybrid_ir.losses import InfoNCE

OptimizerOf = Callable[[Iterable], torch.optim.Optimizer]
SchedulerOf = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


class Retriever(LightningModule):
    """A bi-encoder, its loss and its optimiser; `results` holds what the last validation and test measured.

    Args:
        encoder: shared by queries and passages.
        loss: over the vectors and labels of a global batch.
        optimizer: of parameter groups, a partial.
        scheduler: of the optimiser, stepped with it; None for a constant rate.
    """

    def __init__(self, encoder: BiEncoder, loss: InfoNCE, optimizer: OptimizerOf, scheduler: SchedulerOf | None = None):
        super().__init__()
        self.encoder, self.loss = encoder, loss
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.results: dict[str, Results] = {}

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        queries_BD, passages_ND = self.encoder(batch.queries), self.encoder(batch.passages)
        loss = self.loss(queries_BD, passages_ND, batch.labels)
        if not torch.isfinite(loss):
            raise ValueError(
                f"the loss is {loss.item()} at step {self.global_step} (batch {batch.step}): training has diverged. Lower "
                "optimizer.lr, raise loss.temperature, or use trainer.precision=bf16-mixed or 32-true")
        share = masked_share(batch.labels, len(queries_BD), self.loss.mask, self.loss.negatives)
        self.log_dict({"train/loss": loss.detach(), "train/masked_share": share.float(),
                       "train/temperature": self.loss.temperature.detach(),
                       "train/learning_rate": self.optimizers().param_groups[0]["lr"]}, prog_bar=False)
        return loss

    def configure_optimizers(self) -> dict:
        try:
            optimizer = self.make_optimizer(parameter_groups(self))
        except ValueError as error:
            raise ValueError(f"optimizer: {error}: correct the keys of optimizer") from error
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make_scheduler(optimizer), "interval": "step"}}

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip the norm, and log it; Lightning's own refuses a fused AdamW under autocast, though only fp16 rescales."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            self.log("train/gradient_norm", nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val))

    # Evaluation: encode, count, report; the same for validation and test

    def on_validation_epoch_start(self) -> None:
        self._start("validation")

    def on_test_epoch_start(self) -> None:
        self._start("test")

    def validation_step(self, chunk: Chunk, _: int) -> None:
        self.ranking.add(chunk.stage, chunk.rows, self.encoder(chunk.tokens))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self._finish("validation", "val")

    def on_test_epoch_end(self) -> None:
        self._finish("test", "test")

    def _start(self, stage: str) -> None:
        benchmark = self.trainer.datamodule.benchmarks[stage]
        self.ranking = StreamedRanking(benchmark, temperature=float(self.loss.temperature), whole=stage == "test")

    def _finish(self, stage: str, prefix: str) -> None:
        if self.trainer.sanity_checking:
            return
        self.results[stage] = self.ranking.results()
        # the same keys and values on every rank: Lightning has nothing to reduce
        self.log_dict({f"{prefix}/{name}": value for name, value in self.results[stage].summary().items()})
        del self.ranking

    # Checkpoints hold plain values, and refuse an encoder that would read texts differently

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["tokenizer_canary"], checkpoint["reading"] = canary(self.encoder.tokenizer), self.encoder.reading()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        saved, now = checkpoint.get("tokenizer_canary"), canary(self.encoder.tokenizer)
        if saved and saved != now:
            raise ValueError(f"the checkpoint was trained with another tokenizer (canary {saved}, here {now}): use the "
                             "model, corpus and library versions of its run, see its config.yaml and versions.json")
        here = self.encoder.reading()
        wrong = [f"{key} {value!r}, here {here[key]!r}" for key, value in checkpoint.get("reading", here).items()
                 if here.get(key) != value]
        saved, now = checkpoint["state_dict"], self.state_dict()
        wrong += [f"{name} {tuple(saved[name].shape) if name in saved else 'missing'}, here "
                  f"{tuple(now[name].shape) if name in now else 'missing'}" for name in sorted(saved.keys() | now.keys())
                  if name not in saved or name not in now or saved[name].shape != now[name].shape]
        if wrong:
            raise ValueError(f"the checkpoint is of another encoder, {len(wrong)} differences: {'; '.join(wrong[:3])}. Give the "
                             "model of its run, see its config.yaml")


def parameter_groups(module: nn.Module) -> list[dict]:
    """Trainable parameters, without weight decay for biases and norms (all that has one dimension or none)."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [{"params": [p for p in trainable if p.ndim > 1]},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0}]
