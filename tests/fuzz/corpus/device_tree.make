#!/bin/bash
# Device trees as QEMU makes them, without the room it leaves behind: device_tree.make FOLDER
set -eu
folder=$1
dump() {
    qemu-system-aarch64 -M "virt,$2,dumpdtb=$folder/whole" -cpu max -display none \
        -append '--ip=10.0.0.2/24' -kernel /dev/null 2>"$folder/log" || cat "$folder/log" >&2
    # The parts' places and sizes: from the header's third, fourth, ninth and tenth numbers.
    read -r structure strings strings_size structure_size < <(
        od -An -v -tu4 --endian=big -w40 -N40 "$folder/whole" | awk '{ print $3, $4, $9, $10 }')
    size=$((strings + strings_size))
    [ "$size" -ge $((structure + structure_size)) ] || size=$((structure + structure_size))
    head -c "$size" "$folder/whole" >"$folder/$1"
    # shellcheck disable=SC2059  # the escapes are the bytes
    printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((size >> 24)) $((size >> 16 & 255)) \
        $((size >> 8 & 255)) $((size & 255)))" |
        dd of="$folder/$1" bs=1 seek=4 conv=notrunc status=none
    rm "$folder/whole" "$folder/log"
}
dump gicv2 gic-version=2
dump gicv3 gic-version=3
dump hypervisor virtualization=on
