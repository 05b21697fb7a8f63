#!/usr/bin/env bash
# How much one scheduler holds: the real shoal-scheduler with its SQLite store and the real registry
# with a signed image, and a fleet of simulated nodes over loopback (scheduler_load.c).
#
#   BUILD=dir tests/bench/scheduler.sh      (make bench-scheduler)
#   QUICK=1   one small fleet: shows that it works, not how fast
#
# 100, 1,000 and 10,000 nodes with 100 instances each; the last is 1,000 services of 1,000. Prints a
# table, writes BUILD/bench/scheduler.json. Peers are published marks, not measured here: Nomad's
# "C1M" (five servers) and Kubernetes' scheduler at 5,000 nodes. A goal that is not met is shown and
# is no failure.
set -eu

BUILD=${BUILD:-build}
mkdir -p "$BUILD/bench"
# The store is to be on a disk, which /tmp need not be.
TMPDIR=$(cd "$BUILD/bench" && pwd)
export TMPDIR
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"
load=$BUILD/bench/scheduler_load
lease_ms=20000 replace_after_ms=1000
# nodes:services:replicas
fleets='100:10:1000 1000:100:1000 10000:1000:1000'
[ "${QUICK:-0}" != 1 ] || fleets='20:4:50'
for file in "$load" "$BUILD"/bin/shoal-{registry,scheduler} "$BUILD/examples/hello/v1/hello-amd64.elf"; do
    [ -s "$file" ] || {
        echo "$file is not built; run: make bench-scheduler" >&2
        exit 1
    }
done
ulimit -n "$(ulimit -Hn)"

# --- the daemons ---

start_daemon() {
    local name=$1
    shift
    "$BUILD/bin/$name" "$@" >"$work/$name.log" 2>&1 &
    pid=$!
    started_pids="$started_pids $pid"
}

# Whether the full state is served.
reads_an_instance() { curl -sf -o /dev/null "http://127.0.0.1:$1/v1/instances/000100000001"; }

answers() { curl -sf -o /dev/null "http://127.0.0.1:$1/healthz"; }

start_registry_daemon() {
    registry_port=$(free_port)
    start_daemon shoal-registry --port "$registry_port" --state "$work/registry"
    wait_for 20 answers "$registry_port"
    export SHOAL_REGISTRY=http://127.0.0.1:$registry_port
}

start_scheduler() {
    start_daemon shoal-scheduler --port "$scheduler_port" --state "$1" \
        --registry "http://127.0.0.1:$registry_port" --lease "${lease_ms}ms" \
        --replace-after "${replace_after_ms}ms" --log-level warn
    scheduler_pid=$pid
    wait_for 120 answers "$scheduler_port"
}

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
start_registry_daemon
build_and_push 1 >/dev/null

# --- one fleet ---

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# The rows of a fleet's figures: $work/NODES.figures, lines of name and value.
measure_fleet() {
    local nodes=$1 services=$2 replicas=$3 state=$work/state-$1 begin
    scheduler_port=$(free_port)
    export SHOAL_ADDRESS=http://127.0.0.1:$scheduler_port
    start_scheduler "$state"
    shoal trust add "$work/shoal.pub" >/dev/null
    "$load" "$scheduler_port" "$scheduler_pid" hello:1.0 "$nodes" "$services" "$replicas" \
        $((lease_ms + replace_after_ms)) >"$work/$nodes.figures"
    stop_pid "$scheduler_pid"
    wait "$scheduler_pid" 2>/dev/null || true
    begin=$(now_ms)
    start_scheduler "$state"
    wait_for 120 reads_an_instance "$scheduler_port"
    echo "cold_start_ms $(($(now_ms) - begin))" >>"$work/$nodes.figures"
    kill -9 "$scheduler_pid"
    wait "$scheduler_pid" 2>/dev/null || true
    rm -rf "$state"
}

for fleet in $fleets; do
    IFS=: read -r nodes services replicas <<<"$fleet"
    measure_fleet "$nodes" "$services" "$replicas"
    largest=$nodes
    [ -n "${smallest:-}" ] || smallest=$nodes
done

# --- the table ---

figure() { awk -v name="$2" '$1 == name { print $2 }' "$work/$1.figures"; }

# row NAME UNIT OURS PEER PEER_NAME GOAL at-least|at-most: one line of JSON; PEER, GOAL may be null.
row() {
    jq -cn --arg name "$1" --arg unit "$2" --argjson ours "$3" --argjson peer "$4" \
        --arg peer_name "$5" --argjson goal "$6" --arg sense "$7" '
        {name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: $peer_name,
         ratio: (if $peer == null then null else $ours / $peer end), goal: $goal,
         met: (if $goal == null then null
               elif $sense == "at-least" then $ours >= $goal else $ours <= $goal end)}'
}

microseconds_each() { awk -v rate="$(figure "$1" placements_per_second)" 'BEGIN { printf "%.2f", 1e6 / rate }'; }

rows_of_fleet() {
    local at="$1 nodes"
    row "placements, $at" 1/s "$(figure "$1" placements_per_second)" 3750 'Nomad C1M' 20000 at-least
    row "placements, $at" 1/s "$(figure "$1" placements_per_second)" 810 'Kubernetes, 5,000 nodes' 20000 at-least
    row "all placed, $at" s "$(figure "$1" place_seconds)" null '' "$2" at-most
    row "all reported ready, $at" s "$(figure "$1" ready_seconds)" null '' null at-most
    row "memory an instance, $at" B "$(figure "$1" bytes_per_instance)" null '' 1024 at-most
    row "reads meanwhile p50, $at" ms "$(figure "$1" read_p50_ms)" null '' null at-most
    row "reads meanwhile p99, $at" ms "$(figure "$1" read_p99_ms)" null '' 50 at-most
    row "heartbeats, $at" 1/s "$(figure "$1" heartbeats_per_second)" null '' null at-least
    row "one service more (10 instances), $at" ms "$(figure "$1" one_more_ms)" null '' null at-most
    row "a lost node's $(figure "$1" lost_instances | cut -d. -f1) instances placed again, $at" ms \
        "$(figure "$1" reschedule_ms)" null '' null at-most
    row "cold start, $at" ms "$(figure "$1" cold_start_ms)" null '' 5000 at-most
    row "joined, $at" s "$(figure "$1" join_seconds)" null '' null at-most
}

{
    for fleet in $fleets; do
        nodes=${fleet%%:*}
        rows_of_fleet "$nodes" "$([ "$nodes" = 10000 ] && echo 60 || echo null)"
    done
    row "time per placement, $largest nodes against $smallest" x \
        "$(awk -v a="$(microseconds_each "$largest")" -v b="$(microseconds_each "$smallest")" \
            'BEGIN { printf "%.3f", a / b }')" null '' 2 at-most
} | jq -s . >"$BUILD/bench/scheduler.json"

echo "scheduler on $(nproc) processors with the fleet on the same ones; SQLite, synchronous"
jq -r '.[] | [.name, .unit, (.ours | tostring), (.peer // "-" | tostring),
    (if .peer_name == "" then "-" else .peer_name end), (.goal // "-" | tostring),
    (if .met == null then "-" elif .met then "yes" else "NO" end)] | @tsv' "$BUILD/bench/scheduler.json" |
    awk -F '\t' 'BEGIN { f = "%-58s %-4s %12s %8s  %-24s %8s %s\n"
                         printf f, "figure", "unit", "ours", "peer", "peer (as published)", "goal", "met" }
                 { printf f, $1, $2, $3, $4, $5, $6, $7 }'
