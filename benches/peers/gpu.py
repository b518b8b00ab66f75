#!/usr/bin/env python3
"""Training and inference on a CUDA GPU, here and in PyTorch, alternately in one run.

usage: gpu.py steps FLOWERS_BENCH [BATCH]     training steps on random pictures
       gpu.py inference FLOWERS               predictions of random pictures
       gpu.py epochs FLOWERS PHOTOS [BATCH]   whole epochs over a folder of photos

FLOWERS_BENCH is the executable of `benches/train_step.rs`. PyTorch computes in channels-last order
under bfloat16 autocast, with a fused Adam, as it is and through `torch.compile`. `epochs` reads
PHOTOS/<class>/*.jpg with the classic recipe's transforms, in PyTorch by a DataLoader with a worker a
core, and prints how busy the GPU was. Each figure is the median of its rounds.
"""

import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROUNDS = 3
WARM_UP = 5
STEPS = 20


def utilisation(stop, samples):
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    while not stop.wait(0.25):
        samples.append(float(subprocess.run(query, capture_output=True, text=True).stdout.split()[0]))


def watched(work):
    """The result of `work`, and the GPU's mean utilisation meanwhile in percent."""
    stop, samples = threading.Event(), []
    watcher = threading.Thread(target=utilisation, args=(stop, samples))
    watcher.start()
    try:
        result = work()
    finally:
        stop.set()
        watcher.join()
    return result, statistics.fmean(samples) if samples else float("nan")


def timed_steps(step):
    import torch

    seconds = []
    for number in range(WARM_UP + STEPS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[WARM_UP:])


def training_step(arch, precision, compiled):
    """A network and a function that trains it on a batch and returns the loss as a number."""
    import torch
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, arch)(num_classes=10).cuda().train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    forward = torch.compile(network) if compiled else network

    def step(x, y):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(forward(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def steps(bench, batch=128):
    import torch

    for arch in ["resnet18", "resnet50"]:
        for precision in ["float32", "bfloat16"]:
            rates = {"flowers": [], "PyTorch": []}
            if precision == "bfloat16":
                rates["PyTorch compiled"] = []
            x = torch.randn(batch, 3, 224, 224, device="cuda")
            x = x.contiguous(memory_format=torch.channels_last)
            y = torch.randint(10, (batch,), device="cuda")
            peers = {
                name: training_step(arch, precision, name.endswith("compiled"))
                for name in list(rates)[1:]
            }
            command = [bench, arch, "224", str(batch), str(STEPS), "8", "cuda", precision]
            for _ in range(ROUNDS):
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rates["flowers"].append(json.loads(output)["images_per_second"])
                for name, step in peers.items():
                    rates[name].append(batch / timed_steps(lambda: step(x, y)))
            show(f"train {arch} {precision} batch {batch}", rates)


def inference(flowers):
    import torch
    import torchvision

    batches = [1, 128]
    for arch in ["resnet18", "resnet50"]:
        network = getattr(torchvision.models, arch)(num_classes=1000).cuda().eval()
        network = network.to(memory_format=torch.channels_last, dtype=torch.bfloat16)
        compiled = torch.compile(network, mode="reduce-overhead")
        rates = {(name, b): [] for b in batches for name in ["flowers", "PyTorch", "PyTorch compiled"]}
        command = [flowers, "bench", "--arch", arch, "--device", "cuda", "--json", "--seconds", "0.5"]
        command += ["--precision", "bfloat16", "--batch", ",".join(map(str, batches))]
        for _ in range(ROUNDS):
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for figure in json.loads(output):
                rates["flowers", figure["batch"]].append(figure["images_per_second"])
            for batch in batches:
                # As in flowers: 8-bit pixels on the host in, float32 logits on the host out.
                pixels = torch.randint(256, (batch, 224, 224, 3), dtype=torch.uint8)
                mean = torch.tensor([0.485, 0.456, 0.406], device="cuda")
                std = torch.tensor([0.229, 0.224, 0.225], device="cuda")
                for name, forward in [("PyTorch", network), ("PyTorch compiled", compiled)]:

                    def step():
                        with torch.inference_mode():
                            x = (pixels.cuda().float() / 255 - mean) / std
                            forward(x.to(torch.bfloat16).permute(0, 3, 1, 2)).float().cpu()

                    rates[name, batch].append(batch / timed_steps(step))
        for batch in batches:
            these = {name: values for (name, b), values in rates.items() if b == batch}
            show(f"infer {arch} bfloat16 batch {batch}", these)


def epochs(flowers, photos, batch=128):
    import torch
    import torchvision
    from torchvision.transforms import v2

    workers = os.cpu_count()
    for arch in ["resnet18", "resnet50"]:
        with tempfile.TemporaryDirectory() as folder:
            run = pathlib.Path(folder) / "run"
            command = [flowers, "train", photos, "--out", run, "--arch", arch, "--weights", "none"]
            command += ["--epochs", "3", "--batch-size", str(batch), "--precision", "bfloat16"]
            command += ["--val", "0.02", "--test", "0.02"]
            work = lambda: subprocess.run(command, check=True, capture_output=True)
            _, busy = watched(work)
            with open(run / "history.csv") as history:
                rows = list(csv.DictReader(history))[1:]
            rate = statistics.median(float(row["images_per_second"]) for row in rows)
            waiting = statistics.median(float(row["waiting"]) for row in rows)
            print(f"epochs {arch}: flowers {rate:.0f} images/s, waiting for photos {waiting:.0%} "
                  f"of the time, GPU busy {busy:.0f}% of the whole run", flush=True)
        transform = v2.Compose([
            v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(),
            v2.RandomRotation(30), v2.ColorJitter(0.2, 0.2, 0.2, 0.1), v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        data = torchvision.datasets.ImageFolder(photos, transform)
        loader = torch.utils.data.DataLoader(
            data, batch, shuffle=True, num_workers=workers, pin_memory=True, drop_last=True,
            persistent_workers=True,
        )
        step = training_step(arch, "bfloat16", False)

        def epoch():
            started, images = time.perf_counter(), 0
            for x, y in loader:
                x = x.cuda(non_blocking=True).contiguous(memory_format=torch.channels_last)
                step(x, y.cuda(non_blocking=True) % 10)
                images += len(y)
            return images / (time.perf_counter() - started)

        epoch()
        rate, busy = watched(epoch)
        print(f"epochs {arch}: PyTorch eager {rate:.0f} images/s, GPU busy {busy:.0f}%", flush=True)


def show(title, rates):
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours = medians["flowers"]
    peers = ", ".join(f"{name} {rate:.0f}" for name, rate in medians.items())
    ratios = ", ".join(f"{ours / rate:.2f}" for name, rate in medians.items() if name != "flowers")
    print(f"{title}: {peers} images/s; flowers is {ratios} times", flush=True)


def main():
    command, path, *rest = sys.argv[1:]
    if command == "steps":
        steps(path, *map(int, rest))
    elif command == "inference":
        inference(path)
    else:
        epochs(path, rest[0], *map(int, rest[1:]))


if __name__ == "__main__":
    main()
