"""Writes an encoder as a graph of ONNX: token ids and their mask in, vectors out.

Shapes: B texts, T tokens of the longest text.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

ONNX_INPUTS = ("input_ids", "attention_mask")
# How many texts and tokens a graph takes, at most.
MOST_TEXTS = 1 << 16
MOST_TOKENS = 1 << 14
# Texts and tokens of the example that the exporter follows.
EXAMPLE_SHAPE = (2, 6)


def write_onnx_graph(
    module: nn.Module, token: int, outputs: Sequence[str], path: Path, device: torch.device
) -> None:
    """Writes a module as a graph for any number of texts and tokens.

    Args:
        module: takes padded token ids (B, T) and their mask (B, T), in evaluation mode.
        token: an id that the module knows, for the example that the exporter follows.
        outputs: names of what the module returns.
        path: of the graph. Weights of more than 2 GB go into a file beside it.
        device: on which the module is.

    Raises:
        ValueError: the module has something that no graph can hold.
    """
    ids_BT = torch.full(EXAMPLE_SHAPE, token, device=device)
    mask_BT = torch.ones_like(ids_BT)
    texts = torch.export.Dim("texts", min=1, max=MOST_TEXTS)
    tokens = torch.export.Dim("tokens", min=2, max=MOST_TOKENS)
    shape = {0: texts, 1: tokens}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what the exporter does to its own libraries
            torch.onnx.export(
                module,
                (ids_BT, mask_BT),
                path,
                input_names=list(ONNX_INPUTS),
                output_names=list(outputs),
                dynamic_shapes=(shape, shape),
                dynamo=True,
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"export failed: {reason}") from error
