"""What a run leaves to the machine it is started on: its threads and its precision."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hybrid_ir.system.environment import prepare_process
from hybrid_ir.system.hardware import AUTO, choose_precision, describe_slow_precision

# The device of an accelerator of Lightning, where its name is not the same.
DEVICES = {"gpu": "cuda", "auto": "cuda"}
LIGHTNING_BF16 = "bf16-mixed"
LIGHTNING_FP32 = "32-true"


def prepare_for_machine(cfg: DictConfig, folder: Path) -> None:
    """Seeds and sets up this process, and chooses what the config leaves to the machine.

    Args:
        cfg: of a run; `trainer.precision=auto` is replaced in place.
        folder: of the run.
    """
    prepare_process(cfg.seed, cfg.threads)
    choose_precision_of_run(cfg, folder)


def choose_precision_of_run(cfg: DictConfig, folder: Path) -> None:
    """Replaces `trainer.precision=auto` by what this machine is fast in, and warns of a slow one.

    A run that goes on in its folder keeps the precision that it was started with, on any machine.

    Args:
        cfg: of a run, changed in place.
        folder: of the run.
    """
    device = DEVICES.get(cfg.trainer.accelerator, cfg.trainer.accelerator)
    if device == "cuda" and not _has_cuda():
        device = "cpu" if cfg.trainer.accelerator == "auto" else "mps"
    precision = cfg.trainer.precision
    if precision == AUTO:
        precision = choose_precision(AUTO, device, bf16=LIGHTNING_BF16, fp32=LIGHTNING_FP32)
        for started in _list_started_runs(cfg, folder):
            precision = _read_precision(started) or precision
        cfg.trainer.precision = precision
    warning = describe_slow_precision("trainer.precision", precision, device)
    if warning is not None:
        print(f"warning: {warning}")


def _list_started_runs(cfg: DictConfig, folder: Path) -> list[Path]:
    """Returns the folders of runs that this one goes on with, its own last."""
    folders = [folder]
    if cfg.get("resume_from"):
        place = Path(cfg.resume_from)
        # a run folder, or a checkpoint in its folder `checkpoints`
        folders = [place.parent.parent, place, folder]
    return folders


def _read_precision(folder: Path) -> str | None:
    """Returns the precision of the run that a folder holds, None if it holds none."""
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    return OmegaConf.select(OmegaConf.load(path), "trainer.precision")


def _has_cuda() -> bool:
    import torch  # slow to import

    return torch.cuda.is_available()
