#!/usr/bin/env python3
"""The same classifier behind FastAPI and uvicorn: ONNX Runtime, PIL and NumPy.

usage: onnxruntime_service.py MODEL [--host HOST] [--port N]

MODEL is what `flowers export --format onnx` wrote of a float or an int8 model; labels, resize and
crop are in its metadata. One process; requests run in FastAPI's thread pool, the session with its
default options. `POST /predict` takes a photo as the multipart field `file`.
"""

import argparse
import json

import numpy
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image


def preprocessed(picture, pixels):
    """What torchvision's Resize, CenterCrop, ToTensor and Normalize make of a picture."""
    resize, crop = pixels["resize"], pixels["crop"]
    width, height = picture.size
    shorter = min(width, height)
    size = int(resize * width / shorter), int(resize * height / shorter)
    picture = picture.resize(size, Image.Resampling[pixels["interpolation"].upper()])
    left, top = (round((side - crop) / 2) for side in size)
    picture = picture.crop((left, top, left + crop, top + crop))
    array = numpy.asarray(picture, numpy.float32) / 255
    array = (array - numpy.float32(pixels["mean"])) / numpy.float32(pixels["std"])
    return array.transpose(2, 0, 1)[None]


def create_app(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    labels, pixels = (json.loads(metadata[key]) for key in ["labels", "preprocessing"])
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile):
        picture = Image.open(file.file).convert("RGB")
        logits = session.run(None, {"input": preprocessed(picture, pixels)})[0][0]
        exponentials = numpy.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        predictions = [
            {"class": labels[index], "confidence": float(probabilities[index])}
            for index in probabilities.argsort()[:-4:-1]
        ]
        return {**predictions[0], "top_predictions": predictions}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="ONNX file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    app = create_app(arguments.model)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
