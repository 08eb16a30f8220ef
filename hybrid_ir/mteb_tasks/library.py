"""The library mteb, which is an extra."""

from types import ModuleType


def import_mteb() -> ModuleType:
    """Imports mteb, which takes seconds.

    Raises:
        ValueError: It is not installed. The message names the extra.
    """
    try:
        import mteb
    except ImportError as error:
        raise ValueError(
            f"mteb cannot be imported ({error}): pip install 'hybrid-ir[mteb]' installs it"
        ) from error
    return mteb
