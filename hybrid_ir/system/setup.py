"""How a process is set up: seeds, threads, and libraries that say only what users need."""

import logging
import os
import warnings


def silence_libraries() -> None:
    """Lightning's advice about hardware, services and loops that we set up on purpose."""
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.accelerators.cuda",
        "lightning.fabric.utilities.distributed",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*Total length of .* is zero.*",
        ".*Checkpoint directory .* exists.*",
        ".*callbacks used to create the checkpoint.*",
        ".*The dirpath has changed.*",
        ".*your dataloader is not resumable.*",
        ".*recommended to use .self.log.*sync_dist=True.*",
        ".*.srun. command is available.*",
    ):
        warnings.filterwarnings("ignore", message)


def prepare_process(seed: int, threads: int) -> None:
    """Seed every generator, and set the threads of torch on a CPU."""
    wrong = [
        f"{name}={value!r} must be a whole number from {least} to {most}"
        for name, value, least, most in (
            ("seed", seed, 0, 2**32 - 1),
            ("threads", threads, 1, max(64, os.cpu_count() or 1)),
        )
        if type(value) is not int or not least <= value <= most
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    import torch  # here, so that `hybrid-ir data fetch` starts in a second
    from lightning import seed_everything

    os.environ["OMP_NUM_THREADS"] = str(
        threads
    )  # else Lightning takes all cores for the processes of a machine
    torch.set_num_threads(threads)
    seed_everything(seed, workers=True, verbose=False)
