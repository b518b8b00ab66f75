#!/usr/bin/env python3
"""Assemble libtorch from the PyTorch wheels of the package index pip is set up for; on x86-64 under
Linux with oneDNN beside it.

usage: libtorch.py TARGET

Works wherever pip does, needs nothing but python3 and pip, and keeps only what a CPU
program links and loads. On x86-64 under Linux that is a quarter of the wheels, and only that is
downloaded, if the index's server answers requests for ranges. The folder appears under its name
only once it is whole.
"""

import base64
import csv
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from http.client import HTTPException

TORCH = "torch==2.13.0"
# What the program needs there, and the SHA-256 of each wheel's RECORD, which has those of its files.
# CUDA's libraries are what libtorch was linked against; Paddle's wheel has oneDNN 3.6 for old systems.
LINUX_X86_64 = {
    TORCH: "047e634e96d5bc54b146ddb04a470175e886d18d89439c44e371e870e2dfa0de",
    "nvidia-cuda-runtime==13.0.96": "34c7a65651597fd8a376b049b69bb26db399a9ea443a7a142ccd34f5a10f79c4",
    "nvidia-cuda-cupti==13.0.85": "f8ae8ddce85f8e319abac90e956bf45a572e31f4ff01af2d634f37aa3d78e3eb",
    "paddlepaddle==3.3.1": "d3939878c137db5dfce71357125a9a6c2cc7630aa1185ef9dfbb5d01da436944",
}
LIBRARIES = [
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libshm.so",
    "libcudart.so.13",
    "libcupti.so.13",
    "libdnnl.so.3",
]
# A wheel is fetched for the same Python by every python3, also by older ones.
WHEELS = ["--no-deps", "--python-version", "3.12", "--only-binary", ":all:"]
# Of the end of a wheel, which lists its files; and of what is not needed between two parts that are.
LISTING = 2 << 20
GAP = 1 << 18


def on_linux_x86_64():
    return sys.platform == "linux" and platform.machine() == "x86_64"


def wanted(name):
    """Where a wheel's member goes below the target, or None."""
    base = os.path.basename(name)
    if not base:
        return None
    if ".dist-info/licenses/" in name or name.endswith(".dist-info/LICENSE"):
        return "licenses/" + name.replace(".dist-info", "").replace("/licenses/", "/")
    if name.startswith("torch/include/"):
        return name.removeprefix("torch/")
    if on_linux_x86_64():
        return f"lib/{base}" if base in LIBRARIES else None
    if name.startswith(("torch/lib/", "torch.libs/", "torch/.dylibs/")):
        skipped = "python" in base or "cuda" in base or "protobuf" in base
        return None if skipped else f"lib/{base}"
    return None


def addresses(requirements):
    """Where pip would download the wheels from."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    with tempfile.TemporaryDirectory() as nowhere:
        command += [*WHEELS, "--target", nowhere, "--report", "-", *requirements]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [wheel["download_info"]["url"] for wheel in json.loads(found.stdout)["install"]]


def copy_range(url, wanted_range, sink, on_bytes=lambda count: None):
    """Write a range of a file on a server, e.g. "0-99", where it is in the file `sink`. Returns the size
    of the file on the server."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={wanted_range}"})
    with urllib.request.urlopen(request, timeout=60) as source:
        place = source.headers.get("Content-Range") if source.status == 206 else None
        if not place:
            raise OSError("the server sends whole files only")
        place, size = place.removeprefix("bytes ").split("/")
        start, end = map(int, place.split("-"))
        if not wanted_range.startswith("-") and place != wanted_range:
            raise OSError("the server sends other ranges than it is asked for")
        sink.seek(start)
        while piece := source.read(1 << 18):
            sink.write(piece)
            on_bytes(len(piece))
        if sink.tell() != end + 1:
            raise OSError("the connection was closed early")
    return int(size)


