#!/usr/bin/env python3
"""One step of fine-tuning, here and in PyTorch, alternately in one run.

usage: train_step.py FLOWERS_BENCH [ARCH [IMAGE_SIZE [BATCH [STEPS [THREADS [ROUNDS [PRECISION]]]]]]]

FLOWERS_BENCH is the executable of `benches/train_step.rs`; PRECISION is its float32 or bfloat16.
PyTorch does the usual step: forward, cross-entropy, backward, Adam, `zero_grad(set_to_none=True)`;
as tutorials write it, eager in float32, and in the best configuration that it has for a CPU:
bfloat16 autocast (with PRECISION bfloat16), channels-last, the fused Adam, `torch.compile`. Each
measurement is a process of its own, so that peak memory is its own. Prints a row a round and the
ratios of the medians.
"""

import json
import statistics
import subprocess
import sys
import time


def pytorch(arch, size, batch, steps, threads, precision, kind):
    import torch
    import torchvision

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = getattr(torchvision.models, arch)(num_classes=10).train()
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    best = kind != "tutorial"
    if best:
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=best)
    forward = torch.compile(network) if kind == "compiled" else network
    seconds = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=best and precision == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(forward(x), y)
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
        arch, size, batch, steps, threads, precision, kind = sys.argv[2:]
        pytorch(arch, int(size), int(batch), int(steps), int(threads), precision, kind)
        return
    bench, *given = sys.argv[1:]
    arguments = given + ["resnet18", "224", "32", "8", "2", "3", "float32"][len(given) :]
    precision = arguments.pop()
    rounds = int(arguments.pop())
    peer = [sys.executable, __file__, "--pytorch", *arguments, precision]
    peers = {
        "flowers": [bench, *arguments, "cpu", precision],
        "tutorial": [*peer, "tutorial"],
        "channels-last, fused": [*peer, "eager"],
        "and compiled": [*peer, "compiled"],
    }
    figures = {name: [] for name in peers}
    for number in range(rounds):
        for name, command in list(peers.items())[:: 1 if number % 2 == 0 else -1]:
            figure = run(command)
            figures[name].append(figure)
            rate, peak = figure["images_per_second"], figure["peak_mb"]
            print(f"round {number + 1}  {name:20} {rate:7.1f} images/s  peak {peak:6.0f} MB")
    median = lambda name, key: statistics.median(figure[key] for figure in figures[name])
    for name in list(peers)[1:]:
        speed = median("flowers", "images_per_second") / median(name, "images_per_second")
        memory = median("flowers", "peak_mb") / median(name, "peak_mb")
        print(f"{speed:.2f} times the throughput, {memory:.2f} times the memory of {name}")


if __name__ == "__main__":
    main()
