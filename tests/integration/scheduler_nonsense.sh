#!/usr/bin/env bash
# Agents and clients that send nonsense: each is refused with a reason, none harms the others.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

port=$(free_port)
url=http://127.0.0.1:$port
shoal-scheduler --port "$port" --state "$work/scheduler" 2>"$work/scheduler.log" &
scheduler_pid=$!
started_pids=$scheduler_pid
check starts wait_for 30 curl -fsS "$url/healthz"

# answers NAME STATUS PATTERN CURL-ARGUMENT...: what a call is answered.
answers() {
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" 0 "$pattern.* $status\$" curl -sS -w ' %{http_code}\n' "$@"
}

joining() { # NODE EPOCH [CLUSTER]
    printf '{"node": "%s", "epoch": "%s", "cluster": "%s", "address": "127.0.0.1:1", "machines": [],
        "memory": 1000000, "vcpus": 1, "overhead": 0, "labels": {}, "subnet": ""}' "$1" "$2" "${3:-}"
}
cluster_id=
status() { # NODE EPOCH SEQUENCE [MORE]
    printf '{"cluster": "%s", "node": "%s", "epoch": "%s", "sequence": %s%s}' \
        "$cluster_id" "$1" "$2" "$3" "${4:-}"
}

# --- versions ---
answers a_newer_protocol_is_told_both_numbers 426 '99.*1|1.*99' -H 'Shoal-Protocol: 99' "$url/v1/nodes"
answers there_is_none_before_the_first 426 'protocol 0' -H 'Shoal-Protocol: 0' "$url/v1/nodes"
answers a_call_without_is_served 200 nodes "$url/v1/nodes"
answers a_protocol_that_is_no_number 4.. error -H 'Shoal-Protocol: x' "$url/v1/nodes"

# --- joins ---
answers a_node_joins 200 subnet "$url/v1/nodes/a/join" -d "$(joining a 0000000000000001)"
answers another_one 200 subnet "$url/v1/nodes/b/join" -d "$(joining b 0000000000000001)"
cluster_id=$(curl -sS "$url/v1/nodes/a/join" -d "$(joining a 0000000000000001)" | jq -r .cluster)
answers in_the_name_of_another 400 'another node' "$url/v1/nodes/a/join" -d "$(joining b 1)"
answers of_another_cluster 409 'belongs to cluster' "$url/v1/nodes/a/join" \
    -d "$(joining a 1 00000000000000000000000000000001)"
answers a_name_that_is_none 400 error "$url/v1/nodes/A_B/join" -d "$(joining A_B 1)"
answers a_join_that_is_no_json 400 error "$url/v1/nodes/a/join" -d '{"node": "a"'
answers a_join_of_another_type 400 error "$url/v1/nodes/a/join" -d '[1, 2]'
answers a_join_with_a_number_beyond_all 400 'memory' "$url/v1/nodes/a/join" \
    -d "$(joining a 1 | sed 's/1000000/99999999999999999999999/')"
head -c 200000 /dev/zero | tr '\0' '[' >"$work/deep"
answers a_join_that_is_too_deep '4..' error "$url/v1/nodes/a/join" -d "@$work/deep"

# --- statuses ---
answers a_status 200 '{' "$url/v1/nodes/a/status" -d "$(status a 0000000000000001 5)"
answers an_older_one 412 older "$url/v1/nodes/a/status" -d "$(status a 0000000000000001 4)"
answers the_same_again 200 '{' "$url/v1/nodes/a/status" -d "$(status a 0000000000000001 5)"
answers of_an_old_epoch 412 'join again' "$url/v1/nodes/a/status" -d "$(status a 0000000000000002 6)"
answers of_another_name 400 'another node' "$url/v1/nodes/a/status" -d "$(status b 0000000000000001 6)"
answers of_nobody 404 'has not joined' "$url/v1/nodes/c/status" -d "$(status c 0000000000000001 6)"
many=$(seq 5000 | sed 's/.*/{"publish": &, "bound": true}/' | paste -sd,)
status a 0000000000000001 7 ", \"frontends\": [$many]" >"$work/many"
answers more_than_a_node_can_have 413 'at most' "$url/v1/nodes/a/status" -d "@$work/many"
answers states_that_are_none 400 'state' "$url/v1/nodes/a/status" \
    -d "$(status a 0000000000000001 8 ', "instances": [{"id": "000100000001", "state": "flying"}]')"
answers instances_that_are_none 400 'instances/0/id' "$url/v1/nodes/a/status" \
    -d "$(status a 0000000000000001 8 ', "instances": [{"id": "../../etc", "state": "ready"}]')"
answers a_poll_of_nobody 404 'not joined' "$url/v1/nodes/c/assignment"
answers a_poll_from_the_future 410 compacted "$url/v1/nodes/a/assignment?after=99999999999999999"
answers a_poll_after_nothing 400 numbers "$url/v1/nodes/a/assignment?after=x"

# --- bodies over their limits ---
head -c 20000 /dev/zero | tr '\0' ' ' >"$work/large"
answers a_long_scale 413 error -X PUT "$url/v1/namespaces/default/services/s/scale" -d "@$work/large"
head -c 300000 /dev/zero | tr '\0' ' ' >"$work/larger"
answers a_long_manifest 413 error -X PUT "$url/v1/namespaces/default/services/s" -d "@$work/larger"
head -c 9000000 /dev/zero | tr '\0' ' ' >"$work/largest"
answers a_long_status 413 error "$url/v1/nodes/a/status" --data-binary "@$work/largest"

# --- floods ---
sequence=100
flood() { # statuses one after the other over one connection, as fast as they are taken
    local i
    for i in $(seq 400); do
        printf 'url = "%s/v1/nodes/b/status"\ndata = "%s"\noutput = /dev/null\n' "$url" \
            "$(status b 0000000000000001 $((sequence + i)) | sed 's/"/\\"/g')"
        [ "$i" -lt 400 ] && echo next
    done >"$work/flood"
    curl -sS -K "$work/flood"
}
half_open=()
for _ in $(seq 100); do # calls that never end
    exec {descriptor}<>"/dev/tcp/127.0.0.1/$port"
    half_open+=("$descriptor")
    printf 'POST /v1/nodes/a/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{' >&"$descriptor"
done
flood >"$work/flood.log" 2>&1 &
flood_pid=$!
answers a_read_meanwhile 200 nodes "$url/v1/nodes"
answers a_write_meanwhile 200 '{' -X PUT "$url/v1/policies/p" -d '{"name": "p", "match": ["x/*"]}'
wait "$flood_pid"
check the_flood_was_taken test ! -s "$work/flood.log"
for descriptor in "${half_open[@]}"; do exec {descriptor}>&-; done
answers reads_go_on_after_it 200 nodes "$url/v1/nodes"
check it_ends_as_it_should kill -TERM "$scheduler_pid"
wait "$scheduler_pid"
check with_success test $? -eq 0
check no_sanitizer_complains no_sanitizer_report "$work/scheduler.log"
