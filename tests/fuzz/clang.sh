#!/bin/sh
# Clang that instruments the decoder of JPEGs, and no other C code: some of that is linked into build
# scripts, which have no sanitizer.
case "$*" in
*mozjpeg-sys*) exec clang "$@" -g "-fsanitize=$SANITIZER,fuzzer-no-link" ;;
*) exec clang "$@" -fno-sanitize=all ;;
esac
