#!/usr/bin/env python3
"""`flowers serve` beside the usual services: Flask, LitServe, ONNX Runtime, OpenVINO; alternately in one run.

usage: serving.py FLOWERS --float MODEL --photos DIR [--int8 MODEL] [options]; --help lists them

FLOWERS is the binary, the models are ResNet18s, DIR is a folder tree of JPEGs. Needs wrk, and
`requirements.txt` in the Python that runs it. All services get the same photos on loopback, with
their default threads, one service at a time. wrk is 1, 8 and 64 clients, each of which sends a
photo when its last one is answered; it runs on the same cores, and its first two seconds do not
count. Only answers with 200 are timed. Printed are medians of the rounds, and medians of each
round's ratios to Flask. Memory is the sum of PSS over a service's processes after the load, in
which a page that several share counts once.

--large takes photos of 12 megapixels, which it makes of the given ones, for 1 and 4 clients.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from harness import HERE, Service, measure, other_statuses, photos_below, unwind_on_signals

LABELLED = 24
LARGE = 12
FIGURES = ["requests_per_second", "p50_ms", "p99_ms", "memory_mb"]


def commands(arguments, folder):
    """The services by name; each takes `--host` and `--port` too."""
    peer = lambda name, model: [sys.executable, str(HERE / f"{name}_service.py"), model]
    ours = lambda model, precision: [arguments.flowers, "serve", model, "--precision", precision]
    onnx = lambda name: os.path.join(folder, f"{name}.onnx")
    openvino = ["--runtime", "openvino"]
    services = {
        "flask": peer("flask", arguments.float),
        "litserve": peer("litserve", arguments.float),
        "onnxruntime": peer("onnx", onnx("float")),
        "onnxruntime-int8": peer("onnx", onnx("int8")),
        "openvino": [*peer("onnx", onnx("float")), *openvino],
        "openvino-int8": [*peer("onnx", onnx("int8")), *openvino],
        "openvino-int8-throughput": [*peer("onnx", onnx("int8")), *openvino, "--hint", "throughput"],
        "flowers-float32": ours(arguments.float, "float32"),
        "flowers-auto": ours(arguments.float, "auto"),
        "flowers-int8": ours(arguments.int8, "int8"),
    }
    if not arguments.int8:
        services = {name: command for name, command in services.items() if "int8" not in name}
    large = ["flask", "flowers-float32", "flowers-int8"]
    chosen = arguments.only or (large if arguments.large else list(services))
    if unknown := set(arguments.only or []) - set(services):
        sys.exit(f"no such service: {', '.join(unknown)}; there are {', '.join(services)}")
    for name, model in [("float", arguments.float), ("int8", arguments.int8)]:
        if any(onnx(name) in services[service] for service in chosen if service in services):
            export = [arguments.flowers, "export", model, "--format", "onnx", "--out", onnx(name)]
            subprocess.run(export, check=True, stdout=sys.stderr)
    return {name: services[name] for name in services if name in chosen}


def enlarged(photos, folder):
    """Photos of 12 megapixels: enlarged bicubically, with a sensor's noise; made once."""
    import numpy
    from PIL import Image

    os.makedirs(folder, exist_ok=True)
    made = []
    for number in range(LARGE):
        path = os.path.join(folder, f"photo-{number + 1:02}.jpg")
        made.append(path)
        if os.path.exists(path):
            continue
        print(f"making {path}", file=sys.stderr)
        picture = Image.open(photos[number * len(photos) // LARGE]).convert("RGB")
        width, height = picture.size
        wide = min(width, height * 4 // 3)
        high = wide * 3 // 4
        left, top = (width - wide) // 2, (height - high) // 2
        picture = picture.crop((left, top, left + wide, top + high))
        picture = picture.resize((4000, 3000), Image.Resampling.BICUBIC)
        pixels = numpy.asarray(picture, numpy.float32)
        # Photons come at random: the noise grows with the root of the light.
        noise = numpy.random.default_rng(number).standard_normal(pixels.shape, numpy.float32)
        pixels = pixels + noise * (3 + 0.6 * numpy.sqrt(pixels))
        picture = Image.fromarray(pixels.round().clip(0, 255).astype(numpy.uint8))
        picture.save(path + ".part", "JPEG", quality=90, subsampling="4:2:0")
        os.replace(path + ".part", path)
    return made


def turn(command, photos, clients, seconds):
    """One service's figures for each number of clients, and its labels."""
    with Service(command, photos[0]) as service:
        labels = [service.label(photo) for photo in photos[:LABELLED]]
        figures = {count: measure(service, photos, count, seconds) for count in clients}
    return figures, labels


def measured(services, photos, clients, rounds, seconds):
    """Reports of each service and number of clients, one a round; every other goes backwards."""
    reports = {(name, count): [] for name in services for count in clients}
    labels, left_out = {}, {}
    for number in range(rounds):
        for name in list(services)[:: -1 if number % 2 else 1]:
            if name in left_out:
                continue
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            try:
                figures, labels[name] = turn(services[name], photos, clients, seconds)
            except (RuntimeError, OSError) as cause:
                left_out[name] = str(cause)
                continue
            for count, report in figures.items():
                reports[name, count].append(report)
    reports = {key: rounds for key, rounds in reports.items() if key[0] not in left_out}
    return reports, labels, left_out


def summary(reports, labels):
    """Medians of the rounds, and of each round's ratios to Flask."""
    rows = []
    for (name, clients), rounds in reports.items():
        row = {"service": name, "clients": clients}
        for key in FIGURES:
            known = [report[key] for report in rounds if report[key] is not None]
            row[key] = statistics.median(known) if known else None
        flask = reports.get(("flask", clients), [])
        for key in FIGURES if flask else []:
            pairs = [(ours[key], theirs[key]) for ours, theirs in zip(rounds, flask)]
            ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
            row[f"{key}_to_flask"] = statistics.median(ratios) if ratios else None
        others = [other_statuses(report["wrk"]) for report in rounds]
        row["not_200"] = "; ".join(filter(None, others))
        if name in labels and "flask" in labels:
            pairs = list(zip(labels[name], labels["flask"]))
            row["same_label_as_flask"] = sum(a == b for a, b in pairs) / len(pairs)
        row["rounds"] = rounds
        rows.append(row)
    return rows


def markdown(rows):
    heads = ["service", "clients", "requests/s", "p50 ms", "p99 ms", "not 200", "memory MB"]
    heads += ["requests/s to Flask", "p99 to Flask", "memory to Flask", "same label"]
    text = lambda row, key, form: "" if row.get(key) is None else format(row[key], form)
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [row["service"], str(row["clients"])]
        cells += [text(row, key, ".1f") for key in FIGURES[:3]]
        cells += [row["not_200"], text(row, "memory_mb", ".0f")]
        for key in ["requests_per_second", "p99_ms", "memory_mb"]:
            cells.append(text(row, f"{key}_to_flask", ".2f"))
        cells.append(text(row, "same_label_as_flask", ".1%"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("flowers", help="the binary")
    parser.add_argument("--float", required=True, help="model file of a ResNet18")
    parser.add_argument("--int8", help="model file of `flowers quantize`, of the same network")
    parser.add_argument("--photos", required=True, help="folder tree of JPEGs")
    parser.add_argument("--only", type=lambda text: text.split(","), help="services, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument("--large", action="store_true", help="photos of 12 megapixels")
    parser.add_argument("--work", default="target/serving", help="folder for the large photos")
    parser.add_argument("--json", help="file for every figure")
    return parser.parse_args()


def main():
    arguments = parsed()
    unwind_on_signals()
    for name in ["flowers", "float", "int8"]:
        if given := getattr(arguments, name):
            setattr(arguments, name, os.path.abspath(given))
    photos, clients = photos_below(arguments.photos), [1, 8, 64]
    if arguments.large:
        made = enlarged(photos, arguments.work)
        photos, clients = [os.path.abspath(path) for path in made], [1, 4]
    with tempfile.TemporaryDirectory() as folder:
        services = commands(arguments, folder)
        reports, labels, left_out = measured(
            services, photos, clients, arguments.rounds, arguments.seconds
        )
    rows = summary(reports, labels)
    print(markdown(rows))
    for name, reason in left_out.items():
        print(f"not run: {name} ({reason})")
    if arguments.json:
        setup = {key: value for key, value in vars(arguments).items() if key != "json"}
        everything = {"setup": setup, "figures": rows, "labels": labels, "left_out": left_out}
        pathlib.Path(arguments.json).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
