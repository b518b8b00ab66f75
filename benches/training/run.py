#!/usr/bin/env python3
"""Trains with flowers and with its peers, alternately, on the same split, weights and threads.

usage: run.py FLOWERS DATA [--arch mobilenet_v2] [--weights FILE.pth] [--epochs 25] [--seeds 3] ..

Prints a row for each run, then a table: images per second of the training half of an epoch, seconds
from the start of the process to given test accuracies, peak memory (of all its processes, pages that
they share counted once), and the final test accuracy over the seeds with a 95% interval. Draws test
accuracy over time.

Testing is off the clock: peers leave it out, flowers is stopped (SIGSTOP) while its model is tested.
Every run of flowers has an empty cache, so that its scan of the photos counts, while the peers' runs
share what torch.compile caches. --epochs is for the peers and for the recipe classic; other recipes
keep their own number.
"""

import argparse
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
PYTHON = {
    "tutorial": "tutorial.py",
    "best PyTorch": "best.py",
    "fastai": "fastai_finetune.py",
    "linear": "linear.py",
}
# Two-sided 95% quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("flowers", type=pathlib.Path, help="the program")
    parser.add_argument("data", type=pathlib.Path, help="the data set folder")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", type=pathlib.Path, help="torchvision's .pth, for offline use")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", default="classic", help="of flowers, separated by commas")
    parser.add_argument("--precision", help="of flowers; its own default if left out")
    names = ", ".join(PYTHON)
    parser.add_argument("--peers", default=",".join(PYTHON), help=f"of {names}; or none")
    parser.add_argument("--targets", default="0.9,0.94,0.96,0.98", help="test accuracies")
    parser.add_argument("--json", type=pathlib.Path, help="file for all figures")
    parser.add_argument("--plot", type=pathlib.Path, help="PNG of accuracy over time")
    given = parser.parse_args()
    given.peers = [name for name in given.peers.split(",") if name != "none"]
    unknown = [name for name in given.peers if name not in PYTHON]
    if unknown:
        parser.error(f"--peers: {', '.join(unknown)}; choose from {names}")
    given.targets = [float(target) for target in given.targets.split(",")]
    return given


class Memory(threading.Thread):
    """The most memory of a process and its children, looked at five times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.2):
            self.peak = max(self.peak, sum(map(self.of, self.tree(self.pid))))

    def stop(self):
        self.over.set()
        self.join()
        return self.peak / 1024

    def tree(self, pid):
        found = [pid]
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                children = task.read_text().split()
            except OSError:
                continue
            for child in children:
                found += self.tree(int(child))
        return found

    def of(self, pid):
        """Kilobytes, shared pages by their part."""
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def peer(name, given, split, seed):
    """Runs a Python program. Gives its points (seconds, accuracy) and its last line."""
    command = [sys.executable, HERE / PYTHON[name], given.data, "--split", split]
    command += options(given) + ["--epochs", str(given.epochs), "--seed", str(seed)]
    if given.weights:
        command += ["--weights", given.weights]
    compiled = str(pathlib.Path(split).with_name("inductor"))
    started = {"BENCH_STARTED": str(time.monotonic()), "TORCHINDUCTOR_CACHE_DIR": compiled}
    environment = {**os.environ, **started}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        memory = Memory(process.pid)
        lines = [json.loads(line) for line in process.stdout if line.startswith("{")]
    peak = memory.stop()
    if process.returncode:
        raise SystemExit(f"{name} failed with exit code {process.returncode}")
    points = [(line["seconds"], line["accuracy"]) for line in lines if "epoch" in line]
    return {**lines[-1], "points": points, "peak_mb": peak}


def options(given):
    """Those that all take."""
    names = ["arch", "batch_size", "image_size", "threads"]
    pairs = [(f"--{name.replace('_', '-')}", str(getattr(given, name))) for name in names]
    return [word for pair in pairs for word in pair]


def flowers(recipe, given, split, seed):
    """Runs flowers. It is stopped after each epoch while its best model so far is tested."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "run")
        command = [given.flowers, "train", given.data, "--out", out, "--split", split, "--json"]
        command += options(given) + ["--workers", str(given.threads), "--seed", str(seed)]
        command += ["--recipe", recipe]
        if recipe == "classic":
            command += ["--epochs", str(given.epochs)]
        if given.weights:
            command += ["--weights", given.weights]
        if given.precision:
            command += ["--precision", given.precision]
        environment = {**os.environ, "FLOWERS_CACHE": str(pathlib.Path(folder, "cache"))}
        log = open(pathlib.Path(folder, "stderr"), "w+")
        started = time.monotonic()
        pipes = {"stdout": subprocess.PIPE, "stderr": log}
        process = subprocess.Popen(command, text=True, env=environment, **pipes)
        memory = Memory(process.pid)
        points, left_out = [], 0.0
        while process.poll() is None:
            time.sleep(0.02)
            if epochs(out) > len(points):
                now = time.monotonic()
                process.send_signal(signal.SIGSTOP)
                points.append((now - started - left_out, tested(given, out, split)))
                process.send_signal(signal.SIGCONT)
                left_out += time.monotonic() - now
        peak = memory.stop()
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"flowers failed with exit code {process.returncode}: {log.read()}")
        summary = json.loads(process.stdout.read())
        rates = [float(row["images_per_second"]) for row in history(out)]
        log.close()
    return {
        "seconds": time.monotonic() - started - left_out,
        "accuracy": summary["evaluation"]["accuracy"],
        "images_per_second": statistics.median(rates[1:] or rates),
        "points": points,
        "peak_mb": peak,
        "profile": summary["profile"]["run"],
    }


