#!/usr/bin/env python3
"""Predictions here and in PyTorch, ONNX Runtime and OpenVINO, alternately in one run.

usage: inference.py FLOWERS [options]; --help lists them

FLOWERS is the binary. All compute the same architecture, image size and classes with the same
number of threads; `flowers bench` starts from 8-bit pixels, the peers from prepared float32. Each
peer is a process that is kept and put to sleep (SIGSTOP) while another one has its turn, so that
nobody's spinning threads are in the way. Every round gives every peer a turn; the speed of a turn
is the batch over the median pass, printed are medians of the rounds, and medians of each round's
ratios. A peer that can't run here is named with the reason.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CALIBRATION_PICTURES = 16


def network(setup):
    """torchvision's network: the model's, or with random weights."""
    import torch
    import torchvision

    if setup["float"]:
        sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "golden"))
        from parity import load

        return load(setup["float"])[0]
    torch.manual_seed(0)
    return getattr(torchvision.models, setup["arch"])(num_classes=setup["classes"]).eval()


def pictures(setup, count):
    import numpy

    shape = (count, 3, setup["image_size"], setup["image_size"])
    return numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)


def file(setup, name):
    return os.path.join(setup["folder"], name)


# What some peers need on disk; each is made once, in a process of its own.


def make_onnx(setup):
    import torch

    torch.onnx.export(
        network(setup),
        torch.from_numpy(pictures(setup, 1)),
        file(setup, "float.onnx"),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def make_qdq(setup):
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(pictures(setup, CALIBRATION_PICTURES))

        def get_next(self):
            picture = next(self.left, None)
            return None if picture is None else {"input": picture[None]}

    prepared = file(setup, "prepared.onnx")
    quant_pre_process(file(setup, "float.onnx"), prepared)
    quantization.quantize_static(
        prepared,
        file(setup, "int8.onnx"),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


def make_nncf(setup):
    import nncf
    import openvino

    model = openvino.Core().read_model(file(setup, "float.onnx"))
    data = nncf.Dataset([picture[None] for picture in pictures(setup, CALIBRATION_PICTURES)])
    quantized = nncf.quantize(model, data, subset_size=CALIBRATION_PICTURES)
    openvino.save_model(quantized, file(setup, "int8.xml"), compress_to_fp16=False)


MADE_BY = {"float.onnx": make_onnx, "int8.onnx": make_qdq, "int8.xml": make_nncf}

# The peers: each gives a function a batch size, which computes one pass.


def pytorch(setup, compiled):
    import torch

    torch.set_num_threads(setup["threads"])
    model = network(setup)
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        model = torch.compile(model, dynamic=False)

    def passes(batch):
        x = torch.from_numpy(pictures(setup, batch))

        def run():
            with torch.no_grad():
                return model(x)

        return run

    return passes


def onnxruntime(setup, name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup["threads"]
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file(setup, name), options, providers=providers)

    def passes(batch):
        x = pictures(setup, batch)
        return lambda: session.run(None, {"input": x})

    return passes


def openvino(setup, name, precision=None):
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("the CPU has no bfloat16")
    options = {"INFERENCE_NUM_THREADS": setup["threads"], "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision

    def passes(batch):
        x = pictures(setup, batch)
        model = core.read_model(file(setup, name))
        model.reshape(x.shape)
        request = core.compile_model(model, "CPU", options).create_infer_request()
        return lambda: request.infer([x], share_inputs=True)

    return passes


PEERS = {
    "PyTorch eager float32": lambda s: pytorch(s, False),
    "PyTorch compiled, frozen float32": lambda s: pytorch(s, True),
    "ONNX Runtime float32": lambda s: onnxruntime(s, "float.onnx"),
    "ONNX Runtime int8 (static QDQ)": lambda s: onnxruntime(s, "int8.onnx"),
    "OpenVINO float32": lambda s: openvino(s, "float.onnx", "f32"),
    "OpenVINO bfloat16": lambda s: openvino(s, "float.onnx", "bf16"),
    "OpenVINO int8 (NNCF)": lambda s: openvino(s, "int8.xml"),
    "OpenVINO int8 (the QDQ model)": lambda s: openvino(s, "int8.onnx"),
}


def repeat(run, seconds, fewest):
    begin, passes = time.perf_counter(), []
    while len(passes) < fewest or time.perf_counter() - begin < seconds:
        started = time.perf_counter()
        run()
        passes.append(time.perf_counter() - started)
    return passes


def answer(peer, setup):
    """A peer's process: prepares, says so, then answers each `[batch, seconds]` with its speed."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    passes = PEERS[peer](setup)
    runs = {batch: passes(batch) for batch in setup["batch"]}
    for run in runs.values():
        repeat(run, 0, 2)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        batch, seconds = json.loads(line)
        repeat(runs[batch], 0.2 * seconds, 1)
        median = statistics.median(repeat(runs[batch], seconds, 3))
        print(batch / median, file=replies, flush=True)


