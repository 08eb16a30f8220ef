"""Opens a graph of ONNX as a function from padded token ids to vectors.

Shapes: B texts, T tokens of the longest text, D width of the vectors.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hybrid_ir.model.onnx_graph import ONNX_INPUTS

Encode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # ids (B, T), mask -> vectors (B, D)
ERRORS_ONLY = 3  # of what ONNX Runtime logs


def require_packages_of_graphs() -> None:
    """Raises ValueError, which names the cure, where a package that writes graphs is missing."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  what torch.onnx writes the graph with
    except ImportError as error:
        raise ValueError(
            f"{error.name} is not installed: pip install onnxruntime onnxscript"
        ) from error


def require_openvino() -> None:
    """Raises ValueError, which names the cure, where OpenVINO is not installed."""
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{error.name} is not installed: pip install 'hybrid-ir[openvino]'"
        ) from error
    _keep_error_stream_open()


def _keep_error_stream_open() -> None:
    """Has the log of absl, which OpenVINO imports, write to a stream that it does not close.

    Its handler closes its stream when logging is configured again, as Hydra does, and that may be
    what stands in for the error output.
    """
    absl_logging = sys.modules.get("absl.logging")
    if absl_logging is not None:
        absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


def start_onnx_session(graph: Path, device: torch.device) -> Any:
    """Starts an ONNX Runtime session on a device, with as many threads as torch has.

    Raises:
        ValueError: this ONNX Runtime is not for that device.
    """
    import onnxruntime

    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ValueError(
            f"this onnxruntime has no {provider}: pip install onnxruntime-gpu, or device=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=[provider])


def list_names(graph: Path) -> tuple[list[str], list[str]]:
    """Returns the names of the inputs and of the outputs of a graph."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    return inputs, outputs


def open_with_onnx_runtime(graph: Path, device: torch.device, output: str) -> Encode:
    """Opens a graph with ONNX Runtime.

    Args:
        graph: the file.
        device: `cpu`, or `cuda` where ONNX Runtime is built for it.
        output: name of the vectors in the graph.
    """
    session = start_onnx_session(graph, device)

    def encode(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        arrays = (ids_BT.cpu().numpy(), mask_BT.cpu().numpy())
        (vectors_BD,) = session.run([output], dict(zip(ONNX_INPUTS, arrays, strict=True)))
        return torch.from_numpy(vectors_BD).to(device)

    return encode


def open_with_openvino(graph: Path, output: str) -> Encode:
    """Opens a graph with OpenVINO on the CPU, in float32, with as many threads as torch has.

    Args:
        graph: the file.
        output: name of the vectors in the graph.
    """
    require_openvino()
    import openvino

    core = openvino.Core()
    choices = {
        # It takes bfloat16 where the processor has units for it unless it is told otherwise.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Other processes of the machine may have the core that it would choose.
        "ENABLE_CPU_PINNING": False,
    }
    model = core.compile_model(core.read_model(graph), "CPU", choices)
    request = model.create_infer_request()

    def encode(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        arrays = (ids_BT.numpy(), mask_BT.numpy())
        outputs = request.infer(dict(zip(ONNX_INPUTS, arrays, strict=True)))
        # Its memory is used again for the next texts.
        return torch.from_numpy(outputs[output].copy())

    return encode
