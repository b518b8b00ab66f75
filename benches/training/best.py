#!/usr/bin/env python3
"""The recipe of `tutorial.py` in the fastest PyTorch that we know: channels-last, bfloat16 autocast
where a trial step gains by it, fused Adam, torch.compile, and as many workers as a trial likes best.

The trials are not counted, and what torch.compile takes is: it is a part of every run.
"""

import copy
import time

import torch

import common
from tutorial import training_transform

TRIAL_STEPS = 4
TRIAL_BATCHES = 6


def trial_step(model, given, dtype):
    """Seconds of a step in a precision, without compiling."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=True)
    size = given.image_size
    x = torch.randn(given.batch_size, 3, size, size).to(memory_format=torch.channels_last)
    y = torch.zeros(given.batch_size, dtype=torch.long)
    times = []
    for _ in range(TRIAL_STEPS):
        started = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        loss_of(model, x, y, dtype).backward()
        optimizer.step()
        times.append(time.monotonic() - started)
    return min(times[1:])


def loss_of(model, inputs, labels, dtype):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = model(inputs)
    return torch.nn.functional.cross_entropy(logits.float(), labels)


def loader(photos, given, workers, train):
    return torch.utils.data.DataLoader(
        photos,
        batch_size=given.batch_size,
        shuffle=train,
        # One shape of batches: another one would be compiled again.
        drop_last=train and len(photos) >= given.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )


def trial_workers(model, photos, given, dtype):
    """The number of workers with which steps from photos are fastest."""
    model = copy.deepcopy(model).train()
    seconds = {}
    for workers in sorted({0, 1, given.threads, 2 * given.threads}):
        batches = iter(loader(photos, given, workers, train=True))
        try:
            for number in range(TRIAL_BATCHES):
                if number == 2:
                    started = time.monotonic()
                inputs, labels = next(batches)
                inputs = inputs.to(memory_format=torch.channels_last)
                loss_of(model, inputs, labels, dtype).backward()
        except StopIteration:
            # Too few photos to tell.
            return given.threads
        seconds[workers] = time.monotonic() - started
    return min(seconds, key=seconds.get)


@torch.no_grad()
def accuracy(model, batches, dtype):
    model.eval()
    hits = 0
    for inputs, labels in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(inputs.to(memory_format=torch.channels_last))
        hits += (logits.argmax(1) == labels).sum().item()
    return hits / len(batches.dataset)


def main():
    given = common.arguments(__doc__)
    clock = common.Clock()
    plain = common.evaluation_transform(given.image_size)
    photos = common.Photos(given, "train", training_transform(given.image_size))
    model = common.network(given, len(photos.classes)).to(memory_format=torch.channels_last)

    def tuned():
        kinds = [torch.float32, torch.bfloat16]
        dtype = min(kinds, key=lambda dtype: trial_step(model, given, dtype))
        return dtype, trial_workers(model, photos, given, dtype)

    dtype, workers = clock.paused(tuned)
    train = loader(photos, given, workers, train=True)
    val, test = (
        loader(common.Photos(given, part, plain), given, workers, train=False)
        for part in ["val", "test"]
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    compiled = torch.compile(model)

    best, best_weights, tested, rates = -1.0, None, None, []
    for epoch in range(given.epochs):
        compiled.train()
        started, seen = time.monotonic(), 0
        for inputs, labels in train:
            inputs = inputs.to(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            loss_of(compiled, inputs, labels, dtype).backward()
            optimizer.step()
            seen += len(labels)
        rates.append(seen / (time.monotonic() - started))
        scheduler.step()

        # Not compiled: the last batch has another shape, and compiling costs more than it gains.
        validated = accuracy(model, val, dtype)
        if validated > best:
            best, best_weights = validated, copy.deepcopy(model.state_dict())
            tested = clock.paused(lambda: accuracy(model, test, dtype))
        common.tell(epoch=epoch + 1, seconds=clock.seconds(), accuracy=tested)
    model.load_state_dict(best_weights)
    common.tell(
        seconds=clock.seconds(),
        accuracy=tested,
        images_per_second=common.rate(rates),
        note=f"{str(dtype).split('.')[1]}, {workers} workers",
    )


if __name__ == "__main__":
    main()
