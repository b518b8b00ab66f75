#!/usr/bin/env python3
"""Reads exported files with the runtimes that they are for.

usage: exported.py FOLDER

needs torch, onnx and onnxruntime, and torchvision to load parameters into its networks. FOLDER
holds expected.safetensors: `pixels` (uint8, n x size x size x 3), `planes` (the same, normalised,
n x 3 x size x size), and for each of the kinds `float`, `image`, `softmax`, `int8` and `int8image` the engine's
scores (`int8image` takes pixels, too). Every other file is named ARCHITECTURE-KIND[-OPSET].SUFFIX:

.onnx         passes onnx.checker and strict shape inference, and answers alike in ONNX Runtime;
              of an int8 network the integer kernels that ONNX Runtime made are counted
.pt           answers alike in PyTorch, and carries its labels
.pth          torch.load(weights_only=True) reads it, and torchvision's network takes it

Exits with 1 when a score is further away than allowed: 0.001 of the largest score, 0.1 for int8.
"""

import collections
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import load_file

TOLERANCE = {"float": 1e-3, "image": 1e-3, "softmax": 1e-3, "int8": 0.1, "int8image": 0.1}
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


def with_torch(path, kind, given):
    extra = {"labels.json": "", "preprocessing.json": ""}
    module = torch.jit.load(path, _extra_files=extra).eval()
    labels = json.loads(extra["labels.json"])
    json.loads(extra["preprocessing.json"])
    with torch.no_grad():
        scores = batches(lambda x: module(torch.from_numpy(x)).numpy(), given)
    assert len(labels) == scores.shape[1], labels
    return scores, ""


def with_torchvision(path, kind, given):
    import torchvision

    state = torch.load(path, weights_only=True)
    network = getattr(torchvision.models, path.stem.split("-")[0])(num_classes=10)
    network.load_state_dict(state)
    with torch.no_grad():
        return network.eval()(torch.from_numpy(given)).numpy(), ""


READERS = {".onnx": with_onnx_runtime, ".pt": with_torch, ".pth": with_torchvision}


def main():
    folder = pathlib.Path(sys.argv[1])
    expected = load_file(folder / "expected.safetensors")
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
        allowed = TOLERANCE[kind] * max(1, np.abs(wanted).max())
        same = (found.argmax(1) == wanted.argmax(1)).sum()
        files += 1
        if not apart <= allowed:
            far += 1
        print(f"{path.name}: {apart:.2e} of {allowed:.2e}, labels {same}/{len(wanted)} {note}")
    print(f"{files} files, {far} too far from the engine")
    sys.exit(1 if far or not files else 0)


main()
