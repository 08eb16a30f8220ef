"""The LightningModule: one training step, and an evaluation that counts ranks while it encodes."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from hybrid_ir.data.batching import Batch, describe_batch
from hybrid_ir.data.labels import compute_masked_share
from hybrid_ir.distributed import average_over_ranks, shard_module, to_full_tensor
from hybrid_ir.evaluation.encoding import Chunk
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.tokens import compute_tokenizer_canary
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.types import RandomStream

OptimizerOf = Callable[[Iterable], torch.optim.Optimizer]
SchedulerOf = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


class Retriever(LightningModule):
    """A bi-encoder, its loss and its optimiser; `results` holds what the last validation and test measured.

    Args:
        encoder: shared by queries and passages.
        loss: over the vectors and labels of a global batch.
        optimizer: of parameter groups, a partial.
        scheduler: of the optimiser, stepped with it; None for a constant rate.
        cache_gradients: encode twice instead of keeping activations, see BiEncoder.forward: big batches in little memory.
        nonfinite: what follows a loss or gradient that is NaN or infinite: `stop`, or `skip` the step.
        seed: of dropout.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        loss: InfoNCE,
        optimizer: OptimizerOf,
        scheduler: SchedulerOf | None = None,
        cache_gradients: bool = False,
        nonfinite: str = "stop",
        seed: int = 0,
    ):
        super().__init__()
        if nonfinite not in ("stop", "skip"):
            raise ValueError(f"nonfinite={nonfinite!r} must be 'stop' or 'skip'")
        self.encoder, self.loss = encoder, loss
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.cache_gradients, self.nonfinite, self.seed = cache_gradients, nonfinite, seed
        self.batches_of_step: list[int] = []
        self.skipping = False
        self.loaded_step = 0  # of the checkpoint that is measured
        self.results: dict[str, Results] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        # dropout is a function of (seed, batch, rank), so a restart has no random state to find again
        torch.manual_seed(
            int(
                np.random.SeedSequence(
                    [self.seed, RandomStream.DROPOUT, batch_idx, self.global_rank]
                ).generate_state(1)[0]
            )
        )
        queries_BD, passages_MD = (
            self.encoder(tokens, self.cache_gradients) for tokens in (batch.queries, batch.passages)
        )
        loss = self.loss(queries_BD, passages_MD, batch.labels)
        share = compute_masked_share(
            batch.labels, len(queries_BD), self.loss.mask, self.loss.negatives
        )
        whole_loss, whole_share = average_over_ranks(
            torch.stack([loss.detach().float(), share.float()])
        )
        self.batches_of_step.append(batch.step)
        self._require_finite("loss", whole_loss)
        self.log_dict(
            {
                "train/loss": whole_loss,
                "train/masked_share": whole_share,
                "train/temperature": self.loss.temperature.detach(),
                "train/learning_rate": self.optimizers().param_groups[0]["lr"],
            },
            prog_bar=False,
        )
        return loss

    def _require_finite(self, what: str, value: torch.Tensor) -> None:
        """Where a value, equal on all ranks, is not finite: write down the step's picks, then raise or have the step skipped."""
        if torch.isfinite(value) or self.skipping:
            return
        path = Path(self.trainer.default_root_dir) / "nonfinite.jsonl"
        said = f"the {what} is {value.item()} at step {self.global_step} (batch {self.batches_of_step[-1]})"
        if self.trainer.is_global_zero:
            sampler = self.trainer.datamodule.sampler
            with open(path, "a") as file:
                json.dump(
                    {
                        "step": self.global_step,
                        what: str(value.item()),
                        "batches": [
                            describe_batch(sampler.corpus, sampler[batch])
                            for batch in self.batches_of_step
                        ],
                    },
                    file,
                )
                file.write("\n")
        if self.nonfinite == "stop":
            raise ValueError(
                f"{said}: training has diverged; what it was trained on is in {path}. Lower optimizer.lr, raise "
                "loss.temperature, use trainer.precision=bf16-mixed or 32-true, or leave such steps out "
                "with nonfinite=skip"
            )
        rank_zero_warn(f"{said}: the step is skipped, what it was to be trained on is in {path}")
        self.skipping = True

    def configure_model(self) -> None:
        if self.device_mesh is not None:  # trainer=fsdp
            if self.loss.log_temperature.requires_grad:
                raise ValueError(
                    "loss.learn_temperature=true does not go with trainer=fsdp, which shards the encoder alone: use "
                    "trainer=ddp, or a fixed loss.temperature"
                )
            shard_module(self.encoder, self.encoder.layers(), self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> dict:
        try:
            optimizer = self.make_optimizer(build_parameter_groups(self))
        except ValueError as error:
            raise ValueError(f"optimizer: {error}: correct the keys of optimizer") from error
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_scheduler(optimizer), "interval": "step"},
        }

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ) -> None:
        """Clip the norm, and log it; Lightning's own refuses a fused AdamW under autocast, though only fp16 rescales."""
        if (
            getattr(self.trainer.precision_plugin, "scaler", None) is not None
        ):  # which skips steps by itself
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            norm = to_full_tensor(
                nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or torch.inf)
            )
            self._require_finite("gradient norm", norm)
            self.log("train/gradient_norm", norm)
        if self.skipping:
            optimizer.zero_grad(set_to_none=True)  # an optimiser passes over what has no gradient
        self.skipping, self.batches_of_step = False, []

    # Evaluation: encode, count, report; the same for validation and test

    def on_validation_epoch_start(self) -> None:
        self._start("validation")

    def on_test_epoch_start(self) -> None:
        self._start("test")

    def validation_step(self, chunk: Chunk, _: int) -> None:
        self.ranking.add(chunk.assign(self.encoder(chunk.inputs).float()))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self._finish("validation", "val")

    def on_test_epoch_end(self) -> None:
        self._finish("test", "test")

    def _start(self, stage: str) -> None:
        limit = (
            self.trainer.limit_test_batches if stage == "test" else self.trainer.limit_val_batches
        )
        if self.trainer.world_size > 1 and limit != 1.0:
            raise ValueError(
                f"{stage}: ranks need the whole pool, and several processes would leave out different parts. Remove "
                "trainer.limit_test_batches, and set trainer.limit_val_batches to 1.0, or 0 for no validation"
            )
        benchmark = self.trainer.datamodule.benchmarks[stage]
        self.ranking = StreamedRanking(
            benchmark, temperature=float(self.loss.temperature), with_geometry=stage == "test"
        )

    def _finish(self, stage: str, prefix: str) -> None:
        if self.trainer.sanity_checking:
            return
        self.results[stage] = self.ranking.results()
        # the same keys and values on every rank: Lightning has nothing to reduce
        self.log_dict(
            {f"{prefix}/{name}": value for name, value in self.results[stage].summary().items()}
            | ({"step": float(self.loaded_step)} if stage == "test" else {})
        )
        del self.ranking

    # Checkpoints hold plain values, and refuse an encoder that would read texts differently

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["tokenizer_canary"], checkpoint["reading"] = (
            compute_tokenizer_canary(self.encoder.tokenizer),
            self.encoder.reading(),
        )

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.loaded_step = checkpoint["global_step"]
        saved, now = (
            checkpoint.get("tokenizer_canary"),
            compute_tokenizer_canary(self.encoder.tokenizer),
        )
        if saved and saved != now:
            raise ValueError(
                f"the checkpoint was trained with another tokenizer (canary {saved}, here {now}): use the "
                "model, corpus and library versions of its run, see its config.yaml and versions.json"
            )
        here = self.encoder.reading()
        wrong = [
            f"{key} {value!r}, here {here[key]!r}"
            for key, value in checkpoint.get("reading", here).items()
            if here.get(key) != value
        ]
        now = self.state_dict()
        saved = checkpoint.get(
            "state_dict", now
        )  # which a strategy that spreads weights has taken out and loaded
        wrong += [
            f"{name} {tuple(saved[name].shape) if name in saved else 'missing'}, here "
            f"{tuple(now[name].shape) if name in now else 'missing'}"
            for name in sorted(saved.keys() | now.keys())
            if name not in saved or name not in now or saved[name].shape != now[name].shape
        ]
        if wrong:
            raise ValueError(
                f"the checkpoint is of another encoder, {len(wrong)} differences: {'; '.join(wrong[:3])}. Give the "
                "model of its run, see its config.yaml"
            )


def build_parameter_groups(module: nn.Module) -> list[dict]:
    """Trainable parameters, without weight decay for biases and norms (all that has one dimension or none)."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
