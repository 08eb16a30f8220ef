"""What this machine has for this process: cores that are free, and units for bfloat16."""

import os
import platform
from pathlib import Path

AUTO = "auto"
CPU_INFO = Path("/proc/cpuinfo")
# Where control groups say how much of a CPU a process may use: version 2, then version 1.
CGROUP_FOLDER = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")
CGROUP_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
CGROUP_PERIOD_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
# Flags of processors that multiply bfloat16: x86 with AVX-512 or AMX, and ARM.
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
WAIT_POLICY = "OMP_WAIT_POLICY"
THREADS_VARIABLE = "OMP_NUM_THREADS"
# Set where OMP_NUM_THREADS is what `auto` has chosen for a process, and not a wish of the user.
CHOSEN_VARIABLE = "HYBRID_IR_THREADS_CHOSEN"
# Lightning's names of precisions that compute in bfloat16, by whether weights are as well.
BF16_PRECISIONS = ("bf16", "bf16-mixed", "bf16-true")


def let_idle_threads_sleep() -> None:
    """Has threads of torch sleep while they wait for each other; call it before torch is imported.

    By default they spin. Two threads beside another job on the second core then need many times as
    long as one thread. A policy that the user has set stays.
    """
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")


def count_cores() -> int:
    """Counts the CPU cores that this process may use, by its affinity and its control group."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _read_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def count_processes_here() -> int:
    """Counts the processes of this run on this machine, as what started them says."""
    local = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE")
    if local is not None and local.isdecimal():
        return max(1, int(local))
    return 1


def choose_threads(threads: int | str) -> int:
    """Returns the number of threads of torch on a CPU.

    Args:
        threads: the number itself, or `auto`: OMP_NUM_THREADS if it is set, else the cores of this
            process, shared with the other processes of the run on this machine.
    """
    if threads != AUTO:
        return threads
    given = os.environ.get(THREADS_VARIABLE, "")
    # torchrun sets 1 where the user has set nothing.
    is_default = bool(os.environ.get("TORCHELASTIC_RUN_ID")) and given == "1"
    is_chosen = bool(os.environ.get(CHOSEN_VARIABLE)) or is_default
    if given.isdecimal() and int(given) > 0 and not is_chosen:
        return int(given)
    return max(1, count_cores() // count_processes_here())


def has_bf16_units(device: str = "cpu") -> bool:
    """Returns whether a device multiplies bfloat16 faster than float32.

    A processor without such units needs several times as long for it.

    Args:
        device: as torch names it, `cpu`, `cuda`, `cuda:1` or `mps`.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        import torch  # slow to import

        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(False)
    if kind != "cpu":
        return False
    return any(flag in BF16_FLAGS for flag in _read_cpu_flags())


def name_processor() -> str:
    """Returns the name of the processor of this machine, such as AMD EPYC 9654."""
    for line in _read_lines(CPU_INFO):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Processor"):
            return value.strip()
    return platform.processor() or platform.machine()


def choose_precision(precision: str, device: str, bf16: str, fp32: str) -> str:
    """Returns the precision for a device: `auto` takes bfloat16 where it has units for it.

    Args:
        precision: what the user has typed.
        device: as torch names it.
        bf16: name of the precision that computes in bfloat16.
        fp32: name of the precision that computes in float32.
    """
    if precision != AUTO:
        return precision
    return bf16 if has_bf16_units(device) else fp32


def describe_slow_precision(key: str, precision: str, device: str) -> str | None:
    """Returns a warning of a precision for which a device has no units, None if it has.

    Args:
        key: of the config, for the message.
        precision: of Lightning or of an encoder.
        device: as torch names it.
    """
    if precision not in BF16_PRECISIONS or has_bf16_units(device):
        return None
    place = f"this processor ({name_processor()})" if device == "cpu" else f"this device ({device})"
    return (
        f"{key}={precision}: {place} has no units for bfloat16, and computes it several times "
        f"slower than float32: {key}=auto chooses by the machine"
    )


def _read_cpu_flags() -> list[str]:
    for line in _read_lines(CPU_INFO):
        if line.startswith(("flags", "Features")):
            return line.partition(":")[2].split()
    return []


def _read_quota() -> float | None:
    """Returns how many cores the control groups of this process may use; None for any number."""
    quotas = [_read_values(path) for path in _list_quota_files()]
    old_values = [*_read_values(CGROUP_QUOTA_1), *_read_values(CGROUP_PERIOD_1)]
    cores = []
    for values in [*quotas, old_values]:
        # "max" and -1 stand for no limit
        if len(values) == 2 and values[0].isdecimal() and values[1].isdecimal():
            cores.append(int(values[0]) / max(1, int(values[1])))
    return min(cores, default=None)


def _list_quota_files() -> list[Path]:
    """Returns the quota of the control group of this process, and those of the groups around it."""
    group = ""
    for line in _read_lines(CGROUP_OF_PROCESS):
        if line.startswith("0::"):
            group = line.removeprefix("0::").strip().strip("/")
    folders = [CGROUP_FOLDER / group, *(CGROUP_FOLDER / group).parents]
    return [folder / "cpu.max" for folder in folders if folder.is_relative_to(CGROUP_FOLDER)]


def _read_values(path: Path) -> list[str]:
    return " ".join(_read_lines(path)).split()


def _read_lines(path: Path) -> list[str]:
    """Returns the lines of a file of the system; none where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system than Linux
        return []
