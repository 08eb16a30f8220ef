"""The command that corrects a model in the way that `hybrid-ir bias` has tried."""

import shlex
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from hybrid_ir.cli.asked_texts import EMBEDDED
from hybrid_ir.model.prompts import quote_setting

# Keys of conf/encoder that decide the vectors of a model.
READING_KEYS = (
    "backbone",
    "pooling",
    "query_prefix",
    "passage_prefix",
    "query_max_length",
    "passage_max_length",
    "similarity",
    "revision",
)


def build_debias_command(cfg: DictConfig) -> str:
    """Returns a line for a shell that makes a corrected model of the one that was asked.

    The correction is fitted on the texts that were asked, except for the embedded ones, which have
    a part of their own for that. What writes the model is installed first, where it is missing.

    Args:
        cfg: of `hybrid-ir bias`.
    """
    words = ["hybrid-ir debias", shlex.quote(f"model={cfg.model}")]
    for key in READING_KEYS:
        value = cfg.get(key)
        if value is not None:
            words.append(quote_setting(key, str(value)) if " " in str(value) else f"{key}={value}")
    corpus = str(cfg.corpus)
    if corpus != EMBEDDED:
        place = str(Path(corpus).expanduser()) if Path(corpus).expanduser().exists() else corpus
        words.append(shlex.quote(f"on={place}"))
    words.append("to=FOLDER")
    command = " ".join(words)
    if find_spec("sentence_transformers") is None:
        return f"pip install 'hybrid-ir[sentence-transformers]' && {command}"
    return command