def parts(archive):
    """The ranges of a wheel that have what is wanted, and RECORD."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    ends = [member.header_offset for member in members[1:]] + [archive.start_dir]
    ranges = []
    for member, end in zip(members, ends):
        if not (wanted(member.filename) or member.filename.endswith(".dist-info/RECORD")):
            continue
        if ranges and member.header_offset - ranges[-1][1] < GAP:
            ranges[-1][1] = end
        else:
            ranges.append([member.header_offset, end])
    return ranges


def download_parts(work, url):
    """Write a wheel with holes: what is not wanted is left out of the file."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[1])
    if requirement(name) not in LINUX_X86_64:
        raise ValueError(f"{name} is not known")
    with open(os.path.join(work, name), "w+b") as sink:
        size = copy_range(url, f"-{LISTING}", sink)
        with zipfile.ZipFile(sink) as archive:
            ranges = parts(archive)
        total = sum(end - start for start, end in ranges)
        done = 0

        def show(count):
            nonlocal done
            before, done = done, done + count
            if sys.stderr.isatty() and done >> 20 != before >> 20:
                print(f"\r  {done / 1e6:.0f} of {total / 1e6:.0f} MB ", end="", file=sys.stderr)

        print(f"libtorch: {total / 1e6:.1f} MB of {name} ({size / 1e6:.0f} MB)")
        for start, end in ranges:
            copy_range(url, f"{start}-{end - 1}", sink, show)
        if sys.stderr.isatty():
            print("\r" + " " * 30, end="\r", file=sys.stderr)


def download(work, requirements):
    """Fetch whole wheels; pip checks them against its index."""
    command = [sys.executable, "-m", "pip", "download", "--dest", work, *WHEELS]
    if subprocess.run(command + requirements).returncode != 0:
        sys.exit(
            f"libtorch: pip could not download {' '.join(requirements)}.\n"
            "Check the network, or point LIBTORCH at a libtorch 2.13.0 that you have."
        )


def requirement(wheel):
    """What a wheel is, by its name."""
    project, version = wheel.split("-")[:2]
    return f"{project.replace('_', '-')}=={version}"


def checksums(archive, wheel):
    """SHA-256 of each file of a wheel, if the list of them is the one known; None for another wheel, which
    pip has checked against its index."""
    if not on_linux_x86_64() or requirement(wheel) not in LINUX_X86_64:
        return None
    record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    record = archive.read(record)
    if hashlib.sha256(record).hexdigest() != LINUX_X86_64[requirement(wheel)]:
        sys.exit(f"libtorch: {wheel} is not the wheel that was published: its list of files differs.")
    rows = csv.reader(io.StringIO(record.decode()))
    return {row[0]: row[1] for row in rows}


def extract(wheel, root):
    """Copy what is wanted out of a wheel, and check it."""
    file = os.path.basename(wheel)
    try:
        with zipfile.ZipFile(wheel) as archive:
            known = checksums(archive, file)
            for name in archive.namelist():
                place = wanted(name)
                if place is None:
                    continue
                if ".." in place.split("/") or (known is not None and name not in known):
                    sys.exit(f"libtorch: {file} has a file that no such wheel has: {name}")
                path = os.path.join(root, place)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with archive.open(name) as source, open(path, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                if known is not None and known[name] != record_hash(path):
                    sys.exit(f"libtorch: {name} of {file} is not what was published; try again.")
    except (zipfile.BadZipFile, zlib.error) as error:
        sys.exit(f"libtorch: {file} is damaged ({error}); try again.")


def record_hash(path):
    """A file's hash as RECORD has it (PEP 376)."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def fetch(work):
    """Download the wheels into the folder `work`, of large ones only the parts that are wanted."""
    if not on_linux_x86_64():
        return download(work, [TORCH])
    try:
        for url in addresses(list(LINUX_X86_64)):
            download_parts(work, url)
    except (
        OSError,
        HTTPException,
        ValueError,
        KeyError,
        subprocess.CalledProcessError,
        zipfile.BadZipFile,
    ) as error:
        print(f"libtorch: parts of the wheels can't be had ({error}); downloading them whole")
        for wheel in os.listdir(work):
            os.remove(os.path.join(work, wheel))
        download(work, list(LINUX_X86_64))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = os.path.abspath(sys.argv[1])
    if os.path.exists(target):
        sys.exit(f"libtorch: {target} exists; remove it to fetch it again")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target), prefix=".libtorch-") as folder:
        work, root = os.path.join(folder, "wheels"), os.path.join(folder, "root")
        os.mkdir(work)
        fetch(work)
        for wheel in sorted(os.listdir(work)):
            extract(os.path.join(work, wheel), root)
        if sys.platform == "linux":
            script = os.path.join(root, "lib", "libtorch.so")
            with open(script, "w") as sink:
                sink.write("INPUT(-ltorch_cpu)\n")
        os.chmod(root, 0o755)
        os.rename(root, target)
    print(f"libtorch: ready in {target}")


if __name__ == "__main__":
    main()
