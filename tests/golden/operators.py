"""Makes tests/golden/operators/*.onnx: a model for each operator, in its first opset and the last,
with ONNX Runtime's answers.

Needs onnx and onnxruntime:  python tests/golden/operators.py
"""

import json
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

FOLDER = pathlib.Path(__file__).with_suffix("")
N, SIZE = 2, 6
PLANES, PIXELS = [3, SIZE, SIZE], [SIZE, SIZE, 3]
# Operators from this opset on, where it is not the first that is written.
SINCE = {"HardSwish": 14, "per_channel": 13}
RNG = np.random.default_rng(1)


def values(count):
    return np.arange(count) * 37 % 251


def floats(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def integers(kind, *shape):
    return RNG.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)


def node(operator, x="input", *constants, outputs=("output",), **attributes):
    """A node, its constants by name."""
    names = [f"{operator}.{at}" for at, _ in enumerate(constants)]
    made = helper.make_node(operator, [x, *names], outputs, operator, **attributes)
    return made, dict(zip(names, constants))


def quantized(name, x="input", scale=0.02, zero=131):
    """A value rounded to uint8 and back."""
    constants = {f"{name}.scale": np.float32(scale), f"{name}.zero": np.uint8(zero)}
    to = helper.make_node("QuantizeLinear", [x, *constants], [f"{name}.q"], f"{name}.q")
    back = helper.make_node("DequantizeLinear", [f"{name}.q", *constants], [name], name)
    return (to, constants), (back, {})


def models():
    """Names of models with their nodes."""
    square = {"kernel_shape": [3, 3], "strides": [2, 2]}
    same = np.float32
    yield "add", [node("Add", "input", floats(1, 3, 1, 1))]
    yield "mul", [node("Mul", "input", floats(1, 3, 1, 1))]
    yield "conv", [node("Conv", "input", floats(4, 3, 3, 2), strides=[2, 1], pads=[0, 1, 2, 0])]
    yield "conv_bias", [node("Conv", "input", floats(4, 3, 1, 1), floats(4), kernel_shape=[1, 1])]
    yield "conv_groups", [node("Conv", "input", floats(6, 1, 3, 3), group=3, dilations=[2, 1])]
    moments = floats(3), floats(3), floats(3), np.abs(floats(3))
    yield "batch_normalization", [node("BatchNormalization", "input", *moments, epsilon=0.25)]
    yield "max_pool", [node("MaxPool", pads=[1, 0, 0, 1], **square)]
    yield "average_pool", [node("AveragePool", pads=[1, 0, 0, 1], count_include_pad=1, **square)]
    yield "average_pool_bare", [node("AveragePool", **square)]
    yield "global_average_pool", [node("GlobalAveragePool")]
    yield "relu", [node("Relu")]
    yield "clip", [node("Clip", "input", same(-0.5), same(0.75))]
    yield "sigmoid", [node("Sigmoid")]
    yield "hard_sigmoid", [node("HardSigmoid")]
    yield "hard_sigmoid_slope", [node("HardSigmoid", alpha=1 / 6, beta=0.5)]
    yield "hard_swish", [node("HardSwish")]
    yield "concat", [node("Sigmoid", outputs=["gate"]), (helper.make_node(
        "Concat", ["input", "gate"], ["output"], "Concat", axis=1), {})]
    flat = node("Flatten", outputs=["flat"], axis=1)
    yield "softmax", [flat, node("Softmax", "flat", axis=1)]
    features = int(np.prod(PLANES))
    yield "gemm", [flat, node("Gemm", "flat", floats(5, features), floats(5), transB=1)]
    yield "gemm_columns", [flat, node("Gemm", "flat", floats(features, 5), floats(5))]
    yield "pixels", [node("Cast", outputs=["real"], to=TensorProto.FLOAT),
                     node("Transpose", "real", perm=[0, 3, 1, 2])]
    yield "quantized", list(quantized("output"))
    weight = integers(np.int8, 4, 3, 3, 3), np.float32(0.01), np.int8(-3)
    yield "dequantized", [
        (helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"], "real"),
         dict(zip("wsz", weight))),
        (helper.make_node("Conv", ["input", "real"], ["output"], "Conv"), {}),
    ]
    scales = np.abs(floats(4)) / 50
    channels = [("w", integers(np.int8, 4, 3, 3, 3), scales, np.zeros(4, np.int8)),
                ("b", RNG.integers(-9000, 9000, 4, np.int32), scales / 50, np.zeros(4, np.int32))]
    yield "per_channel", [
        *[(helper.make_node("DequantizeLinear", [f"{x}q", f"{x}s", f"{x}z"], [x], x, axis=0),
           {f"{x}q": q, f"{x}s": s, f"{x}z": z}) for x, q, s, z in channels],
        *quantized("x"),
        (helper.make_node("Conv", ["x", "w", "b"], ["output"], "Conv"), {}),
    ]
    yield "dynamic", [
        flat,
        (helper.make_node("DynamicQuantizeLinear", ["flat"], ["q", "s", "z"], "q"), {}),
        (helper.make_node("MatMulInteger", ["q", "w", "z"], ["sums"], "sums"),
         {"w": integers(np.int8, features, 5)}),
        node("Cast", "sums", outputs=["real"], to=TensorProto.FLOAT),
        (helper.make_node("Mul", ["real", "s"], ["output"], "Mul"), {}),
    ]


def model(name, opset, nodes):
    """A model of these nodes, and ONNX Runtime's answer."""
    if name == "pixels":
        kind, shape = TensorProto.UINT8, PIXELS
        x = values(N * np.prod(shape)).astype(np.uint8).reshape(N, *shape)
    else:
        kind, shape = TensorProto.FLOAT, PLANES
        x = (values(N * np.prod(shape)) / 64 - 2).astype(np.float32).reshape(N, *shape)
    constants = {key: value for _, added in nodes for key, value in added.items()}
    initializers = [numpy_helper.from_array(np.asarray(v), key) for key, v in constants.items()]

    def built(output):
        takes = helper.make_tensor_value_info("input", kind, ["batch", *shape])
        gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, output)
        graph = helper.make_graph([n for n, _ in nodes], name, [takes], [gives], initializers)
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=7)

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    rank = 2 if {n.op_type for n, _ in nodes} & {"Flatten"} else 4
    run = onnxruntime.InferenceSession(built([None] * rank).SerializeToString(), options).run
    y = run(None, {"input": x})[0]
    made = built(["batch", *y.shape[1:]])
    checker.check_model(made, full_check=True)
    return made, y


def main():
    FOLDER.mkdir(exist_ok=True)
    answers = {}
    for name, nodes in models():
        kinds = {name, *(n.op_type for n, _ in nodes)}
        first = max(SINCE.get(kind, 11) for kind in kinds)
        for opset in (first, 21):
            made, y = model(name, opset, nodes)
            (FOLDER / f"{name}_{opset}.onnx").write_bytes(made.SerializeToString())
            scores = [round(float(score), 5) for score in y.ravel()]
            assert answers.setdefault(name, scores) == scores, name
    lines = (f"{json.dumps(name)}: {json.dumps(scores)}" for name, scores in answers.items())
    (FOLDER / "answers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{2 * len(answers)} models of {len(answers)} kinds")


if __name__ == "__main__":
    main()
