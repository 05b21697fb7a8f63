# shellcheck shell=bash
# Shared by the integration tests: checks, a cluster of real daemons of the test's own, and a
# clean end. Source it first; it makes $work, and removes all it started when the script ends.
#
#   check NAME COMMAND...     one named check: the command's success
#   fail NAME WHY · pass NAME · skip NAME WHY
#   wait_for SECONDS COMMAND... until it succeeds
#   cluster_up / cluster_down  registry, scheduler and agent with `shoal up`, on free ports
#
# SHOAL_HYPERVISOR=qemu|libvirt  what microVMs run under, where not the agent's default
set -u
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
PATH=$BUILD/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/shoal-test.XXXXXX")
failures=0
cluster=
started_pids=

pass() { echo "ok $1"; }

fail() {
    echo "FAIL $1: ${*:2}"
    failures=$((failures + 1))
}

skip() { echo "skip $1: ${*:2}"; }

check() {
    local name=$1
    shift
    # Not in a subshell: what the command sets stays set.
    if "$@" >"$work/check.out" 2>&1; then
        pass "$name"
    else
        fail "$name" "$* -> $(tail -n 6 "$work/check.out" | tr '\n' '|')"
    fi
}

# expect NAME STATUS PATTERN COMMAND...: the command's exit status and what it prints.
expect() {
    local name=$1 wanted=$2 pattern=$3 output status
    shift 3
    output=$("$@" 2>&1)
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        fail "$name" "exit $status instead of $wanted: $(tail -n 6 <<<"$output" | tr '\n' '|')"
    elif ! grep -qE -- "$pattern" <<<"$output"; then
        fail "$name" "no \"$pattern\" in: $(tail -n 6 <<<"$output" | tr '\n' '|')"
    else
        pass "$name"
    fi
}

wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}

# Below the ports that the kernel gives to connections: those come and go by themselves.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

stop_pid() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null
}

# A cluster of the test's own: state in $work, node name unique, contexts and images private.
cluster_up() {
    cluster=$work/cluster
    export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
    registry_port=$(free_port) scheduler_port=$(free_port) agent_port=$(free_port)
    publish_port=$(free_port)
    node=t$(printf '%05d' $((RANDOM % 100000)))
    export SHOAL_ADDRESS=http://127.0.0.1:$scheduler_port
    export SHOAL_REGISTRY=http://127.0.0.1:$registry_port
    cluster_up_again "$@"
}

# Starts what is not running of it, with the same ports and state.
cluster_up_again() {
    shoal up --state "$cluster" --node "$node" --registry-port "$registry_port" \
        --scheduler-port "$scheduler_port" --agent-port "$agent_port" --accelerator tcg \
        ${SHOAL_HYPERVISOR:+--hypervisor "$SHOAL_HYPERVISOR"} "$@"
}

cluster_down() {
    [ -n "$cluster" ] || return 0
    shoal down --state "$cluster" --node "$node" >"$work/down.log" 2>&1 || {
        cat "$work/down.log"
        return 1
    }
    local folder=$cluster/log
    cluster=
    no_sanitizer_report "$folder"
}

# A sanitizer build tells what it found in the daemons' logs: no_sanitizer_report LOG...
no_sanitizer_report() {
    grep -rlE 'Sanitizer|runtime error:' "$@" || return 0
    grep -rhE -A 30 'Sanitizer|runtime error:' "$@" | head -n 60
    return 1
}

# The pid of a daemon of the cluster: daemon_pid registry|scheduler|agent.
daemon_pid() {
    pgrep -f -- "/shoal-$1 .*$cluster" | while read -r pid; do
        # The agent's host half is the parent of the deciding half: the oldest of the two.
        echo "$pid"
    done | sort -n | head -n 1
}

# The process of an instance's microVM: qemu_of ID. Other clusters have instances of the same ids:
# ours are in the run folder of our cluster, /run/shoal/<8 hex of the state path>.
qemu_of() {
    local run record pid
    run=/run/shoal/$(printf %s "$cluster" | sha256sum | cut -c1-8)
    record=$(find "$run" -path "*/q/$1.json" 2>/dev/null | head -n 1)
    if [ -n "$record" ]; then
        pid=$(jq -r .pid "$record") && [ -d "/proc/$pid" ] && echo "$pid"
    else
        pgrep -f -- "guest=sh$1,.*$run/" | head -n 1
    fi
}

# Nothing of this cluster's node may be left: microVMs, HAProxy, the namespace, taps.
leftovers() {
    local name=$1 taps
    if pgrep -f -- "$work" >/dev/null; then
        pgrep -af -- "$work"
    fi
    ip netns list | grep -w "shoal-$name"
    # Where a libvirt daemon runs guests, as a test beside this one has it, taps begin in this
    # namespace and move on.
    taps=$(ip -o link show | grep -oE ' sh[0-9a-f]{12}:')
    [ -z "$taps" ] || { sleep 5 && ip -o link show | grep -F "$taps"; }
}

# build_and_push VERSION [sign|unsigned]: hello:VERSION.0 from the example, in the cluster's registry.
build_and_push() {
    local version=$1 signing=${2:-sign}
    [ -f "$work/shoal.key" ] || (cd "$work" && shoal keygen shoal) >/dev/null || return 1
    shoal build "$BUILD/examples/hello/v$version" -t "hello:$version.0" >/dev/null || return 1
    if [ "$signing" = sign ]; then
        shoal push "hello:$version.0" --sign "$work/shoal.key" >/dev/null 2>&1
    else
        shoal push "hello:$version.0" >/dev/null
    fi
}

# manifest VERSION REPLICAS [EXTRA YAML LINES...]: a service manifest for hello on $publish_port.
manifest() {
    local version=$1 replicas=$2
    shift 2
    cat <<YAML
service: hello
image: hello:$version.0
replicas: $replicas
resources: {memory: 16Mi, vcpus: 1}
ports:
  - {name: http, port: 8080, publish: $publish_port, mode: http}
health:
  readiness: {http: {path: /healthz, port: http}, every: 500ms, timeout: 500ms, rise: 1, fall: 3}
rollout: {max_surge: 1, max_unavailable: 0, min_healthy_time: 500ms, progress_deadline: 60s}
stop: {drain: 5s, grace: 3s}
YAML
    [ $# -eq 0 ] || printf '%s\n' "$@"
}

# Ids of the service's instances in a state: instances_in STATE [SERVICE]
instances_in() {
    shoal ps "${2:-hello}" -o json | jq -r --arg s "$1" '.instances[] | select(.state == $s) | .id'
}

ready_count_is() { [ "$(instances_in ready | wc -l)" -eq "$1" ]; }

finish() {
    local status=$?
    trap - EXIT INT TERM
    [ -n "$cluster" ] && { cluster_down || failures=$((failures + 1)); }
    if declare -F before_end >/dev/null; then before_end; fi # what a test's own daemons left
    local pid
    for pid in $started_pids; do stop_pid "$pid"; done
    rm -rf "$work"
    [ $status -eq 0 ] && [ "$failures" -gt 0 ] && status=1
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM
