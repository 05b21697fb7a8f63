#!/usr/bin/env bash
# A number in a volume: it survives restarts, upgrades, the death of its microVM and of the agent;
# nobody else can write to it; snapshots bring it back.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2119  # nothing of ours is for `shoal up`
cluster_up >"$work/up.log" 2>&1 || { fail cluster_up "$(tail -n 5 "$work/up.log")"; exit; }
volume=$cluster/agent/host/volumes/default/counter/0/data
(cd "$work" && shoal keygen shoal) >/dev/null
shoal trust add "$work/shoal.pub" >/dev/null

# service SIZE LOG: its manifest.
service() {
    cat <<YAML
service: counter
image: counter:1.0
replicas: 1
resources: {memory: 16Mi, vcpus: 1}
ports:
  - {name: http, port: 8080, publish: $publish_port, mode: http}
volumes:
  - {name: data, size: $1}
env: {LOG: $2}
health:
  readiness: {http: {path: /healthz, port: http}, every: 500ms, timeout: 500ms, rise: 1, fall: 3}
restart: {policy: always, attempts: 5, backoff: 100ms}
rollout: {min_healthy_time: 100ms, progress_deadline: 60s}
stop: {drain: 1s, grace: 3s}
YAML
}
number_is() { [ "$(curl -sS -m 5 "http://127.0.0.1:$publish_port/")" = "$1" ]; }
count() { curl -sS -m 20 -X POST "http://127.0.0.1:$publish_port/"; }
ready_id() { instances_in ready counter; }
# Whose it is, and that neither we nor another QEMU get it.
is_locked() {
    [ "$(stat -c %u "$volume")" != 0 ] && ! flock -n "$volume" true &&
        qemu-io -f raw -c 'read 0 512' "$volume" 2>&1 | grep -q 'Failed to get "write" lock'
}

check counter_is_built shoal build "$BUILD/examples/counter" -t counter:1.0
check counter_is_pushed shoal push counter:1.0 --sign "$work/shoal.key"
service 1Mi info >"$work/service.yaml"
expect upgrades_are_said_to_be_stop_first 0 'stop-first' shoal deploy -f "$work/service.yaml"
expect counting_begins_at_one 0 '^1$' count
expect counting_goes_on 0 '^2$' count
check volume_is_sparse test "$(stat -c '%s' "$volume")" = 1048576
check volume_is_its_qemus_and_locked is_locked

service 2Mi debug >"$work/service.yaml"
check counter_is_upgraded shoal deploy -f "$work/service.yaml"
check number_survives_an_upgrade wait_for 20 number_is 2
check volume_has_grown test "$(stat -c '%s' "$volume")" = 2097152
expect counting_goes_on_after_it 0 '^3$' count

second=$(ready_id)
kill -9 "$(qemu_of "$second")"
restarted() { shoal ps counter -o json | jq -e '.instances[0] | .state == "ready" and .restarts >= 1'; }
check killed_guest_is_restarted_in_place wait_for 30 restarted
check number_survives_its_guest wait_for 20 number_is 3

pid=$(qemu_of "$second")
kill -9 "$(daemon_pid agent)"
agent_is_gone() { ! pgrep -f -- "/shoal-agent .*$cluster"; }
check agent_is_killed wait_for 20 agent_is_gone
check agent_is_started_again cluster_up_again
check its_guest_is_the_same kill -0 "$pid"
check volume_is_locked_by_the_next_agent wait_for 20 is_locked
expect counting_goes_on_without_a_gap 0 '^4$' count

# Snapshots. The guest that counts is paused, and does not notice.
volumes() { shoal volume list counter -o json | jq -r "$1"; }
expect volume_is_listed 0 "counter/0/data +$node +in_use +2Mi" shoal volume list
expect snapshot_is_taken 0 'as a power cut would have left it' \
    shoal volume snapshot counter/0/data@four
check its_guest_went_on kill -0 "$pid"
expect snapshot_is_taken_once 1 'has a snapshot of that name' \
    shoal volume snapshot counter/0/data@four
expect counting_goes_on_after_the_snapshot 0 '^5$' count
expect snapshot_is_listed 0 'four +' shoal volume inspect counter/0/data
expect volume_in_use_is_not_restored 1 'shoal scale counter=0' \
    shoal volume restore counter/0/data@four
expect volume_in_use_is_not_removed 1 'needs it' shoal volume rm counter/0/data
check counter_is_scaled_to_nothing shoal scale counter=0
# As one that was killed and has not ended: nobody else gets what it has.
mkfifo "$work/words"
qemu-io -f raw "$volume" <"$work/words" >"$work/words.out" 2>&1 &
holder=$!
exec 7>"$work/words"
echo 'read 0 512' >&7
check a_process_has_the_volume wait_for 20 grep -q 'read 512/512' "$work/words.out"
expect what_a_process_has_is_not_restored 1 'another process has it' \
    shoal volume restore counter/0/data@four
shoal scale counter=1 --detach >/dev/null
not_booted() { shoal ps counter -o json | jq -e '.instances[] | select(.cause == "boot_failed") | .message | test("another process has it")'; }
check nor_given_to_a_guest wait_for 20 not_booted
shoal scale counter=0 --detach >/dev/null
exec 7>&- # which ends it
wait "$holder"
check counter_is_scaled_to_nothing_again shoal scale counter=0
expect restored_by_its_name_only 1 'has no snapshot five' shoal volume restore counter/0/data@five
expect volume_is_restored 0 'restored' shoal volume restore counter/0/data@four
expect what_was_done_is_an_event 0 "volume_restored .*0/data on node $node, snapshot four" \
    shoal events counter
check counter_is_scaled_up shoal scale counter=1
check number_is_what_it_was wait_for 20 number_is 4
service 1Mi debug >"$work/service.yaml"
expect volume_does_not_shrink 1 'does not shrink' shoal deploy -f "$work/service.yaml"

# is_promised N: the scheduler has the records of N slots' volumes.
is_promised() {
    rm -f "$work/backup"
    shoal store backup "$work/backup" >/dev/null &&
        [ "$(grep -c '^{"key":"volumes\\/' "$work/backup")" = "$1" ]
}

# What is left of a service.
expect removing_counter_says_what_stays 0 '1 volume of it stays, .*shoal rm counter --volumes' \
    shoal rm counter
check its_volume_stays_unused test "$(volumes '.volumes[] | .state + " " + .snapshots[0].name')" = \
    'unused four'
expect what_is_left_is_not_removed_lightly 1 '[-]-force' shoal volume rm counter/0/data
service 2Mi info >"$work/service.yaml"
check counter_is_deployed_again shoal deploy -f "$work/service.yaml"
check number_is_found_again wait_for 20 number_is 4
check counter_is_removed_again shoal rm counter
expect its_volumes_go_later_too 0 '1 volume that it had left removed' shoal rm counter --volumes
expect nothing_more_is_left_to_remove 1 'no service counter' shoal rm counter --volumes
check promise_is_taken_back is_promised 0
# What is not there is not promised either.
check counter_is_deployed_once_more shoal deploy -f "$work/service.yaml"
check and_scaled_to_nothing shoal scale counter=0
check its_volume_is_promised is_promised 1
rm -f "$volume"
expect nothing_stays_of_what_is_not_there 0 '^counter: removed$' shoal rm counter
expect nor_is_it_listed 0 'no volumes of service counter' shoal volume list counter
check nor_promised wait_for 20 is_promised 0
check nothing_is_left_of_it test -z "$(find "$cluster/agent/host/volumes" -type f)"
exit 0
