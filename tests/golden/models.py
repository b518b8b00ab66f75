#!/usr/bin/env python3
"""Golden values of the networks, computed by PyTorch and torchvision.

usage: models.py [FOLDER]

needs torch==2.13.0, torchvision==0.28.0, efficientnet-lite-pytorch==0.1.0 and timm==1.0.31. Parameters and
pictures come from a counter-based generator (SplitMix64 over FNV-1a of the name), which
`tests/it/golden.rs` has too, so that no weights need to be stored. With a FOLDER of the published
ImageNet files (mobilenet_v2-b0353104.pth, efficientnet-lite0-57934424.pth) the logits of the real
networks are written too.

`architectures.json` holds what the registry of architectures is checked against: names and shapes of all
parameters (as the SHA-256 of sorted lines `NAME SHAPE`), and what torchvision states of its weights.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet

HERE = pathlib.Path(__file__).parent / "models"
CLASSES = 10

# Large networks whose parameters' names and shapes have to do.
WITHOUT_LOGITS = {"vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg19_bn"}

# Sides of the pictures, where they are not 64 pixels: fixed by the network, or odd on the way through it.
SIZES = {"alexnet": 224, "vgg11": 224, "vgg16_bn": 224, "inception_v3": 107, "squeezenet1_1": 72}

RESNETS = ["resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"]
EFFICIENTNETS = [f"efficientnet_b{number}" for number in range(8)] + ["efficientnet_v2_s"]
VGGS = [f"vgg{layers}{norm}" for norm in ["", "_bn"] for layers in [11, 13, 16, 19]]
TORCHVISION = (
    RESNETS
    + ["mobilenet_v3_small", "mobilenet_v3_large"]
    + EFFICIENTNETS
    + ["convnext_tiny", "regnet_y_400mf", "regnet_y_800mf", "densenet121", "shufflenet_v2_x1_0"]
    + ["mnasnet1_0", "squeezenet1_1", "googlenet", "inception_v3"]
    + VGGS
    + ["alexnet"]
)

# Classifiers that only help to train from scratch.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


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
    elif name.endswith(("layer_scale", "gamma")) or name.endswith("weight") and len(shape) == 1:
        values = 0.3 + 0.4 * u
    elif len(shape) > 1:
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    else:
        values = 0.2 * u - 0.1
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def fill(network):
    # The same dict, for the versions of modules that it holds too.
    state = network.state_dict()
    state.update({name: parameter(name, v.shape) for name, v in state.items()})
    network.load_state_dict(state)
    return network


def pictures(count, size):
    values = 4 * uniform(f"pictures{size}", count * 3 * size * size) - 2
    return torch.from_numpy(values.astype(np.float32).reshape(count, 3, size, size))


def torchvision_network(name, classes, **options):
    if name in AUXILIARY:
        options["init_weights"] = False
    return getattr(torchvision.models, name)(num_classes=classes, **options)


def lite(number, classes):
    network = EfficientNet.from_name(f"efficientnet-lite{number}")
    network._fc = torch.nn.Linear(1280, classes)
    return network


def dinov2(classes, size):
    return timm.create_model("vit_small_patch14_dinov2", num_classes=classes, img_size=size)


def networks():
    for name in ["resnet18", "resnet34", "resnet50", "mobilenet_v2"]:
        yield name, 224, getattr(torchvision.models, name)(num_classes=CLASSES)
        yield name, 96, getattr(torchvision.models, name)(num_classes=CLASSES)
    # This implementation pads for the published sizes whatever the pictures' are.
    for number, size in enumerate([224, 240, 260, 280, 300]):
        yield f"efficientnet_lite{number}", size, lite(number, CLASSES)
    for name in TORCHVISION:
        if name not in WITHOUT_LOGITS:
            yield name, SIZES.get(name, 64), torchvision_network(name, CLASSES)
    yield "vit_b_16", 64, torchvision_network("vit_b_16", CLASSES, image_size=64)
    yield "dinov2_vits14", 56, dinov2(CLASSES, 56)


def listed(state, ignored=()):
    """Sorted names and shapes."""
    kept = {name: v.shape for name, v in state.items() if not name.startswith(ignored)}
    return sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in kept.items())


def digest(lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def normalisation(name, transforms):
    """Mean and standard deviation of what the published network sees: its `transform_input` changes them."""
    if name not in AUXILIARY:
        return transforms.mean, transforms.std
    network = torchvision_network(name, CLASSES, transform_input=True)
    mean = torch.tensor(transforms.mean).reshape(3, 1, 1)
    std = torch.tensor(transforms.std).reshape(3, 1, 1)
    x = (pictures(2, 8) + 2) / 4
    assert torch.allclose(network._transform_input((x - mean) / std), (x - 0.5) / 0.5, atol=1e-6)
    return [0.5] * 3, [0.5] * 3


def architectures():
    found = {}
    for name in ["resnet18", "resnet34", "resnet50", "mobilenet_v2"] + TORCHVISION + ["vit_b_16"]:
        weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        transforms = weights.transforms()
        state = torchvision_network(name, 1000).state_dict()
        parameters = weights.meta["num_params"]
        if name == "inception_v3":
            auxiliary = [v for key, v in state.items() if key.startswith("AuxLogits.")]
            learned = [key.endswith(("weight", "bias")) for key in state if key.startswith("AuxLogits.")]
            parameters -= sum(v.numel() for v, counts in zip(auxiliary, learned) if counts)
        mean, std = normalisation(name, transforms)
        found[name] = {
            "state": digest(listed(state, AUXILIARY.get(name, ()))),
            "parameters": parameters,
            "giga_macs": weights.meta["_ops"],
            "accuracy": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            "url": weights.url,
            "resize": transforms.resize_size[0],
            "crop": transforms.crop_size[0],
            "interpolation": transforms.interpolation.value,
            "mean": mean,
            "std": std,
        }
    for number in range(5):
        network = lite(number, 1000)
        found[f"efficientnet_lite{number}"] = {
            "state": digest(listed(network.state_dict())),
            "parameters": sum(p.numel() for p in network.parameters()),
            "timm": listed(timm.create_model(f"tf_efficientnet_lite{number}").state_dict()) if number == 3 else [],
        }
    network = dinov2(1000, 224)
    found["dinov2_vits14"] = {
        "state": digest(listed(network.state_dict())),
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    (HERE / "architectures.json").write_text(json.dumps(found, indent=1) + "\n")


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
    architectures()
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
