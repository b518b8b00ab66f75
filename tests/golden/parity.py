#!/usr/bin/env python3
"""Holds a trained model against torchvision's own network on PIL pictures.

usage: parity.py FLOWERS MODEL FOLDER

needs torch==2.13.0, torchvision==0.28.0 and safetensors. Loads the model file into torchvision's
network by parameter names, runs torchvision's transforms and network over every picture below
FOLDER, and compares with what `FLOWERS predict --json` says. Exits with 1 when less than 99% of
the labels agree or probabilities differ by more than 0.005 on average.
"""

import json
import pathlib
import subprocess
import sys

import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from torchvision.transforms import v2

MIN_AGREEMENT = 0.99
MAX_DIFFERENCE = 0.005


def load(path):
    """torchvision's network with the model's weights, its transform, and its labels."""
    with safe_open(path, "pt") as file:
        manifest = json.loads(file.metadata()["flowers.manifest"])
        state = {name: file.get_tensor(name) for name in file.keys()}
    labels, pixels = manifest["labels"], manifest["preprocessing"]
    network = getattr(torchvision.models, manifest["architecture"])(num_classes=len(labels))
    hidden = manifest["head"]["hidden"]
    if hidden:
        name = {"mobilenet_v2": "classifier.1"}.get(manifest["architecture"], "fc")
        *parents, last = name.split(".")
        parent = network.get_submodule(".".join(parents))
        head = torch.nn.Sequential(
            torch.nn.Linear(getattr(parent, last).in_features, hidden),
            torch.nn.ReLU(),
            torch.nn.Dropout(manifest["head"]["dropout"]),
            torch.nn.Linear(hidden, len(labels)),
        )
        setattr(parent, last, head)
    network.load_state_dict(state)
    interpolation = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}
    transform = v2.Compose(
        [
            v2.Resize(pixels["resize"], interpolation[pixels["interpolation"]]),
            v2.CenterCrop(pixels["crop"]),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(pixels["mean"], pixels["std"]),
        ]
    )
    return network.eval(), transform, labels


def main():
    flowers, model, folder = sys.argv[1:]
    network, transform, labels = load(model)
    command = [flowers, "predict", model, folder, "--json", "--top-k", str(len(labels))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answers = [json.loads(line) for line in output.splitlines()]
    agreed, difference = 0, 0.0
    for answer in answers:
        picture = Image.open(pathlib.Path(answer["file"])).convert("RGB")
        with torch.no_grad():
            expected = network(transform(picture)[None]).softmax(1)[0]
        actual = {guess["class"]: guess["confidence"] for guess in answer["top_predictions"]}
        agreed += labels[expected.argmax()] == answer["class"]
        pairs = [(actual[label], p.item()) for label, p in zip(labels, expected)]
        difference += sum(abs(a - b) for a, b in pairs) / len(pairs)
    agreement, difference = agreed / len(answers), difference / len(answers)
    print(
        f"{len(answers)} pictures: {100 * agreement:.2f}% of the labels agree, "
        f"mean absolute probability difference {difference:.5f}"
    )
    sys.exit(agreement < MIN_AGREEMENT or difference > MAX_DIFFERENCE)


if __name__ == "__main__":
    main()
