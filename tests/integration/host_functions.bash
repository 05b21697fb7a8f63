# shellcheck shell=bash
# The host half of the agent, driven by host_driver, with a node of the test's own. Sourced after
# lib.sh; the test ends it by `trap 'host_end; host_clean; finish' EXIT`.
# shellcheck disable=SC2154,SC2034 # work is lib.sh's; the tests use the variables

driver=$BUILD/tests/host_driver
hypervisor=${SHOAL_HYPERVISOR:-qemu}
kernel=$BUILD/examples/hello/v1/hello-amd64.elf
node=h$(printf '%05d' $((RANDOM % 100000)))
space=shoal-$node
state=$work/state run=$work/run log=$work/log
chmod 711 "$work" # QEMU's users pass through to the run folder
mkdir -p "$state/staging" "$run" "$log"
host_in='' host_out='' driver_pid=''
hex=$(sha256sum "$kernel" | cut -d' ' -f1)
size=$(stat -c %s "$kernel")
digest=sha256:$hex

for program in "$driver" "$kernel"; do
    [ -e "$program" ] || { fail host_programs "$program is not built"; exit 1; }
done

# The driver runs as long as its input is open. say COMMAND...: prints all it answers.
host_start() {
    coproc HOST { exec "$driver" "$node" "$state" "$run" "$log" tcg 2>>"$work/host.log"; }
    driver_pid=$HOST_PID
    exec {host_in}>&"${HOST[1]}" {host_out}<&"${HOST[0]}"
    exec {HOST[1]}>&- {HOST[0]}<&-
}

host_gone() { ! kill -0 "$driver_pid" 2>/dev/null; }

host_end() {
    [ -n "$driver_pid" ] || return 0
    exec {host_in}>&- {host_out}<&-
    wait_for 20 host_gone || kill -9 "$driver_pid"
    wait "$driver_pid" 2>/dev/null
    driver_pid=
}

host_clean() { "$driver" --clean "$node" "$state" "$run" "$log" 2>>"$work/host.log"; }

say() {
    local line
    echo "$*" >&"$host_in"
    while IFS= read -r -t 150 line <&"$host_out"; do
        echo "$line"
        case $line in ok*) return 0 ;; error*) return 1 ;; esac
    done
    echo "error no answer to: $*"
    return 1
}

# says NAME PATTERN COMMAND...: one named check of the last line of an answer.
says() {
    local name=$1 pattern=$2 answer
    shift 2
    answer=$(say "$@")
    if grep -qE -- "$pattern" <<<"$answer"; then
        pass "$name"
    else
        fail "$name" "$* -> $(tr '\n' '|' <<<"$answer")"
    fi
}

# Both halves, as a crash would.
host_kill() {
    kill -9 "$(pgrep -P "$driver_pid" -f "^$driver $node ")" "$driver_pid"
    wait "$driver_pid" 2>/dev/null
    exec {host_in}>&- {host_out}<&-
}

# Of this node only: others may run the same test at the same time.
qemu_of() {
    local pid
    if [ "$hypervisor" = libvirt ]; then
        pgrep -f "guest=sh$1,.*$run/"
    else
        pid=$(jq -r .pid "$run/q/$1.json" 2>/dev/null) && [ -d "/proc/$pid" ] && echo "$pid"
    fi
}

# take FILE: imports it, and prints its digest.
take() {
    local name answer
    name=$(sha256sum "$1" | cut -d' ' -f1)
    cp "$1" "$state/staging/$name"
    answer=$(say import "sha256:$name" "$(stat -c %s "$1")") || fail take "$1 -> $answer" >&2
    echo "sha256:$name"
}
