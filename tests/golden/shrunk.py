#!/usr/bin/env python3
"""Compare predictions for large JPEGs, which flowers decodes at a fraction of their size, with those
for the same pixels as Pillow decodes them, given as PNG, which is decoded whole.

usage: shrunk.py FLOWERS MODEL DIR [PHOTOS]

Takes PHOTOS (48) photos from all over a folder tree, enlarges each to 4000 x 3000 with a sensor's
noise, and saves it as JPEG of quality 90, 4:2:0. Needs Pillow and numpy.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
from PIL import Image

SIZE = (4000, 3000)


def enlarged(photo, number):
    picture = Image.open(photo).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    pixels = numpy.asarray(picture, numpy.float32)
    noise = numpy.random.default_rng(number).standard_normal(pixels.shape, numpy.float32)
    pixels += noise * (3 + 0.6 * numpy.sqrt(pixels))
    return Image.fromarray(pixels.round().clip(0, 255).astype(numpy.uint8))


def predicted(flowers, model, file):
    command = [flowers, "predict", model, file, "--json", "--precision", "float32", "--top-k", "1000"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer["class"], {g["class"]: g["confidence"] for g in answer["top_predictions"]}


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    flowers, model, folder = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) == 5 else 48
    photos = sorted(pathlib.Path(folder).rglob("*.jpg"))
    photos = [photos[place * len(photos) // count] for place in range(count)]
    same, apart, most = 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as work:
        for number, photo in enumerate(photos):
            jpeg, png = f"{work}/photo.jpg", f"{work}/photo.png"
            enlarged(photo, number).save(jpeg, quality=90, subsampling="4:2:0")
            Image.open(jpeg).save(png, compress_level=1)
            (label, shrunk), (expected, whole) = (
                predicted(flowers, model, file) for file in (jpeg, png)
            )
            differences = [abs(shrunk[name] - whole[name]) for name in whole]
            same += label == expected
            apart += sum(differences) / len(differences)
            most = max(most, *differences)
    print(f"{same} of {count} labels are the same")
    print(f"probabilities differ by {apart / count:.5f} on average, by {most:.4f} at most")


if __name__ == "__main__":
    main()
