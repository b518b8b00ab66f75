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


class Tokens(nn.Module):
    """As well."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.wide = nn.Conv2d(6, 8, (1, 3), padding=(0, 1))
        self.norm = nn.LayerNorm(8, eps=1e-6)
        self.pointwise = nn.Linear(8, 8)
        self.layer_scale = nn.Parameter(torch.empty(8, 1, 1))
        self.class_token = nn.Parameter(torch.empty(1, 1, 8))
        self.positions = nn.Parameter(torch.empty(1, 17, 8))
        self.before = nn.LayerNorm(8, eps=1e-6)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.gamma = nn.Parameter(torch.empty(8))
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, ceil_mode=True)
        x = self.wide(torch.channel_shuffle(x, 2)[:, 1:7])
        y = functional.gelu(self.pointwise(self.norm(x.permute(0, 2, 3, 1))))
        x = x + self.layer_scale * y.permute(0, 3, 1, 2)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.positions
        y = self.before(x)
        x = x + self.gamma * self.attention(y, y, y, need_weights=False)[0]
        return self.fc(x[:, 0])


def rounded(tensor):
    return [round(x, 9) for x in tensor.flatten().tolist()]


def main():
    golden = {}
    for name, network in [("operators", Operators()), ("tokens", Tokens())]:
        network = fill(network).double()
        logits = network(pictures(4, 8).double())
        functional.cross_entropy(logits, torch.tensor([0, 2, 1, 1])).backward()
        gradients = {name: rounded(p.grad) for name, p in network.named_parameters()}
        golden[name] = {"logits": [rounded(row) for row in logits], "gradients": gradients}
    (HERE / "gradients.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
