#!/usr/bin/env bash
# Runs a package where nothing else is: in an empty environment, and in a minimal Debian.
# usage: dist-check.sh TARBALL [MODEL]
set -euo pipefail

tarball=$(realpath "$1")
model=${2:+$(realpath "$2")}
work=$(mktemp -d)
base=$work/debian
server=
cleanup() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
    if mountpoint -q "$base/proc"; then umount "$base/proc"; fi
    rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"

say() { printf '\n== %s\n' "$*"; }
fail() {
    echo "dist-check: $*" >&2
    exit 1
}

# tour ROOT FOLDER COMMAND.. goes through flowers in FOLDER, which is ROOT/FOLDER for this script;
# COMMAND runs it.
tour() {
    local root=$1 folder=$2 file photo port
    shift 2
    "$@" --version
    "$@" info | sed -n 1,4p
    "$@" data sample "$folder/photos" --classes 3 --per-class 12 --size 96
    "$@" train "$folder/photos" --out "$folder/run" --arch mobilenet_v2 --weights none \
        --recipe scratch --image-size 64 --epochs 1 2>"$work/train.log" >&2 ||
        fail "training: $(cat "$work/train.log")"
    file=$folder/run/model.safetensors
    if [[ -n $model ]]; then file=$folder/model.safetensors; fi
    photo=$folder/photos/rose/rose-0001.jpg
    "$@" info "$file" | sed -n 1,4p
    "$@" predict "$file" "$photo"

    port=$((20000 + RANDOM % 10000))
    "$@" serve "$file" --port "$port" 2>"$work/serve.log" &
    server=$!
    ask --retry 30 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$port/readyz" ||
        fail "serve: $(cat "$work/serve.log")"
    ask -F "file=@$root$photo" "http://127.0.0.1:$port/predict" || fail "no prediction over HTTP"
    kill -TERM "$server"
    wait "$server" || fail "serve ended with $?: $(cat "$work/serve.log")"
    server=
}

ask() { curl -sSf --noproxy '*' -w '\n' "$@" 2>>"$work/serve.log"; }

# scratch FOLDER makes FOLDER/tour, for any user.
scratch() {
    mkdir -m 1777 "$1/tour"
    if [[ -n $model ]]; then install -m 644 "$model" "$1/tour/model.safetensors"; fi
}

say "the archive"
if [[ -e $tarball.sha256 ]]; then
    (cd "$(dirname "$tarball")" && sha256sum -c "$(basename "$tarball").sha256")
fi
tar -xzf "$tarball" -C "$work"
package=$(echo "$work"/flowers-*)
[[ -d $package ]] || fail "not one folder in the archive"
for file in "$package"/bin/* "$package"/lib/*; do
    rpath=$(readelf -dW "$file" | sed -n 's/.*(R\(UN\)\?PATH).*\[\(.*\)\]/\2/p')
    case $rpath in
    "" | "\$ORIGIN" | "\$ORIGIN/../lib") ;;
    *) fail "$(basename "$file") looks for libraries in $rpath" ;;
    esac
done
system='^/(usr/)?lib(64)?/([a-z0-9_-]+/)?(ld-linux|lib(c|m|dl|rt|pthread|util|stdc\+\+|gcc_s)\.so)'
loaded=$(env -i /usr/bin/ldd "$package"/bin/flowers "$package"/lib/* | grep -oE '/[^ ]+|not found')
outside=$(grep -vF "$package/" <<<"$loaded" | grep -vE "$system" || true)
[[ -z $outside ]] || fail "loaded from outside: $outside"
du -sh "$package"

say "an empty environment"
scratch "$work"
cd /
tour "" "$work/tour" env -i "$package/bin/flowers"

say "a minimal Debian, as nobody"
if [[ $(id -u) != 0 ]] || ! command -v debootstrap >/dev/null; then
    echo "skipped: needs root and debootstrap"
    exit
fi
debootstrap --variant=minbase bookworm "$base" >"$work/debootstrap.log" ||
    fail "debootstrap: $(tail -n 5 "$work/debootstrap.log")"
if ! mountpoint -q "$base/proc"; then mount -t proc proc "$base/proc"; fi
cp -r "$package" "$base/opt/flowers"
scratch "$base"
tour "$base" /tour chroot --userspec=65534:65534 "$base" \
    /usr/bin/env -i /opt/flowers/bin/flowers
