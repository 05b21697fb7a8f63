#!/bin/bash
# One of each message, untouched and with a byte changed: host_message.make FOLDER
set -eu
for type in {1..30}; do
    printf '%b' "\\x$(printf %02x "$type")" >"$1/$type"
    printf '%b' "\\x$(printf %02x "$type")\\x00\\x20/" >"$1/$type-changed"
done
