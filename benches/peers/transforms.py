#!/usr/bin/env python3
"""Decoding and transforming JPEGs of three sizes beside torchvision, images/s on one core.

usage: transforms.py BENCH [--simd PYTHON] [--rounds N] [--json FILE]

BENCH is the executable of `cargo bench --bench transforms --no-run`. Timed is all from the file to
normalised float32 values: the evaluation transform (Resize(256), CenterCrop(224), ToTensor, Normalize)
and the classic training transform (RandomResizedCrop(224), both flips, RandomRotation(30),
ColorJitter(0.2, 0.2, 0.2, 0.1), ToTensor, Normalize), written as in PyTorch's tutorial, and then each
step apart. PYTHON has torchvision on Pillow-SIMD. Processes alternate; of each figure the median counts,
and that of the fastest round. Pictures are noise smoothed to the look
of photos, quality 90, 4:2:0. Needs torchvision and Pillow.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = {"320x240": (320, 240), "1MP": (1200, 900), "12MP": (4000, 3000)}
UNITS = {"": 1, "K": 1e3, "M": 1e6}


def photo(size):
    """Large shapes, small ones, and a sensor's grain."""
    from PIL import Image, ImageFilter

    random.seed(1)
    picture = Image.new("RGB", size)
    for cells, weight in ((8, 1.0), (60, 0.4), (max(size) // 2, 0.15)):
        small = (cells, max(1, cells * size[1] // size[0]))
        noise = Image.frombytes("RGB", small, random.randbytes(3 * small[0] * small[1]))
        picture = Image.blend(picture, noise.resize(size, Image.Resampling.BICUBIC), weight)
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def torchvision(folder):
    """Images/s of the peer by case and photo, in this process."""
    import torch
    import torchvision.transforms as T
    from PIL import Image

    torch.set_num_threads(1)
    normalise = [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    steps = {
        "random_resized_crop": T.RandomResizedCrop(224),
        "flip": T.RandomHorizontalFlip(1.0),
        "rotation": T.RandomRotation(30),
        "color_jitter": T.ColorJitter(0.2, 0.2, 0.2, 0.1),
    }
    crop, flip, rotation, jitter = steps.values()
    flips = [T.RandomHorizontalFlip(), T.RandomVerticalFlip()]
    classic = T.Compose([crop, *flips, rotation, jitter, *normalise])
    fit = [T.Resize(256), T.CenterCrop(224)]
    evaluation = T.Compose([*fit, *normalise])

    def opened(path):
        with open(path, "rb") as file:
            return Image.open(file).convert("RGB")

    def median(work):
        start, seconds = time.perf_counter(), []
        while len(seconds) < 10 or time.perf_counter() - start < 1.0:
            begun = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begun)
        return 1 / statistics.median(seconds)

    rates = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        picture = opened(path)
        rates[f"whole_evaluation {name}"] = median(lambda: evaluation(opened(path)))
        rates[f"whole_classic {name}"] = median(lambda: classic(opened(path)))
        rates[f"decode_whole {name}"] = median(lambda: opened(path))
        rates[f"resize_and_centre_crop {name}"] = median(lambda: T.Compose(fit)(picture))
        rates[f"random_resized_crop {name}"] = median(lambda: crop(picture))
        turned = T.Compose([crop, *flips, rotation])
        rates[f"random_resized_crop_flips_rotation {name}"] = median(lambda: turned(picture))
    square = T.Compose(fit)(picture)
    rates["color_jitter"] = median(lambda: jitter(square))
    rates["horizontal_flip"] = median(lambda: flip(square))
    rates["rotation"] = median(lambda: rotation(square))
    rates["normalise"] = median(lambda: T.Compose(normalise)(square))
    return rates


def flowers(bench, folder):
    """Images/s of the median sample by case and photo, read from divan's tree."""
    command = [bench, "--bench", "--min-time", "1", "--max-time", "2", "--color", "never"]
    environment = {**os.environ, "PHOTOS": folder}
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    rates, case, photo = {}, "", None
    for line in text.splitlines():
        if named := re.match(r"[├╰]─ (\w+)", line):
            case, photo = named[1], None
        elif named := re.match(r"[│ ]  [├╰]─ (\S+)", line):
            photo = named[1]
        # Fastest, slowest, median, mean.
        if found := re.findall(r"([\d.]+) ([KM]?)item/s", line):
            rate, unit = found[2]
            rates[f"{case} {photo}" if photo else case] = float(rate) * UNITS[unit]
    return rates


def peer(python, folder):
    command = [python, __file__, "--peer", folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--simd", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    if sys.argv[1:2] == ["--peer"]:
        print(json.dumps(torchvision(sys.argv[2])))
        return
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    programs = {"torchvision, Pillow": lambda folder: peer(sys.executable, folder)}
    if args.simd:
        programs["torchvision, Pillow-SIMD"] = lambda folder: peer(args.simd, folder)
    programs["flowers"] = lambda folder: flowers(args.bench, folder)
    best = {name: {} for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            photo(size).save(f"{folder}/{name}.jpg", quality=90, subsampling="4:2:0")
        for _ in range(args.rounds):
            for program, rates in best.items():
                for case, rate in programs[program](folder).items():
                    rates[case] = max(rate, rates.get(case, 0))
    ours = best.pop("flowers")
    print("| images/s | flowers | " + " | ".join(f"{name} | ratio" for name in best) + " |")
    print("|---" * (2 + 2 * len(best)) + "|")
    for case, rate in ours.items():
        cells = [f"{rate:.0f}"]
        for rates in best.values():
            known = case in rates
            cells += [f"{rates[case]:.0f}", f"{rate / rates[case]:.1f} times"] if known else ["", ""]
        print(f"| {case.replace('_', ' ').removesuffix('.jpg')} | " + " | ".join(cells) + " |")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"flowers": ours, **best}, file, indent=2)


if __name__ == "__main__":
    main()