def history(out):
    """The rows of the epochs that are complete."""
    try:
        head, *rows = (out / "history.csv").read_text().splitlines()
    except OSError:
        return []
    return [dict(zip(head.split(","), row.split(","))) for row in rows]


def epochs(out):
    return len(history(out))


def tested(given, out, split):
    """Test accuracy of the best model so far. Its file is complete: it is renamed into place."""
    command = [given.flowers, "eval", out / "model.safetensors", given.data, "--split", "test"]
    command += ["--split-manifest", split, "--threads", str(given.threads), "--json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(said.stdout)["accuracy"]


def interval(values):
    """Mean and half of the 95% interval, by Student's t; no interval of a single value."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{100 * mean:.1f}%"
    quantile = STUDENT.get(len(values) - 1, 1.96)
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * mean:.1f}% +- {100 * half:.1f}"


def reached(runs, target):
    """Median of the seconds to an accuracy, if most runs reach it."""
    def first(run):
        return next((s for s, accuracy in run["points"] if accuracy >= target), math.inf)

    median = statistics.median(map(first, runs))
    return f"{median:.0f} s" if math.isfinite(median) else "-"


def table(results, targets):
    heads = ["", "images/s", *(f"to {100 * target:g}%" for target in targets)]
    rows = [heads + ["whole run", "peak MB", "test accuracy"]]
    for name, runs in results.items():
        median = lambda key: statistics.median(run[key] for run in runs)
        row = [name, f"{median('images_per_second'):.1f}"]
        row += [reached(runs, target) for target in targets]
        row += [f"{median('seconds'):.0f} s", f"{median('peak_mb'):.0f}"]
        rows.append(row + [interval([run["accuracy"] for run in runs])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def plot(results, title, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for number, (name, runs) in enumerate(results.items()):
        for run in runs:
            seconds, accuracies = zip(*run["points"])
            label = name if run is runs[0] else None
            style = {"marker": ".", "color": f"C{number}", "alpha": 0.8, "label": label}
            axes.plot(seconds, [100 * accuracy for accuracy in accuracies], **style)
    axes.set(xscale="log", xlabel="seconds from the start", ylabel="test accuracy, %", title=title)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main():
    given = arguments()
    given.flowers, given.data = given.flowers.resolve(), given.data.resolve()
    given.weights = given.weights and given.weights.resolve()
    names = [f"flowers {recipe}" for recipe in given.recipes.split(",")] + given.peers
    results = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        split = pathlib.Path(folder, "split.json")
        command = [given.flowers, "data", "split", given.data, "--out", split]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for seed in range(given.seeds):
            # Each seed begins with another one, so that none always has the cooler machine.
            turn = seed % len(names)
            for name in names[turn:] + names[:turn]:
                kind, _, recipe = name.partition(" ")
                if kind == "flowers":
                    run = flowers(recipe, given, split, seed)
                else:
                    run = peer(name, given, split, seed)
                results[name].append(run)
                note = f"  ({run['note']})" if "note" in run else ""
                print(
                    f"seed {seed}  {name:18} {run['images_per_second']:7.1f} images/s  "
                    f"{run['seconds']:6.0f} s  {run['peak_mb']:6.0f} MB  "
                    f"accuracy {run['accuracy']:.4f}{note}",
                    flush=True,
                )
    print()
    table(results, given.targets)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    if given.plot:
        plot(results, f"{given.arch} on {given.data.name}", given.plot)


if __name__ == "__main__":
    main()
