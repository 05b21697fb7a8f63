#!/bin/bash
# ELF files of both sizes, with and without notes and sections: elf.make FOLDER
set -eu
# shellcheck source=tests/tools/unikernels.bash
. "$(dirname "$0")/../../tools/unikernels.bash"
for kind in shoal shoal-arm64 solo5-virtio unikraft osv ling bare; do
    make_unikernel "$kind" "$1/$kind"
done
strip -s -o "$1/stripped" "$1/solo5-virtio"
