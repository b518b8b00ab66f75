#!/usr/bin/env bash
# The tour: a drawn data set, a trained network, an evaluation, predictions.
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
train() { show "$flowers" train "$folder/photos" --out "$folder/run" "$@"; }

rm -rf "$folder"
mkdir -p "$folder"
show "$flowers" data sample "$folder/photos"
show "$flowers" data sample "$folder/new" --per-class 1 --seed 1
status=0
train --arch mobilenet_v2 --recipe two-phase --epochs 1 --image-size 128 || status=$?
if [[ $status == 4 ]]; then
    say "the pretrained weights can't be downloaded: training from random ones, which takes a few minutes"
    train --weights none --recipe scratch --image-size 96 --epochs 18
elif [[ $status != 0 ]]; then
    exit "$status"
fi
show "$flowers" eval "$folder/run/model.safetensors" "$folder/photos" --min-accuracy 0.95
show "$flowers" predict "$folder/run/model.safetensors" "$folder/new"

say "done in $((SECONDS - started)) s"
echo "the report:      $folder/run/report.html"
echo "try next:        $flowers predict $folder/run/model.safetensors YOUR_PHOTO.jpg"
echo "with your data:  $flowers train YOUR_FOLDER --out run"
