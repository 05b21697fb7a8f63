#!/usr/bin/env bash
# A real agent, which was told of three addresses, and the guest it runs: the scheduler that leads is
# killed, and the guest answers on, the agent finds the new leader by itself, and goes on working.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"
# shellcheck source=tests/integration/ha_functions.bash
. "$(dirname "$0")/ha_functions.bash"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
declare -a way_ports=()
node=h$(printf '%05d' $((RANDOM % 100000)))
agent_pid='' followers=''
agent_options=(--node "$node" --state "$work/agent" --run "/run/shoal/$node")
before_end() {
    local pid
    for pid in $followers; do kill "$pid" 2>/dev/null; done
    [ -z "$agent_pid" ] || stop_pid "$agent_pid"
    shoal-agent "${agent_options[@]}" --clean >>"$work/agent.log" 2>&1
    rm -rf "/run/shoal/$node"
    end_schedulers
    for pid in "${!registry_logs[@]}"; do end_registry "$pid" TERM; done
    no_sanitizer_report "$work"/*.log || fail no_sanitizer_complains "see above"
}

empty() { # FILE: or shows it
    [ ! -s "$1" ] || { cat "$1"; return 1; }
}

start_registry registry
export SHOAL_REGISTRY=$url
start_etcd
for n in 0 1; do start_scheduler $n; done
for n in 0 1; do check "scheduler_${n}_answers" wait_for 40 curl -fsS "$(at $n)/healthz"; done
check one_leads wait_for 20 find_leader
nobody=http://127.0.0.1:$(free_port)
SHOAL_ADDRESS=$nobody,$(at 0),$(at 1)
export SHOAL_ADDRESS
publish_port=$(free_port)
shoal-agent "${agent_options[@]}" --port "$(free_port)" --accelerator tcg \
    --scheduler "$nobody,$(at "$leader"),$(at $((1 - leader)))" >"$work/agent.log" 2>&1 &
agent_pid=$!

check an_image_is_there build_and_push 1
check its_key_is_trusted shoal trust add "$work/shoal.pub"
manifest 1 1 >"$work/hello.yaml"
check a_service_is_deployed shoal deploy --timeout 90s -f "$work/hello.yaml"
check it_answers wait_for 10 curl -fsS -m 2 "http://127.0.0.1:$publish_port/"
before=$(instances_in ready)
expect consoles_are_read_through_a_standby 0 '.' env SHOAL_ADDRESS="$(at $((1 - leader)))" shoal logs "$before"

# Through the standby, which is the leader later on: none is missed, none comes twice.
SHOAL_ADDRESS=$(at $((1 - leader))) shoal events -f -o json >"$work/followed" 2>>"$work/follow.log" &
followers=$!
while :; do
    curl -fsS -m 5 -o "$work/answer" "http://127.0.0.1:$publish_port/" 2>>"$work/unanswered"
    sleep 0.05
done &
followers="$followers $!"

dead=$leader
kill -9 "${scheduler_pids[dead]}"
wait "${scheduler_pids[dead]}" 2>/dev/null
begun=$(now_ms)
check the_other_one_leads wait_for 20 find_leader "$dead"
check a_change_is_taken shoal scale --detach hello=2
check the_agent_boots_what_the_new_leader_wants wait_for 60 ready_count_is 2
echo "   the second instance is ready $(($(now_ms) - begun)) ms after the leader was killed"
check the_first_one_is_still_there grep -q "^$before\$" <(instances_in ready)
check it_was_not_restarted [ "$(shoal ps hello -o json | jq --arg id "$before" '.instances[] | select(.id == $id) | .restarts // 0')" = 0 ]
check the_guest_answered_throughout empty "$work/unanswered"

curl -fsS "$(at "$leader")/v1/events?after=0" | jq .sequence >"$work/events"
followed_all() { [ "$(jq .sequence "$work/followed")" = "$(cat "$work/events")" ]; }
check who_follows_events_missed_none wait_for 10 followed_all
