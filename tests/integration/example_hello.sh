#!/bin/bash
# The example runtime and its service hello, booted directly in QEMU (TCG) on both architectures:
# what the service answers, how a guest ends, and that every layout of the machine boots.
#
#   BUILD=dir tests/integration/example_hello.sh [amd64|arm64]...
# shellcheck source=tests/integration/example_functions.bash
. "$(dirname "$0")/example_functions.bash"

start_guest() { start_kernel "$build/examples/hello/v$1/hello-$architecture.elf" "$2"; } # VERSION LINE

get() { curl -sS --max-time "$deadline" "$@" 2>&1; }

answers() { curl -s --max-time 2 -o "$work/first" "http://$address:8080/"; }

# boot VERSION COMMAND_LINE
boot() {
    start_guest "$@"
    must_answer "boot of version $1" answers
}

# ask TEXT: sends raw bytes (printf escapes) to the public port and prints everything that comes.
ask() {
    exec 5<> "/dev/tcp/$address/8080"
    # shellcheck disable=SC2059  # the text is a format: it holds escapes
    printf "$1" >&5
    timeout "$deadline" cat <&5 || true
    exec 5>&-
}

# send_console TEXT: types on the guest's serial port. The line stays open for a while: QEMU drops
# what it has not read when the other side goes.
send_console() {
    # shellcheck disable=SC2059  # the text is a format: it holds escapes
    { printf "$1"; sleep 2; } | socat -u - "UNIX-CONNECT:$serial" 2> /dev/null &
}

first_line() { head -n 1 | tr -d '\r'; }

default_line='@ip @gateway --instance=000100000001'

check_images() {
    local version size folder
    for version in 1 2 3; do
        folder=$build/examples/hello/v$version
        size=$(stat -c %s "$folder/hello-$architecture.elf")
        if [ "$size" -le 102400 ]; then
            pass "image of version $version: at most 100 KiB"
        else
            fail "image of version $version: at most 100 KiB" "it has $size bytes"
        fi
        if [ -s "$folder/Unikernel.yaml" ]; then
            pass "folder of version $version: ready to pack"
        else
            fail "folder of version $version: ready to pack" "the recipe is missing"
        fi
        expect_match "image of version $version: a note tells what it is" '*Shoal*01 00 00 00*' \
            "$(readelf --notes --wide "$folder/hello-$architecture.elf")"
    done
}

check_answers() {
    local url=http://$address:8080
    expect 'greeting, version and instance' 'ahoy from hello 1.0 instance 000100000001' \
        "$(get "$url/")"
    expect 'boot line on the console' "hello 1.0 listening on $address:8080" \
        "$(first_line < "$console")"
    expect 'health' 'ok 200' "$(get -w '%{http_code}' "$url/healthz" | tr '\n' ' ')"
    expect 'a query is not part of the path' 200 "$(status_of "$url/healthz?deep=1")"
    expect 'unknown path' 404 "$(status_of "$url/nothing")"
    expect 'the admin paths are not on the public port' 404 "$(status_of "$url/exit")"
    expect 'POST' 405 "$(status_of -d 'a body' "$url/")"
    expect_match 'POST names the methods allowed' '*Allow: GET, HEAD*' \
        "$(get -i -d 'a body' "$url/")"
    expect 'HEAD has the length and no body' '200 42 0' \
        "$(get -I -o /dev/null -w '%{http_code} %header{content-length} %{size_download}' "$url/")"
}

check_connections() {
    local url=http://$address:8080
    expect 'keep-alive: three requests, one connection' '100' \
        "$(get -w '%{num_connects}' -o /dev/null -o /dev/null -o /dev/null "$url/" "$url/healthz" \
            "$url/")"
    expect 'keep-alive after a body nobody wanted' '10' \
        "$(get -o /dev/null -w '%{num_connects}' -d 'a body' "$url/" --next \
            -sS -o /dev/null -w '%{num_connects}' "$url/")"
    local one='GET / HTTP/1.1\r\nHost: x\r\n\r\n'
    local last='GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect 'pipelining: each of 20 requests is answered' 20 \
        "$(ask "$one$one$one$one$one$one$one$one$one$one$one$one$one$one$one$one$one$one$one$last" |
            grep -c '^ahoy')"
    expect_match 'HTTP/1.0 closes by itself' 'HTTP/1.1 200 OK*' \
        "$(ask 'GET / HTTP/1.0\r\n\r\n' | first_line)"
    expect 'many clients at once' 200 \
        "$(seq 200 | xargs -P 16 -I{} curl -s --max-time "$deadline" "$url/" | grep -c '^ahoy')"
}

