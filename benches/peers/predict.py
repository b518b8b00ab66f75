#!/usr/bin/env python3
"""From process start to the label of one photo, here and in Python with torchvision.

usage: predict.py FLOWERS [--model FILE] [--photo FILE] [--threads N] [--rounds N] [--json FILE]

FLOWERS is the binary. Python does the usual: import torch and torchvision, build a ResNet18, load
its weights from a `.pth` file, PIL, torchvision's transforms, eager float32, print the label. Both
use the same weights (random without --model) and the same photo (drawn without --photo), and must
name the same class. The first round fills the file cache and does not count. Prints medians of the
time to the first line and of peak resident memory, and their ratios.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LABELS = [f"kind {letter}" for letter in "abcdefghij"]
PREPROCESSING = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "antialias": True,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def make(model, weights):
    """Writes a ResNet18 as PyTorch keeps it; without a model file, that too."""
    import torch
    import torchvision
    from safetensors.torch import load_file, save_file

    if not os.path.exists(model):
        torch.manual_seed(0)
        state = torchvision.models.resnet18(num_classes=len(LABELS)).state_dict()
        manifest = {
            "schema": 1,
            "flowers_version": "0.1.0",
            "architecture": "resnet18",
            "head": {"hidden": None, "dropout": 0.0},
            "labels": LABELS,
            "preprocessing": PREPROCESSING,
        }
        save_file(state, model, {"flowers.manifest": json.dumps(manifest)})
    torch.save(load_file(model), weights)


def python(weights, photo, threads):
    """The peer: prints the place of the likeliest class."""
    import torch
    import torchvision
    from PIL import Image
    from torchvision import transforms

    torch.set_num_threads(threads)
    state = torch.load(weights, weights_only=True)
    network = torchvision.models.resnet18(num_classes=len(state["fc.bias"]))
    network.load_state_dict(state)
    network.eval()
    transform = transforms.Compose(
        [
            transforms.Resize(PREPROCESSING["resize"]),
            transforms.CenterCrop(PREPROCESSING["crop"]),
            transforms.ToTensor(),
            transforms.Normalize(PREPROCESSING["mean"], PREPROCESSING["std"]),
        ]
    )
    with torch.inference_mode():
        logits = network(transform(Image.open(photo).convert("RGB"))[None])
    print(logits.argmax(1).item(), flush=True)


def manifest(path):
    """What a model file says of itself, read from the head of its safetensors."""
    with open(path, "rb") as source:
        length = int.from_bytes(source.read(8), "little")
        return json.loads(json.loads(source.read(length))["__metadata__"]["flowers.manifest"])


def run(command):
    """The first line that a process prints, the seconds until then, and its peak memory in MB.

    A child's peak starts from its parent's: this process must stay small.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = process.stdout.readline().decode()
    seconds = time.perf_counter() - begin
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return line, seconds, usage.ru_maxrss / 1024


def compared(arguments, model, weights, photo):
    labels = manifest(model)["labels"]
    threads = str(arguments.threads)
    ours = [arguments.flowers, "predict", model, photo, "--json", "--threads", threads]
    commands = {
        "flowers": ours,
        "Python": [sys.executable, __file__, "--python", weights, photo, threads],
    }
    figures = {name: [] for name in commands}
    for number in range(arguments.rounds + 1):
        named = {}
        for name, command in commands.items():
            line, *figure = run(command)
            answer = json.loads(line)
            named[name] = answer["class"] if name == "flowers" else labels[answer]
            if number > 0:
                figures[name].append(figure)
        if len(set(named.values())) > 1:
            sys.exit(f"the labels differ: {named}")
    return {
        name: dict(zip(["seconds", "peak_mb"], map(statistics.median, zip(*rows))))
        for name, rows in figures.items()
    }


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("flowers", help="the binary")
    parser.add_argument("--model", help="model file of a ResNet18 for 224 pixels")
    parser.add_argument("--photo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def main():
    if sys.argv[1] == "--make":
        return make(*sys.argv[2:])
    if sys.argv[1] == "--python":
        return python(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    arguments = parsed()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or os.path.join(folder, "model.safetensors")
        weights, photo = os.path.join(folder, "resnet18.pth"), arguments.photo
        subprocess.run([sys.executable, __file__, "--make", model, weights], check=True)
        if not photo:
            drawn = os.path.join(folder, "photos")
            sample = ["data", "sample", drawn, "--classes", "2", "--per-class", "1", "--size", "512"]
            subprocess.run([arguments.flowers, *sample], check=True, stdout=subprocess.DEVNULL)
            photo = str(min(pathlib.Path(drawn).glob("*/*.jpg")))
        figures = compared(arguments, model, weights, photo)
    print("| | first label | peak memory |\n|---|---|---|")
    for name, figure in figures.items():
        print(f"| {name} | {figure['seconds']:.2f} s | {figure['peak_mb']:.0f} MB |")
    quick, small = (figures["flowers"][key] / figures["Python"][key] for key in ["seconds", "peak_mb"])
    print(f"| flowers is | {quick:.2f} times | {small:.2f} times |")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
