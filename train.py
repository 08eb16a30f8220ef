"""One experiment, top to bottom: plan batches by language, train on them, measure retrieval by language.

    python train.py                                                embedded data, tiny model, two minutes on a laptop
    python train.py sampler=x_y model=labse trainer=gpu            any part of conf/ by its name, any key by its path
    python train.py -m sampler=x_x_mono,x_y,hybrid seed=1,2,3      a sweep, and one table of its jobs
"""

from pathlib import Path

from hydra import main
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.commands import build, conf_folder, one_clear_error, parts, prepare
from hybrid_ir.commands.run_cards import card_of_run
from hybrid_ir.data.card import BatchCard
from hybrid_ir.evaluation.report import report, report_card, report_training
from hybrid_ir.retriever import Retriever
from hybrid_ir.run_folder import checkpoint_file, describe_run
from hybrid_ir.tracking import JsonlLogger


@main(version_base="1.3", config_path=conf_folder(), config_name="train")
def train(cfg: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    prepare(cfg.seed, cfg.threads)
    describe_run(folder, OmegaConf.to_container(cfg, resolve=True))

    corpus = build(cfg.corpus)
    sampler = build(cfg.sampler)(corpus=corpus)
    encoder = build(cfg.model)(texts=corpus.texts())
    benchmarks = {"validation": build(cfg.validation), "test": build(cfg.benchmark)}
    data = build(cfg.data)(sampler=sampler if cfg.fit else None, tokenizers=encoder.tokenizers, **benchmarks)
    module = Retriever(encoder, build(cfg.loss), build(cfg.optimizer), build(cfg.scheduler))
    loggers = [JsonlLogger(folder), *parts(cfg.logger)]
    trainer = build(cfg.trainer)(callbacks=parts(cfg.callbacks), logger=loggers, default_root_dir=folder)

    checkpoint_file(None, cfg.test_checkpoint)  # a wrong choice is said before the training, not after it
    start = checkpoint_file(cfg.ckpt_path, "last" if cfg.fit else cfg.test_checkpoint)
    if cfg.fit:
        card = BatchCard.of(sampler, trainer.max_steps, trainer.accumulate_grad_batches, module.loss, data.hard_negatives)
        report_card(card, folder)
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
        report_training(folder, trainer.global_step, trainer.max_steps)
        start = checkpoint_file(folder, cfg.test_checkpoint)
    if benchmarks["test"]:
        trainer.test(module, data, ckpt_path=start, weights_only=True, verbose=False)
        report(module.results["test"], card_of_run(module, data, cfg, folder), folder)


if __name__ == "__main__":
    with one_clear_error():
        train()
