"""Products in int8: each by the quickest way that loses little."""

# R tokens, I inputs, O outputs

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from hybrid_ir.inference.int8 import TOLERABLE_ERROR, Int8Ways, write_int8_graph  # noqa: E402

INPUTS = 64
OUTPUTS = 32


def write_product(weights_IO: np.ndarray, path: Path) -> Path:
    """Writes a graph that multiplies what it gets by weights, twice."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="first"),
        helper.make_node("MatMul", ["x", "w"], ["z"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", INPUTS])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", "T", OUTPUTS]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["B", "T", OUTPUTS]),
        ],
        [numpy_helper.from_array(weights_IO.astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def run_graph(path: Path, activations: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["y", "z"], {"x": activations})


def draw_activations(kind: str, seed: int) -> np.ndarray:
    """Draws activations (1, R, I) of which some are hard to round."""
    rng = np.random.default_rng(seed)
    activations = rng.standard_normal((1, 40, INPUTS)).astype(np.float32)
    if kind == "a large channel":
        activations[:, :, 3] *= 60
    if kind == "a large channel in a few tokens":
        activations[:, ::8, 5] *= 3_000
    return activations


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("usual", Int8Ways(direct=2, smoothed=0, blocks=0)),
        ("a large channel", Int8Ways(direct=0, smoothed=2, blocks=0)),
    ],
)
def test_a_product_is_computed_by_the_quickest_way_that_loses_little(tmp_path, kind, ways):
    weights_IO = np.random.default_rng(0).standard_normal((INPUTS, OUTPUTS))
    weights_IO[3] /= 60  # a large channel counts as much as the others
    if kind == "usual":
        weights_IO[3] *= 60
    graph = write_product(weights_IO, tmp_path / "float32.onnx")
    calibration = [{"x": draw_activations(kind, seed)} for seed in range(4)]
    assert write_int8_graph(graph, tmp_path / "int8.onnx", calibration) == ways
    activations = draw_activations(kind, 9)  # others than those of the calibration
    expected, _ = run_graph(graph, activations)
    for output in run_graph(tmp_path / "int8.onnx", activations):
        error = np.linalg.norm(output - expected) / np.linalg.norm(expected)
        assert 0 < error < 1.2 * TOLERABLE_ERROR


def test_what_rounding_would_destroy_is_rounded_in_blocks(tmp_path):
    weights_IO = np.random.default_rng(0).standard_normal((INPUTS, OUTPUTS))
    kind = "a large channel in a few tokens"
    weights_IO[5] /= 3_000
    graph = write_product(weights_IO, tmp_path / "float32.onnx")
    calibration = [{"x": draw_activations(kind, seed)} for seed in range(4)]
    ways = write_int8_graph(graph, tmp_path / "int8.onnx", calibration)
    assert ways.direct == 0
    activations = draw_activations(kind, 9)
    expected, _ = run_graph(graph, activations)
    for output in run_graph(tmp_path / "int8.onnx", activations):
        assert np.isfinite(output).all()
        assert np.linalg.norm(output - expected) / np.linalg.norm(expected) < 0.2


def test_tokens_do_not_change_each_other(tmp_path):
    weights_IO = np.random.default_rng(0).standard_normal((INPUTS, OUTPUTS))
    graph = write_product(weights_IO, tmp_path / "float32.onnx")
    calibration = [{"x": draw_activations("usual", 0)}]
    write_int8_graph(graph, tmp_path / "int8.onnx", calibration)
    activations = draw_activations("usual", 1)
    alone, _ = run_graph(tmp_path / "int8.onnx", activations[:, :1])
    activations[:, 1:] *= 1_000
    together, _ = run_graph(tmp_path / "int8.onnx", activations)
    assert np.allclose(alone[0, 0], together[0, 0], atol=1e-5)
