#!/usr/bin/env bash
# Installs the binary with its libraries, manual pages and completions, or removes them.
# usage: install.sh FLOWERS PREFIX [LIBTORCH]
#        install.sh --remove PREFIX
set -euo pipefail

flowers=$1
prefix=$2
libtorch=${3:-}

libraries=$prefix/lib/flowers
manual=$prefix/share/man/man1
bash=$prefix/share/bash-completion/completions
zsh=$prefix/share/zsh/site-functions
fish=$prefix/share/fish/vendor_completions.d

if [[ $flowers != --remove && ! -x $flowers ]]; then
    echo "install: $flowers is missing: run make build first" >&2
    exit 1
fi
rm -rf "$libraries" "$prefix/bin/flowers" "$manual"/flowers.1 "$manual"/flowers-*.1
rm -f "$bash/flowers" "$zsh/_flowers" "$fish/flowers.fish"
if [[ $flowers == --remove ]]; then exit; fi

install -d "$prefix/bin" "$bash" "$zsh" "$fish"
install -m 755 "$flowers" "$prefix/bin/flowers"
if [[ -n $libtorch ]]; then
    install -d "$libraries"
    for library in "$libtorch"/lib/*.so* "$libtorch"/lib/*.dylib; do
        if [[ -e $library ]]; then install -m 644 "$library" "$libraries"; fi
    done
fi
flowers=$prefix/bin/flowers
"$flowers" man "$manual" >/dev/null
"$flowers" completions bash >"$bash/flowers"
"$flowers" completions zsh >"$zsh/_flowers"
"$flowers" completions fish >"$fish/flowers.fish"
echo "installed $flowers"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) echo "put $prefix/bin on your PATH" ;;
esac
