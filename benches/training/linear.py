#!/usr/bin/env python3
"""scikit-learn's logistic regression on the features of torchvision's network without its head: one
plain view of each photo, the regularisation chosen on the validation photos.
"""

import numpy
import torch
from sklearn.linear_model import LogisticRegression

import common


@torch.no_grad()
def features(model, given, part):
    photos = common.Photos(given, part, common.evaluation_transform(given.image_size))
    batches = torch.utils.data.DataLoader(
        photos, batch_size=given.batch_size, num_workers=given.threads
    )
    rows = [model(x.to(memory_format=torch.channels_last)).numpy() for x, _ in batches]
    return numpy.concatenate(rows), numpy.array(photos.labels)


def main():
    given = common.arguments(__doc__)
    clock = common.Clock()
    model = common.network(given, 2).eval().to(memory_format=torch.channels_last)
    model = common.with_head(model, lambda *_: torch.nn.Identity())
    (x, y), (x_val, y_val) = features(model, given, "train"), features(model, given, "val")
    mean, std = x.mean(0), x.std(0) + 1e-6
    scaled = lambda rows: (rows - mean) / std

    def solved(strength):
        solver = LogisticRegression(C=strength, max_iter=1000)
        return solver.fit(scaled(x), y)

    candidates = [solved(strength) for strength in [1e-4, 1e-3, 1e-2, 1e-1, 1.0]]
    best = max(candidates, key=lambda candidate: candidate.score(scaled(x_val), y_val))
    seconds = clock.seconds()

    def test():
        x_test, y_test = features(model, given, "test")
        return best.score(scaled(x_test), y_test)

    tested = clock.paused(test)
    common.tell(epoch=1, seconds=seconds, accuracy=tested)
    common.tell(seconds=seconds, accuracy=tested, images_per_second=len(y) / seconds)


if __name__ == "__main__":
    main()