check_bad_requests() {
    local long
    long=$(printf '%09000d' 0)
    expect 'no Host' 'HTTP/1.1 400 Bad Request' \
        "$(ask 'GET / HTTP/1.1\r\n\r\n' | first_line)"
    expect 'not HTTP' 'HTTP/1.1 400 Bad Request' "$(ask 'hello there\r\n\r\n' | first_line)"
    expect 'a space before the colon' 'HTTP/1.1 400 Bad Request' \
        "$(ask 'GET / HTTP/1.1\r\nHost : x\r\n\r\n' | first_line)"
    expect 'two lengths that differ' 'HTTP/1.1 400 Bad Request' \
        "$(ask 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n' |
            first_line)"
    expect 'chunked' 'HTTP/1.1 501 Not Implemented' \
        "$(ask 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' |
            first_line)"
    expect 'HTTP/2.0' 'HTTP/1.1 505 HTTP Version Not Supported' \
        "$(ask 'GET / HTTP/2.0\r\nHost: x\r\n\r\n' | first_line)"
    expect 'a head too large' 'HTTP/1.1 431 Request Header Fields Too Large' \
        "$(ask "GET / HTTP/1.1\r\nHost: x\r\nLong: $long\r\n\r\n" | first_line)"
    expect 'a body too large' 'HTTP/1.1 413 Content Too Large' \
        "$(ask 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n' | first_line)"
    expect 'still answering after all that' 200 "$(status_of "http://$address:8080/")"
}

check_endings() {
    expect '/fail answers' 200 "$(status_of "http://$address:8081/fail")"
    expect '/fail: unhealthy from then on' '503 503' \
        "$(status_of "http://$address:8080/healthz") $(status_of "http://$address:8080/healthz")"
    expect '/fail: the service itself goes on' 200 "$(status_of "http://$address:8080/")"
    expect '/exit answers first' 200 "$(status_of "http://$address:8081/exit")"
    end_guest
    expect '/exit: a normal end' 0 "$code"

    boot 1 "$default_line"
    expect '/crash answers first' 200 "$(status_of "http://$address:8081/crash")"
    end_guest
    expect '/crash: the hypervisor knows' 1 "$code"
    expect '/crash: says so on the console' 'panic: hello: crashes on request' \
        "$(tail -n 1 "$console" | tr -d '\r')"

    boot 1 "$default_line"
    expect '/hang answers first' 200 "$(status_of "http://$address:8081/hang")"
    if answers; then
        fail '/hang: no further answer' 'it answered'
    elif guest_has_ended; then
        fail '/hang: no further answer' 'the guest ended'
    else
        pass '/hang: no further answer'
    fi
    kill_guest
}

# True when the guest has acknowledged all that was sent to its public port.
all_acknowledged() {
    [ -z "$(ss -Htn state established dst "$address:8080" | awk '$2 != 0')" ]
}

refuses() {
    local result=0
    curl -s --max-time 2 -o /dev/null "http://$address:8080/" || result=$?
    [ "$result" = 7 ]
}

# The byte 0x04 on the console: the idle connection is closed, the open request is still answered,
# nothing new is accepted, then the guest ends.
check_drain() {
    local answer idle
    boot 1 "$default_line"
    exec 3<> "/dev/tcp/$address/8080" 4<> "/dev/tcp/$address/8080"
    printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&3
    printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&4
    wait_until all_acknowledged || fail 'drain' 'the guest does not acknowledge what was sent'
    send_console '\004'
    idle=$(timeout "$deadline" cat <&4 && echo closed)
    expect_match 'drain: an idle connection is closed' '*ahoy*closed' "$idle"
    if wait_until refuses; then
        pass 'drain: nothing new is accepted'
    else
        fail 'drain: nothing new is accepted' 'a new connection is answered'
    fi
    if guest_has_ended; then
        fail 'drain: waits for the open request' 'the guest ended'
    else
        pass 'drain: waits for the open request'
    fi
    printf '\r\n' >&3
    answer=$(timeout "$deadline" cat <&3)
    expect_match 'drain: the open request is answered' '*200 OK*ahoy from hello*' "$answer"
    expect_match 'drain: and its connection closed' '*Connection: close*' "$answer"
    exec 3>&- 4>&-
    end_guest
    expect 'drain: a normal end' 0 "$code"

    boot 1 "$default_line"
    send_console 'other bytes\n\004'
    end_guest
    expect 'drain with nothing open: a normal end' 0 "$code"
}

# Many answers one after the other: each needs the device's interrupt to be quick, so a layout
# whose interrupt is lost runs into the deadline.
check_layout() {
    local name=$1
    boot 1 "$default_line"
    expect "$name: answers by interrupt" 300 \
        "$(curl -s --max-time "$deadline" "http://$address:8080/?[1-300]" | grep -c '^ahoy')"
    send_console '\004'
    end_guest
    expect "$name: ends" 0 "$code"
}

