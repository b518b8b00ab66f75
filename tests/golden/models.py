#!/usr/bin/env python3
"""Golden values of the networks, computed by PyTorch and torchvision.

usage: models.py [FOLDER]

needs torch==2.13.0, torchvision==0.28.0 and efficientnet-lite-pytorch==0.1.0. Parameters and
pictures come from a counter-based generator (SplitMix64 over FNV-1a of the name), which
`tests/it/golden.rs` has too, so that no weights need to be stored. With a FOLDER of the published
ImageNet files (mobilenet_v2-b0353104.pth, efficientnet-lite0-57934424.pth) the logits of the real
networks are written too.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet

HERE = pathlib.Path(__file__).parent / "models"
CLASSES = 10


def uniform(name, count):
    """`count` numbers in [0, 1) that depend on the name only."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def parameter(name, shape):
    """A value of the generator, scaled so that activations neither vanish nor explode."""
    count = int(np.prod(shape))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    u = uniform(name, count)
    if name.endswith("running_var"):
        values = 0.5 + u
    elif name.endswith("weight") and len(shape) == 1:
        values = 0.3 + 0.4 * u
    elif len(shape) > 1:
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    else:
        values = 0.2 * u - 0.1
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def fill(network):
    state = network.state_dict()
    network.load_state_dict({name: parameter(name, v.shape) for name, v in state.items()})
    return network


def pictures(count, size):
    values = 4 * uniform(f"pictures{size}", count * 3 * size * size) - 2
    return torch.from_numpy(values.astype(np.float32).reshape(count, 3, size, size))


def networks():
    for name in ["resnet18", "resnet34", "resnet50", "mobilenet_v2"]:
        yield name, 224, getattr(torchvision.models, name)(num_classes=CLASSES)
        yield name, 96, getattr(torchvision.models, name)(num_classes=CLASSES)
    for number, size in enumerate([224, 240, 260]):
        name = f"efficientnet-lite{number}"
        network = EfficientNet.from_name(name)
        network._fc = torch.nn.Linear(1280, CLASSES)
        yield name.replace("-", "_"), size, network


def steps(optimizer):
    """Losses of five optimizer steps of a ResNet18 in training mode, and a weight after them."""
    network = fill(torchvision.models.resnet18(num_classes=CLASSES)).train()
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = {
        "adam": lambda: torch.optim.Adam(groups, lr=1e-3),
        "adamw": lambda: torch.optim.AdamW(groups, lr=1e-3),
        "sgd": lambda: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True),
    }[optimizer]()
    x, y = pictures(4, 64), torch.tensor([0, 3, 3, 9])
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "losses": losses,
        "fc_bias": network.fc.bias.tolist(),
        "running_mean": network.bn1.running_mean.tolist()[:8],
    }


def main():
    torch.manual_seed(0)
    golden = []
    for name, size, network in networks():
        with torch.no_grad():
            logits = fill(network).eval()(pictures(2, size))
        golden.append({"name": name, "size": size, "logits": logits.tolist()})
        print(name, size, logits.abs().mean().item())
    (HERE / "logits.json").write_text(json.dumps(golden) + "\n")
    optimizers = {name: steps(name) for name in ["adam", "adamw", "sgd"]}
    (HERE / "steps.json").write_text(json.dumps(optimizers) + "\n")
    if len(sys.argv) > 1:
        imagenet(pathlib.Path(sys.argv[1]))


def imagenet(folder):
    """Logits of the published networks."""
    real = [
        ("mobilenet_v2-b0353104.pth", torchvision.models.mobilenet_v2()),
        ("efficientnet-lite0-57934424.pth", EfficientNet.from_name("efficientnet-lite0")),
    ]
    golden = {}
    for file, network in real:
        network.load_state_dict(torch.load(folder / file, weights_only=True))
        with torch.no_grad():
            logits = network.eval()(pictures(2, 224))
        golden[file] = [[round(x, 6) for x in row] for row in logits.tolist()]
    (HERE / "imagenet.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
