#!/usr/bin/env python3
"""The same classifier behind FastAPI and uvicorn: ONNX Runtime or OpenVINO, PIL and NumPy.

usage: onnx_service.py MODEL [--runtime onnxruntime|openvino] [--hint latency|throughput]
                       [--host HOST] [--port N]

MODEL is what `flowers export --format onnx` wrote of a float or an int8 model; labels, resize and
crop are in its metadata. One process; requests run in FastAPI's thread pool. ONNX Runtime's session
has its default options; OpenVINO has the hint, and a request object for each thread; it computes in
bfloat16 where the processor does. `POST /predict` takes a photo as the multipart field `file`.
"""

import argparse
import json
import threading

import numpy
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


def by_onnxruntime(path):
    """A function of an input (1, 3, height, width) that gives logits (classes); and the metadata."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    run = lambda planes: session.run(None, {"input": planes})[0][0]
    return run, session.get_modelmeta().custom_metadata_map


def by_openvino(path, hint):
    import onnx
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *[side.get_length() for side in list(model.inputs[0].partial_shape)[1:]]])
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": hint.upper()})
    requests = threading.local()

    def run(planes):
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        return requests.own.infer([planes])[0][0]

    properties = onnx.load(path, load_external_data=False).metadata_props
    return run, {property.key: property.value for property in properties}


def create_app(run, metadata):
    labels, pixels = (json.loads(metadata[key]) for key in ["labels", "preprocessing"])
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile):
        picture = Image.open(file.file).convert("RGB")
        logits = run(preprocessed(picture, pixels))
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
    parser.add_argument("--runtime", choices=["onnxruntime", "openvino"], default="onnxruntime")
    parser.add_argument("--hint", choices=["latency", "throughput"], default="latency")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    openvino = arguments.runtime == "openvino"
    path = arguments.model
    app = create_app(*(by_openvino(path, arguments.hint) if openvino else by_onnxruntime(path)))
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
