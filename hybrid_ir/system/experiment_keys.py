"""Which keys of a config make another experiment, and which only say how an experiment is run.

Two questions are asked of a config. Is it the same run, so that it may go on in its folder? The
hash in the name of the folder answers this. Is it the same system, so that its numbers may be
compared and averaged? The settings on the card of a run answer this. Both read the tables below.
"""

# Keys, at any depth of a config, with which an experiment stays the same run and the same system.
EXECUTION_KEYS = {
    # Where it runs.
    "accelerator": "the kind of device",
    "devices": "the number of processes; the global batch does not depend on it",
    "num_nodes": "the number of machines",
    "strategy": "how the processes exchange gradients",
    "plugins": "how checkpoints are written",
    "paths": "where data, caches and results are on this machine",
    "cache": "where tokens are kept on this machine",
    "hydra": "how a run or a sweep is started",
    "resume": "whether a run starts anew or from a checkpoint",
    # How fast it runs, and in how much memory.
    "threads": "threads of torch on a CPU",
    "num_workers": "processes that prepare batches",
    "cache_gradients": "encoding twice instead of keeping activations",
    "gradient_checkpointing": "computing activations twice instead of keeping them",
    "compile": "whether torch.compile fuses the operations of the backbone",
    "packing": "whether texts are encoded in rows without padding",
    "tokens_per_slice": "how many tokens are encoded at once",
    "texts_per_chunk": "how many texts of a benchmark are encoded at once",
    "attention": "the kernel that computes attention",
    "fused": "the kernel that computes the step of the optimizer",
    "every_n_train_steps": "how often a checkpoint is kept to resume from",
    # How it is shown.
    "logger": "where the log is sent to",
    "log_every_n_steps": "how often the log has a row of the training",
    "refresh_rate": "how often the progress bar is drawn",
    "throughput": "how the speed is measured",
    "trace": "which steps are recorded for Perfetto",
    "max_time": "when a run saves and stops, to go on later",
    "profiler": "whether times are printed",
    "enable_model_summary": "whether the layers are printed",
    "num_sanity_val_steps": "a trial of the validation before the training",
}

# Keys that make another run, since its log or its weights differ, but not another system.
RUN_KEYS = {
    "seed": "a system is measured by the mean over the runs of several seeds",
    "folder": "the place of a corpus differs between machines; the card names the corpus itself",
    "val_check_interval": "decides how often the best checkpoint is looked for",
    "limit_val_batches": "decides how well the best checkpoint is known",
    "check_val_every_n_epoch": "must be null, since there are no epochs",
    "max_epochs": "must be -1, since steps end a run",
    "use_distributed_sampler": "must be false, since batches are planned for all processes",
    "_target_": "the name of a class or function in the code, which may move between versions",
    "_partial_": "how an object is built from the config",
}


def distinguishes_runs(key: str) -> bool:
    """Returns whether another value of this key makes another run, with a folder of its own."""
    return key not in EXECUTION_KEYS


def distinguishes_systems(key: str) -> bool:
    """Returns whether another value of this key makes another system to compare with the first."""
    return key not in EXECUTION_KEYS and key not in RUN_KEYS
