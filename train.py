"""One experiment, top to bottom: plan batches by language, train on them, measure retrieval by language.

python train.py                                                embedded data, tiny model, two minutes on a laptop
python train.py sampler=x_y model=labse trainer=gpu            any part of conf/ by its name, any key by its path
python train.py -m sampler=x_x_mono,x_y,hybrid seed=1,2,3      a sweep, and one table of its jobs
python train.py trainer=ddp trainer.devices=8 resume=auto      eight processes, from where they were when they were killed
"""

from pathlib import Path

from hydra import main
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hybrid_ir.evaluation.report import write_batch_card, write_report, write_training_report
from hybrid_ir.runs.building import build, build_all
from hybrid_ir.runs.conf import find_conf_folder
from hybrid_ir.runs.errors import report_errors_clearly, report_run_errors_clearly
from hybrid_ir.runs.ranks import run_in_processes
from hybrid_ir.runs.session import open_run
from hybrid_ir.runs.training_record import build_card_of_run
from hybrid_ir.system.setup import prepare_process
from hybrid_ir.training.batch_card import BatchCard
from hybrid_ir.training.loggers import FailSafeLogger, JsonlLogger
from hybrid_ir.training.retriever import Retriever


@main(version_base="1.3", config_path=find_conf_folder(), config_name="train")
@report_run_errors_clearly
def train(cfg: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    prepare_process(cfg.seed, cfg.threads)
    if run_in_processes(cfg, folder):
        return
    with open_run(cfg, folder) as run:
        if run.is_complete:
            return
        corpus = build(cfg.corpus)
        sampler = build(cfg.sampler)(corpus=corpus)
        encoder = build(cfg.model)(texts=corpus.texts())
        benchmarks = {"validation": build(cfg.validation), "test": build(cfg.benchmark)}
        data = build(cfg.data)(
            sampler=sampler if cfg.fit else None, tokenizers=encoder.tokenizers, **benchmarks
        )
        module = Retriever(
            encoder,
            build(cfg.loss),
            build(cfg.optimizer),
            build(cfg.scheduler),
            cfg.cache_gradients,
            cfg.nonfinite,
            cfg.seed,
        )
        loggers = [JsonlLogger(folder), *map(FailSafeLogger, build_all(cfg.logger))]
        trainer = build(cfg.trainer)(
            callbacks=build_all(cfg.callbacks), logger=loggers, default_root_dir=folder
        )
        if run.needs_training:
            if trainer.is_global_zero:
                steps, batches = trainer.max_steps, trainer.accumulate_grad_batches
                write_batch_card(
                    BatchCard.of(sampler, steps, batches, module.loss, **data.described), folder
                )
            trainer.fit(module, data, ckpt_path=run.resume_from, weights_only=True)
            if trainer.is_global_zero:
                write_training_report(folder, trainer.global_step, trainer.max_steps)
        if benchmarks["test"]:
            trainer.test(
                module,
                data,
                ckpt_path=run.checkpoint_to_measure(),
                weights_only=True,
                verbose=False,
            )
            if trainer.is_global_zero:
                write_report(
                    module.results["test"], build_card_of_run(module, data, cfg, folder), folder
                )


if __name__ == "__main__":
    with report_errors_clearly():
        train()
