"""The set-up of libtorch against a server of its own: what it downloads of a wheel, and what it refuses.

usage: libtorch.py FOLDER-OF-THE-SCRIPT
"""

import base64
import contextlib
import hashlib
import http.server
import os
import re
import sys
import tempfile
import threading
import unittest
import zipfile

sys.path.insert(0, sys.argv.pop(1))
sys.dont_write_bytecode = True
import libtorch

NAME = "torch-1.0-cp312-cp312-any.whl"
LIBRARY = os.urandom(3 << 20)


def wheel(path, compression):
    """A wheel of a library, a header, and far more that is not wanted. Returns its RECORD."""
    files = {
        "torch/lib/libtorch_cpu.so": LIBRARY,
        "torch/lib/libtorch_cuda.so": os.urandom(20 << 20),
        "torch/include/torch.h": b"#pragma once\n",
        "torch/notes.txt": os.urandom(4 << 20),
    }

    def row(name, content):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        return f"{name},sha256={digest.decode()},{len(content)}\n"

    record = "".join(row(*file) for file in files.items()).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("torch-1.0.dist-info/RECORD", record)
    return record


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, in ranges if it `has_ranges`, and cut off where it is `cut`."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.has_ranges, self.cut, self.sent = content, True, None, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        size = len(server.content)
        start, end = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["Range"]).groups()
        start, end = (int(start), int(end)) if start else (max(0, size - int(end)), size - 1)
        if not server.has_ranges:
            start, end = 0, size - 1
        self.send_response(206 if server.has_ranges else 200)
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        part = server.content[start : end + 1][: server.cut]
        server.sent += len(part)
        # A client that wants ranges hangs up on a whole file.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(part)

    def log_message(self, *_):
        pass


class Parts(unittest.TestCase):
    compression = zipfile.ZIP_STORED

    def setUp(self):
        os.environ["no_proxy"] = "127.0.0.1"
        self.folder = tempfile.TemporaryDirectory()
        published = os.path.join(self.folder.name, "published.whl")
        record = wheel(published, self.compression)
        with open(published, "rb") as file:
            self.server = Server(bytearray(file.read()))
        libtorch.on_linux_x86_64 = lambda: True
        libtorch.LINUX_X86_64 = {"torch==1.0": hashlib.sha256(record).hexdigest()}
        libtorch.addresses = lambda _: [self.server.url()]
        libtorch.download = lambda *_: self.fail("whole wheels are downloaded")
        self.wheels = os.path.join(self.folder.name, "wheels")
        os.mkdir(self.wheels)

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def extracted(self):
        root = os.path.join(self.folder.name, "root")
        libtorch.extract(os.path.join(self.wheels, NAME), root)
        return root

    def test_only_what_is_wanted_is_downloaded(self):
        libtorch.fetch(self.wheels)
        root = self.extracted()
        with open(os.path.join(root, "lib/libtorch_cpu.so"), "rb") as file:
            self.assertEqual(file.read(), LIBRARY)
        self.assertEqual(sorted(os.listdir(root)), ["include", "lib"])
        self.assertLess(self.server.sent, len(LIBRARY) + libtorch.LISTING + 2 * libtorch.GAP)

    def test_another_file_is_refused(self):
        self.server.content[1000] ^= 1
        libtorch.fetch(self.wheels)
        with self.assertRaisesRegex(SystemExit, "is damaged"):
            self.extracted()

    def test_another_wheel_is_refused(self):
        libtorch.LINUX_X86_64["torch==1.0"] = "0" * 64
        libtorch.fetch(self.wheels)
        with self.assertRaisesRegex(SystemExit, "not the wheel that was published"):
            self.extracted()

    def test_without_ranges_or_connection_whole_wheels_are_downloaded(self):
        for has_ranges, cut in [(False, None), (True, 1000)]:
            self.server.has_ranges, self.server.cut = has_ranges, cut
            whole = []
            libtorch.download = lambda work, wheels: whole.append((os.listdir(work), wheels))
            libtorch.fetch(self.wheels)
            self.assertEqual(whole, [([], ["torch==1.0"])])


    def test_a_file_that_the_list_lacks_is_refused(self):
        path = os.path.join(self.folder.name, "more.whl")
        with open(path, "wb") as file:
            file.write(self.server.content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("torch/include/../../../more.h", b"")
        with open(path, "rb") as file:
            self.server.content = file.read()
        libtorch.fetch(self.wheels)
        with self.assertRaisesRegex(SystemExit, "no such wheel has"):
            self.extracted()
        self.assertNotIn("more.h", os.listdir(self.folder.name))


class CompressedParts(Parts):
    compression = zipfile.ZIP_DEFLATED


unittest.main()
