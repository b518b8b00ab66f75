#!/usr/bin/env python3
"""Golden losses and gradients of knowledge distillation, in float64 by PyTorch.

usage: distillation.py

The decoupled loss is written out from equations 5 and 7 of Zhao et al., 2022 (alpha 1, beta 8), the other
one from torch.nn.functional.kl_div.
"""

import json
import pathlib

import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).parent / "metrics"
LABELS = torch.tensor([0, 2, 3, 1, 1])


def softened(taught, temperature):
    powers = taught ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def binary(p, q):
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


def decoupled(p, q):
    rows = torch.arange(len(LABELS))
    target = binary(p[rows, LABELS], q[rows, LABELS])
    others = torch.ones_like(p, dtype=torch.bool)
    others[rows, LABELS] = False
    p, q = p[others].view(len(rows), -1), q[others].view(len(rows), -1)
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    return (target + 8 * (p * (p / q).log()).sum(1)).mean()


def main():
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    taught = (3 * torch.randn(5, 4, generator=generator, dtype=torch.float64)).softmax(1)
    cases = []
    for method, weight, temperature in [("kd", 0.9, 4.0), ("kd", 0.5, 1.0), ("kd", 1.0, 2.0),
                                        ("dkd", 0.5, 4.0), ("dkd", 1.0, 1.0)]:
        x = logits.clone().requires_grad_()
        p, q = softened(taught, temperature), (x / temperature).softmax(1)
        if method == "kd":
            divergence = functional.kl_div(q.log(), p, reduction="batchmean")
        else:
            divergence = decoupled(p, q)
        loss = (1 - weight) * functional.cross_entropy(x, LABELS) + weight * temperature**2 * divergence
        loss.backward()
        case = {"method": method, "weight": weight, "temperature": temperature}
        cases.append({**case, "loss": loss.item(), "gradient": x.grad.tolist()})
    golden = {"labels": LABELS.tolist(), "logits": logits.tolist(), "taught": taught.tolist(), "cases": cases}
    (HERE / "distillation.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
