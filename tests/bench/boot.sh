#!/bin/bash
# How fast a guest of ours answers, against the least a guest can do: QEMU's start to hello's first
# HTTP answer, and the whole life of a bare PVH guest that prints one line and powers off. The two
# alternate in one run; medians count.
#
#   BUILD=dir RUNS=21 tests/bench/boot.sh      (make bench-boot)
#
# Runs in a network namespace of its own. Prints a table, writes BUILD/bench/boot.json.
set -eu

if [ -z "${BENCH_BOOT_INSIDE:-}" ]; then
    options=(--net)
    [ "$(id -u)" = 0 ] || options+=(--user --map-root-user)
    BENCH_BOOT_INSIDE=1 exec unshare "${options[@]}" -- "$0" "$@"
fi

build=${BUILD:-build}
runs=${RUNS:-21}
image=$build/examples/hello/hello-1.elf
bare=$build/examples/bare/bare.elf
boot_clock=$build/bench/boot_clock
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

size_goal=102400
ratio_goal=2.0
machine=(qemu-system-x86_64 -M 'microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off' -nodefaults
    -no-user-config -display none -no-reboot -m 32)

# A tap is made anew for each guest: one used a moment ago by another costs seconds.
measure_hello() {
    ip tuntap add dev boot0 mode tap
    ip address add 10.64.0.1/24 dev boot0
    ip link set boot0 up
    "$boot_clock" http 10.64.0.2 8080 -- "${machine[@]}" -kernel "$image" \
        -append '--ip=10.64.0.2/24 --gateway=10.64.0.1 --instance=000100000001' \
        -serial "file:$work/console" -netdev tap,id=net,ifname=boot0,script=no,downscript=no \
        -device virtio-net-device,netdev=net >> "$work/hello"
    ip link delete boot0
}

measure_bare() {
    "$boot_clock" life -- "${machine[@]}" -kernel "$bare" -serial "file:$work/console" \
        >> "$work/bare"
    grep -q '^bare' "$work/console"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'; }

for file in "$image" "$bare" "$boot_clock"; do
    [ -s "$file" ] || { echo "$file is not built; run: make bench-boot" >&2; exit 1; }
done
ip link set lo up
measure_hello
measure_bare
: > "$work/hello"
: > "$work/bare"
for ((run = 0; run < runs; run++)); do
    measure_hello
    measure_bare
done

size=$(stat -c %s "$image")
jq -n --argjson size "$size" --argjson size_goal "$size_goal" --argjson goal "$ratio_goal" \
    --argjson hello "$(median "$work/hello")" --argjson bare "$(median "$work/bare")" '
    def rounded: . * 100 | round / 100;
    [{name: "image size", unit: "bytes", ours: $size, peer: $size_goal, peer_name: "limit",
      ratio: ($size / $size_goal | rounded), goal: 1.0, met: ($size <= $size_goal)},
     {name: "start to first HTTP answer", unit: "ms", ours: $hello, peer: $bare,
      peer_name: "life of a bare PVH guest", ratio: ($hello / $bare | rounded), goal: $goal,
      met: ($hello / $bare <= $goal)}]' > "$work/boot.json"
mkdir -p "$build/bench"
mv "$work/boot.json" "$build/bench/boot.json"

printf 'medians of %d runs each, alternating\n' "$runs"
jq -r '["measure", "unit", "ours", "peer", "ratio", "goal", "met", "peer is"],
    (.[] | [.name, .unit, .ours, .peer, .ratio, "<= \(.goal)", .met, .peer_name]) | @tsv' \
    "$build/bench/boot.json" | column -t -s "$(printf '\t')"
jq -e 'all(.met)' "$build/bench/boot.json" > /dev/null
