#!/usr/bin/env bash
# A scheduler whose store is in etcd keeps what it acknowledged when it is killed, and what it knows
# moves to another kind of store by a backup.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"

if ! command -v etcd >/dev/null; then
    fail etcd_is_installed "no etcd here: make deps"
    exit 1
fi
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
start_registry registry
export SHOAL_REGISTRY=$url
client_port=$(free_port) peer_port=$(free_port) port=$(free_port)
etcd=http://127.0.0.1:$client_port
export SHOAL_ADDRESS=http://127.0.0.1:$port

etcd --name a --data-dir "$work/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "a=http://127.0.0.1:$peer_port" >"$work/etcd.log" 2>&1 &
etcd_pid=$!
started_pids="$started_pids $etcd_pid"

# start_scheduler PLACE: and waits until it answers.
start_scheduler() {
    "$BUILD/bin/shoal-scheduler" --port "$port" --state "$work/scheduler" --registry "$url" \
        --store "$1" 2>>"$work/scheduler.log" &
    scheduler_pid=$!
    started_pids="$started_pids $scheduler_pid"
    wait_for 30 curl -fsS "$SHOAL_ADDRESS/version"
}
replicas() { shoal inspect service hello | jq -e ".replicas == $1"; }
cluster_id() { curl -fsS "$SHOAL_ADDRESS/version" | jq -r .cluster; }
term() { curl -fsS "$SHOAL_ADDRESS/version" | jq -r .term; }

expect an_address_that_others_cannot_reach_is_refused 1 '--advertise http://HOST:7000' \
    shoal-scheduler --address 0.0.0.0 --state "$work/scheduler" --registry "$url" --store "etcd:$etcd"
check starts start_scheduler "etcd:http://127.0.0.1:1,$etcd"
cluster_before=$(cluster_id)
check an_image_is_there build_and_push 1
check its_key_is_trusted shoal trust add "$work/shoal.pub"
printf 'service: hello\nimage: hello:1.0\nreplicas: 2\n' >"$work/hello.yaml"
check a_service_is_deployed shoal deploy --detach -f "$work/hello.yaml"
check it_is_scaled shoal scale --detach hello=5
kill -9 "$scheduler_pid"
wait "$scheduler_pid" 2>/dev/null

check starts_again_after_a_kill start_scheduler "etcd:$etcd"
check what_was_acknowledged_is_there replicas 5
check it_is_the_same_cluster [ "$(cluster_id)" = "$cluster_before" ]
check it_goes_on_taking_changes shoal scale --detach hello=6

# An etcd that says nothing: what is known is told, what is asked for is refused, until it is back.
kill -STOP "$etcd_pid"
refused() {
    local status
    status=$(curl -sS -o "$work/answer" -w '%{http_code}' --max-time 20 -X PUT \
        -H 'Content-Type: application/json' -d '{"name": "late", "match": ["team/late"]}' \
        "$SHOAL_ADDRESS/v1/policies/late")
    echo "$status: $(cat "$work/answer")"
    [ "$status" -ge 500 ] && jq -e '.error.message | length > 0' "$work/answer"
}
check without_etcd_changes_are_refused refused
check without_etcd_what_is_known_is_told replicas 6
check without_etcd_it_is_alive curl -fsS "$SHOAL_ADDRESS/version"
kill -CONT "$etcd_pid"
taken() { shoal scale --detach hello=7; }
check with_etcd_back_changes_are_taken wait_for 30 taken
check nothing_was_lost_meanwhile replicas 7

expect a_backup_is_made_while_it_runs 0 'documents' shoal store backup "$work/backup"
check only_its_owner_reads_it [ "$(stat -c %a "$work/backup")" = 600 ]
stop_pid "$scheduler_pid"

expect a_used_store_is_not_restored_over 1 'documents already' \
    shoal store restore "$work/backup" --store "etcd:$etcd"
expect it_is_restored_elsewhere 0 "of cluster $cluster_before" \
    shoal store restore "$work/backup" --store "sqlite:$work/other"
head -c 300 "$work/backup" >"$work/half"
expect half_a_backup_is_refused 1 'no whole copy' \
    shoal store restore "$work/half" --store "sqlite:$work/third"
check starts_on_what_was_restored start_scheduler "sqlite:$work/other"
check all_of_it_is_there replicas 7
check it_is_that_cluster_too [ "$(cluster_id)" = "$cluster_before" ]
check in_a_new_term [ "$(term)" -gt 1 ]
stop_pid "$scheduler_pid"
