#!/usr/bin/env python3
"""`flowers serve` under ten times the load that it can bear: does it refuse quickly and stay whole?

usage: overload.py FLOWERS MODEL --photos DIR [options]; --help lists them

FLOWERS is the binary, DIR a folder tree of JPEGs. Needs wrk, and nothing but Python's own modules.
Measures the p99 of one client and the requests/s of eight; then offers ten times that for two
minutes, through connections that pause between requests and heed no Retry-After. Eight connections
more have a thread of wrk each, where a script can tell latencies of accepted requests from those of
refused ones. Afterwards one request has to be answered at once, and SIGTERM has to end the server
with code 0. Exit code 1 when a verdict fails.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import sys
import tempfile
import time

import harness

PROBES = 8
# The load is to be ten times the capacity, not fifteen.
MARGIN = 1.05
TRIALS = 10
# With the probes, within what `flowers serve` keeps open by default.
MAX_CONNECTIONS = 240
MAX_GROWTH = 1.05


def resident_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def added(reports):
    """Statuses and errors of several loads."""
    total = {"statuses": {}, "socket_errors": sum(report["socket_errors"] for report in reports)}
    for report in reports:
        for status, count in report["statuses"].items():
            total["statuses"][status] = total["statuses"].get(status, 0) + count
    return total


def paced(service, photos, connections, max_queue, wanted):
    """Connections, and the pause of each in ms, that offer the wanted requests/s."""
    pause = 1000 * max(connections - max_queue, connections / 4) / wanted
    for _ in range(TRIALS):
        load = harness.start_load(service.port, photos, connections, 2, threads=2, pause=pause)
        report = harness.end_load(load, 2)
        offered = sum(report["statuses"].values()) / report["seconds"]
        print(f"{connections} connections, pause {pause:.1f} ms: {offered:.0f}/s", file=sys.stderr)
        if 0.95 * wanted < offered < 1.05 * wanted:
            break
        pause *= offered / wanted
        if pause < 2 and connections < MAX_CONNECTIONS:
            more = min(2 * connections, MAX_CONNECTIONS)
            pause, connections = pause * more / connections, more
    return connections, pause


def overloaded(service, photos, connections, pause, seconds):
    """Statuses, accepted latencies, the server's memory each second, and a refusal's headers."""
    memory, retry_after = [], None
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        times = os.path.join(folder, "times")
        loads = []
        for clients, threads, file in [(connections, 2, None), (PROBES, PROBES, times)]:
            load = harness.start_load(
                service.port, photos, clients, seconds, threads=threads, times=file, pause=pause
            )
            stack.callback(load.kill)
            loads.append(load)
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            memory.append(resident_mb(service.process))
            with contextlib.suppress(OSError, http.client.HTTPException):
                if retry_after is None and passed > harness.RAMP:
                    status, headers, _ = service.post(service.photo)
                    retry_after = headers["Retry-After"] if status == 429 else None
            time.sleep(max(0, len(memory) - (time.monotonic() - begin)))
        reports = [harness.end_load(load, 0) for load in loads]
        latencies = harness.answered(times, seconds - harness.RAMP)
    return added(reports), latencies, memory, retry_after


def examined(arguments, photos):
    """Figures of the whole run."""
    command = [arguments.flowers, "serve", arguments.model, "--precision", arguments.precision]
    command += ["--max-queue", str(arguments.max_queue)]
    seconds = arguments.seconds
    with harness.Service(command, photos[0]) as service:
        alone = harness.measure(service, photos, 1, arguments.before)
        full = harness.measure(service, photos, 8, arguments.before)
        capacity, unloaded = full["requests_per_second"], alone["p99_ms"]
        if not capacity or not unloaded:
            raise RuntimeError("it answers no request even without load")
        wanted = MARGIN * arguments.factor * capacity
        connections, pause = paced(
            service, photos, arguments.connections, arguments.max_queue, wanted
        )
        total, latencies, memory, retry_after = overloaded(
            service, photos, connections, pause, seconds
        )
        time.sleep(1)
        begin = time.monotonic()
        status = service.post(photos[1 % len(photos)])[0]
        afterwards = 1000 * (time.monotonic() - begin)
        code = service.stop()
    return {
        "capacity_per_second": capacity,
        "unloaded_p99_ms": unloaded,
        "connections": connections,
        "pause_ms": pause,
        "offered_per_second": sum(total["statuses"].values()) / seconds,
        "accepted_per_second": total["statuses"].get("200", 0) / seconds,
        "statuses": total["statuses"],
        "socket_errors": total["socket_errors"],
        "retry_after": retry_after,
        "accepted_timed": len(latencies),
        "accepted_p50_ms": harness.percentile(latencies, 50),
        "accepted_p99_ms": harness.percentile(latencies, 99),
        "bound_ms": 2 * unloaded + 1000 * arguments.max_queue / capacity,
        "memory_mb": {
            "start": memory[0],
            "middle": memory[len(memory) // 2],
            "end": memory[-1],
            "peak": max(memory),
        },
        "memory_each_second": memory,
        "afterwards": {"status": status, "ms": afterwards},
        "exit_code": code,
    }


def verdicts(figures, factor):
    """What was asked for, whether it holds, and the figures that say so."""
    reached = figures["offered_per_second"] / figures["capacity_per_second"]
    p99, bound, memory = figures["accepted_p99_ms"], figures["bound_ms"], figures["memory_mb"]
    status, ms = figures["afterwards"]["status"], figures["afterwards"]["ms"]
    at_once = max(100, 2 * figures["unloaded_p99_ms"])
    counts = ", ".join(f"{n} x {status}" for status, n in sorted(figures["statuses"].items()))
    clean = set(figures["statuses"]) <= {"200", "429"} and not figures["socket_errors"]
    errors = figures["socket_errors"]
    return [
        (f"offered {factor} times its capacity", reached >= factor, f"{reached:.1f} times"),
        ("only 200 and 429", clean, f"{counts}, {errors} socket errors"),
        ("429 with Retry-After", bool(figures["retry_after"]), f"{figures['retry_after']}"),
        (
            "p99 of accepted requests",
            p99 is not None and p99 <= bound,
            f"{p99 or 0:.0f} ms of {figures['accepted_timed']} requests, bound {bound:.0f} ms",
        ),
        (
            "memory does not grow",
            memory["end"] <= MAX_GROWTH * memory["middle"],
            ", ".join(f"{when} {mb:.0f} MB" for when, mb in memory.items()),
        ),
        (
            "answers at once afterwards",
            status == 200 and ms <= at_once,
            f"{status} after {ms:.0f} ms, bound {at_once:.0f} ms",
        ),
        ("ends on SIGTERM", figures["exit_code"] == 0, f"code {figures['exit_code']}"),
    ]


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("flowers", help="the binary")
    parser.add_argument("model", help="model file, float or int8")
    parser.add_argument("--photos", required=True, help="folder tree of JPEGs")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--max-queue", type=int, default=64, help="of the server")
    parser.add_argument("--factor", type=float, default=10, help="offered load to capacity")
    parser.add_argument("--connections", type=int, default=128, help="doubled where too few")
    parser.add_argument("--before", type=int, default=5, help="seconds of each load before")
    parser.add_argument("--seconds", type=int, default=120, help="of the overload")
    parser.add_argument("--json", help="file for every figure")
    arguments = parser.parse_args()
    if arguments.seconds <= harness.RAMP:
        parser.error(f"--seconds has to be more than {harness.RAMP}")
    return arguments


def main():
    arguments = parsed()
    harness.unwind_on_signals()
    arguments.flowers, arguments.model = map(os.path.abspath, [arguments.flowers, arguments.model])
    figures = examined(arguments, harness.photos_below(arguments.photos))
    print(
        f"one client: p99 {figures['unloaded_p99_ms']:.1f} ms; "
        f"eight clients: {figures['capacity_per_second']:.1f} requests/s\n"
        f"for {arguments.seconds} s offered {figures['offered_per_second']:.0f} requests/s, "
        f"answered {figures['accepted_per_second']:.1f}"
    )
    judged = verdicts(figures, arguments.factor)
    for asked, holds, told in judged:
        print(f"{'passed' if holds else 'FAILED'}: {asked} ({told})")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1))
    sys.exit(not all(holds for _, holds, _ in judged))


if __name__ == "__main__":
    main()
