"""Makes tests/golden/weights/checkpoint_*.pth and checkpoints.json with what has to be found in them.

They are what training scripts save: a state dict under one key or another, and beside it options,
scores and counts. The bytes are Python's own pickle and zipfile in the layout of `torch.save`, with
stand-ins for the tensors' classes, as a reader sees nothing but their names. What lies beside the
tensors is real.

Run with NumPy 2: python tests/golden/checkpoints.py
"""

import argparse
import collections
import datetime
import io
import json
import pathlib
import pickle
import sys
import types
import uuid
import zipfile

import numpy

FOLDER = pathlib.Path(__file__).with_name("weights")

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules |= {"torch": torch, "torch._utils": utils}


def stand_in(module, name, thing):
    thing.__module__, thing.__qualname__, thing.__name__ = module.__name__, name, name
    setattr(module, name, thing)
    return thing


def stand_in_class(name):
    return stand_in(torch, name, type(name, (), {}))


FloatStorage = stand_in_class("FloatStorage")
ComplexFloatStorage = stand_in_class("ComplexFloatStorage")
QInt8Storage = stand_in_class("QInt8Storage")
rebuild = stand_in(utils, "_rebuild_tensor_v2", lambda *arguments: None)
rebuild_quantized = stand_in(utils, "_rebuild_qtensor", lambda *arguments: None)


class Tensor:
    """A contiguous tensor, float32 or complex64."""

    def __init__(self, shape, values):
        self.shape, self.values = shape, values
        is_complex = any(isinstance(value, complex) for value in values)
        self.storage = ComplexFloatStorage() if is_complex else FloatStorage()
        self.storage.values = values

    def __reduce_ex__(self, _):
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.insert(0, step)
            step *= size
        hooks = collections.OrderedDict()
        return rebuild, (self.storage, 0, self.shape, tuple(strides), False, hooks)


class QuantizedTensor:
    """A vector of bytes, `scale` apart."""

    def __init__(self, values, scale):
        self.scale, self.storage = scale, QInt8Storage()
        self.storage.values = values

    def __reduce_ex__(self, _):
        count = len(self.storage.values)
        hooks = collections.OrderedDict()
        return rebuild_quantized, (self.storage, 0, (count,), (1,), (self.scale, 0), False, hooks)


class Pickler(pickle.Pickler):
    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = []

    def persistent_id(self, thing):
        if not isinstance(thing, (FloatStorage, ComplexFloatStorage, QInt8Storage)):
            return None
        if thing not in self.storages:
            self.storages.append(thing)
        key = str(self.storages.index(thing))
        return "storage", type(thing), key, "cpu", len(thing.values)


expected = {}


def save(name, content, state=None, protocols=(2,)):
    """Saves `content`; `state` is what a reader has to find, nothing if it must refuse."""
    for protocol in protocols:
        file = f"checkpoint_{name}_p{protocol}.pth"
        data = io.BytesIO()
        pickler = Pickler(data, protocol)
        pickler.dump(content)
        with zipfile.ZipFile(FOLDER / file, "w") as archive:
            members = {"data.pkl": data.getvalue(), "byteorder": b"little"}
            for key, storage in enumerate(pickler.storages):
                kinds = {ComplexFloatStorage: "complex64", QInt8Storage: "int8"}
                kind = kinds.get(type(storage), "float32")
                members[f"data/{key}"] = numpy.array(storage.values, kind).tobytes()
            members["version"] = b"3\n"
            for member, content_of_it in members.items():
                info = zipfile.ZipInfo(f"archive/{member}", (1980, 1, 1, 0, 0, 0))
                archive.writestr(info, content_of_it)
        if state is not None:
            expected[file] = {
                key: {"shape": tensor.shape, "dtype": "float32", "values": tensor.values}
                for key, tensor in state.items()
            }


state = collections.OrderedDict(
    [("conv.weight", Tensor((2, 3), [0.5, -1.0, 2.0, 0.25, 8.0, -0.125])), ("conv.bias", Tensor((2,), [1.0, -2.0]))]
)
optimizer = {"state": {0: {"exp_avg": Tensor((2,), [9.0, 9.0])}}, "param_groups": [{"lr": 1e-3}]}
beside = {
    "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("photos"), tags={"a", "b"}),
    "best": numpy.float64(0.9),
    "best_epoch": numpy.int64(3),
    "best_acc1": Tensor((), [91.5]),
    "improved": numpy.bool_(True),
    "confusion": numpy.arange(4).reshape(2, 2),
    "history": collections.defaultdict(list, {"loss": [0.5, 0.25]}),
    "seen": collections.Counter("roses"),
    "last": collections.deque([1, 2], maxlen=2),
    "started": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    "took": datetime.timedelta(seconds=3),
    "frozen": frozenset([1]),
    "z": 1 + 2j,
    "raw": bytearray(b"raw"),
    "name": types.SimpleNamespace(of="a run"),
    "id": uuid.UUID(int=7),
    "optimizer": optimizer,
}

resumed = {
    "numpy": numpy.random.default_rng(0),
    "older": numpy.random.RandomState(0),
    "state": numpy.random.default_rng(0).bit_generator.state,
    "dtypes": [stand_in_class(name) for name in ["bool", "int8", "int16", "int32", "int64", "uint8"]],
    "from": pathlib.PureWindowsPath("photos"),
    "spectrum": Tensor((2,), [1 + 2j, 3 - 4j]),
    "wide": [1 << 200, -(1 << 4000)],
}

for key in ["net", "model_state", "weights", "ema", "encoder"]:
    save(key, {key: state, "acc": 91.5, "epoch": 3, "optimizer": optimizer}, state)
save("average", {"ema": {"decay": 0.99, "module": state}}, state)
save("both", {"model_ema": {"conv.weight": Tensor((1,), [7.0])}, "model": state}, state)
save("beside", beside | {"state_dict": state}, state, protocols=(2, 3, 4, 5))
save("resumed", resumed | {"state_dict": state}, state, protocols=(2, 5))
save("flat", state | {"epoch": 3, "args": beside["args"], "best": beside["best"]}, state)
parallel = {f"module._orig_mod.net.{name}": tensor for name, tensor in state.items()}
save("parallel", {"net": parallel}, parallel)

lightning = {f"model.{name}": tensor for name, tensor in state.items()}
save(
    "lightning",
    {
        "epoch": 3,
        "global_step": 96,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": lightning,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": {"best_model_score": Tensor((), [0.5])}},
        "optimizer_states": [optimizer],
        "lr_schedulers": [{"last_epoch": 4}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 1e-3},
    },
    lightning,
)
save("quantized", {"conv1.weight": QuantizedTensor([-128, 0, 127], 0.5), "conv1.scale": Tensor((), [0.5])})

save("several", {"generator": state, "discriminator": dict(state)})
save("none", {"epoch": 3, "optimizer": optimizer})
save("nan", {"net": {"fine": Tensor((1,), [1.0]), "spoilt": Tensor((3,), [1.0, float("nan"), 2.0])}})
save("infinity", {"spoilt": Tensor((2,), [float("-inf"), 2.0])})

(FOLDER / "checkpoints.json").write_text(json.dumps(expected) + "\n")
