#!/usr/bin/env bash
# packing.make FOLDER: tar archives as KraftKit and others make them, and zstd streams.
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/unikraft/bin"
printf 'a kernel' >"$work/unikraft/bin/kernel"
printf 'an initrd' >"$work/unikraft/bin/initrd"
touch "$work/unikraft/.wh.old"
ln -s /etc/passwd "$work/link"
tar -C "$work" -cf plain.tar unikraft
tar -C "$work" -czf gzip.tar unikraft
tar -C "$work" -I zstd -cf zstd.tar unikraft link
tar -C "$work" --format=posix -cf pax.tar ./unikraft
tar -C "$work" -P --transform 's,^,/,' -cf root.tar unikraft
tar -C "$work" -P --transform 's,^,../,' -cf up.tar unikraft
head -c 100 /dev/zero | zstd -q -c >hundred.zst
head -c 100000 /dev/zero | zstd -q -c >bomb.zst
