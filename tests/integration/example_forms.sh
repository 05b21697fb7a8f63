#!/usr/bin/env bash
# hello as an ordinary process and as a Linux microVM, booted directly: both keep the promises that
# the unikernel of the same source keeps (example_hello.sh).
if [ -z "${EXAMPLE_FORMS_INSIDE:-}" ]; then
    # A network namespace of the test's own, which disappears with it.
    EXAMPLE_FORMS_INSIDE=1 exec unshare --net -- bash "$0" "$@"
fi
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
deadline=120 # seconds for anything: a kernel of Linux under emulation on a busy machine takes some
process=$BUILD/examples/hello/process
linux=$BUILD/examples/hello-linux/v1
ip link set lo up

get() { curl -s --max-time 20 "$@"; }
status_of() { get -o /dev/null -w '%{http_code}' "$@"; }
answers() { curl -s --max-time 2 -o /dev/null "$1"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
same() { [ "$1" = "$2" ] || { echo "wanted '$1', found '$2'"; return 1; }; }

# ends_with PID STATUS: by itself, within the deadline.
ends_with() {
    wait_for "$deadline" gone "$1" || { echo "still running"; kill -KILL "$1"; return 1; }
    local status=0
    wait "$1" || status=$?
    same "$2" "$status"
}

# --- an ordinary process ---

# start_process VERSION ARGUMENT...: on an address of this machine's own; sets pid and log.
start_process() {
    local version=$1
    shift
    log=$work/process.log
    "$process/hello-$version" --ip=127.71.0.9/8 "$@" >"$log" 2>&1 &
    pid=$!
    started_pids="$started_pids $pid"
    wait_for "$deadline" answers http://127.71.0.9:8080/
}

url=http://127.71.0.9:8080
LOG=debug check process_answers start_process 1 --instance=abc '--env=X=1' -- --greeting 'ahoy "you"'
check process_has_its_arguments same 'ahoy "you" from hello 1.0 instance abc' "$(get $url/)"
check process_has_its_environment grep -q '^GET / 200$' "$log"
check process_listens_where_it_was_told same 000 "$(status_of http://127.71.0.8:8080/)"
check process_keeps_a_connection same 100 "$(get -w '%{num_connects}' -o /dev/null -o /dev/null \
    -o /dev/null $url/ $url/healthz $url/)"
check process_serves_many_at_once same 300 \
    "$(seq 300 | xargs -P 32 -I{} curl -s --max-time 20 $url/ | grep -c ahoy)"
pipelined() {
    local i
    exec 3<>/dev/tcp/127.71.0.9/8080
    { for ((i = 0; i < 199; i++)); do printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'; done
        printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'; } >&3
    timeout 20 cat <&3
    exec 3>&-
}
check process_answers_pipelined_requests same 200 "$(pipelined | grep -c '^ahoy')"
check process_refuses_what_is_not_http same 'HTTP/1.1 400 Bad Request' \
    "$(printf 'hello there\r\n\r\n' | timeout 20 socat - TCP:127.71.0.9:8080 | sed -n '1s/\r//p')"
check process_refuses_a_head_too_large same 431 \
    "$(status_of -H "Long: $(printf '%09000d' 0)" $url/)"
get http://127.71.0.9:8081/fail >/dev/null
check process_is_unhealthy_on_request same 503 "$(status_of $url/healthz)"

# SIGTERM: the open request is answered, nothing new is accepted, then the end.
exec 4<>/dev/tcp/127.71.0.9/8080
printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&4
check process_stays_for_an_open_request same 200 "$(status_of $url/)"
kill -TERM "$pid"
refuses() { local s=0; curl -s --max-time 2 -o /dev/null "$1" || s=$?; [ "$s" = 7 ]; }
check process_accepts_nothing_after_sigterm wait_for "$deadline" refuses $url/
printf '\r\n' >&4
timeout 20 cat <&4 >"$work/last"
exec 4>&-
check process_answers_the_open_request grep -q '^ahoy' "$work/last"
check process_ends_well ends_with "$pid" 0
check process_crashes_on_request start_process 1
get http://127.71.0.9:8081/crash >/dev/null
check process_says_that_it_crashed ends_with "$pid" 1
check process_ends_on_request start_process 2
get http://127.71.0.9:8081/exit >/dev/null
check process_ended_well ends_with "$pid" 0
expect process_names_a_wrong_argument 1 'unknown argument.*--bogus' "$process/hello-1" --bogus

if [ ! -s "$BUILD/linux/.complete" ]; then
    skip linux_microvm "Debian's cloud kernel is not there: make linux-kernel says why"
    exit
fi

# --- the Linux microVM, booted directly ---

# The same bytes from the same input, whoever makes it.
"$here/../../examples/linux/make-initramfs.sh" "$BUILD/linux" "$BUILD/examples/posix/init-1" \
    "$work/initrd"
check initramfs_is_reproducible cmp "$work/initrd" "$linux/initrd"

# boot KERNEL_OPTIONS [-- ARGUMENT ...]: a guest with a tap of its own; sets pid and console.
boot() {
    console=$work/console serial=$work/serial
    ip tuntap add dev continuum0 mode tap
    ip address add 10.63.0.1/24 dev continuum0
    ip link set continuum0 up
    rm -f "$console"
    qemu-system-x86_64 -M pc,accel=tcg -cpu max -m 128 -nodefaults -no-user-config -display none \
        -no-reboot -kernel "$linux/vmlinuz" -initrd "$linux/initrd" \
        -append "console=ttyS0 quiet panic=-1 cryptomgr.notests $*" \
        -chardev "socket,id=console,path=$serial,server=on,wait=off,logfile=$console" \
        -serial chardev:console -device pvpanic -action panic=exit-failure \
        -netdev tap,id=net,ifname=continuum0,script=no,downscript=no \
        -device virtio-net-pci,netdev=net,romfile= &
    pid=$!
    started_pids="$started_pids $pid"
}
unboot() { ip link delete continuum0; }
before_end() { unboot 2>/dev/null; }
ip_option=ip=10.63.0.2::10.63.0.1:255.255.255.0:000100000007:eth0:off

boot "$ip_option" LOG=debug -- --greeting '"ahoy you"'
check linux_answers wait_for "$deadline" answers http://10.63.0.2:8080/
check linux_has_its_arguments same 'ahoy you from hello 1.0 instance 000100000007' \
    "$(get http://10.63.0.2:8080/)"
check linux_has_its_environment grep -q 'GET / 200' "$console"
exec 4<>/dev/tcp/10.63.0.2/8080
printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&4
check linux_serves_others_meanwhile same 200 "$(status_of http://10.63.0.2:8080/)"
{ printf '\004'; sleep 2; } | socat -u - "UNIX-CONNECT:$serial" 2>/dev/null &
check linux_accepts_nothing_after_the_byte_4 wait_for "$deadline" refuses http://10.63.0.2:8080/
printf '\r\n' >&4
timeout 60 cat <&4 >"$work/last"
exec 4>&-
check linux_answers_the_open_request grep -q '^ahoy you' "$work/last"
check linux_powers_off ends_with "$pid" 0
unboot
boot "$ip_option"
check linux_boots_without_arguments wait_for "$deadline" answers http://10.63.0.2:8080/
get http://10.63.0.2:8081/crash >/dev/null
check linux_panic_reaches_the_hypervisor ends_with "$pid" 1
check linux_says_why grep -q 'panic: hello: crashes on request' "$console"
unboot
boot ip=10.63.0.2::10.63.0.1:255.0.255.0::eth0:off
check linux_refuses_a_wrong_address ends_with "$pid" 1
check linux_names_the_wrong_address grep -q 'panic: network: ip=10.63.0.2:.*not of the form' "$console"
unboot
