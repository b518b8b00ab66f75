#!/usr/bin/env bash
# Says what `make demo` is going to do, how long that takes, and what it leaves on the disk.
# usage: estimate.sh LIBTORCH FLOWERS
set -euo pipefail

libtorch=$1
flowers=$2

# On an AMD EPYC (Zen 4): processor seconds of the build, and of the tour.
build=570
tour=310

cores=$(getconf _NPROCESSORS_ONLN)
# More cores than these wait for the longest crates.
cores=$((cores < 8 ? cores : 8))
minutes() { echo "about $((($1 + 60 * cores - 1) / (60 * cores))) min"; }

echo "make demo, on $cores cores:"
if [[ ! -e $libtorch ]]; then
    echo "  libtorch    a download of 150 MB, 0.6 GB in $libtorch"
fi
if [[ ! -e $flowers ]]; then
    echo "  the build   $(minutes $build), 1 GB in target; twice as long on an older processor"
fi
echo "  the tour    $(minutes $tour), 0.2 GB in demo"
