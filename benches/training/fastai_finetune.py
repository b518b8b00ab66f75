#!/usr/bin/env python3
"""fastai's `fine_tune` as its documentation has it: an epoch of a new head on the frozen network,
then all layers in one cycle with discriminative learning rates, the usual transforms, 2e-3.

It keeps the last epoch's weights, as fastai does. The head's epoch is one of those asked for.
"""

import time

import torch
import torchvision
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Resize,
    accuracy,
    aug_transforms,
    imagenet_stats,
    vision_learner,
)
from fastai.vision.learner import default_split, model_meta

import common


class Tested(Callback):
    """Tells the test accuracy after every epoch, off the clock."""

    order = 90

    def __init__(self, clock, photos):
        self.clock, self.photos = clock, photos
        self.rates, self.epochs, self.result = [], 0, None

    def before_train(self):
        self.began = time.monotonic()

    def after_train(self):
        self.rates.append(self.photos / (time.monotonic() - self.began))

    def after_epoch(self):
        self.epochs += 1
        self.result = self.clock.paused(self.measure)
        common.tell(epoch=self.epochs, seconds=self.clock.seconds(), accuracy=self.result)

    @torch.no_grad()
    def measure(self):
        self.learn.model.eval()
        hits = sum((self.learn.model(x).argmax(1) == y).sum().item() for x, y in self.test)
        return hits / len(self.test.dataset)


def main():
    given = common.arguments(__doc__)
    clock = common.Clock()
    parts = {part: common.Photos(given, part) for part in ["train", "val", "test"]}
    classes = parts["train"].classes

    trained, validated, test = (parts[part].files for part in ["train", "val", "test"])
    label = {
        file: classes[label]
        for part in parts.values()
        for file, label in zip(part.files, part.labels)
    }
    size = given.image_size
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=classes, sort=False)),
        get_y=label.get,
        splitter=IndexSplitter(range(len(trained), len(trained) + len(validated))),
        item_tfms=Resize(size * 460 // 224),
        batch_tfms=aug_transforms(size=size),
    )
    shared = {"bs": given.batch_size, "num_workers": given.threads, "device": torch.device("cpu")}
    loaders = block.dataloaders(trained + validated, **shared)
    tested = Tested(clock, len(trained))
    tested.test = loaders.test_dl(test, with_labels=True)

    network = getattr(torchvision.models, given.arch)
    # MobileNetV2 and the like have no entry: their last child is the classifier.
    entry = {"cut": -1, "split": default_split, "stats": imagenet_stats}
    weights = torchvision.models.get_model_weights(given.arch).IMAGENET1K_V1
    model_meta[network] = {**entry, **model_meta.get(network, {}), "weights": weights}
    learn = vision_learner(
        loaders,
        network,
        metrics=accuracy,
        cbs=tested,
    )
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(max(given.epochs - 1, 1))
    common.tell(
        seconds=clock.seconds(),
        accuracy=tested.result,
        images_per_second=common.rate(tested.rates),
    )


if __name__ == "__main__":
    main()