class Peer:
    """A process that answers, asleep but in its turns."""

    def __init__(self, name, setup):
        self.log = open(file(setup, f"{name}.log"), "w+")
        command = [sys.executable, __file__, "--peer", name, json.dumps(setup)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        environment = os.environ | {"OMP_NUM_THREADS": str(setup["threads"])}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.read()
        self.process.send_signal(signal.SIGSTOP)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(last_line(self.log))
        return line

    def speed(self, batch, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps([batch, seconds]) + "\n")
        self.process.stdin.flush()
        speed = float(self.read())
        self.process.send_signal(signal.SIGSTOP)
        return speed

    def end(self):
        self.process.kill()
        self.process.wait()


class Flowers:
    """`flowers bench` in one precision; a process each turn."""

    def __init__(self, binary, precision, model, setup):
        self.command = [binary, "bench", "--json", "--precision", precision]
        self.command += ["--threads", str(setup["threads"])]
        if model:
            self.command.append(model)
        else:
            size, classes = str(setup["image_size"]), str(setup["classes"])
            self.command += ["--arch", setup["arch"], "--image-size", size, "--classes", classes]
        if not self.figure(setup["batch"][0], 0.01)["native"]:
            raise RuntimeError(f"the CPU has no {precision}")

    def figure(self, batch, seconds):
        command = [*self.command, "--batch", str(batch), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)[0]

    def speed(self, batch, seconds):
        return self.figure(batch, seconds)["images_per_second"]

    def end(self):
        pass


def last_line(log):
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    return lines[-1] if lines else "it ended without a word"


def started(arguments, setup, stack):
    """The peers that can run here, which `stack` ends, and why the others can't."""
    for name in MADE_BY:
        command = [sys.executable, __file__, "--make", name, json.dumps(setup)]
        with open(file(setup, f"{name}.log"), "w+") as log:
            print(f"making {name}", file=sys.stderr)
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                print(f"{name} can't be made: {last_line(log)}", file=sys.stderr)
    starts = {name: lambda name=name: Peer(name, setup) for name in PEERS}
    models = {"float32": arguments.float, "bfloat16": arguments.float}
    if arguments.int8:
        models["int8"] = arguments.int8
    for precision, model in models.items():
        starts[f"flowers {precision}"] = lambda precision=precision, model=model: Flowers(
            arguments.flowers, precision, model, setup
        )
    peers, left_out = {}, {}
    for name, start in starts.items():
        print(f"starting {name}", file=sys.stderr)
        try:
            peers[name] = start()
            stack.callback(peers[name].end)
        except RuntimeError as cause:
            left_out[name] = str(cause)
    return peers, left_out


def measured(peers, setup, rounds, seconds):
    """Images per second of each peer and batch, one a round. Every other round goes backwards."""
    speeds = {(name, batch): [] for name in peers for batch in setup["batch"]}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for batch in setup["batch"]:
            for name in list(peers)[:: -1 if number % 2 else 1]:
                speeds[name, batch].append(peers[name].speed(batch, seconds))
    return speeds


def ratio(speeds, ours, theirs, batch):
    pairs = zip(speeds[ours, batch], speeds[theirs, batch])
    return statistics.median(a / b for a, b in pairs)


def markdown(peers, speeds, setup):
    ours = [name for name in peers if name.startswith("flowers")]
    heads = [f"batch {batch}" for batch in setup["batch"]] + [f"{name} is" for name in ours]
    lines = ["| images per second | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in peers:
        cells = [f"{statistics.median(speeds[name, batch]):.1f}" for batch in setup["batch"]]
        for our in ours:
            ratios = [ratio(speeds, our, name, batch) for batch in setup["batch"]]
            cells.append(" / ".join(f"{value:.2f}" for value in ratios) + " times")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_json(peers, speeds, setup, left_out):
    figures = [
        {
            "peer": name,
            "batch": batch,
            "images_per_second": statistics.median(rounds),
            "rounds": rounds,
            "ratios": {
                our: ratio(speeds, our, name, batch) for our in peers if our.startswith("flowers")
            },
        }
        for (name, batch), rounds in speeds.items()
    ]
    return json.dumps({"setup": setup, "figures": figures, "left_out": left_out}, indent=1)


def manifest(path):
    """What a model file says of itself, read from the head of its safetensors."""
    with open(path, "rb") as source:
        length = int.from_bytes(source.read(8), "little")
        return json.loads(json.loads(source.read(length))["__metadata__"]["flowers.manifest"])


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("flowers", help="the binary")
    parser.add_argument("--arch", default="resnet18", help="with random weights, without --float")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--float", help="model file, instead of random weights")
    parser.add_argument("--int8", help="model file of `flowers quantize`, of the same network")
    batches = lambda text: [int(batch) for batch in text.split(",")]
    parser.add_argument("--batch", type=batches, default=[1, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--json", help="file for every figure")
    return parser.parse_args()


def main():
    if sys.argv[1] == "--peer":
        return answer(sys.argv[2], json.loads(sys.argv[3]))
    if sys.argv[1] == "--make":
        return MADE_BY[sys.argv[2]](json.loads(sys.argv[3]))
    arguments = parsed()
    setup = {key: getattr(arguments, key) for key in ["float", "batch", "threads"]}
    setup |= {key: getattr(arguments, key) for key in ["arch", "classes", "image_size"]}
    if model := arguments.float or arguments.int8:
        told = manifest(model)
        setup["arch"], setup["classes"] = told["architecture"], len(told["labels"])
        setup["image_size"] = told["preprocessing"]["crop"]
    with contextlib.ExitStack() as stack:
        setup["folder"] = stack.enter_context(tempfile.TemporaryDirectory())
        peers, left_out = started(arguments, setup, stack)
        speeds = measured(peers, setup, arguments.rounds, arguments.seconds)
    del setup["folder"]
    print(markdown(peers, speeds, setup))
    for name, reason in left_out.items():
        print(f"not run: {name} ({reason})")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(as_json(peers, speeds, setup, left_out))


if __name__ == "__main__":
    main()
