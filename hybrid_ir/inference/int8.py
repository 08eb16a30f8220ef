"""Turns a graph into int8, in each of its products by the quickest way that loses little.

Int8 multiplies activations and weights that are rounded to 127 steps on either side of zero.
Weights have a scale for each output, activations one for each token, so that a text has one vector
whatever other texts it is encoded with. A few large channels leave few steps to all others of a
token: this is where int8 loses. Three ways, from the quickest:

- `direct`: activations as they are.
- `smoothed`: each channel is divided by a number first, and the weights of the channel are
  multiplied by it, which changes nothing in exact arithmetic (SmoothQuant, Xiao et al. 2023,
  arXiv 2211.10438).
- `blocks`: a scale for every 32 channels of every token, which loses next to nothing and is slower.

The error of each way is measured on texts in many languages before one is chosen.

Shapes: R tokens of a text, I inputs and O outputs of a product.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.inference.graph_files import measure_graph, save_graph
from hybrid_ir.inference.int8_products import (
    SMALLEST,
    STEPS,
    divide_channels,
    drop_unused_weights,
    multiply_in_blocks,
    multiply_in_int8,
    read_weights,
    require_domain,
    scale_outputs,
)

RECIPE = 1  # changes whenever other graphs come out
# Of the output of a product, as a share of its length, that rounding may cost.
TOLERABLE_ERROR = 0.015
# How much of the size of a channel moves from activations to weights; SmoothQuant's alpha.
EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Int8Ways:
    """How many products of a graph are computed in which way.

    Attributes:
        direct: with activations as they are.
        smoothed: with divided channels.
        blocks: with a scale for each block of channels.
    """

    direct: int
    smoothed: int
    blocks: int

    def to_dict(self) -> dict[str, int]:
        """Returns plain values for a card."""
        return asdict(self)


@dataclass(frozen=True)
class _Choice:
    """How the products that share an input are computed.

    Attributes:
        divisors_I: of the channels of the input; None leaves them as they are.
        names_in_blocks: of the products with a scale for each block.
    """

    divisors_I: np.ndarray | None
    names_in_blocks: list[str]


def write_int8_graph(graph: Path, path: Path, inputs: Sequence[Mapping[str, Any]]) -> Int8Ways:
    """Writes a graph in int8; its tables of token vectors and sums stay in float32.

    Args:
        graph: in float32.
        path: of the new graph.
        inputs: of the graph, one text each; the errors are measured on them.

    Returns:
        In which way the products are computed.
    """
    import onnx

    model = onnx.load(graph)
    size = measure_graph(graph)
    products = _group_products(model)
    activations = _collect_activations(graph, list(products), inputs)
    choices = {}
    for name, nodes in products.items():
        weights = {node.name: read_weights(model, node) for node in nodes}
        choices[name] = _choose_way(activations.pop(name), weights)
    in_blocks: list[str] = []
    in_int8: dict[str, list[Any]] = {}
    for name, choice in choices.items():
        in_blocks += choice.names_in_blocks
        nodes = [node for node in products[name] if node.name not in choice.names_in_blocks]
        if choice.divisors_I is not None:
            name = divide_channels(model, name, nodes, choice.divisors_I)
        if nodes:
            in_int8[name] = nodes
    multiply_in_int8(model, in_int8)
    drop_unused_weights(model)
    if in_blocks:
        model = multiply_in_blocks(model, in_blocks)
    require_domain(model)
    save_graph(model, path, size)
    return _count_ways(choices, products)


def _group_products(model: Any) -> dict[str, list[Any]]:
    """Returns the products with fixed weights, by the name of the activations they multiply."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        if len(weights[node.input[1]].dims) == 2:
            products.setdefault(node.input[0], []).append(node)
    return products


