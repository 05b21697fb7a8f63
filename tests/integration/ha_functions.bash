# shellcheck shell=bash
# Three schedulers that share an etcd, each by a way of its own that can be cut, and an agent that
# speaks the agents' protocol and boots nothing. Sourced after lib.sh and registry_functions.bash.
# shellcheck disable=SC2154 # work, url and started_pids are others'

declare -a scheduler_ports=() scheduler_pids=() way_pids=()

start_etcd() {
    local peer
    command -v etcd >/dev/null || {
        fail etcd_is_installed "no etcd here: make deps"
        exit 1
    }
    etcd_port=$(free_port) peer=http://127.0.0.1:$(free_port)
    etcd --name a --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" \
        --advertise-client-urls "http://127.0.0.1:$etcd_port" --listen-peer-urls "$peer" \
        --initial-advertise-peer-urls "$peer" --initial-cluster "a=$peer" >"$work/etcd.log" 2>&1 &
    etcd_pid=$!
    started_pids="$started_pids $etcd_pid"
}

# start_scheduler NUMBER [OPTION...]: on its own port, with its own way to etcd.
start_scheduler() {
    local n=$1
    shift
    if [ -z "${scheduler_ports[n]:-}" ]; then
        scheduler_ports[n]=$(free_port)
        way_ports[n]=$(free_port)
        # In a session of its own, so that all its connections can be stopped at once.
        setsid socat "TCP-LISTEN:${way_ports[n]},bind=127.0.0.1,fork,reuseaddr" \
            "TCP:127.0.0.1:$etcd_port" 2>>"$work/ways.log" &
        way_pids[n]=$!
    fi
    "$BUILD/bin/shoal-scheduler" --port "${scheduler_ports[n]}" --state "$work/scheduler$n" \
        --registry "$url" --store "etcd:http://127.0.0.1:${way_ports[n]}" --log-level debug "$@" \
        2>>"$work/scheduler$n.log" &
    scheduler_pids[n]=$!
}

# The scheduler's and the way's process group; the signal reaches every connection.
cut_way() { kill -STOP -- "-${way_pids[$1]}"; }
mend_way() { kill -CONT -- "-${way_pids[$1]}"; }

end_schedulers() {
    local pid
    for pid in "${scheduler_pids[@]}"; do
        kill -CONT "$pid" 2>/dev/null
        stop_pid "$pid"
    done
    for pid in "${way_pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null; done
}

at() { echo "http://127.0.0.1:${scheduler_ports[$1]}"; }
phase() { curl -sS -m 2 "$(at "$1")/version" 2>/dev/null | jq -r .phase; }
phase_is() { [ "$(phase "$1")" = "$2" ]; }

# Sets leader; fails while nobody, or nobody but $1, leads.
find_leader() {
    local n
    for n in "${!scheduler_ports[@]}"; do
        if [ "$n" != "${1:-}" ] && phase_is "$n" leading; then
            # shellcheck disable=SC2034 # the tests'
            leader=$n
            return 0
        fi
    done
    return 1
}

# agent_on NODE: joins and says of everything it is told to run that it is ready, by whichever
# scheduler answers. Each id it ever ran is in $work/ran, each it was told to stop in $work/stopped.
agent_on() {
    local node=$1 sequence=0 n=0 cluster='' term='' answer ids
    touch "$work/ran" "$work/stopped"
    while :; do
        local base
        base=$(at $((n % ${#scheduler_ports[@]})))
        if [ -z "$term" ]; then
            answer=$(curl -fsS -m 3 "$base/v1/nodes/$node/join" -d '{"node": "'"$node"'", "epoch": "1",
                "cluster": "", "address": "127.0.0.1:1", "memory": 1000000000, "vcpus": 100,
                "overhead": 0, "labels": {}, "machines": [{"arch": "amd64", "accel": "tcg",
                "families": ["shoal", "unikraft", "linux"]}]}') && {
                cluster=$(jq -r .cluster <<<"$answer")
                term=$(jq -r .term <<<"$answer")
            }
        fi
        if [ -n "$term" ] && answer=$(curl -fsS -m 3 "$base/v1/nodes/$node/assignment"); then
            jq -r '.instances[] | select(.wanted == "run") | .id' <<<"$answer" >"$work/now"
            jq -r '.instances[] | select(.wanted == "stop") | .id' <<<"$answer" >>"$work/stopped"
            sort -u -o "$work/ran" "$work/ran" "$work/now"
            ids=$(jq -R -s -c 'split("\n") | map(select(. != "") |
                {id: ., state: "ready", state_age_ms: 60000, uptime_ms: 60000, boot_ms: 10})' "$work/now")
            sequence=$((sequence + 1))
            curl -fsS -m 3 "$base/v1/nodes/$node/status" -d "$(jq -c --argjson ids "$ids" \
                --arg node "$node" --arg cluster "$cluster" --argjson sequence "$sequence" \
                '{cluster: $cluster, node: $node, epoch: "1", sequence: $sequence, term: .term,
                  assignment: .revision, endpoints: 99999999999999, trust: 0, instances: $ids}' \
                <<<"$answer")" >/dev/null || n=$((n + 1))
        else
            n=$((n + 1))
        fi
        sleep 0.3
    done 2>>"$work/agent.log"
}

# reader_of NUMBER: asks it for the instances again and again; what is no answer is in
# $work/unread.
reader_of() {
    local reads=0
    while :; do
        if curl -fsS -m 3 "$(at "$1")/v1/instances" 2>>"$work/unread" >"$work/read.$1"; then
            reads=$((reads + 1))
            echo "$reads" >"$work/reads.$1"
        fi
        sleep 0.1
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
