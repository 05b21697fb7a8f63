#!/usr/bin/env bash
# How fast a guest of ours answers, all in one run, medians of alternating rounds:
#   - QEMU's start to hello's first HTTP answer, started raw
#   - the whole life of a bare PVH guest that prints one line and powers off: the least there is
#   - the same image through scheduler, agent and libvirt: the microVM's start to its first
#     passed check, as the agent reports it
#
#   BUILD=dir RUNS=21 tests/bench/boot.sh      (make bench-boot; as root)
#
# Guests run in network namespaces of their own. Prints a table, writes BUILD/bench/boot.json.
set -eu

machine=(qemu-system-x86_64 -M 'microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off' -nodefaults
    -no-user-config -display none -no-reboot -m 32)
size_goal=102400
ratio_goal=2.0

# A tap is made anew for each guest: one used a moment ago by another costs seconds.
measure_hello() {
    ip tuntap add dev boot0 mode tap
    ip address add 10.64.0.1/24 dev boot0
    ip link set boot0 up
    "$boot_clock" http 10.64.0.2 8080 -- "${machine[@]}" -kernel "$image" \
        -append '--ip=10.64.0.2/24 --gateway=10.64.0.1 --instance=000100000001' \
        -serial "file:$round_work/console" -netdev tap,id=net,ifname=boot0,script=no,downscript=no \
        -device virtio-net-device,netdev=net >>"$round_work/hello"
}

measure_bare() {
    "$boot_clock" life -- "${machine[@]}" -kernel "$bare" -serial "file:$round_work/console" \
        >>"$round_work/bare"
    grep -q '^bare' "$round_work/console"
}

# One round of raw guests, inside a network namespace that ends with it.
if [ "${1:-}" = --round ]; then
    round_work=$2 image=$3 bare=$4 boot_clock=$5
    ip link set lo up
    measure_hello
    measure_bare
    exit
fi

[ "$(id -u)" = 0 ] || {
    echo "bench-boot: the agent and its guests need root: run it with sudo" >&2
    exit 1
}
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"
runs=${RUNS:-21}
image=$BUILD/examples/hello/v1/hello-amd64.elf
bare=$BUILD/examples/bare/bare.elf
boot_clock=$BUILD/bench/boot_clock
for file in "$image" "$bare" "$boot_clock" "$BUILD/bin/shoal-agent"; do
    [ -s "$file" ] || {
        echo "$file is not built; run: make bench-boot" >&2
        exit 1
    }
done

raw_round() { unshare --net -- "$0" --round "$work" "$image" "$bare" "$boot_clock"; }

# One more instance, and away with it again; microseconds, like the others.
agent_round() {
    shoal scale hello=2 >/dev/null 2>&1
    shoal ps hello -o json | jq -r '.instances | max_by(.id) | .boot_ms * 1000' >>"$work/agent"
    shoal scale hello=1 >/dev/null 2>&1
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'; }

# shellcheck disable=SC2119 # nothing of ours is for `shoal up`
cluster_up >/dev/null 2>&1
build_and_push 1
shoal trust add "$work/shoal.pub" >/dev/null
manifest 1 1 >"$work/service.yaml"
shoal deploy -f "$work/service.yaml" >/dev/null 2>&1
raw_round
agent_round
: >"$work/hello"
: >"$work/bare"
: >"$work/agent"
for ((run = 0; run < runs; run++)); do
    raw_round
    agent_round
done

size=$(stat -c %s "$image")
mkdir -p "$BUILD/bench"
jq -n --argjson size "$size" --argjson size_goal "$size_goal" --argjson goal "$ratio_goal" \
    --argjson hello "$(median "$work/hello")" --argjson bare "$(median "$work/bare")" \
    --argjson agent "$(median "$work/agent")" '
    def rounded: . * 100 | round / 100;
    [{name: "image size", unit: "bytes", ours: $size, peer: $size_goal, peer_name: "limit",
      ratio: ($size / $size_goal | rounded), goal: 1.0, met: ($size <= $size_goal)},
     {name: "start to first HTTP answer, raw QEMU", unit: "ms", ours: $hello, peer: $bare,
      peer_name: "life of a bare PVH guest", ratio: ($hello / $bare | rounded), goal: $goal,
      met: ($hello / $bare <= $goal)},
     {name: "start to first passed check, through the agent", unit: "ms", ours: $agent,
      peer: $hello, peer_name: "raw QEMU", ratio: ($agent / $hello | rounded), goal: null,
      met: true}]' >"$work/boot.json"
mv "$work/boot.json" "$BUILD/bench/boot.json"

printf 'medians of %d runs each, alternating\n' "$runs"
jq -r '["measure", "unit", "ours", "peer", "ratio", "goal", "met", "peer is"],
    (.[] | [.name, .unit, .ours, .peer, .ratio,
            (if .goal == null then "-" else "<= \(.goal)" end), .met, .peer_name]) | @tsv' \
    "$BUILD/bench/boot.json" | awk -F '\t' '
    { line[NR] = $0; for (i = 1; i <= NF; i++) if (length($i) > width[i]) width[i] = length($i) }
    END { for (n = 1; n <= NR; n++) { count = split(line[n], cell, "\t")
          for (i = 1; i <= count; i++) printf "%-*s%s", width[i], cell[i], i < count ? "  " : "\n" } }'
jq -e 'all(.met)' "$BUILD/bench/boot.json" >/dev/null
