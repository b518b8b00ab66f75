#!/usr/bin/env python3
"""Fine-tuning as PyTorch's transfer learning tutorial does it: DataLoader, torchvision transforms,
Adam at 1e-4, divided by 10 every 7 epochs, the weights of the best validation accuracy kept.

https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, with the optimizer and the
augmentations of the recipe `classic`.
"""

import copy
import time

import torch
from torchvision import transforms as T

import common


def training_transform(size):
    return T.Compose(
        [
            T.RandomResizedCrop(size),
            T.RandomHorizontalFlip(),
            T.RandomVerticalFlip(),
            T.RandomRotation(30),
            T.ColorJitter(0.2, 0.2, 0.2, 0.1),
            T.ToTensor(),
            T.Normalize(common.MEAN, common.STD),
        ]
    )


def main():
    given = common.arguments(__doc__)
    clock = common.Clock()
    plain = common.evaluation_transform(given.image_size)
    transforms = {"train": training_transform(given.image_size), "val": plain, "test": plain}
    photos = {part: common.Photos(given, part, transform) for part, transform in transforms.items()}
    loaders = {
        part: torch.utils.data.DataLoader(
            photos[part],
            batch_size=given.batch_size,
            shuffle=part == "train",
            # A last batch of one photo has no batch statistics.
            drop_last=part == "train" and len(photos[part]) % given.batch_size == 1,
            num_workers=given.threads,
        )
        for part in photos
    }
    model = common.network(given, len(photos["train"].classes))
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    best, best_weights, tested, rates = -1.0, None, None, []
    for epoch in range(given.epochs):
        model.train()
        started, seen = time.monotonic(), 0
        for inputs, labels in loaders["train"]:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            seen += len(labels)
        rates.append(seen / (time.monotonic() - started))
        scheduler.step()

        validated = common.accuracy(model, loaders["val"])
        if validated > best:
            best, best_weights = validated, copy.deepcopy(model.state_dict())
            tested = clock.paused(lambda: common.accuracy(model, loaders["test"]))
        common.tell(epoch=epoch + 1, seconds=clock.seconds(), accuracy=tested)
    model.load_state_dict(best_weights)
    common.tell(seconds=clock.seconds(), accuracy=tested, images_per_second=common.rate(rates))


if __name__ == "__main__":
    main()
