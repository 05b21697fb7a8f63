#!/bin/bash
# The example counter and the runtime's block driver, booted directly in QEMU (TCG) on both
# architectures: what it counts survives its guest, whichever half of a write was cut short.
#
#   BUILD=dir tests/integration/example_counter.sh [amd64|arm64]...
#
# Everything runs in a network namespace of the test's own, which disappears with it. Prints a line
# a check, "ok NAME" or "FAIL NAME: why"; exits 1 if one failed.
set -eu

if [ -z "${EXAMPLE_COUNTER_INSIDE:-}" ]; then
    options=(--net)
    [ "$(id -u)" = 0 ] || options+=(--user --map-root-user)
    EXAMPLE_COUNTER_INSIDE=1 exec unshare "${options[@]}" -- "$0" "$@"
fi

build=${BUILD:-build}
deadline=60 # seconds for anything that should take a moment: a loaded machine is no failure
work=$(mktemp -d)
failures=0
number=0
guest=
url=
architecture=

cleanup() {
    [ -z "$guest" ] || kill -KILL "$guest" 2> /dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# expect NAME WANTED FOUND (WANTED is a shell pattern)
expect() {
    # shellcheck disable=SC2254  # a pattern is meant
    case $3 in
    $2) printf 'ok %s: %s\n' "$architecture" "$1" ;;
    *)
        printf "FAIL %s: %s: wanted '%s', found '%s'\n" "$architecture" "$1" "$2" "$3"
        failures=$((failures + 1))
        ;;
    esac
}

guest_has_ended() { ! kill -0 "$guest" 2> /dev/null; }
is_healthy() { [ "$(curl -s --max-time 2 "$url/healthz")" = ok ]; }

wait_until() {
    local end=$((SECONDS + deadline))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# disk NAME [OPTION...]: a device with that serial, on the file of the same name.
disk() {
    extra+=(-drive "id=$1,if=none,format=raw,file=$work/$1${2:+,$2}"
        -device "virtio-blk-device,drive=$1,serial=$1")
}

start_guest() {
    number=$((number + 1))
    local tap=counter$number subnet=10.65.$number machine
    url=http://$subnet.2:8080
    case $architecture in
    amd64) machine=(qemu-system-x86_64 -M "microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off"
        -cpu max -device pvpanic) ;;
    arm64) machine=(qemu-system-aarch64 -M "virt,accel=tcg" -cpu max -device pvpanic-pci) ;;
    esac
    ip tuntap add dev "$tap" mode tap
    ip address add "$subnet.1/24" dev "$tap"
    ip link set "$tap" up
    "${machine[@]}" -nodefaults -no-user-config -display none -no-reboot -m 8 \
        -kernel "$build/examples/counter/counter-$architecture.elf" \
        -append "--ip=$subnet.2/24 --gateway=$subnet.1 ${1:-}" \
        -serial "file:$work/console" -action panic=exit-failure \
        -netdev "tap,id=net,ifname=$tap,script=no,downscript=no" \
        -device "virtio-net-device,netdev=net" "${extra[@]}" 2> "$work/qemu" &
    guest=$!
}

boot() {
    start_guest "$@"
    if ! wait_until is_healthy; then
        expect 'a guest that answers' ok "console: $(cat "$work/console" "$work/qemu")"
        exit 1
    fi
}

kill_guest() {
    kill -KILL "$guest" 2> /dev/null || true
    wait "$guest" 2> /dev/null || true
    guest=
    extra=()
}

# refused NAME WORDS: it says why it does not start, and ends as a crash.
refused() {
    wait_until guest_has_ended || true
    kill_guest
    expect "$1" "*$2*panic: counter 1.0 could not start*" "$(cat "$work/console")"
}

count() { curl -s --max-time "$deadline" -X POST "$url/"; }
shown() { curl -s --max-time "$deadline" "$url/"; }
status_of() { curl -s --max-time "$deadline" -o /dev/null -w '%{http_code}' "$@"; }
spoil() { printf 'spoilt' | dd of="$work/data" bs=512 seek="$1" conv=notrunc status=none; }

check_architecture() {
    rm -f "$work/data" "$work/other"
    truncate -s 1M "$work/data" "$work/other"
    extra=()

    disk data && boot
    expect 'a new volume begins at nothing' '0' "$(shown)"
    expect 'each post adds one' '1 2 3 ' "$(for _ in 1 2 3; do count; done | tr '\n' ' ')"
    expect 'other methods are refused, and the known ones named' '*Allow: GET, HEAD, POST*' \
        "$(curl -s -i -X DELETE "$url/")"
    kill_guest
    extra=(-global virtio-mmio.force-legacy=false)
    disk other && disk data && boot
    expect 'modern virtio, another disk, the guest was killed: it goes on' '3 4 ' \
        "$(shown | tr '\n' ' '; count | tr '\n' ' ')"
    kill_guest
    [ "$architecture" = amd64 ] || return 0 # below here no code depends on it
    spoil 0 # which has the fourth
    disk data && boot
    expect 'a write that was cut short leaves the number before it' '3' "$(shown)"
    expect 'and counting goes on over it' '4' "$(count)"
    kill_guest
    spoil 0
    disk data readonly=on && boot
    expect 'a disk that takes no writes is told' '500 503 3' \
        "$(status_of -X POST "$url/") $(status_of "$url/healthz") $(shown)"
    kill_guest
    disk data werror=report,file.driver=blkdebug,file.image.driver=file
    extra[1]=${extra[1]/,file=/,file.image.filename=},file.inject-error.0.iotype=flush
    extra[1]+=,file.inject-error.0.event=none
    boot
    expect 'what was not flushed was not counted' '500 3' \
        "$(status_of -X POST "$url/") $(shown)"
    kill_guest
    spoil 0 && spoil 8
    disk data && start_guest
    refused 'a disk that holds something else is left alone' 'holds something else'
    disk other && start_guest
    refused 'without its disk it does not start' 'there is no disk data'
    disk other && boot --device=other
    expect 'a disk of another name' '0' "$(shown)"
    kill_guest
}

[ $# -gt 0 ] || set -- amd64 arm64
for architecture in "$@"; do
    [ -s "$build/examples/counter/counter-$architecture.elf" ] ||
        { echo "FAIL counter is not built; run: make examples" >&2; exit 1; }
    check_architecture
done
[ "$failures" = 0 ]
