#!/usr/bin/env python3
"""Training steps on a machine that others use: alone, beside a busy process, and two at once.

usage: busy.py FLOWERS_BENCH [ARCH [IMAGE_SIZE [BATCH [STEPS [THREADS [ROUNDS]]]]]]

FLOWERS_BENCH is the executable of `benches/train_step.rs`. Its threads wait for each other as they do
by default, as libgomp has them wait by itself (`GOMP_SPINCOUNT=300000`), and asleep
(`OMP_WAIT_POLICY=passive`). The busy process is a loop in Python. With as many threads as cores, the
ideal beside one busy process on two cores is two thirds of the throughput alone, and half of it for
each of two trainings. Needs a machine that is otherwise idle.
"""

import json
import os
import statistics
import subprocess
import sys

POLICIES = {
    "follows the load": {},
    "libgomp's default": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}


def start(command, policy):
    given = {**os.environ}
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        given.pop(name, None)
    given.update(POLICIES[policy])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=given)


def rate(process):
    printed, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"the benchmark failed with {process.returncode}")
    return json.loads(printed)["images_per_second"]


def measure(command, policy):
    alone = rate(start(command, policy))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        beside = rate(start(command, policy))
    finally:
        busy.kill()
        busy.wait()
    both = [start(command, policy) for _ in range(2)]
    return alone, beside, statistics.mean(rate(process) for process in both)


def main():
    bench, *given = sys.argv[1:]
    arguments = given + ["resnet18", "96", "32", "12", "2", "3"][len(given) :]
    rounds = int(arguments.pop())
    figures = {policy: [] for policy in POLICIES}
    for number in range(rounds):
        for policy in list(POLICIES)[:: 1 if number % 2 == 0 else -1]:
            figures[policy].append(measure([bench, *arguments], policy))
    fastest = max(statistics.median(row[0] for row in rows) for rows in figures.values())
    print(f"{'images/s':20} {'alone':>14} {'beside a loop':>14} {'each of two':>14}")
    for policy, rows in figures.items():
        medians = [statistics.median(column) for column in zip(*rows)]
        cells = "".join(f"{rate:8.1f} ({rate / fastest:.2f})" for rate in medians)
        print(f"{policy:20} {cells}")


if __name__ == "__main__":
    main()
