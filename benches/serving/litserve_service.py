#!/usr/bin/env python3
"""The same classifier behind LitServe, which batches requests: PyTorch eager, torchvision.

usage: litserve_service.py MODEL [--host HOST] [--port N]

MODEL is a ResNet18 that `flowers train` wrote; its labels, resize and crop come with it. One worker
takes up to eight requests at once and waits 0.01 s for them, as in LitServe's own comparison with
FastAPI. `POST /predict` takes a photo as the multipart field `file`.
"""

import argparse
import json

import litserve
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from torchvision import transforms


class Classifier(litserve.LitAPI):
    def __init__(self, path, **options):
        super().__init__(**options)
        self.path = path

    def setup(self, device):
        with safe_open(self.path, "pt") as file:
            manifest = json.loads(file.metadata()["flowers.manifest"])
            state = {name: file.get_tensor(name) for name in file.keys()}
        self.labels, pixels = manifest["labels"], manifest["preprocessing"]
        self.network = torchvision.models.resnet18(num_classes=len(state["fc.bias"]))
        self.network.load_state_dict(state)
        self.network.eval()
        self.transform = transforms.Compose(
            [
                transforms.Resize(pixels["resize"]),
                transforms.CenterCrop(pixels["crop"]),
                transforms.ToTensor(),
                transforms.Normalize(pixels["mean"], pixels["std"]),
            ]
        )

    def decode_request(self, request):
        return self.transform(Image.open(request["file"].file).convert("RGB"))

    def batch(self, inputs):
        return torch.stack(inputs)

    def predict(self, pictures):
        with torch.no_grad():
            return self.network(pictures).softmax(1)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        top = output.topk(3)
        predictions = [
            {"class": self.labels[index], "confidence": confidence}
            for confidence, index in zip(top.values.tolist(), top.indices.tolist())
        ]
        return {**predictions[0], "top_predictions": predictions}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="model file of a ResNet18")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    api = Classifier(arguments.model, max_batch_size=8, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host=arguments.host, port=arguments.port, generate_client_file=False)


if __name__ == "__main__":
    main()
