#!/usr/bin/env python3
"""How long JPEGs of three sizes take to decode, here and with Pillow, on one core.

usage: decode.py BENCH [--json FILE]

BENCH is the executable of `cargo bench --bench decode --no-run`. Times the whole picture, and what
evaluation does: decode, shorter side to 256, the middle 224 x 224. Pillow does the latter as
torchvision's transform of PIL images does, and once more with `draft`, which decodes at a fraction
of the size. Pictures are noise smoothed to the look of photos, quality 90, 4:2:0. Needs Pillow.
"""

import argparse
import io
import json
import os
import random
import subprocess
import tempfile
import time

from PIL import Image, ImageFilter

SIZES = {"320x240": (320, 240), "1 MP": (1200, 900), "12 MP": (4000, 3000)}


def photo(size):
    """Large shapes, small ones, and a sensor's grain."""
    random.seed(1)
    picture = Image.new("RGB", size)
    for cells, weight in ((8, 1.0), (60, 0.4), (max(size) // 2, 0.15)):
        small = (cells, max(1, cells * size[1] // size[0]))
        noise = Image.frombytes("RGB", small, random.randbytes(3 * small[0] * small[1]))
        picture = Image.blend(picture, noise.resize(size, Image.Resampling.BICUBIC), weight)
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def fastest(work):
    start, best, rounds = time.perf_counter(), float("inf"), 0
    while rounds < 5 or time.perf_counter() - start < 0.7:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
        rounds += 1
    return best * 1000


def evaluated(data, draft):
    picture = Image.open(io.BytesIO(data))
    if draft:
        picture.draft("RGB", (512, 512))
    picture = picture.convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) // 2 for side in picture.size)
    return picture.crop((left, top, left + 224, top + 224))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--json")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            path = f"{folder}/{name}.jpg"
            photo(size).save(path, quality=90, subsampling="4:2:0")
            with open(path, "rb") as file:
                data = file.read()
            answer = subprocess.run([args.bench, path], check=True, capture_output=True, text=True).stdout
            ours = json.loads(answer)
            rows.append({
                "size": name,
                "bytes": len(data),
                "whole_ms": ours["whole_ms"],
                "pillow_whole_ms": fastest(lambda: Image.open(io.BytesIO(data)).convert("RGB")),
                "evaluated_ms": ours["evaluated_ms"],
                "pillow_evaluated_ms": fastest(lambda: evaluated(data, False)),
                "pillow_draft_ms": fastest(lambda: evaluated(data, True)),
            })  # fmt: skip
    print("|  | whole | Pillow | evaluated | Pillow | Pillow, draft |\n|---|---|---|---|---|---|")
    for row in rows:
        values = [value for key, value in row.items() if key.endswith("_ms")]
        print(f"| {row['size']} | " + " | ".join(f"{value:.2f} ms" for value in values) + " |")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
