#!/usr/bin/env python3
"""Reads exported files with the runtimes that they are for.

usage: exported.py FOLDER

needs torch, onnx, onnxruntime, ai-edge-litert and tritonclient, and torchvision to load parameters into its
networks. FOLDER holds expected.safetensors: `pixels` (uint8, n x size x size x 3), `planes` (the same, normalised,
n x 3 x size x size), and for each of the kinds `float`, `image`, `softmax`, `half`, `int8`, `int8image` and
`int8softmax` the engine's scores (all but `float` and `int8` take pixels). Every other file is named ARCHITECTURE-KIND[-OPSET].SUFFIX:

.onnx         passes onnx.checker and strict shape inference, and answers alike in ONNX Runtime;
              of an int8 network the integer kernels that ONNX Runtime made are counted
.pt           answers alike in PyTorch, and carries its labels
.tflite       answers alike in LiteRT, with XNNPACK's kernels, the built-in and the reference ones, and
              carries its labels in a zip that is not compressed
.triton       its configuration is what Triton's schema allows, and fits the network, which answers alike
.pth          torch.load(weights_only=True) reads it, and torchvision's network takes it

Exits with 1 when a score is further away than allowed: 0.001 of the largest score, 0.1 for int8, a
probability of .tflite by 0.0001 in float32, 0.005 with float16 weights; in int8 by 0.2 where pictures are few,
else by 0.005 in the mean, with the same label for 99% of them.
"""

import collections
import importlib.util
import json
import pathlib
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf import text_format
from safetensors.numpy import load_file

TOLERANCE = {"float": 1e-3, "image": 1e-3, "softmax": 1e-3, "int8": 0.1, "int8image": 0.1}
OF_LITERT = {"softmax": 1e-4, "half": 5e-3, "int8softmax": 0.2}
BATCH = 20


def batches(run, given):
    parts = [run(given[at : at + BATCH]) for at in range(0, len(given), BATCH)]
    return np.concatenate(parts)


def with_onnx_runtime(path, kind, given):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    optimised = path.with_suffix(".optimised")
    options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    operators = collections.Counter(node.op_type for node in onnx.load(optimised).graph.node)
    optimised.unlink()
    note = ""
    if kind.startswith("int8"):
        fused = [f"{count} {name}" for name, count in sorted(operators.items())]
        note = ", ".join(fused)
        if not operators["QLinearConv"]:
            sys.exit(f"{path.name}: no integer convolution: {note}")
    return batches(lambda x: session.run(["output"], {"input": x})[0], given), note


def with_triton(path, kind, given):
    # The package itself imports gRPC, which nothing here needs.
    package = pathlib.Path(importlib.util.find_spec("tritonclient").origin).parent
    found = importlib.util.spec_from_file_location("model_config_pb2", package / "grpc/model_config_pb2.py")
    schema = importlib.util.module_from_spec(found)
    found.loader.exec_module(schema)
    config = text_format.Parse((path / "config.pbtxt").read_text(), schema.ModelConfig())
    session = onnxruntime.InferenceSession(path / "1/model.onnx", providers=["CPUExecutionProvider"])
    sides = [(config.input, session.get_inputs()), (config.output, session.get_outputs())]
    for stated, real in sides:
        assert [tensor.name for tensor in stated] == [tensor.name for tensor in real], stated
        assert all(list(a.dims) == list(b.shape[1:]) for a, b in zip(stated, real)), stated
        types = {"tensor(float)": schema.TYPE_FP32, "tensor(uint8)": schema.TYPE_UINT8}
        assert all(a.data_type == types[b.type] for a, b in zip(stated, real)), stated
    labels = (path / config.output[0].label_filename).read_text(encoding="utf-8").splitlines()
    assert config.backend == "onnxruntime" and config.max_batch_size > 1 and labels == NAMES, labels
    return batches(lambda x: session.run(["output"], {"input": x})[0], given), ""


def with_torch(path, kind, given):
    extra = {"labels.json": "", "preprocessing.json": ""}
    module = torch.jit.load(path, _extra_files=extra).eval()
    labels = json.loads(extra["labels.json"])
    json.loads(extra["preprocessing.json"])
    with torch.no_grad():
        scores = batches(lambda x: module(torch.from_numpy(x)).numpy(), given)
    assert labels == NAMES, labels
    return scores, ""


def with_litert(path, kind, given):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = {
        "XNNPACK": OpResolverType.AUTO,
        "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }
    if len(given) > BATCH:
        del kernels["reference"]  # seconds a picture
    with zipfile.ZipFile(path) as archive:
        (file,) = archive.infolist()
        assert file.compress_type == zipfile.ZIP_STORED
        labels = archive.read(file).decode().splitlines()
    all_scores = {}
    for name, resolver in kernels.items():
        interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
        run = interpreter.get_signature_runner("serving_default")
        (taken,) = run.get_input_details().values()
        (given_back,) = run.get_output_details().values()
        one = lambda x: run(image=x.astype(taken["dtype"]))["probabilities"]
        scores = np.concatenate([one(picture[None]) for picture in given])
        scale, zero_point = given_back["quantization"]
        real = (scores.astype(np.float32) - zero_point) * np.float32(scale)
        all_scores[name] = real if scores.dtype == np.uint8 else scores
        assert labels == NAMES, labels
    reference = next(iter(all_scores.values()))
    apart = ", ".join(f"{name} {np.abs(x - reference).max():.1e}" for name, x in all_scores.items())
    farthest = max(all_scores.values(), key=lambda x: np.abs(x - WANTED[kind]).max())
    return farthest, f"({apart} from XNNPACK)"


def with_torchvision(path, kind, given):
    import torchvision

    state = torch.load(path, weights_only=True)
    name = path.stem.split("-")[0]
    auxiliary = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, name)(num_classes=10, **auxiliary)
    network.load_state_dict(state)
    with torch.no_grad():
        return network.eval()(torch.from_numpy(given)).numpy(), ""


READERS = {
    ".onnx": with_onnx_runtime,
    ".pt": with_torch,
    ".pth": with_torchvision,
    ".tflite": with_litert,
    ".triton": with_triton,
}
# The engine's scores by kind, and the labels.
WANTED = {}
NAMES = []


def main():
    folder = pathlib.Path(sys.argv[1])
    expected = load_file(folder / "expected.safetensors")
    WANTED.update(expected)
    NAMES.extend((folder / "labels.txt").read_text(encoding="utf-8").splitlines())
    far = 0
    files = 0
    for path in sorted(folder.iterdir()):
        if path.suffix not in READERS:
            continue
        kind = path.stem.split("-")[1]
        given = expected["planes" if kind in ("float", "int8") else "pixels"]
        found, note = READERS[path.suffix](path, kind, given)
        wanted = expected[kind]
        apart = np.abs(found - wanted).max()
        largest = max(1, np.abs(wanted).max())
        allowed = OF_LITERT[kind] if path.suffix == ".tflite" else TOLERANCE[kind] * largest
        same = (found.argmax(1) == wanted.argmax(1)).sum()
        files += 1
        is_alike = apart <= allowed
        if kind == "int8softmax" and len(wanted) > BATCH:
            is_alike = same >= 0.99 * len(wanted) and np.abs(found - wanted).mean() <= 5e-3
        if not is_alike:
            far += 1
        print(f"{path.name}: {apart:.2e} of {allowed:.2e}, labels {same}/{len(wanted)} {note}")
    print(f"{files} files, {far} too far from the engine")
    sys.exit(1 if far or not files else 0)


main()
