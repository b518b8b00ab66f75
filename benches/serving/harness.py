"""What `serving.py` and `overload.py` share: services, their memory, and loads from wrk."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).parent
MOST_PHOTOS = 48
RAMP = 2
BOUNDARY = "----photo-4d1fb2c07a9e"


def photos_below(folder):
    """Up to 48 JPEGs spread evenly over a folder tree."""
    names = {".jpg", ".jpeg"}
    found = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in names)
    if not found:
        raise SystemExit(f"no JPEGs below {folder}")
    count = min(MOST_PHOTOS, len(found))
    return [str(found[place * len(found) // count].resolve()) for place in range(count)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unwind_on_signals():
    """Ctrl-C and SIGTERM leave through every `finally`, so that nothing is left running."""

    def leave(number, _):
        raise SystemExit(128 + number)

    for number in [signal.SIGINT, signal.SIGTERM]:
        signal.signal(number, leave)


class Service:
    """A server in a session of its own on a free port; everything in it ends with the block."""

    def __init__(self, command, photo):
        self.port, self.photo = free_port(), photo
        self.command = [*command, "--host", "127.0.0.1", "--port", str(self.port)]

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.folder.name, "log"), "w+")
        pipes = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(
            self.command, cwd=self.folder.name, start_new_session=True, **pipes
        )
        try:
            self.wait_until_ready(60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_ready(self, seconds):
        """Until a photo is answered with 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(self.complaint())
            try:
                if self.post(self.photo)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"not ready after {seconds} s: {self.complaint()}")

    def complaint(self):
        """The line of the log that tells of an error, or the last one."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return (errors or lines or ["it said nothing"])[-1]

    def post(self, photo, timeout=60):
        """Status, headers and body of the answer to one photo."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + pathlib.Path(photo).read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            connection.request("POST", "/predict", body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def label(self, photo):
        status, _, body = self.post(photo)
        return json.loads(body)["class"] if status == 200 else f"status {status}"

    def memory_mb(self):
        """Resident memory of all its processes; a page that several share counts once (PSS)."""
        kilobytes = 0
        for entry in pathlib.Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    rollup = (entry / "smaps_rollup").read_text().splitlines()
                    kilobytes += sum(int(l.split()[1]) for l in rollup if l.startswith("Pss:"))
            except OSError:
                continue
        return kilobytes / 1024

    def stop(self, seconds=30):
        """SIGTERM and some time; whatever is left of its processes is killed. The exit code."""
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        self.folder.cleanup()
        return self.process.returncode


def percentile(values, percent):
    """The nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def start_load(port, photos, clients, seconds, threads=None, times=None, pause=None):
    """A wrk that posts photos from so many clients at once."""
    environment = {**os.environ}
    environment |= {"TIMES": times} if times else {}
    environment |= {"PAUSE": str(pause)} if pause else {}
    threads = str(threads or clients)
    command = ["wrk", "-t", threads, "-c", str(clients), "-d", f"{seconds}s", "--timeout", "60s"]
    command += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}/predict", "--", *photos]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def end_load(wrk, seconds):
    """What `post.lua` reports."""
    try:
        output = wrk.communicate(timeout=seconds + 60)[0]
    finally:
        wrk.kill()
        wrk.wait()
    if wrk.returncode:
        raise RuntimeError(f"wrk ended with {wrk.returncode}")
    return json.loads(output.splitlines()[-1])


def answered(times, seconds):
    """Latencies of the requests answered with 200 in the seconds after the ramp.

    wrk starts its threads one after the other, and adds requests that it never sent to its own
    percentiles, for those that a slow answer kept from being sent; here are only real ones.
    """
    files = list(pathlib.Path(times).parent.glob(pathlib.Path(times).name + ".*"))
    clients = [[tuple(map(int, line.split())) for line in open(file)] for file in files]
    begin = max((client[0][0] for client in clients if client), default=0) + RAMP * 1_000_000
    end = begin + seconds * 1_000_000
    spans = [span for client in clients for span in client]
    return [(done - began) / 1000 for began, done in spans if begin < done <= end]


def measure(service, photos, clients, seconds):
    """A load of clients that each send the next photo when the last is answered."""
    with tempfile.TemporaryDirectory() as folder:
        times = os.path.join(folder, "times")
        wrk = start_load(service.port, photos, clients, RAMP + seconds, times=times)
        report = end_load(wrk, RAMP + seconds)
        latencies = answered(times, seconds)
    memory = service.memory_mb()
    service.post(service.photo)
    return {
        "requests_per_second": len(latencies) / seconds,
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "memory_mb": memory,
        "wrk": report,
    }


def other_statuses(report):
    """Counts of everything but 200, as text."""
    counts = {status: count for status, count in report["statuses"].items() if status != "200"}
    if report["socket_errors"]:
        counts["socket errors"] = report["socket_errors"]
    return ", ".join(f"{count} x {what}" for what, count in counts.items())
