#!/usr/bin/env python3
"""Golden logits and gradients of the operators that ResNets and MobileNetV2 do without.

usage: gradients.py

needs what models.py needs; parameters and pictures are made as there. Computed in float64.
"""

import json

import torch
from models import HERE, fill, pictures
from torch import nn
from torch.nn import functional


class Operators(nn.Module):
    """The graph of the same name in tests/it/models.rs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.left = nn.Conv2d(6, 4, 3, padding=1)
        self.right = nn.Conv2d(6, 4, 3, padding=1)
        self.fc = nn.Linear(8 * 4 * 4, 3)

    def forward(self, x):
        x = functional.hardswish(self.stem(x))
        x = x * functional.hardsigmoid(self.gate(functional.adaptive_avg_pool2d(x, 1)))
        x = torch.cat([functional.silu(self.left(x)), torch.sigmoid(self.right(x))], 1)
        return self.fc(functional.avg_pool2d(x, 3, 2, 1).flatten(1))


def rounded(tensor):
    return [round(x, 9) for x in tensor.flatten().tolist()]


def main():
    network = fill(Operators()).double()
    logits = network(pictures(4, 8).double())
    functional.cross_entropy(logits, torch.tensor([0, 2, 1, 1])).backward()
    gradients = {name: rounded(p.grad) for name, p in network.named_parameters()}
    golden = {"logits": [rounded(row) for row in logits], "gradients": gradients}
    (HERE / "gradients.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
