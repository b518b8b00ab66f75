#!/usr/bin/env bash
# The tour: a drawn data set, a ResNet18, an evaluation, a prediction.
# usage: demo.sh FLOWERS FOLDER
set -euo pipefail

flowers=$1
folder=$2
started=$SECONDS

say() { printf '\n== %s\n' "$*"; }
show() {
    say "$(basename "$1") ${*:2}"
    "$@"
}

rm -rf "$folder"
mkdir -p "$folder"
show "$flowers" data sample "$folder/photos"
show "$flowers" train "$folder/photos" --out "$folder/run" --weights auto \
    --recipe scratch --image-size 96 --epochs 18
show "$flowers" eval "$folder/run/model.safetensors" "$folder/photos" --min-accuracy 0.95
show "$flowers" predict "$folder/run/model.safetensors" "$folder/photos/rose/rose-0001.jpg"

say "done in $((SECONDS - started)) s"
echo "the report:      $folder/run/report.html"
echo "try next:        $flowers predict $folder/run/model.safetensors YOUR_PHOTO.jpg"
echo "with your data:  $flowers train YOUR_FOLDER --out run"
