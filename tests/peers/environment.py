#!/usr/bin/env python3
"""Make a Python environment that exports are tested in, and print the path of its python.

usage: environment.py torch|tensorflow|mediapipe|kubernetes

It holds what NAME.txt beside this file pins, in the user's cache folder below the hash of that file, so
that every checkout with the same pins shares it. The one of TensorFlow has the oldest Keras 3 that is
supported beside it, in the folder `keras-oldest`. The folder appears under its name only once it is whole.
Where that fails, the reason is one line on stderr and the exit code is 1.
"""

import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import venv

KERAS_OLDEST = "keras==3.3.3"
# On Linux PyTorch's wheels on PyPI come with CUDA, and don't load without it.
SIZES = {
    "torch": "2.8 GB, 4.9 GB unpacked" if platform.system() == "Linux" else "0.3 GB",
    "tensorflow": "0.5 GB, 2.3 GB unpacked",
    "mediapipe": "0.1 GB, 0.5 GB unpacked",
    "kubernetes": "0.03 GB, 0.3 GB unpacked",
}


def install(name, requirements, target):
    """Fill the new folder `target`.

    Raises `subprocess.CalledProcessError` with pip's words, `OSError` where there is no room.
    """
    venv.create(target, with_pip=True)
    pip = [target / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    command = [*pip, "install", "--quiet", "--requirement", requirements]
    subprocess.run(command, check=True, capture_output=True, text=True)
    if name == "tensorflow":
        oldest = ["--no-deps", "--target", target / "keras-oldest", KERAS_OLDEST]
        subprocess.run([*pip, "install", "--quiet", *oldest], check=True, capture_output=True, text=True)


def main(name):
    requirements = pathlib.Path(__file__).with_name(f"{name}.txt")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "flowers"
    pinned = requirements.read_bytes() + (KERAS_OLDEST.encode() if name == "tensorflow" else b"")
    digest = hashlib.sha256(pinned).hexdigest()[:12]
    version = "{}.{}".format(*sys.version_info)
    target = cache / f"peers-{name}-{version}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "peers.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            print(f"downloading packages to test beside {name} ({SIZES[name]}) to {target}", file=sys.stderr)
            unfinished = cache / "peers.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            install(name, requirements, unfinished)
            unfinished.rename(target)
    print(target / "bin/python")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SIZES:
        sys.exit(f"usage: environment.py {'|'.join(SIZES)}")
    try:
        main(sys.argv[1])
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        sys.exit(f"packages to test beside {sys.argv[1]} can't be installed, what needs them is ignored: {reason}")
