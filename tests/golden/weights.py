"""Makes the .pth files in tests/golden/weights, and expected.json with what torch finds in them.

Run with PyTorch 2.13: python tests/golden/weights.py
"""

import argparse
import json
import os
import pathlib
import zipfile

import numpy
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).with_suffix("")
FOLDER.mkdir(exist_ok=True)
expected = {}


def save(name, content, state_dict=None, protocols=(2,), legacy=True):
    """Saves `content`; `state_dict` is what a reader should find, nothing if it must refuse."""
    for protocol in protocols:
        for kind, new in (("zip", True), ("legacy", False)):
            if not (new or legacy):
                continue
            file = f"{name}_{kind}_p{protocol}.pth"
            torch.save(
                content,
                FOLDER / file,
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=new,
            )
            if state_dict is not None:
                expected[file] = {key: described(tensor) for key, tensor in state_dict.items()}


def described(tensor):
    dtype = str(tensor.dtype).removeprefix("torch.")
    widened = {"float64": "float32", "float16": "float32", "bfloat16": "float32"}
    widened |= {"int16": "int32", "bool": "uint8"}
    dtype = widened.get(dtype, dtype)
    values = tensor.detach().to(getattr(torch, dtype)).flatten().tolist()
    return {"shape": list(tensor.shape), "dtype": dtype, "values": values}


torch.manual_seed(0)

numbers = torch.tensor([[0.0, -1.5, 3.25], [1e-3, 65504.0, -7.0]], dtype=torch.float64)
types = {
    "float64": numbers / 3,
    "float32": (numbers / 3).float(),
    "float16": (numbers / 3).half(),
    "bfloat16": (numbers / 3).bfloat16(),
    "int64": torch.tensor([-(2**60) - 1, 5]),
    "int32": torch.tensor([-(2**30), 5], dtype=torch.int32),
    "int16": torch.tensor([-30000, 5], dtype=torch.int16),
    "int8": torch.tensor([-128, 127], dtype=torch.int8),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(7),
    "empty": torch.zeros(0, 3),
}
save("dtypes", types, types)

network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
state = network.state_dict()
save("module", state, state, protocols=(2, 3, 4, 5))

parameters = {"weight": nn.Parameter(torch.rand(2, 2)), "frozen": nn.Parameter(torch.rand(3), False)}
save("parameters", parameters, parameters, protocols=(2, 4))

torch.serialization.set_crc32_options(False)
save("no_checksums", types, types, legacy=False)
torch.serialization.set_crc32_options(True)

base = torch.arange(60.0).reshape(3, 4, 5)
views = {
    "base": base,
    "transposed": base.transpose(0, 2),
    "sliced": base[1:, ::2, 3:4],
    "offset": base[2],
    "column": base[:, 1, 2],
    "expanded": base[:1, :1].expand(2, 3, 5),
    "channels_last": torch.rand(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "one": base[1:2, 2:3, 3:4],
    "tied": base,
}
save("views", views, views)

parallel = {f"module.{name}": tensor for name, tensor in state.items()}
checkpoint = {
    "epoch": 3,
    "best": 0.9,
    "classes": ("daisy", ["rose", None, True]),
    "seed": 2**70,
    "size": torch.Size([3, 224]),
    "optimizer": {"state": {0: {"momentum": torch.rand(4)}}, "lr": 1e-3},
}
save("nested", checkpoint | {"state_dict": parallel}, state, protocols=(2, 4))
save("nested_model", checkpoint | {"model": {"model_state_dict": state}}, state)


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


save("evil", {"weight": torch.rand(2), "evil": Evil()}, protocols=(2, 4))
# The older format would put PyTorch's source text into the file.
save("whole_model", network, legacy=False)
save("numpy", {"model": state, "best": numpy.float64(0.9)}, state)
save("namespace", {"model": state, "args": argparse.Namespace(lr=0.1)}, state)
save("list", [torch.rand(2)])
weight = torch.rand(2)
save("number", {"weight": weight, "epoch": 3}, {"weight": weight})

with (
    zipfile.ZipFile(FOLDER / "number_zip_p2.pth") as little,
    zipfile.ZipFile(FOLDER / "big_endian.pth", "w") as big,
):
    for item in little.infolist():
        content = b"big" if item.filename.endswith("/byteorder") else little.read(item)
        big.writestr(item.filename, content)

torch.jit.script(nn.ReLU()).save(FOLDER / "torchscript.pth")

(FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")
