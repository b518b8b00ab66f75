#!/bin/sh
# Clang that instruments the decoder of JPEGs alone: what build scripts link can't be.
case "$*" in
*mozjpeg-sys*) exec clang -g -fno-omit-frame-pointer "-fsanitize=$SANITIZER,fuzzer-no-link" "$@" ;;
*) exec clang "$@" ;;
esac
