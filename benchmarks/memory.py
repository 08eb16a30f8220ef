"""How much memory a process uses, for the measurements of this folder."""

import resource
from pathlib import Path


def read_peak_memory() -> float:
    """Returns the largest memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_anonymous_memory() -> float:
    """Returns the memory of this process that is not pages of mapped files, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) / 1024
    raise RuntimeError("/proc/self/status has no line RssAnon")
