#!/bin/bash
# Asks the flowers in the same container whether it is alive; the image has no curl.
exec 3<>"/dev/tcp/127.0.0.1/${FLOWERS_PORT:-${PORT:-5000}}" || exit 1
printf 'GET %s/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' \
    "${FLOWERS_BASE_PATH%/}" >&3
read -r -t 3 -u 3 _ status _
[[ $status == 200 ]]
