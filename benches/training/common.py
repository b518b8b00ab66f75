"""What the peers share: the photos of a split, weights, and a clock that leaves testing out.

Each peer is a program of its own with the same arguments. It writes JSON lines to standard output: one
for each epoch with the seconds since the process was started, less what testing took, and the test
accuracy of the model that would be kept then; and one with what training took.
"""

import argparse
import atexit
import json
import os
import pathlib
import random
import statistics
import tempfile
import time

import numpy
import torch
import torchvision
from PIL import Image, ImageOps
from torchvision import transforms as T

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--split", required=True, help="split.json of `flowers data split`")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", help="state_dict of torchvision; downloaded if left out")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    random.seed(given.seed)
    numpy.random.seed(given.seed)
    torch.manual_seed(given.seed)
    if given.weights:
        offer(given.arch, given.weights)
    return given


class Clock:
    """Seconds since the process was started, without those that were spent within `paused`."""

    def __init__(self):
        # The parent notes the start, so that importing counts; the clock is the system's.
        self.start = float(os.environ.get("BENCH_STARTED", time.monotonic()))
        self.left_out = 0.0

    def seconds(self):
        return time.monotonic() - self.start - self.left_out

    def paused(self, work):
        started = time.monotonic()
        result = work()
        self.left_out += time.monotonic() - started
        return result


def tell(**line):
    print(json.dumps(line), flush=True)


class Photos(torch.utils.data.Dataset):
    """The photos of a part as `split.json` lists them, decoded by Pillow when they are asked for."""

    def __init__(self, given, part, transform=None):
        split = json.loads(pathlib.Path(given.split).read_text())
        self.classes = split["labels"]
        ids = {name: index for index, name in enumerate(self.classes)}
        self.files = [located(given.data, entry) for entry in split[part]]
        self.labels = [ids[entry["class"]] for entry in split[part]]
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with Image.open(self.files[index]) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        return self.transform(picture), self.labels[index]


def located(data, entry):
    path = data / entry["file"]
    if not path.exists():
        raise SystemExit(f"{path} of the split is not there: give the folder that was split")
    return path


def network(given, classes):
    """torchvision's network with ImageNet weights and a new classifier."""
    model = getattr(torchvision.models, given.arch)(weights="IMAGENET1K_V1")
    return with_head(model, torch.nn.Linear, classes)


def offer(arch, weights):
    """Puts a file where torchvision looks for the weights before it downloads them."""
    url = torchvision.models.get_model_weights(arch).IMAGENET1K_V1.url
    folder = tempfile.TemporaryDirectory()
    checkpoints = pathlib.Path(folder.name, "checkpoints")
    checkpoints.mkdir()
    (checkpoints / url.rsplit("/", 1)[1]).symlink_to(pathlib.Path(weights).resolve())
    torch.hub.set_dir(folder.name)
    # Removed when the process ends.
    atexit.register(folder.cleanup)


def with_head(model, make, classes=None):
    """Replaces the last linear layer by `make(features, classes)`."""
    if hasattr(model, "fc"):
        model.fc = make(model.fc.in_features, classes)
    else:
        model.classifier[-1] = make(model.classifier[-1].in_features, classes)
    return model


def evaluation_transform(size):
    crop = [T.Resize(size * 256 // 224), T.CenterCrop(size)]
    return T.Compose([*crop, T.ToTensor(), T.Normalize(MEAN, STD)])


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = [(model(x).argmax(1) == y).sum().item() for x, y in loader]
    return sum(hits) / len(loader.dataset)


def rate(rates):
    """Of the epochs after the first, in which caches are cold and graphs are compiled."""
    return statistics.median(rates[1:] or rates)
