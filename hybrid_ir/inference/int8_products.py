"""Rewrites products in a graph of ONNX: with divided channels, in int8, in blocks of int8.

Shapes: I inputs and O outputs of a product.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BLOCK = 32  # channels
SMALLEST = 1e-6  # a channel that is zero throughout must not divide by zero
STEPS = 127  # on either side of zero
ZERO = 128  # of activations, which are stored as unsigned numbers: processors want them so
# MatMulNBits: 8 bits of weights, and products of int8 (4), not of float32 (1).
BITS = 8
INT8_PRODUCTS = 4
DOMAIN = "com.microsoft"  # of operators of ONNX Runtime
# By their names in a graph.
CONSTANTS = {
    "int8_smallest": np.array(SMALLEST, np.float32),
    "int8_step": np.array(1 / STEPS, np.float32),
    "int8_one": np.array(1, np.float32),
    "int8_zero": np.array(ZERO, np.uint8),
    "int8_last_axis": np.array([-1], np.int64),
}


def read_weights(model: Any, node: Any) -> np.ndarray:
    """Returns the weights (I, O) of a product."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            return numpy_helper.to_array(tensor)
    raise ValueError(f"the graph has no weights {node.input[1]}")


def scale_outputs(weights_IO: np.ndarray) -> np.ndarray:
    """Returns the size of a step of the weights of each output (O)."""
    return (np.maximum(np.abs(weights_IO).max(0), SMALLEST) / STEPS).astype(np.float32)


def divide_channels(model: Any, name: str, nodes: Sequence[Any], divisors_I: np.ndarray) -> str:
    """Divides activations before some products, and multiplies their weights instead.

    Returns the name of the divided activations.
    """
    from onnx import helper, numpy_helper

    factors = f"{name}_factors"
    divided = f"{name}_divided"
    inverse_I = (1 / divisors_I).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(inverse_I, factors))
    for node in nodes:
        weights_IO = read_weights(model, node) * divisors_I[:, None]
        # Under a name of their own, as another product may have the same weights.
        new_name = f"{node.name}_weights"
        model.graph.initializer.append(numpy_helper.from_array(weights_IO, new_name))
        node.input[0] = divided
        node.input[1] = new_name
    division = helper.make_node("Mul", [name, factors], [divided], name=f"{divided}_node")
    places = [place for place, node in enumerate(model.graph.node) if divided in node.input]
    model.graph.node.insert(min(places), division)
    return divided


def drop_unused_weights(model: Any) -> None:
    """Takes weights out of a graph that no node reads any more."""
    used = {value.name for value in model.graph.output}
    for node in model.graph.node:
        used.update(node.input)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def require_domain(model: Any) -> None:
    """Says in the graph that it uses operators of ONNX Runtime."""
    from onnx import helper

    if DOMAIN not in [domain.domain for domain in model.opset_import]:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def multiply_in_blocks(model: Any, names: Sequence[str]) -> Any:
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


def multiply_in_int8(model: Any, products: Mapping[str, Sequence[Any]]) -> None:
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

    weights_IO = read_weights(model, node)
    scales_O = scale_outputs(weights_IO)
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
