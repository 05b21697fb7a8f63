#!/bin/sh
# Makes an initramfs of an init and the modules that it loads:
#
#     make-initramfs.sh KERNEL_DIR INIT OUTPUT
#
# KERNEL_DIR is what fetch-kernel.sh made. The same input gives the same bytes: sorted names, no
# times, root's, numbered anew. It is not compressed: unpacking costs the guest more than reading.
set -eu

# Not for a machine of type pc with one network device.
UNUSED='virtio_blk|virtio_mmio'

[ $# -eq 3 ] || {
    echo 'usage: make-initramfs.sh KERNEL_DIR INIT OUTPUT' >&2
    exit 1
}
work=$(mktemp -d "$3.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/root/proc" "$work/root/modules"
cp "$2" "$work/root/init"
grep -vxE "$UNUSED" "$1/modules/order" >"$work/root/modules/order"
while read -r name; do
    cp "$1/modules/$name.ko" "$work/root/modules/"
done <"$work/root/modules/order"
find "$work/root" -type d -exec chmod 755 {} +
find "$work/root" -type f -exec chmod 644 {} +
chmod 755 "$work/root/init"
find "$work/root" -exec touch -h -d @0 {} +
(cd "$work/root" && find . -mindepth 1 | LC_ALL=C sort |
    cpio --quiet --create --format=newc --reproducible --owner=+0:+0) >"$work/image"
mv "$work/image" "$3"
