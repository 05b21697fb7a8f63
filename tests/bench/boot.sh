#!/usr/bin/env bash
# How fast a guest of ours answers, on both architectures and all in one run, medians of
# alternating rounds:
#   - QEMU's start to hello's first HTTP answer, started raw
#   - the whole life of a bare guest that prints one line and powers off: the least there is
#   - the same image through scheduler, agent and libvirt: the microVM's start to its first
#     passed check, as the agent reports it
#
#   BUILD=dir RUNS=21 tests/bench/boot.sh      (make bench-boot; as root)
#
# Guests run in network namespaces of their own. Prints a table, writes BUILD/bench/boot.json.
set -eu

architectures='amd64 arm64'
size_goal=102400
ratio_goal=2.0

# machine_of ARCHITECTURE: sets `machine` to QEMU as the agent starts it, as far as that matters.
machine_of() {
    case $1 in
    amd64) machine=(qemu-system-x86_64 -M 'microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off') ;;
    arm64) machine=(qemu-system-aarch64 -M 'virt,accel=tcg' -cpu max) ;;
    esac
    machine+=(-nodefaults -no-user-config -display none -no-reboot -m 32)
}

# A tap is made anew for each guest: one used a moment ago by another costs seconds.
measure_hello() {
    ip tuntap add dev "boot-$1" mode tap
    ip address add 10.64.0.1/24 dev "boot-$1"
    ip link set "boot-$1" up
    "$boot_clock" http 10.64.0.2 8080 -- "${machine[@]}" -kernel "$guests/hello/v1/hello-$1.elf" \
        -append '--ip=10.64.0.2/24 --gateway=10.64.0.1 --instance=000100000001' \
        -serial "file:$round_work/console" \
        -netdev "tap,id=net,ifname=boot-$1,script=no,downscript=no" \
        -device virtio-net-device,netdev=net >>"$round_work/hello-$1"
    ip link delete "boot-$1"
}

measure_bare() {
    "$boot_clock" life -- "${machine[@]}" -kernel "$guests/bare/bare-$1.elf" \
        -serial "file:$round_work/console" >>"$round_work/bare-$1"
    grep -q '^bare' "$round_work/console"
}

# One round of raw guests, inside a network namespace that ends with it.
if [ "${1:-}" = --round ]; then
    round_work=$2 guests=$3 boot_clock=$4
    ip link set lo up
    for architecture in $architectures; do
        machine_of "$architecture"
        measure_hello "$architecture"
        measure_bare "$architecture"
    done
    exit
fi

[ "$(id -u)" = 0 ] || {
    echo "bench-boot: the agent and its guests need root: run it with sudo" >&2
    exit 1
}
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"
# shellcheck source=tests/bench/table.bash
. "$(dirname "$0")/table.bash"
runs=${RUNS:-21}
guests=$BUILD/examples
boot_clock=$BUILD/bench/boot_clock
for file in "$guests"/{hello/v1/hello,bare/bare}-{amd64,arm64}.elf "$boot_clock" \
    "$BUILD/bin/shoal-agent"; do
    [ -s "$file" ] || {
        echo "$file is not built; run: make bench-boot" >&2
        exit 1
    }
done

raw_round() { unshare --net -- "$0" --round "$work" "$guests" "$boot_clock"; }

# The same image as a service of each architecture, hello-amd64 and hello-arm64.
deploy_services() {
    local architecture
    for architecture in $architectures; do
        manifest 1 1 "arch: $architecture" |
            sed "s/^service: hello/&-$architecture/; s/, publish: [0-9]*//" >"$work/service.yaml"
        shoal deploy -f "$work/service.yaml" >/dev/null 2>&1
    done
}

# One more instance of each, and away with it again; microseconds, like the others.
agent_round() {
    local architecture
    for architecture in $architectures; do
        shoal scale "hello-$architecture=2" >/dev/null 2>&1
        shoal ps "hello-$architecture" -o json |
            jq -r '.instances | max_by(.id) | .boot_ms * 1000' >>"$work/agent-$architecture"
        shoal scale "hello-$architecture=1" >/dev/null 2>&1
    done
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'; }

# shellcheck disable=SC2119 # nothing of ours is for `shoal up`
cluster_up >/dev/null 2>&1
build_and_push 1
shoal trust add "$work/shoal.pub" >/dev/null
deploy_services
raw_round
agent_round
for architecture in $architectures; do
    : >"$work/hello-$architecture"
    : >"$work/bare-$architecture"
    : >"$work/agent-$architecture"
done
for ((run = 0; run < runs; run++)); do
    raw_round
    agent_round
done

mkdir -p "$BUILD/bench"
for architecture in $architectures; do
    jq -n --arg architecture "$architecture" \
        --argjson size "$(stat -c %s "$guests/hello/v1/hello-$architecture.elf")" \
        --argjson size_goal "$size_goal" --argjson goal "$ratio_goal" \
        --argjson hello "$(median "$work/hello-$architecture")" \
        --argjson bare "$(median "$work/bare-$architecture")" \
        --argjson agent "$(median "$work/agent-$architecture")" '
    def rounded: . * 100 | round / 100;
    [{name: "image size", unit: "bytes", ours: $size, peer: $size_goal, peer_name: "limit",
      ratio: ($size / $size_goal | rounded), goal: 1.0, met: ($size <= $size_goal)},
     {name: "start to first HTTP answer, raw QEMU", unit: "ms", ours: $hello, peer: $bare,
      peer_name: "life of a bare guest", ratio: ($hello / $bare | rounded), goal: $goal,
      met: ($hello / $bare <= $goal)},
     {name: "start to first passed check, through the agent", unit: "ms", ours: $agent,
      peer: $hello, peer_name: "raw QEMU", ratio: ($agent / $hello | rounded), goal: null,
      met: true}] | map(.name = "\($architecture): \(.name)")'
done | jq -s add >"$work/boot.json"
mv "$work/boot.json" "$BUILD/bench/boot.json"

printf 'medians of %d runs each, alternating\n' "$runs"
print_results "$BUILD/bench/boot.json"
jq -e 'all(.met)' "$BUILD/bench/boot.json" >/dev/null
