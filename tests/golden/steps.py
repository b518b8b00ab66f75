#!/usr/bin/env python3
"""Prints golden values of src/training/gradients.rs and range_test.rs.

usage: steps.py

Gradient clipping is PyTorch's own; `valley` is copied from fastai 2.7 (fastai/callback/schedule.py),
without its plot.
"""

import torch

gradients = [[[3.0, -4.0], [1.5, 0.25]], [12.0, -0.5]]
parameters = [torch.zeros_like(torch.tensor(g)).requires_grad_() for g in gradients]
for parameter, gradient in zip(parameters, gradients):
    parameter.grad = torch.tensor(gradient)
torch.nn.utils.clip_grad_norm_(parameters, 2.0)
print("clipped", [value for p in parameters for value in p.grad.flatten().tolist()])


def valley(losses):
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(0, i):
            if (losses[i] < losses[j]) and (lds[i] < lds[j] + 1):
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return max_start + int(sections) + int(sections / 2)


print("valley", valley([
    2.30, 2.31, 2.30, 2.29, 2.29, 2.27, 2.25, 2.20, 2.10, 1.95, 1.70, 1.50, 1.40, 1.38, 1.42, 1.60,
    2.20, 3.50, 5.10, 7.00,
]))
