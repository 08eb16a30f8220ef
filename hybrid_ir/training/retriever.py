"""The LightningModule: one training step, and an evaluation that counts ranks while it encodes.

Shapes: B queries of this rank, M its passages, C both of them, D width of the vectors.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hybrid_ir.data.batching import Batch
from hybrid_ir.data.labels import count_negatives
from hybrid_ir.distributed import average_over_ranks, clip_values, shard_module, to_full_tensor
from hybrid_ir.evaluation.encoding import Chunk
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.lora import select_adapter_weights
from hybrid_ir.model.tokens import compute_tokenizer_canary
from hybrid_ir.training.checkpoints import fingerprint_frozen_weights, require_same_encoder
from hybrid_ir.training.losses import (
    InfoNCE,
    RetrievalLoss,
    read_loss_options,
    require_negatives_in_batches,
    take_in_batch_ranking,
)
from hybrid_ir.training.nonfinite import NonFiniteGuard
from hybrid_ir.training.optimization import build_parameter_groups
from hybrid_ir.training.steps import are_values_read, seed_dropout
from hybrid_ir.training.training_metrics import TrainingMetrics, sum_by_kind

BuildOptimizer = Callable[[Iterable], Optimizer]
BuildScheduler = Callable[[Optimizer], LRScheduler]


class Retriever(LightningModule):
    """A bi-encoder with its loss and optimiser, to be trained and measured by a Lightning Trainer.

    Args:
        encoder: shared by queries and passages.
        loss: over the vectors and labels of a global batch; InfoNCE, or any RetrievalLoss.
        optimizer: called with the parameter groups, returns the optimiser; None for a module that
            is not trained.
        scheduler: called with the optimiser, returns its learning-rate schedule, which makes a
            step whenever the optimiser does; None for a constant rate.
        cache_gradients: encode twice instead of keeping activations, see BiEncoder.forward: big
            batches in little memory.
        nonfinite: what follows a loss or gradient that is NaN or infinite: `stop`, or `skip` the
            step.
        seed: of dropout.

    Attributes:
        results: what the last `validation` and the last `test` measured.
        loaded_step: optimiser steps of the checkpoint whose weights these are; 0 for none.
        batch_started: when the work on the present training batch began, on time.perf_counter().

    Example:
        module = Retriever(
            encoder=BiEncoder("intfloat/multilingual-e5-small"),
            loss=InfoNCE(temperature=0.05),
            optimizer=lambda groups: torch.optim.AdamW(groups, lr=2e-5),
        )
        Trainer(max_steps=1000).fit(module, RetrievalData(sampler, module.encoder.tokenizers))
    """

    def __init__(
        self,
        encoder: BiEncoder,
        loss: RetrievalLoss,
        optimizer: BuildOptimizer | None,
        scheduler: BuildScheduler | None = None,
        cache_gradients: bool = False,
        nonfinite: str = "stop",
        seed: int = 0,
    ):
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise ValueError(f"loss={loss!r} must be a torch.nn.Module, see RetrievalLoss")
        self.encoder = encoder
        # A checkpoint of a run with LoRA lacks the frozen weights; `on_load_checkpoint` compares.
        self.strict_loading = encoder.lora is None
        self.loss = loss
        self._frozen_weights: str | None = None  # their fingerprint, once it is computed
        self.build_optimizer = optimizer
        self.build_scheduler = scheduler
        self.cache_gradients = cache_gradients
        self.nonfinite_guard = NonFiniteGuard(nonfinite)
        self.seed = seed
        self.loaded_step = 0
        self.batch_started = 0.0
        self.results: dict[str, Results] = {}
        self.training_metrics = TrainingMetrics()
        self._values_of_step: list[torch.Tensor] = []  # of each batch of the present step
        # Sums over the queries of each batch of the present step; none if the loss ranks nothing.
        self._query_totals_of_step: list[torch.Tensor] = []
        self._warned_of_missing_ranking = False

    # Training

    def setup(self, stage: str) -> None:
        """Empties the running means before a training; a checkpoint that is resumed fills them."""
        if stage == "fit":
            self.training_metrics.reset()

    def on_fit_start(self) -> None:
        """Raises ValueError if no query of a batch would have a negative."""
        data = self.trainer.datamodule
        require_negatives_in_batches(self.loss, data.sampler.batch_size, data.hard_negatives)

    def on_train_start(self) -> None:
        """Forgets the batches of a step that an earlier start of the training did not end.

        And sets the rate of the next step: a run that goes on longer than it was planned has kept
        that of its old end.
        """
        self._forget_step()
        schedule = self.lr_schedulers()
        if not isinstance(schedule, LambdaLR):
            return
        for group, rate, factor in zip(
            schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
        ):
            group["lr"] = rate * factor(schedule.last_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Returns the mean loss of the rank's queries in a planned batch."""
        self.batch_started = time.perf_counter()  # here, as a callback may have saved before it
        seed_dropout(self.seed, batch_idx, self.global_rank, self.device)
        # One pass over both, as a call costs as much as some hundred tokens of a small model.
        texts = batch.queries.join(batch.passages)
        vectors_CD = self.encoder(texts, self.cache_gradients)
        queries_BD, passages_MD = vectors_CD.split([len(batch.queries), len(batch.passages)])
        loss = self.loss(queries_BD, passages_MD, batch.labels)
        self.nonfinite_guard.add_batch(batch.step)
        self._log_training_step(loss.detach(), batch)
        return loss

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        """Has the end of the training validated, on whatever step it is."""
        batches_done = batch_idx + 1
        batches = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        if batches_done == batches and isinstance(self.trainer.val_check_batch, int):
            self.trainer.val_check_batch = batches_done

    def _log_training_step(self, loss: torch.Tensor, batch: Batch) -> None:
        """Logs the loss over all ranks and what belongs to it; the guard sees the loss first.

        These are means over the batches of the present step so far. Lightning logs what stands
        here once the step is done, which is then the mean over all of its batches.
        """
        options = read_loss_options(self.loss)
        counts = count_negatives(
            batch.labels, len(batch.monolingual_B), options.mask, options.negatives
        )
        values = torch.stack([loss.float(), counts.masked_share, counts.share_without])
        values, query_totals_2K = self._average_over_ranks(values, batch)
        self.nonfinite_guard.check("loss", values[0], self.trainer)
        self._values_of_step.append(values)
        if query_totals_2K is not None:
            self._query_totals_of_step.append(query_totals_2K)
        if not are_values_read(self.trainer):
            return
        means = torch.stack(self._values_of_step).mean(dim=0)
        self.log_dict(
            {
                "step": float(self.trainer.global_step + 1),  # done once this step is
                "train/loss": means[0],
                "train/masked_share": means[1],
                "train/share_without_negatives": means[2],
                "train/temperature": torch.as_tensor(options.temperature).detach(),
                "train/learning_rate": self.optimizers().param_groups[0]["lr"],
            },
            prog_bar=False,
        )

    def _average_over_ranks(
        self, values: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Averages values and the totals of queries over ranks, together in one collective.

        Returns:
            The values, and `sum_by_kind` (2, K) divided by the number of ranks; None for a loss
            that does not say how it ranked the batch.
        """
        ranking = take_in_batch_ranking(self.loss)
        if ranking is None:
            self._warn_of_missing_ranking()
            return average_over_ranks(values), None
        totals_2K = sum_by_kind(ranking, batch.monolingual_B)
        averages = average_over_ranks(torch.cat([values, totals_2K.flatten()]))
        return averages[: len(values)], averages[len(values) :].reshape(totals_2K.shape)

    def _warn_of_missing_ranking(self) -> None:
        """Says once that the running means over queries are not logged, and why."""
        if self._warned_of_missing_ranking:
            return
        self._warned_of_missing_ranking = True
        rank_zero_warn(
            f"{type(self.loss).__name__} leaves no in_batch_ranking, so train/monolingual/loss and "
            "the other running means over queries are not logged; see RetrievalLoss"
        )

    def _add_to_running_means(self, gradient_norm: torch.Tensor | None) -> None:
        """Adds the present step to the running means."""
        query_totals_2K = None
        if self._query_totals_of_step:
            query_totals_2K = torch.stack(self._query_totals_of_step).sum(dim=0)
        masked_share = torch.stack(self._values_of_step).mean(dim=0)[1]
        self.training_metrics.add_step(query_totals_2K, masked_share, gradient_norm)

    def _forget_step(self) -> None:
        """Forgets the values of the batches of the present step."""
        self._values_of_step = []
        self._query_totals_of_step = []

    def configure_model(self) -> None:
        """Spreads the weights of the encoder over the ranks where the trainer asks for it (FSDP).

        Raises:
            ValueError: the loss has parameters to train, which would not be spread.
        """
        if self.device_mesh is None:
            return
        if any(parameter.requires_grad for parameter in self.loss.parameters()):
            raise ValueError(
                "loss.learn_temperature=true, or another loss with parameters to train, does not "
                "go with trainer=fsdp, which shards the encoder alone: use trainer=ddp, or a fixed "
                "loss.temperature"
            )
        shard_module(self.encoder, self.encoder.list_layers(), self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> dict:
        """Builds the optimiser and its schedule. Raises ValueError for a key that it refuses."""
        if self.build_optimizer is None:
            raise ValueError(
                "this Retriever was loaded without an optimizer: give one to train it, as in "
                "Retriever.load_from_checkpoint(path, optimizer=lambda groups: AdamW(groups))"
            )
        try:
            optimizer = self.build_optimizer(build_parameter_groups(self))
        except ValueError as error:
            raise ValueError(f"optimizer: {error}: correct the keys of optimizer") from error
        if self.build_scheduler is None:
            return {"optimizer": optimizer}
        scheduler = self.build_scheduler(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradients and logs their norm before, or empties those of a bad step.

        The algorithm `norm` bounds the norm of all gradients together, `value` the absolute value
        of each. Lightning's own clipping refuses a fused AdamW under autocast, though only the
        scaler of fp16 needs that. Where there is a scaler, it finds and skips bad steps by itself.
        """
        norm = None
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            clips_values = gradient_clip_algorithm == "value"
            largest_norm = torch.inf if clips_values else gradient_clip_val or torch.inf
            norm = to_full_tensor(nn.utils.clip_grad_norm_(self.parameters(), largest_norm))
            self.nonfinite_guard.check("gradient norm", norm, self.trainer)
            if are_values_read(self.trainer):
                self.log("train/gradient_norm", norm)
            if clips_values and gradient_clip_val:
                clip_values(self.parameters(), gradient_clip_val)
        if self.nonfinite_guard.skips_step:
            optimizer.zero_grad(set_to_none=True)  # an optimiser passes over what has no gradient
        else:
            self._add_to_running_means(norm)
        if are_values_read(self.trainer):
            has_query_means = len(self._query_totals_of_step) > 0
            self.log_dict(self.training_metrics.compute_means(has_query_means))
        self.nonfinite_guard.end_step()
        self._forget_step()

    # Evaluation: encode, count, report; the same for validation and test

    def on_validation_epoch_start(self) -> None:
        """Prepares the ranking of the validation benchmark."""
        self._start_ranking("validation")

    def on_test_epoch_start(self) -> None:
        """Prepares the ranking of the test benchmark."""
        self._start_ranking("test")

    def validation_step(self, chunk: Chunk, _: int) -> None:
        """Encodes some texts of the benchmark and adds them to its ranking."""
        self.ranking.add(chunk.assign(self.encoder(chunk.inputs).float()))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Keeps and logs what the validation benchmark measured."""
        self._finish_ranking("validation", "val")

    def on_test_epoch_end(self) -> None:
        """Keeps and logs what the test benchmark measured."""
        self._finish_ranking("test", "test")

    def _start_ranking(self, stage: str) -> None:
        """Prepares the ranking of a stage. Raises ValueError if ranks would see parts of it."""
        trainer = self.trainer
        limit = trainer.limit_test_batches if stage == "test" else trainer.limit_val_batches
        if trainer.world_size > 1 and limit != 1.0:
            raise ValueError(
                f"{stage}: ranks need the whole pool, and several processes would leave out "
                "different parts. Remove trainer.limit_test_batches, and set "
                "trainer.limit_val_batches to 1.0, or 0 for no validation"
            )
        benchmark = trainer.datamodule.benchmarks[stage]
        temperature = float(read_loss_options(self.loss).temperature)
        self.ranking = StreamedRanking(
            benchmark, temperature=temperature, with_geometry=stage == "test"
        )

    def _finish_ranking(self, stage: str, prefix: str) -> None:
        """Keeps the results of a stage, and logs their summary under names with a prefix."""
        if self.trainer.sanity_checking:
            return
        self.results[stage] = self.ranking.results()
        summary = self.results[stage].summary()
        values = {f"{prefix}/{name}": value for name, value in summary.items()}
        is_test = stage == "test"
        values["step"] = float(self.loaded_step if is_test else self.trainer.global_step)
        self.log_dict(values)  # equal on every rank: Lightning has nothing to reduce
        del self.ranking

    # Checkpoints hold plain values, and refuse an encoder that would read texts differently

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Adds how the encoder reads texts, and the running means, to a checkpoint."""
        checkpoint["tokenizer_canary"] = compute_tokenizer_canary(self.encoder.tokenizer)
        checkpoint["reading"] = self.encoder.describe_reading()
        checkpoint["running_means"] = self.training_metrics.get_windows()
        if isinstance(self.loss, InfoNCE):
            checkpoint["loss"] = self.loss.describe()
        if self.encoder.lora is not None:
            checkpoint["state_dict"] = select_adapter_weights(checkpoint["state_dict"])
            checkpoint["frozen_weights"] = self._fingerprint_frozen_weights()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Notes the step of a checkpoint. Raises ValueError if it is of another encoder."""
        self.loaded_step = checkpoint["global_step"]
        require_same_encoder(
            checkpoint,
            tokenizer_canary=compute_tokenizer_canary(self.encoder.tokenizer),
            reading=self.encoder.describe_reading(),
            weights=self._list_saved_weights(),
            frozen_weights=self._fingerprint_frozen_weights(),
        )
        self.training_metrics.set_windows(checkpoint.get("running_means", {}))

    def _list_saved_weights(self) -> dict[str, torch.Tensor]:
        """Returns the weights that a checkpoint holds: with LoRA not the frozen ones."""
        weights = self.state_dict()
        return weights if self.encoder.lora is None else select_adapter_weights(weights)

    def _fingerprint_frozen_weights(self) -> str | None:
        """Returns a fingerprint of the weights that LoRA has frozen, None without LoRA."""
        if self.encoder.lora is not None and self._frozen_weights is None:
            self._frozen_weights = fingerprint_frozen_weights(self.encoder.backbone)
        return self._frozen_weights

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **choices: Any) -> "Retriever":
        """Loads the retriever of a checkpoint, with the encoder that lies in its run folder.

        Args:
            checkpoint_path: a .ckpt file in the `checkpoints` of a run folder.
            choices: `loss`, `optimizer` and other arguments of this class. The loss is InfoNCE with
                the temperature of the run if none is given; a module without an optimizer cannot
                be trained, and does everything else.

        Raises:
            ValueError: the checkpoint or the run folder is damaged or incomplete.

        Example:
            encoder = Retriever.load_from_checkpoint("RUN/checkpoints/best.ckpt").encoder
        """
        from hybrid_ir.training.loading import load_retriever

        return load_retriever(Path(checkpoint_path), cls, choices)
