"""One experiment: plan batches by language, train on them, measure retrieval by language.

python train.py                                            embedded data, a tiny model, two minutes
python train.py -m sampler=x_x_mono,x_y,hybrid seed=1,2,3  a sweep, and one table of its jobs
"""

import hydra

from hybrid_ir.cli.train import run_from_command_line
from hybrid_ir.runs.conf import get_output_folder, prepare_hydra
from hybrid_ir.runs.errors import report_run_errors_clearly


@hydra.main(version_base="1.3", config_path=prepare_hydra(), config_name="train")
@report_run_errors_clearly
def train(cfg):
    """Trains the encoder of a config on the batches that its sampler plans, and measures it."""
    # Imported here, so that a misspelt key is refused before torch is loaded.
    from hybrid_ir.runs.building import build, build_all
    from hybrid_ir.runs.machine import prepare_for_machine
    from hybrid_ir.runs.session import open_run, run_in_processes
    from hybrid_ir.runs.training_record import build_reports
    from hybrid_ir.training.loggers import build_loggers
    from hybrid_ir.training.retriever import Retriever
    from hybrid_ir.training.validation import prepare_validation

    folder = get_output_folder()
    prepare_for_machine(cfg, folder)
    if run_in_processes(cfg, folder):
        return
    with open_run(cfg, folder) as run:
        corpus, validation = prepare_validation(build(cfg.validation), build(cfg.corpus))
        sampler = build(cfg.sampler)(corpus=corpus) if cfg.fit else None
        encoder = build(cfg.model)(texts=corpus.texts())
        run.load_starting_weights(encoder)
        benchmarks = {"validation": validation, "test": build(cfg.benchmark)}
        data = build(cfg.data)(sampler=sampler, tokenizers=encoder.tokenizers, **benchmarks)
        run.require_same_content(data, corpus, encoder)
        if run.is_complete:
            return
        run.keep_encoder(encoder)
        module = Retriever(
            encoder=encoder,
            loss=build(cfg.loss),
            optimizer=build(cfg.optimizer),
            scheduler=build(cfg.scheduler),
            cache_gradients=cfg.cache_gradients,
            nonfinite=cfg.nonfinite,
            seed=cfg.seed,
        )
        trainer = build(cfg.trainer)(
            callbacks=[*build_all(cfg.callbacks), *build_reports(cfg, folder)],
            logger=build_loggers(folder, build_all(cfg.logger)),
            default_root_dir=folder,
        )
        if run.needs_training:
            trainer.fit(module, data, ckpt_path=run.resume_from, weights_only=True)
        if cfg.benchmark:
            checkpoint = run.find_checkpoint_to_measure()
            trainer.test(module, data, ckpt_path=checkpoint, weights_only=True, verbose=False)


if __name__ == "__main__":
    run_from_command_line(train)
