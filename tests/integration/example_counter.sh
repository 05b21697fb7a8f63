#!/bin/bash
# The example counter and the runtime's block driver, booted directly in QEMU (TCG) on both
# architectures: what it counts survives its guest, whichever half of a write was cut short.
#
#   BUILD=dir tests/integration/example_counter.sh [amd64|arm64]...
# shellcheck source=tests/integration/example_functions.bash
. "$(dirname "$0")/example_functions.bash"

memory=8
url=

# disk NAME [OPTION...]: a device with that serial, on the file of the same name.
disk() {
    extra+=(-drive "id=$1,if=none,format=raw,file=$work/$1${2:+,$2}"
        -device "virtio-blk-device,drive=$1,serial=$1")
}

start_guest() { # [ARGUMENTS]
    start_kernel "$build/examples/counter/counter-$architecture.elf" "@ip @gateway ${1:-}"
    url=http://$address:8080
}

is_healthy() { [ "$(curl -s --max-time 2 "$url/healthz")" = ok ]; }

boot() {
    start_guest "$@"
    must_answer 'boot' is_healthy
}

# The next one has no disks of this one.
kill_counter() {
    kill_guest
    extra=()
}

# refused NAME WORDS: it says why it does not start, and ends as a crash.
refused() {
    wait_until guest_has_ended || true
    kill_counter
    expect_match "$1" "*$2*panic: counter 1.0 could not start*" "$(cat "$console")"
}

count() { curl -s --max-time "$deadline" -X POST "$url/"; }
shown() { curl -s --max-time "$deadline" "$url/"; }
spoil() { printf 'spoilt' | dd of="$work/data" bs=512 seek="$1" conv=notrunc status=none; }

check_architecture() {
    rm -f "$work/data" "$work/other"
    truncate -s 1M "$work/data" "$work/other"
    use_default_machine

    disk data && boot
    expect 'a new volume begins at nothing' '0' "$(shown)"
    expect 'each post adds one' '1 2 3 ' "$(for _ in 1 2 3; do count; done | tr '\n' ' ')"
    expect_match 'other methods are refused, and the known ones named' '*Allow: GET, HEAD, POST*' \
        "$(curl -s -i -X DELETE "$url/")"
    kill_counter
    extra=(-global virtio-mmio.force-legacy=false)
    disk other && disk data && boot
    expect 'modern virtio, another disk, the guest was killed: it goes on' '3 4 ' \
        "$(shown | tr '\n' ' '; count | tr '\n' ' ')"
    kill_counter
    [ "$architecture" = amd64 ] || return 0 # below here no code depends on it
    spoil 0 # which has the fourth
    disk data && boot
    expect 'a write that was cut short leaves the number before it' '3' "$(shown)"
    expect 'and counting goes on over it' '4' "$(count)"
    kill_counter
    spoil 0
    disk data readonly=on && boot
    expect 'a disk that takes no writes is told' '500 503 3' \
        "$(status_of -X POST "$url/") $(status_of "$url/healthz") $(shown)"
    kill_counter
    disk data werror=report,file.driver=blkdebug,file.image.driver=file
    extra[1]=${extra[1]/,file=/,file.image.filename=},file.inject-error.0.iotype=flush
    extra[1]+=,file.inject-error.0.event=none
    boot
    expect 'what was not flushed was not counted' '500 3' \
        "$(status_of -X POST "$url/") $(shown)"
    kill_counter
    spoil 0 && spoil 8
    disk data && start_guest
    refused 'a disk that holds something else is left alone' 'holds something else'
    disk other && start_guest
    refused 'without its disk it does not start' 'there is no disk data'
    disk other && boot --device=other
    expect 'a disk of another name' '0' "$(shown)"
    kill_counter
}

[ $# -gt 0 ] || set -- amd64 arm64
for architecture in "$@"; do
    [ -s "$build/examples/counter/counter-$architecture.elf" ] ||
        { echo "FAIL counter is not built; run: make examples" >&2; exit 1; }
    check_architecture
done
[ "$failures" = 0 ]
