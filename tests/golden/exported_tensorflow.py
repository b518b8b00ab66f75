#!/usr/bin/env python3
"""Reads exported files with TensorFlow, Keras and coremltools.

usage: exported_tensorflow.py [--keras-only] FOLDER

needs tensorflow, tf_keras, coremltools and safetensors; with --keras-only the Keras that PYTHONPATH
names. FOLDER holds a folder for each model, which holds expected.safetensors: `pixels` (uint8, n x size x
size x 3), `planes` (the same, normalised, n x 3 x size x size), and the engine's probabilities, `softmax`; beside it
labels.txt. Every other entry is named ARCHITECTURE-KIND.SUFFIX; the
kinds are `softmax` (takes pixels), `normalised` (takes planes with the channels last), `trainable` and `half`:

.saved-model  answers alike when loaded by TensorFlow 2, for one picture and for many, and by the C API's
              loader, which is TensorFlow Serving's; carries its labels
.keras        answers alike in Keras 3; a trainable one learns, and its normalisations' statistics move
.h5           answers alike in Keras 2 (tf_keras) and Keras 3; a trainable one learns in both
.mlpackage    coremltools' parser takes it, and its program, computed here as documented, answers alike; of
              the first one, planted faults are found by the parser

Exits with 1 when a probability is further away than 0.0001, with float16 weights 0.005; of more than four pictures
with float16 weights, when the largest differences are that far on average.
"""

import argparse
import copy
import ctypes
import gc
import glob
import json
import logging
import os
import pathlib
import sys
import warnings
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import keras
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

BATCH = 40
FEW = 4
HALF = np.float16
TOLERANCE = {"softmax": 1e-4, "normalised": 1e-4, "trainable": 1e-4, "half": 5e-3}


def batches(run, given):
    return np.concatenate([run(given[at : at + BATCH]) for at in range(0, len(given), BATCH)])


def names_beside(path):
    return (path.parent / "labels.txt").read_text(encoding="utf-8").splitlines()


def with_tensorflow(path, kind, given):
    version = path / "1"
    labels = (version / "labels.txt").read_text(encoding="utf-8").splitlines()
    model = tf.saved_model.load(str(version))
    run = model.signatures["serving_default"]
    (spec,) = run.structured_input_signature[1].values()
    assert spec.name == "image" and spec.shape[0] is None, spec
    answer = lambda x: run(image=tf.constant(x))["probabilities"].numpy()
    all_scores, one = batches(answer, given), answer(given[:1])
    assert np.abs(one - all_scores[:1]).max() < 1e-6, "a picture alone gets another answer"
    assert labels == names_beside(path), labels
    return {"TensorFlow": all_scores, "C API": batches(lambda x: with_c_api(version, x, len(labels)), given)}


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def c_api():
    root = os.path.dirname(tf.__file__)
    for library in glob.glob(f"{root}/libtensorflow_cc*") + glob.glob(f"{root}/libtensorflow_framework*"):
        found = ctypes.CDLL(library)
        if hasattr(found, "TF_LoadSessionFromSavedModel"):
            names = "NewStatus NewSessionOptions NewGraph LoadSessionFromSavedModel AllocateTensor TensorData"
            for name in f"{names} GraphOperationByName".split():
                getattr(found, f"TF_{name}").restype = ctypes.c_void_p
            found.TF_Message.restype = ctypes.c_char_p
            return found
    sys.exit("TensorFlow's package has no C API")


def with_c_api(version, given, classes):
    library, pointer = c_api(), ctypes.c_void_p
    status, graph = pointer(library.TF_NewStatus()), pointer(library.TF_NewGraph())
    options = pointer(library.TF_NewSessionOptions())

    def check():
        assert library.TF_GetCode(status) == 0, library.TF_Message(status)

    tags = (ctypes.c_char_p * 1)(b"serve")
    folder = str(version).encode()
    session = library.TF_LoadSessionFromSavedModel(options, None, folder, tags, 1, graph, None, status)
    check()
    outputs = [Output(library.TF_GraphOperationByName(graph, name), 0) for name in (b"image", b"probabilities")]
    sides = (ctypes.c_int64 * given.ndim)(*given.shape)
    dtype = {np.dtype("uint8"): 4, np.dtype("float32"): 1}[given.dtype]
    tensor = library.TF_AllocateTensor(dtype, sides, given.ndim, ctypes.c_size_t(given.nbytes))
    content = np.ascontiguousarray(given).tobytes()
    ctypes.memmove(library.TF_TensorData(pointer(tensor)), content, given.nbytes)
    taken, answered = (pointer * 1)(tensor), (pointer * 1)()
    references = [ctypes.byref(output) for output in outputs]
    library.TF_SessionRun(
        pointer(session), None, references[0], taken, 1, references[1], answered, 1, None, 0, None, status
    )
    check()
    content = ctypes.string_at(library.TF_TensorData(pointer(answered[0])), 4 * len(given) * classes)
    return np.frombuffer(content, np.float32).reshape(len(given), classes)


