#!/usr/bin/env python3
"""One step of fine-tuning, here and in PyTorch eager float32, alternately in one run.

usage: train_step.py FLOWERS_BENCH [ARCH [IMAGE_SIZE [BATCH [STEPS [THREADS [ROUNDS]]]]]]

FLOWERS_BENCH is the executable of `benches/train_step.rs`. PyTorch does the usual step: forward,
cross-entropy, backward, Adam (its fused CPU kernel and its default one are both tried and the
faster counts), `zero_grad(set_to_none=True)`. Each measurement is a process of its own, so that
peak memory is its own. Prints a row a round and the ratio of the medians.
"""

import json
import statistics
import subprocess
import sys
import time


def pytorch(arch, size, batch, steps, threads, fused):
    import torch
    import torchvision

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = getattr(torchvision.models, arch)(num_classes=10).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused)
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    seconds = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[2:])
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    print(json.dumps({"images_per_second": batch / median, "peak_mb": peak}))


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    if sys.argv[1] == "--pytorch":
        arch, size, batch, steps, threads, fused = sys.argv[2:]
        pytorch(arch, int(size), int(batch), int(steps), int(threads), fused == "fused")
        return
    bench, *given = sys.argv[1:]
    arguments = given + ["resnet18", "224", "32", "8", "2", "3"][len(given) :]
    rounds = int(arguments.pop())
    peers = {
        "flowers": [bench, *arguments],
        "pytorch": [sys.executable, __file__, "--pytorch", *arguments, "default"],
        "pytorch, fused Adam": [sys.executable, __file__, "--pytorch", *arguments, "fused"],
    }
    figures = {name: [] for name in peers}
    for number in range(rounds):
        for name, command in peers.items():
            figure = run(command)
            figures[name].append(figure)
            rate, peak = figure["images_per_second"], figure["peak_mb"]
            print(f"round {number + 1}  {name:20} {rate:7.1f} images/s  peak {peak:6.0f} MB")
    median = lambda name, key: statistics.median(figure[key] for figure in figures[name])
    fastest = max(list(peers)[1:], key=lambda name: median(name, "images_per_second"))
    smallest = min(median(name, "peak_mb") for name in list(peers)[1:])
    speed = median("flowers", "images_per_second") / median(fastest, "images_per_second")
    memory = median("flowers", "peak_mb") / smallest
    print(f"throughput: {speed:.2f} times PyTorch ({fastest})")
    print(f"peak memory: {memory:.2f} times PyTorch")


if __name__ == "__main__":
    main()
