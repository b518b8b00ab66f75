#!/usr/bin/env python3
"""The usual service around a classifier: Flask, gunicorn, PyTorch eager, torchvision's transforms.

usage: flask_service.py MODEL [--host HOST] [--port N]

MODEL is a ResNet18 that `flowers train` wrote; its labels, resize and crop come with it. Starts
gunicorn with one worker of four threads, the same as

    gunicorn --workers 1 --threads 4 "flask_service:create_app('model.safetensors')"

`POST /predict` takes a photo as the multipart field `file`.
"""

import argparse
import os
import pathlib
import sys


def create_app(path):
    import json

    import torch
    import torchvision
    from flask import Flask, jsonify, request
    from PIL import Image
    from safetensors import safe_open
    from torchvision import transforms

    with safe_open(path, "pt") as file:
        manifest = json.loads(file.metadata()["flowers.manifest"])
        state = {name: file.get_tensor(name) for name in file.keys()}
    labels, pixels = manifest["labels"], manifest["preprocessing"]
    network = torchvision.models.resnet18(num_classes=len(state["fc.bias"]))
    network.load_state_dict(state)
    network.eval()
    transform = transforms.Compose(
        [
            transforms.Resize(pixels["resize"]),
            transforms.CenterCrop(pixels["crop"]),
            transforms.ToTensor(),
            transforms.Normalize(pixels["mean"], pixels["std"]),
        ]
    )
    app = Flask(__name__)

    @app.post("/predict")
    def predict():
        if "file" not in request.files:
            return jsonify({"error": "No file provided"}), 400
        picture = Image.open(request.files["file"].stream).convert("RGB")
        with torch.no_grad():
            probabilities = network(transform(picture)[None]).softmax(1)[0]
        top = probabilities.topk(3)
        predictions = [
            {"class": labels[index], "confidence": confidence}
            for confidence, index in zip(top.values.tolist(), top.indices.tolist())
        ]
        return jsonify({**predictions[0], "top_predictions": predictions})

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="model file of a ResNet18")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "gunicorn", "--workers", "1", "--threads", "4"]
    command += ["--bind", f"{arguments.host}:{arguments.port}"]
    command += ["--pythonpath", str(pathlib.Path(__file__).parent)]
    command.append(f"flask_service:create_app({os.path.abspath(arguments.model)!r})")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