def learns(framework, model, given):
    """Trains a step; the statistics of normalisations have to move."""
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    assert norms, "there is no normalisation"
    before = np.array(norms[0].moving_mean)
    assert all(abs(norm.momentum - 0.9) < 1e-6 or abs(norm.momentum - 0.99) < 1e-6 for norm in norms)
    model.compile(framework.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    loss = model.fit(given, np.zeros(len(given), np.int32), epochs=1, verbose=0).history["loss"][0]
    assert np.isfinite(loss), loss
    assert np.abs(np.array(norms[0].moving_mean) - before).max() > 0, "statistics do not move"


def with_keras(path, kind, given):
    scores = {}
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            labels = json.loads(archive.read("labels.json"))
        frameworks = {f"Keras {keras.__version__}": keras}
    else:
        import h5py

        with h5py.File(path) as file:
            labels = json.loads(file.attrs["labels"])
        frameworks = {f"Keras {keras.__version__}": keras}
        if not ARGUMENTS.keras_only:
            import tf_keras

            frameworks[f"Keras {tf_keras.__version__}"] = tf_keras
    for name, framework in frameworks.items():
        model = framework.models.load_model(str(path), compile=False)
        scores[name] = batches(lambda x: np.asarray(model.predict_on_batch(x)), given)
        assert labels == names_beside(path), labels
        if kind == "trainable":
            learns(framework, model, given[:BATCH])
        del model
        gc.collect()
    return scores


def parsed(specification, weights):
    from coremltools.converters.mil.frontend.milproto.load import load

    return load(specification, specification.specificationVersion, weights)


def with_coremltools(path, kind, given):
    import coremltools

    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    specification = model.get_spec()
    described = specification.description
    assert described.predictedFeatureName == "classLabel"
    assert described.predictedProbabilitiesName == "classLabel_probs"
    image = described.input[0].type.imageType
    assert (image.width, image.height) == given.shape[1:3], image
    if not with_coremltools.has_planted:
        with_coremltools.has_planted = True
        plant(specification, model.weights_dir)
    program = parsed(specification, model.weights_dir)
    rows = [run_program(program, picture) for picture in given]
    assert rows[0][1] == names_beside(path), rows[0][1]
    return {"coremltools": np.concatenate([row[0] for row in rows])}


with_coremltools.has_planted = False


def plant(specification, weights):
    """Faults that the parser has to find: it is known not to accept everything."""
    block = lambda changed: next(iter(changed.mlProgram.functions["main"].block_specializations.values()))
    first = lambda changed, kind: next(op for op in block(changed).operations if op.type == kind)

    def blob(changed):
        for op in block(changed).operations:
            if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue":
                op.attributes["val"].blobFileValue.offset = 128
                return

    def shape(changed):
        first(changed, "conv").outputs[0].type.tensorType.dimensions[1].constant.size = 99

    def dangling(changed):
        first(changed, "conv").inputs["x"].arguments[0].name = "nothing"

    def stride(changed):
        name = first(changed, "conv").inputs["strides"].arguments[0].name
        for op in block(changed).operations:
            if op.outputs[0].name == name:
                op.attributes["val"].immediateValue.tensor.ints.values[0] = 3

    faults = {
        "another stride": stride,
        "a wrong shape": shape,
        "an unknown operation": lambda changed: setattr(first(changed, "conv"), "type", "convolve"),
        "a missing input": lambda changed: first(changed, "conv").inputs.pop("weight"),
        "a name of nothing": dangling,
        "a wrong offset": blob,
    }
    parsed(specification, weights)
    for name, change in faults.items():
        changed = copy.deepcopy(specification)
        change(changed)
        try:
            parsed(changed, weights)
        except Exception:
            continue
        sys.exit(f"coremltools does not find {name}")


def run_program(program, picture):
    """Computes a program of an image as Core ML's documentation says, on TensorFlow's operators."""
    function = program.functions["main"]
    values = {"image": np.moveaxis(picture, 2, 0)[None].astype(np.float32)}
    constant = {}
    for op in function.operations:
        kind, inputs = op.op_type, op.inputs

        def get(key):
            value = inputs[key]
            return values[value.name] if value.name in values else np.asarray(value.val)

        if kind == "const":
            values[op.outputs[0].name] = np.asarray(op.outputs[0].val)
            continue
        if kind == "classify":
            return get("probabilities"), list(inputs["classes"].val)
        declared = HALF if "fp16" in str(op.outputs[0].dtype) else np.float32
        values[op.outputs[0].name] = result = np.asarray(compute(kind, inputs, get, values)).astype(declared)
        assert tuple(result.shape) == tuple(op.outputs[0].shape), (kind, result.shape, op.outputs[0].shape)
    sys.exit("the program does not classify")


def padded(x, sides, value):
    top, bottom, left, right = sides
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def windows(x, kernel, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(kernel), (2, 3))
    return view[:, :, :: stride[0], :: stride[1]]


def compute(kind, inputs, get, values):
    if kind == "conv":
        assert str(get("pad_type")) == "custom"
        x = np.moveaxis(padded(get("x").astype(np.float32), get("pad"), 0), 1, 3)
        weight = np.transpose(get("weight").astype(np.float32), (2, 3, 1, 0))
        groups, stride, dilation = int(get("groups")), get("strides"), get("dilations")
        if groups == x.shape[3] == weight.shape[3] > 1:
            weight = np.transpose(weight, (0, 1, 3, 2))
            strides = [1, int(stride[0]), int(stride[1]), 1]
            sums = tf.nn.depthwise_conv2d(x, weight, strides, "VALID", dilations=[int(d) for d in dilation])
        else:
            parts = zip(np.split(x, groups, 3), np.split(weight, groups, 3))
            sums = tf.concat([tf.nn.conv2d(a, w, stride, "VALID", dilations=dilation) for a, w in parts], 3)
        return np.moveaxis(sums.numpy() + get("bias").astype(np.float32), 3, 1)
    if kind in ("max_pool", "avg_pool"):
        assert not bool(get("ceil_mode"))
        if kind == "max_pool":
            x = padded(get("x"), get("pad"), -np.inf)
            return windows(x, get("kernel_sizes"), get("strides")).max((-1, -2))
        assert not bool(get("exclude_padding_from_average"))
        return windows(padded(get("x"), get("pad"), 0), get("kernel_sizes"), get("strides")).mean((-1, -2))
    if kind == "concat":
        parts = [values[part.name] for part in inputs["values"]]
        return np.concatenate(parts, int(get("axis")))
    if kind == "cast":
        return get("x").astype({"fp16": np.float16, "fp32": np.float32}[str(get("dtype"))])
    if kind == "softmax":
        e = np.exp(get("x") - get("x").max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    if kind == "layer_norm":
        axes = tuple(int(axis) for axis in get("axes"))
        x = get("x").astype(np.float32)
        sides = [length if axis in axes else 1 for axis, length in enumerate(x.shape)]
        centred = x - x.mean(axes, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axes, keepdims=True) + np.float32(get("epsilon")))
        scale, shift = (get(key).astype(np.float32).reshape(sides) for key in ("gamma", "beta"))
        return centred / deviation * scale + shift
    if kind == "gelu":
        assert str(get("mode")) == "EXACT"
        x = get("x").astype(np.float32)
        return x / 2 * (1 + tf.math.erf(x / np.float32(np.sqrt(2))).numpy())
    if kind == "slice_by_size":
        begin, size = get("begin"), get("size")
        return get("x")[tuple(slice(int(a), int(a + n)) for a, n in zip(begin, size))]
    operators = {
        "transpose": lambda: np.transpose(get("x"), get("perm")),
        "add": lambda: get("x") + get("y"),
        "mul": lambda: get("x") * get("y"),
        "relu": lambda: np.maximum(get("x"), 0),
        "relu6": lambda: np.clip(get("x"), 0, 6),
        "sigmoid": lambda: 1 / (1 + np.exp(-get("x"))),
        "silu": lambda: get("x") / (1 + np.exp(-get("x"))),
        "sigmoid_hard": lambda: np.clip(get("alpha") * get("x") + get("beta"), 0, 1),
        "reduce_mean": lambda: get("x").mean(tuple(get("axes")), keepdims=bool(get("keep_dims"))),
        "reshape": lambda: get("x").reshape(get("shape")),
        "linear": lambda: get("x") @ get("weight").T + get("bias"),
    }
    return operators[kind]()


READERS = {
    ".saved-model": with_tensorflow,
    ".keras": with_keras,
    ".h5": with_keras,
    ".mlpackage": with_coremltools,
}
ARGUMENTS = argparse.Namespace()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keras-only", action="store_true")
    parser.add_argument("folder", type=pathlib.Path)
    parser.parse_args(namespace=ARGUMENTS)
    files = far = 0
    suffixes = [".keras", ".h5"] if ARGUMENTS.keras_only else list(READERS)
    for path in sorted(ARGUMENTS.folder.glob("*/*")):
        if path.suffix not in suffixes:
            continue
        expected = load_file(path.parent / "expected.safetensors")
        kind = path.stem.split("-")[1]
        given = expected["pixels"]
        if kind == "normalised":
            given = np.ascontiguousarray(np.moveaxis(expected["planes"], 1, 3))
        wanted = expected["softmax"]
        if path.suffix == ".mlpackage":
            given, wanted = given[:8], wanted[:8]
        scores = READERS[path.suffix](path, kind, given)
        files += 1
        for name, found in scores.items():
            apart = np.abs(found - wanted).max(1)
            # Half precision is far off where a photo is between two classes.
            apart = apart.mean() if kind == "half" and len(wanted) > FEW else apart.max()
            same = (found.argmax(1) == wanted.argmax(1)).sum()
            far += not apart <= TOLERANCE[kind]
            print(f"{path.name}: {name}: {apart:.1e} of {TOLERANCE[kind]:.0e}, labels {same}/{len(wanted)}")
        tf.keras.backend.clear_session()
    print(f"{files} files, {far} too far from the engine")
    sys.exit(1 if far or not files else 0)


main()