check_amd64_layouts() {
    use_machine microvm,accel=tcg,acpi=on,pit=off,pic=off,rtc=off
    check_layout 'ACPI on'
    use_machine microvm,accel=tcg,acpi=on,ioapic2=off,pit=off,pic=off,rtc=off
    check_layout 'ACPI on, one interrupt controller'
    use_machine microvm,accel=tcg
    check_layout "the machine's defaults"
    use_machine microvm,accel=tcg,acpi=on,pit=off,pic=off,rtc=off
    extra=(-global virtio-mmio.force-legacy=false)
    check_layout 'modern virtio, ACPI on'
}

check_arm64_layouts() {
    use_machine virt,accel=tcg,gic-version=3
    check_layout 'GICv3'
    use_machine virt,accel=tcg,highmem=off,gic-version=3,its=off
    check_layout 'all devices below 4 GiB'
    use_machine virt,accel=tcg,virtualization=on
    check_layout 'entered at EL2'
    use_machine virt,accel=tcg,virtualization=on,gic-version=3
    check_layout 'entered at EL2, GICv3'
    use_default_machine
    machine+=(-cpu cortex-a53)
    check_layout 'an old processor'
    use_default_machine
    machine+=(-smp 2)
    check_layout 'a processor more'
    use_machine virt,accel=tcg,gic-version=3
    machine+=(-smp 2)
    memory=1536 check_layout 'a processor more, GICv3, more memory than is mapped'
}

check_layouts() {
    "check_${architecture}_layouts"
    use_default_machine
    extra=(-global virtio-mmio.force-legacy=false)
    check_layout 'modern virtio'
    extra=(-device virtio-rng-device -device virtio-rng-device)
    check_layout 'other devices beside'
    extra=()
    memory=8 check_layout 'the least memory of the recipe'
}

check_versions() {
    boot 2 "$default_line"
    expect 'version 2' 'ahoy from hello 2.0 instance 000100000001' "$(get "http://$address:8080/")"
    kill_guest
    boot 3 "$default_line"
    expect 'version 3 answers' 'ahoy from hello 3.0 instance 000100000001' \
        "$(get "http://$address:8080/")"
    local i found=
    for i in 1 2 3 4 5; do
        found="$found $(status_of "http://$address:8080/healthz?$i")"
    done
    expect 'version 3 is never healthy' ' 503 503 503 503 503' "$found"
    kill_guest
}

# expect_refusal NAME WANTED COMMAND_LINE: the guest says what is wrong and ends as a crash.
expect_refusal() {
    start_guest 1 "$3"
    end_guest
    if [ "$code" = 1 ]; then
        expect_match "refused: $1" "*$2*" "$(cat "$console")"
    else
        fail "refused: $1" "the end is '$code', not a panic; console: $(cat "$console")"
    fi
}

check_arguments() {
    boot 1 '@ip @gateway --instance=a-1 --env=LOG=debug "--greeting" "ahoy \"you\" \\ there"'
    expect 'quoted arguments' 'ahoy "you" \ there from hello 1.0 instance a-1' \
        "$(get "http://$address:8080/")"
    expect_match 'environment' '*GET / 200*' "$(cat "$console")"
    kill_guest
    boot 1 '@ip -- --greeting=hi'
    expect 'only an address is required' 'hi from hello 1.0 instance -' \
        "$(get "http://$address:8080/")"
    kill_guest
    expect_refusal 'no address' '--ip=ADDRESS/PREFIX is missing' '--gateway=10.0.0.1'
    expect_refusal 'address without prefix' '--ip=10.64.0.2: not an address' '--ip=10.64.0.2'
    expect_refusal 'address out of range' 'not an address' '--ip=10.64.0.256/24'
    expect_refusal 'prefix out of range' 'not an address' '--ip=10.64.0.2/33'
    expect_refusal 'bad gateway' '--gateway=nowhere: not an address' '@ip --gateway=nowhere'
    expect_refusal 'bad environment' '--env=LOG: not NAME=value' '@ip --env=LOG'
    expect_refusal 'open quote' 'a double quote is not closed' '@ip --greeting "ahoy'
    expect_refusal 'unknown argument' 'unknown argument' '@ip --bogus'
}

check_architecture() {
    for file in "$build"/examples/hello/v{1,2,3}/"hello-$architecture.elf"; do
        [ -s "$file" ] || { echo "FAIL $file is not built; run: make examples" >&2; exit 1; }
    done
    use_default_machine
    check_images
    boot 1 "$default_line"
    check_answers
    check_connections
    check_bad_requests
    check_endings
    check_drain
    check_layouts
    check_versions
    check_arguments
}

default_line="$default_line --greeting ahoy"
[ $# -gt 0 ] || set -- amd64 arm64
for architecture in "$@"; do
    check_architecture
done
[ "$failures" = 0 ]
