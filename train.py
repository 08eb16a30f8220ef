"""One experiment, top to bottom: plan batches by language, train on them, measure retrieval by language.

python train.py                                                embedded data, tiny model, two minutes on a laptop
python train.py sampler=x_y model=labse trainer=gpu            any part of conf/ by its name, any key by its path
python train.py -m sampler=x_x_mono,x_y,hybrid seed=1,2,3      a sweep, and one table of its jobs
python train.py trainer=ddp trainer.devices=8 resume=auto      eight processes, from where they were when they were killed
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hybrid_ir.cli.train import run_from_command_line
from hybrid_ir.runs.conf import prepare_hydra
from hybrid_ir.runs.errors import report_run_errors_clearly


@hydra.main(version_base="1.3", config_path=prepare_hydra(), config_name="train")
@report_run_errors_clearly
def train(cfg: DictConfig) -> None:
    """Train the encoder of a config with the batches that its sampler plans, and measure it."""
    # Imported here, so that a misspelt key is refused before torch is loaded.
    from hybrid_ir.runs.building import build, build_all
    from hybrid_ir.runs.ranks import run_in_processes
    from hybrid_ir.runs.session import open_run
    from hybrid_ir.runs.training_record import ResultReport
    from hybrid_ir.system.setup import prepare_process
    from hybrid_ir.training.callbacks import BatchCardReport, TrainingReport
    from hybrid_ir.training.loggers import build_loggers
    from hybrid_ir.training.retriever import Retriever

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
        data = build(cfg.data)(
            sampler=sampler if cfg.fit else None,
            tokenizers=encoder.tokenizers,
            validation=build(cfg.validation),
            test=build(cfg.benchmark),
        )
        module = Retriever(
            encoder=encoder,
            loss=build(cfg.loss),
            optimizer=build(cfg.optimizer),
            scheduler=build(cfg.scheduler),
            cache_gradients=cfg.cache_gradients,
            nonfinite=cfg.nonfinite,
            seed=cfg.seed,
        )
        reports = [BatchCardReport(folder), TrainingReport(folder), ResultReport(cfg, folder)]
        trainer = build(cfg.trainer)(
            callbacks=[*build_all(cfg.callbacks), *reports],
            logger=build_loggers(folder, build_all(cfg.logger)),
            default_root_dir=folder,
        )
        if run.needs_training:
            trainer.fit(module, data, ckpt_path=run.resume_from, weights_only=True)
        if cfg.benchmark:
            trainer.test(
                module,
                data,
                ckpt_path=run.checkpoint_to_measure(),
                weights_only=True,
                verbose=False,
            )


if __name__ == "__main__":
    run_from_command_line(train)
