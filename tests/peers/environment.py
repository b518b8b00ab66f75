#!/usr/bin/env python3
"""Make the Python environment that exports are tested in, and print the path of its python.

usage: environment.py

It holds what requirements.txt beside this file pins, in the user's cache folder below the hash of
that file, so that every checkout with the same pins shares it. The folder appears under its name
only once it is whole. Where that fails, the reason is one line on stderr and the exit code is 1.
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

REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")
# On Linux PyTorch's wheels on PyPI come with CUDA, and don't load without it.
SIZE = "2.8 GB, 4.9 GB unpacked" if platform.system() == "Linux" else "0.3 GB"


def install(target):
    """Fill the new folder `target`.

    Raises `subprocess.CalledProcessError` with pip's words, `OSError` where there is no room.
    """
    venv.create(target, with_pip=True)
    pip = [target / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    command = [*pip, "install", "--quiet", "--requirement", REQUIREMENTS]
    subprocess.run(command, check=True, capture_output=True, text=True)


def main():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "flowers"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    version = "{}.{}".format(*sys.version_info)
    target = cache / f"peers-{version}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "peers.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            print(f"downloading PyTorch, ONNX Runtime and LiteRT ({SIZE}) to {target}", file=sys.stderr)
            unfinished = cache / "peers.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            install(unfinished)
            unfinished.rename(target)
    print(target / "bin/python")


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        sys.exit(f"PyTorch, ONNX Runtime and LiteRT can't be installed, what needs them is ignored: {reason}")
