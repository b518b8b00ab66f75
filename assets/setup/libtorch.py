#!/usr/bin/env python3
"""Assemble libtorch from the PyTorch wheels of the package index pip is set up for; on x86-64 under
Linux with oneDNN beside it.

usage: libtorch.py TARGET

Works wherever pip does, needs nothing but python3 and pip, and keeps only what a CPU
program links and loads. The folder appears under its name only once it is whole.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

TORCH = "torch==2.13.0"
CUDA_STUBS = ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]
ONEDNN = ["onednn-cpu-gomp==2023.2.0"]
LINUX_X86_64 = [
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libshm.so",
    "libcudart.so.13",
    "libcupti.so.13",
    "libdnnl.so.3",
]


def download(wheels, requirements):
    """Fetch wheels; the Python version is pinned so that an older python3 can fetch too."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", wheels]
    pinned = ["--python-version", "3.12", "--only-binary", ":all:"]
    if subprocess.run(command + pinned + requirements).returncode != 0:
        sys.exit(
            f"libtorch: pip could not download {' '.join(requirements)}.\n"
            "Check the network, or point LIBTORCH at a libtorch 2.13.0 that you have."
        )


def wanted(name):
    """Where a wheel's member goes below the target, or None."""
    base = os.path.basename(name)
    if not base:
        return None
    if ".dist-info/licenses/" in name:
        return "licenses/" + name.replace(".dist-info/licenses/", "/")
    if "/share/doc/onednn/" in name:
        return f"licenses/onednn/{base}"
    if name.startswith("torch/include/"):
        return name.removeprefix("torch/")
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return f"lib/{base}" if base in LINUX_X86_64 else None
    if name.startswith(("torch/lib/", "torch.libs/", "torch/.dylibs/")):
        skipped = "python" in base or "cuda" in base or "protobuf" in base
        return None if skipped else f"lib/{base}"
    return None


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = os.path.abspath(sys.argv[1])
    if os.path.exists(target):
        sys.exit(f"libtorch: {target} exists; remove it to fetch it again")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target), prefix=".libtorch-") as work:
        requirements = [TORCH]
        if sys.platform == "linux" and platform.machine() == "x86_64":
            requirements += CUDA_STUBS + ONEDNN
        download(work, requirements)
        root = os.path.join(work, "root")
        for wheel in sorted(f for f in os.listdir(work) if f.endswith(".whl")):
            with zipfile.ZipFile(os.path.join(work, wheel)) as archive:
                for name in archive.namelist():
                    place = wanted(name)
                    if place is None:
                        continue
                    path = os.path.join(root, place)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with archive.open(name) as source, open(path, "wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
        if sys.platform == "linux":
            script = os.path.join(root, "lib", "libtorch.so")
            with open(script, "w") as sink:
                sink.write("INPUT(-ltorch_cpu)\n")
        os.chmod(root, 0o755)
        os.rename(root, target)
    print(f"libtorch: ready in {target}")


if __name__ == "__main__":
    main()
