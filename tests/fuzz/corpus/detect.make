#!/bin/bash
# One file a family and a form: detect.make FOLDER
set -eu
# shellcheck source=tests/tools/unikernels.bash
. "$(dirname "$0")/../../tools/unikernels.bash"
while read -r kind _; do
    [ -z "$kind" ] || make_unikernel "$kind" "$1/$kind"
done <<<"$unikernels"
