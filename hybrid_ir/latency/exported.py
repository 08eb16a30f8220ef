"""A BiEncoder as an ONNX Runtime session: backbone, pooling, head and projection in one graph."""

# B texts, T tokens of the longest, D width

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from hybrid_ir.latency.settings import Unavailable
from hybrid_ir.model.encoder import BiEncoder

NAMES = ["input_ids", "attention_mask"]


class Padded(nn.Module):
    """Padded token ids and mask to vectors, the part of a BiEncoder that a graph can hold."""

    def __init__(self, encoder: BiEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        return self.encoder._encode(ids_BT, mask_BT)


def session_of(
    encoder: BiEncoder, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Padded ids and mask to vectors, by ONNX Runtime on the same kind of device with as many threads as torch.

    Raises:
        Unavailable: a package is not installed, or the model cannot be exported.
    """
    try:
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise Unavailable(
            f"onnx: {error.name} is not installed: pip install onnxruntime onnxscript"
        ) from error
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(
            f"onnx: this onnxruntime has no {provider}: pip install onnxruntime-gpu, or device=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            export(encoder, Path(folder), device), options, providers=[provider]
        )

    def encode(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        inputs = zip(NAMES, (ids_BT.cpu().numpy(), mask_BT.cpu().numpy()), strict=True)
        return torch.from_numpy(session.run(None, dict(inputs))[0]).to(device)

    return encode


def export(encoder: BiEncoder, folder: Path, device: torch.device) -> Path:
    """Write the graph for any number of texts and tokens."""
    ids_BT = torch.full((2, 6), encoder.tokenizer.sep_token_id, device=device)
    mask_BT = torch.ones_like(ids_BT)
    texts, tokens = (
        torch.export.Dim("texts", min=1, max=1 << 16),
        torch.export.Dim("tokens", min=2, max=1 << 14),
    )
    shapes = {0: texts, 1: tokens}
    path = folder / "encoder.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what the exporter does to its own libraries
            torch.onnx.export(
                Padded(encoder).eval(),
                (ids_BT, mask_BT),
                path,
                input_names=NAMES,
                output_names=["vectors"],
                dynamic_shapes=(shapes, shapes),
                dynamo=True,
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise Unavailable(f"onnx: export failed: {str(error).strip().splitlines()[0]}") from error
    return path