def _collect_activations(
    graph: Path, names: Sequence[str], inputs: Sequence[Mapping[str, Any]]
) -> dict[str, list[np.ndarray]]:
    """Returns the activations (R, I) of each text, by their name in the graph."""
    import onnx
    import onnxruntime

    model = onnx.load(graph)
    for name in names:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "activations.onnx"
        save_graph(model, path, measure_graph(graph))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        activations: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for values in inputs:
            for name, array in zip(names, session.run(names, dict(values)), strict=True):
                activations[name].append(array.reshape(-1, array.shape[-1]))
    return activations


def _choose_way(activations: Sequence[np.ndarray], weights: Mapping[str, np.ndarray]) -> _Choice:
    """Chooses the quickest way whose error is tolerable, for products that share an input.

    Args:
        activations: of each text (R, I).
        weights: of each product by its name (I, O).
    """
    errors = _measure_errors(activations, weights, None)
    if max(errors.values()) <= TOLERABLE_ERROR:
        return _Choice(None, [])
    best_divisors_I = None
    for exponent in EXPONENTS:
        divisors_I = _compute_divisors(activations, weights, exponent)
        smoothed_errors = _measure_errors(activations, weights, divisors_I)
        if max(smoothed_errors.values()) < max(errors.values()):
            errors = smoothed_errors
            best_divisors_I = divisors_I
    in_blocks = [name for name, error in errors.items() if error > TOLERABLE_ERROR]
    if len(in_blocks) == len(weights):
        return _Choice(None, in_blocks)
    return _Choice(best_divisors_I, in_blocks)


def _compute_divisors(
    activations: Sequence[np.ndarray], weights: Mapping[str, np.ndarray], exponent: float
) -> np.ndarray:
    """Returns a divisor for each channel (I), see equation 4 of SmoothQuant."""
    largest_I = np.maximum.reduce([np.abs(array).max(0) for array in activations])
    weights_I = np.maximum.reduce([np.abs(array).max(1) for array in weights.values()])
    largest_I = np.maximum(largest_I, SMALLEST)
    weights_I = np.maximum(weights_I, SMALLEST)
    return (largest_I**exponent / weights_I ** (1 - exponent)).astype(np.float32)


def _measure_errors(
    activations: Sequence[np.ndarray],
    weights: Mapping[str, np.ndarray],
    divisors_I: np.ndarray | None,
) -> dict[str, float]:
    """Returns what rounding costs each product, as a share of the length of its output."""
    errors = {}
    for name, weights_IO in weights.items():
        divided_IO = weights_IO if divisors_I is None else weights_IO * divisors_I[:, None]
        rounded_IO = _round_weights(divided_IO)
        squared_error = 0.0
        squared_length = 0.0
        for array_RI in activations:
            divided_RI = array_RI if divisors_I is None else array_RI / divisors_I
            expected_RO = array_RI @ weights_IO
            output_RO = _round_activations(divided_RI) @ rounded_IO
            squared_error += float(np.square(output_RO - expected_RO).sum())
            squared_length += float(np.square(expected_RO).sum())
        errors[name] = float(np.sqrt(squared_error / max(squared_length, SMALLEST)))
    return errors


def _round_activations(array_RI: np.ndarray) -> np.ndarray:
    """Rounds to steps with a scale for each token."""
    scales_R1 = np.maximum(np.abs(array_RI).max(1, keepdims=True), SMALLEST) / STEPS
    return np.round(array_RI / scales_R1) * scales_R1


def _round_weights(weights_IO: np.ndarray) -> np.ndarray:
    """Rounds to steps with a scale for each output."""
    scales_O = scale_outputs(weights_IO)
    return np.round(weights_IO / scales_O) * scales_O


def _count_ways(choices: Mapping[str, _Choice], products: Mapping[str, Sequence[Any]]) -> Int8Ways:
    direct = 0
    smoothed = 0
    blocks = 0
    for name, choice in choices.items():
        others = len(products[name]) - len(choice.names_in_blocks)
        blocks += len(choice.names_in_blocks)
        if choice.divisors_I is None:
            direct += others
        else:
            smoothed += others
    return Int8Ways(direct, smoothed, blocks)
