#!/usr/bin/env bash
# One source, four ways to run it: hello as an ordinary process and as a Linux microVM keep the
# promises that the unikernel keeps (example_hello.sh); every form is measured; and one service
# manifest deploys the unikernel of either architecture and the Linux microVM.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
deadline=120 # seconds for anything: a kernel of Linux under emulation on a busy machine takes some
process=$BUILD/examples/hello/process
linux=$BUILD/examples/hello-linux/v1

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

[ -s "$BUILD/linux/.complete" ] || {
    skip linux_microvm "Debian's cloud kernel is not there: make linux-kernel says why"
    skip continuum "the same"
    exit
}

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

# --- the table ---
rm -f "$BUILD/bench/continuum.json"
RUNS=1 "$here/../bench/continuum.sh" >"$work/table" 2>&1
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check continuum_writes_its_result jq -e "length == 12 and $form" "$BUILD/bench/continuum.json"
check continuum_measured_everything jq -e 'all(.[]; .ours > 0 and .peer > 0)' \
    "$BUILD/bench/continuum.json"
expect continuum_tells_linuxs_version 0 'Linux microVM, amd64 .* Linux 6\.[0-9.-]+-cloud-amd64 \(Debian 6\.' \
    cat "$work/table"
for row in 'unikernel, amd64' 'unikernel, arm64' 'plain process'; do
    expect "continuum_has_a_row_of_${row//[ ,]/_}" 0 "^$row +[0-9]+ +[0-9]+ +[0-9]+ .* [0-9.]+ +[0-9]+" \
        cat "$work/table"
done

# --- one manifest, three images ---
# shellcheck disable=SC2119  # nothing of ours is for `shoal up`
cluster_up >"$work/up.log" 2>&1 || { fail cluster_up "$(tail -n 5 "$work/up.log")"; exit; }
(cd "$work" && shoal keygen shoal) >/dev/null
shoal trust add "$work/shoal.pub" >/dev/null
# The example's own manifest, on a port of the test's, with more patience.
sed -e "s/publish: 8080/publish: $publish_port/" -e 's/^replicas: .*/replicas: 1/' \
    -e 's/^boot_timeout: .*/boot_timeout: 2m/' -e 's/progress_deadline: [0-9a-z]*/progress_deadline: 4m/' \
    -e 's/LOG: info/LOG: debug/' "$here/../../examples/hello/service.yaml" >"$work/service.yaml"

# publish FOLDER: its image becomes what the manifest's tag names.
publish() { shoal build "$1" -t hello:1.0 && shoal push hello:1.0 --sign "$work/shoal.key"; }
instance() { shoal ps hello -o json | jq -r '.instances[] | select(.state == "ready") | .id' | head -n 1; }
# runs_as KIND FOLDER PROGRAM: deployed with the manifest as it is, it answers in the way of all.
runs_as() {
    check "$1_is_pushed" publish "$2"
    check "$1_is_deployed" shoal deploy -f "$work/service.yaml"
    local id
    id=$(instance)
    check "$1_answers" same "ahoy from hello 1.0 instance $id" \
        "$(get "http://127.0.0.1:$publish_port/")"
    expect "$1_logs" 0 'GET / 200' shoal logs hello
    expect "$1_runs_in_its_machine" 0 "$3" pgrep -af -- "-name guest=.*$id"
}
mkdir "$work/amd64" "$work/arm64"
for architecture in amd64 arm64; do
    cp "$BUILD/examples/hello/v1/hello-$architecture.elf" "$work/$architecture/"
    sed -e '/^ *arm64: /d' -e "s/^\( *\)amd64: .*/\1$architecture: {kernel: hello-$architecture.elf}/" \
        "$BUILD/examples/hello/v1/Unikernel.yaml" >"$work/$architecture/Unikernel.yaml"
done
runs_as unikernel_amd64 "$work/amd64" 'qemu-system-x86_64.*microvm'
runs_as linux_microvm "$linux" 'qemu-system-x86_64.*pc-i440fx'
runs_as unikernel_arm64 "$work/arm64" 'qemu-system-aarch64.*virt'
expect scaled_to_nothing 0 . shoal scale hello=0
