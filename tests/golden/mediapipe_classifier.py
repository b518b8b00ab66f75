#!/usr/bin/env python3
"""Classifies pictures by .tflite files with MediaPipe's ImageClassifier.

usage: mediapipe_classifier.py FOLDER

needs mediapipe and safetensors. FOLDER holds what exported.py describes; of each .tflite file, MediaPipe has
to read the labels, and to give the engine's probabilities for pictures of the network's size, within 0.0001, with
float16 weights 0.005, in int8 0.2 where pictures are few, else 0.005 in the mean.
"""

import pathlib
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from safetensors.numpy import load_file

TOLERANCE = {"softmax": 1e-4, "half": 5e-3, "int8softmax": 0.2}
FEW = 20


def main():
    folder = pathlib.Path(sys.argv[1])
    expected = load_file(folder / "expected.safetensors")
    names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    files = far = 0
    for path in sorted(folder.glob("*.tflite")):
        kind = path.stem.split("-")[1]
        options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
        apart = []
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for picture, wanted in zip(expected["pixels"], expected[kind]):
                image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(picture))
                (answer,) = classifier.classify(image).classifications
                scores = {category.category_name: category.score for category in answer.categories}
                # In int8, what rounds to nothing is left out.
                apart.append([abs(scores.get(name, 0) - share) for name, share in zip(names, wanted)])
                assert set(scores) <= set(names), set(scores) - set(names)
        apart = np.array(apart)
        is_mean = kind == "int8softmax" and len(apart) > FEW
        found, allowed = (apart.mean(), 5e-3) if is_mean else (apart.max(), TOLERANCE[kind])
        files += 1
        far += not found <= allowed
        print(f"{path.name}: MediaPipe: {found:.1e} of {allowed:.0e}")
    print(f"{files} files, {far} too far from the engine")
    sys.exit(1 if far or not files else 0)


main()
