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

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.inference.graph_files import measure_graph, save_graph

RECIPE = 1  # changes whenever other graphs come out
# Of the output of a product, as a share of its length, that rounding may cost.
TOLERABLE_ERROR = 0.015
# How much of the size of a channel moves from activations to weights; SmoothQuant's alpha.
EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
BLOCK = 32  # channels
SMALLEST = 1e-6  # a channel that is zero throughout must not divide by zero
STEPS = 127  # on either side of zero
ZERO = 128  # of activations, which are stored as unsigned numbers: processors want them so
# MatMulNBits: 8 bits of weights, and products of int8 (4), not of float32 (1).
BITS = 8
DOMAIN = "com.microsoft"  # of operators of ONNX Runtime
# By their names in a graph.
CONSTANTS = {
    "int8_smallest": np.array(SMALLEST, np.float32),
    "int8_step": np.array(1 / STEPS, np.float32),
    "int8_one": np.array(1, np.float32),
    "int8_zero": np.array(ZERO, np.uint8),
    "int8_last_axis": np.array([-1], np.int64),
}
INT8_PRODUCTS = 4


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
        weights = {node.name: _read_weights(model, node) for node in nodes}
        choices[name] = _choose_way(activations.pop(name), weights)
    in_blocks: list[str] = []
    in_int8: dict[str, list[Any]] = {}
    for name, choice in choices.items():
        in_blocks += choice.names_in_blocks
        nodes = [node for node in products[name] if node.name not in choice.names_in_blocks]
        if choice.divisors_I is not None:
            name = _divide_channels(model, name, nodes, choice.divisors_I)
        if nodes:
            in_int8[name] = nodes
    _multiply_in_int8(model, in_int8)
    _drop_unused_weights(model)
    if in_blocks:
        model = _multiply_in_blocks(model, in_blocks)
    _require_domain(model)
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


def _read_weights(model: Any, node: Any) -> np.ndarray:
    """Returns the weights (I, O) of a product."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            return numpy_helper.to_array(tensor)
    raise ValueError(f"the graph has no weights {node.input[1]}")


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
    scales_O = _scale_outputs(weights_IO)
    return np.round(weights_IO / scales_O) * scales_O


def _scale_outputs(weights_IO: np.ndarray) -> np.ndarray:
    """Returns the size of a step of the weights of each output (O)."""
    return (np.maximum(np.abs(weights_IO).max(0), SMALLEST) / STEPS).astype(np.float32)


def _divide_channels(model: Any, name: str, nodes: Sequence[Any], divisors_I: np.ndarray) -> str:
    """Divides activations before some products, and multiplies their weights instead.

    Returns the name of the divided activations.
    """
    from onnx import helper, numpy_helper

    factors = f"{name}_factors"
    divided = f"{name}_divided"
    inverse_I = (1 / divisors_I).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(inverse_I, factors))
    for node in nodes:
        weights_IO = _read_weights(model, node) * divisors_I[:, None]
        # Under a name of their own, as another product may have the same weights.
        new_name = f"{node.name}_weights"
        model.graph.initializer.append(numpy_helper.from_array(weights_IO, new_name))
        node.input[0] = divided
        node.input[1] = new_name
    division = helper.make_node("Mul", [name, factors], [divided], name=f"{divided}_node")
    places = [place for place, node in enumerate(model.graph.node) if divided in node.input]
    model.graph.node.insert(min(places), division)
    return divided


def _drop_unused_weights(model: Any) -> None:
    """Takes weights out of a graph that no node reads any more."""
    used = {value.name for value in model.graph.output}
    for node in model.graph.node:
        used.update(node.input)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _require_domain(model: Any) -> None:
    """Says in the graph that it uses operators of ONNX Runtime."""
    from onnx import helper

    if DOMAIN not in [domain.domain for domain in model.opset_import]:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _multiply_in_blocks(model: Any, names: Sequence[str]) -> Any:
    """Returns the graph with some products that have a scale for each block of channels."""
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    others = []
    for node in model.graph.node:
        if node.name not in names:
            others.append(node.name)
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_PRODUCTS, bits=BITS
    )
    logger = logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    logger.setLevel(logging.WARNING)
    quantizer = MatMulNBitsQuantizer(model, nodes_to_exclude=others, algo_config=config)
    quantizer.process()
    return quantizer.model.model


def _multiply_in_int8(model: Any, products: Mapping[str, Sequence[Any]]) -> None:
    """Replaces products by those of int8.

    Args:
        model: that is changed.
        products: by the name of their input, which is rounded once for all of them.
    """
    from onnx import numpy_helper

    for name, array in CONSTANTS.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    replacements = {}
    for name, nodes in products.items():
        rounding, rounded, scale = _build_rounding(name)
        for node in nodes:
            replacements[node.name] = [*rounding, *_build_product(model, node, rounded, scale)]
            rounding = []  # once, before the first product
    new_nodes = []
    for node in model.graph.node:
        new_nodes += replacements.get(node.name, [node])
    del model.graph.node[:]
    model.graph.node.extend(new_nodes)


def _build_rounding(name: str) -> tuple[list[Any], str, str]:
    """Returns nodes that round activations, and the names of the rounded ones and their scales."""
    from onnx import helper

    size = f"{name}_size"
    largest = f"{name}_largest"
    bounded = f"{name}_bounded"
    scale = f"{name}_scale"
    steps = f"{name}_steps"
    rounded = f"{name}_rounded"
    nodes = [
        helper.make_node("Abs", [name], [size], name=size),
        helper.make_node("ReduceMax", [size, "int8_last_axis"], [largest], name=largest),
        helper.make_node("Max", [largest, "int8_smallest"], [bounded], name=bounded),
        helper.make_node("Mul", [bounded, "int8_step"], [scale], name=scale),
        helper.make_node("Div", [name, scale], [steps], name=steps),
        helper.make_node("QuantizeLinear", [steps, "int8_one", "int8_zero"], [rounded], rounded),
    ]
    return nodes, rounded, scale


def _build_product(model: Any, node: Any, rounded: str, scale: str) -> list[Any]:
    """Returns the nodes of a product of rounded activations with rounded weights.

    Args:
        model: gets the rounded weights.
        node: the product in float32.
        rounded: name of the activations.
        scale: name of the scales of their tokens.
    """
    from onnx import helper, numpy_helper

    weights_IO = _read_weights(model, node)
    scales_O = _scale_outputs(weights_IO)
    rounded_IO = np.round(weights_IO / scales_O).astype(np.int8)
    weights_name = f"{node.name}_int8"
    scales_name = f"{node.name}_scales"
    model.graph.initializer.append(numpy_helper.from_array(rounded_IO, weights_name))
    model.graph.initializer.append(numpy_helper.from_array(scales_O, scales_name))
    unscaled = f"{node.name}_unscaled"
    product = helper.make_node(
        "MatMulIntegerToFloat",
        [rounded, weights_name, "int8_one", scales_name, "int8_zero"],
        [unscaled],
        name=unscaled,
        domain=DOMAIN,
    )
    scaling = helper.make_node("Mul", [unscaled, scale], [node.output[0]], name=node.name)
    return [product, scaling]


@contextmanager
def quiet_quantisation() -> Iterator[None]:
    """Hides what ONNX Runtime recommends before a quantisation, which matters for images only."""
    logging.getLogger().addFilter(_is_no_recommendation)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeFilter(_is_no_recommendation)


def _is_no_recommendation(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


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
