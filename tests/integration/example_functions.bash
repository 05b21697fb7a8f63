# shellcheck shell=bash
# A kernel of the examples, booted directly in QEMU (TCG) on either architecture. Sourced first: the
# script starts again in a network namespace of its own, which disappears with it. A check prints
# "ok ARCHITECTURE: NAME" or "FAIL ARCHITECTURE: NAME: why"; the script ends with `[ "$failures" = 0 ]`.
set -eu

if [ -z "${EXAMPLE_INSIDE:-}" ]; then
    options=(--net)
    [ "$(id -u)" = 0 ] || options+=(--user --map-root-user)
    EXAMPLE_INSIDE=1 exec unshare "${options[@]}" -- "$0" "$@"
fi

build=${BUILD:-build}
deadline=60 # seconds for anything that should take a moment: a loaded machine is no failure
work=$(mktemp -d)
failures=0
number=0
guest='' # QEMU's pid
architecture=amd64
machine=()
extra=() # options of QEMU besides

cleanup() {
    [ -z "$guest" ] || kill -KILL "$guest" 2> /dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

if ! ip tuntap add dev probe mode tap 2> "$work/tap"; then
    echo "skip $(basename "$0" .sh): no taps for this user ($(cat "$work/tap")); run it as root"
    exit 0
fi
ip link delete probe
ip link set lo up

pass() { printf 'ok %s: %s\n' "$architecture" "$1"; }

fail() {
    printf 'FAIL %s: %s: %s\n' "$architecture" "$1" "$2"
    failures=$((failures + 1))
}

# expect NAME WANTED FOUND
expect() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "wanted '$2', found '$3'"; fi
}

# expect_match NAME PATTERN TEXT (a shell pattern)
expect_match() {
    # shellcheck disable=SC2254  # a pattern is meant
    case $3 in
    $2) pass "$1" ;;
    *) fail "$1" "wanted '$2', found '$3'" ;;
    esac
}

# wait_until COMMAND...: true as soon as the command is, false after the deadline.
wait_until() {
    local end=$((SECONDS + deadline))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

use_machine() {
    case $architecture in
    amd64) machine=(qemu-system-x86_64 -M "$1" -cpu max -device pvpanic) ;;
    arm64) machine=(qemu-system-aarch64 -M "$1" -cpu max -device pvpanic-pci) ;;
    esac
}

use_default_machine() {
    case $architecture in
    amd64) use_machine microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off ;;
    arm64) use_machine virt,accel=tcg ;;
    esac
    extra=()
}

# start_kernel FILE COMMAND_LINE: a guest with a tap and subnet of its own; @ip and @gateway are
# filled in. Sets address, guest, console (a file) and serial (a socket).
start_kernel() {
    number=$((number + 1))
    local tap=example$number subnet=10.64.$number
    address=$subnet.2
    console=$work/console-$number
    serial=$work/serial-$number
    ip tuntap add dev "$tap" mode tap
    ip address add "$subnet.1/24" dev "$tap"
    ip link set "$tap" up
    local line=${2//@ip/--ip=$address\/24}
    line=${line//@gateway/--gateway=$subnet.1}
    "${machine[@]}" -nodefaults -no-user-config -display none -no-reboot \
        -m "${memory:-32}" -kernel "$1" -append "$line" \
        -chardev "socket,id=console,path=$serial,server=on,wait=off,logfile=$console" \
        -serial chardev:console -action panic=exit-failure \
        -netdev "tap,id=net,ifname=$tap,script=no,downscript=no" \
        -device "virtio-net-device,netdev=net,mac=52:54:00:00:00:$(printf %02x "$number")" \
        "${extra[@]}" 2> "$work/qemu-$number" &
    guest=$!
}

# must_answer NAME COMMAND...: without an answer the test cannot go on.
must_answer() {
    wait_until "${@:2}" && return
    fail "$1" "no answer from $address; console: $(cat "$console" "$work/qemu-$number")"
    exit 1
}

guest_has_ended() { ! kill -0 "$guest" 2> /dev/null; }

# The guest's exit code once it has ended by itself, "running" if it does not.
end_guest() {
    code=running
    if wait_until guest_has_ended; then
        code=0
        wait "$guest" || code=$?
    else
        kill -KILL "$guest" 2> /dev/null || true
        wait "$guest" 2> /dev/null || true
    fi
    guest=
    ip link delete "example$number"
}

kill_guest() {
    kill -KILL "$guest" 2> /dev/null || true
    wait "$guest" 2> /dev/null || true
    guest=
    ip link delete "example$number"
}

status_of() { curl -sS --max-time "$deadline" -o /dev/null -w '%{http_code}' "$@" 2>&1; }
