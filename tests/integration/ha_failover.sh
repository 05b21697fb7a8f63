#!/usr/bin/env bash
# Three schedulers share a store in etcd. The leader is killed, stopped and cut off: another one
# takes over within seconds, nothing that runs is stopped, no id is given out twice, standbys answer
# throughout, and who no longer leads writes nothing.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"
# shellcheck source=tests/integration/ha_functions.bash
. "$(dirname "$0")/ha_functions.bash"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
declare -a way_ports=()
background=
end_registries() {
    local pid
    for pid in "${!registry_logs[@]}"; do end_registry "$pid" TERM; done
}
before_end() {
    local pid
    for pid in $background; do kill "$pid" 2>/dev/null; done
    kill -CONT "$etcd_pid" 2>/dev/null
    end_schedulers
    end_registries
    no_sanitizer_report "$work"/scheduler*.log || fail no_sanitizer_complains "see above"
}

start_registry registry
export SHOAL_REGISTRY=$url
start_etcd
for n in 0 1 2; do start_scheduler $n; done
closed=$(free_port)
SHOAL_ADDRESS=http://127.0.0.1:$closed,$(at 0),$(at 1),$(at 2)
export SHOAL_ADDRESS

for n in 0 1 2; do check "scheduler_${n}_answers" wait_for 40 curl -fsS "$(at $n)/healthz"; done
check one_of_them_leads wait_for 20 find_leader
for n in 0 1 2; do
    [ "$n" = "$leader" ] || check "the_others_stand_by_$n" phase_is "$n" standing_by
done
agent_on node1 &
background="$background $!"
check an_image_is_there build_and_push 1
check its_key_is_trusted shoal trust add "$work/shoal.pub"
printf 'service: hello\nimage: hello:1.0\nreplicas: 3\nrollout: {min_healthy_time: 100ms}\n' \
    >"$work/hello.yaml"
# Through a list whose first address nobody listens on.
expect a_service_is_deployed_through_any_of_them 0 'hello' shoal deploy --timeout 60s -f "$work/hello.yaml"

ready_at() { # NUMBER COUNT
    [ "$(curl -fsS -m 2 "$(at "$1")/v1/instances" | jq '[.instances[] | select(.state == "ready")] | length')" = "$2" ]
}
ids_at() { curl -fsS -m 2 "$(at "$1")/v1/instances" | jq -r '.instances[].id' | sort; }
for n in 0 1 2; do check "all_know_what_is_ready_$n" wait_for 20 ready_at "$n" 3; done
cp "$work/ran" "$work/ran_at_first"

# scaled NAME COUNT: the CLI's change is done once somebody leads; the time it took is told.
scaled() {
    local name=$1 count=$2 begun
    begun=$(now_ms)
    check "$name" shoal scale --detach "hello=$count"
    echo "   $name: $(($(now_ms) - begun)) ms without writes"
}

printf 'service: big\nimage: hello:1.0\nresources: {memory: 100Gi}\n' >"$work/big.yaml"
check a_service_without_room_is_deployed shoal deploy --detach -f "$work/big.yaml"
waits_for_room() { # NUMBER: only who decides knows why
    curl -fsS -m 2 "$(at "$1")/v1/namespaces/default/services/big" | grep -q no_capacity
}
for n in 0 1 2; do check "all_tell_why_it_waits_$n" wait_for 20 waits_for_room "$n"; done
check it_is_removed_again shoal rm --detach big

# --- killed ---
for n in 0 1 2; do
    [ "$n" = "$leader" ] && continue
    reader_of "$n" &
    readers="${readers:-} $!"
    standbys="${standbys:-} $n"
done
background="$background $readers"
dead=$leader
kill -9 "${scheduler_pids[dead]}"
wait "${scheduler_pids[dead]}" 2>/dev/null
scaled writes_go_on_after_the_leader_was_killed 4
check another_one_leads wait_for 20 find_leader "$dead"
for n in $standbys; do check "all_is_ready_as_before_$n" wait_for 30 ready_at "$n" 4; done
for pid in $readers; do kill "$pid"; wait "$pid" 2>/dev/null; done
check standbys_answered_throughout [ ! -s "$work/unread" ]
start_scheduler "$dead"
check it_comes_back_as_a_standby wait_for 40 phase_is "$dead" standing_by

# --- stopped for longer than its lease ---
stopped=$leader
kill -STOP "${scheduler_pids[stopped]}"
scaled writes_go_on_while_it_is_stopped 5
check another_one_leads_then wait_for 20 find_leader "$stopped"
# What reached it meanwhile, and must not be sent on: it still thinks that it leads.
curl -sS -m 30 -X PUT -H 'Shoal-Forwarded: 1' -o "$work/late" -w '%{http_code}' \
    "$(at "$stopped")/v1/namespaces/default/services/hello/scale" -d '{"replicas": 9}' >"$work/late_status" &
late=$!
sleep 0.3
kill -CONT "${scheduler_pids[stopped]}"
wait "$late"
check what_it_is_asked_late_is_refused [ "$(cat "$work/late_status")" = 503 ]
check it_steps_down wait_for 20 phase_is "$stopped" standing_by
check it_wrote_nothing [ "$(curl -fsS "$(at "$stopped")/v1/namespaces/default/services/hello" | jq .replicas)" = 5 ]
check it_sends_on_what_it_is_asked curl -fsS -X PUT \
    "$(at "$stopped")/v1/namespaces/default/services/hello/scale" -d '{"replicas": 6}'
check all_see_that wait_for 30 ready_at "$stopped" 6

# --- cut off from etcd, without being told ---
cut=$leader
cut_way "$cut"
scaled writes_go_on_while_it_is_cut_off 7
check another_one_leads_instead wait_for 20 find_leader "$cut"
check it_still_answers_what_is_read ids_at "$cut"
expect it_says_why_it_cannot_write 0 'no_leader.*503' curl -sS -m 20 -w '%{http_code}' -X PUT \
    -H 'Shoal-Forwarded: 1' "$(at "$cut")/v1/namespaces/default/services/hello/scale" -d '{"replicas": 9}'
mend_way "$cut"
check it_follows_again wait_for 40 ready_at "$cut" 7
check it_stands_by phase_is "$cut" standing_by

# --- ended: it gives the lease up ---
ended=$leader
kill "${scheduler_pids[ended]}"
wait "${scheduler_pids[ended]}"
check it_ends_cleanly [ $? = 0 ]
scaled writes_go_on_after_the_leader_was_ended 8
check another_one_leads_at_once find_leader "$ended"
start_scheduler "$ended"
check it_comes_back wait_for 40 ready_at "$ended" 8

# --- etcd itself hangs ---
nobody_leads() { ! find_leader none; }
kill -STOP "$etcd_pid"
check without_etcd_nobody_leads wait_for 30 nobody_leads
for n in 0 1 2; do check "what_was_written_is_read_on_$n" ready_at "$n" 8; done
expect a_change_is_refused_with_the_remedy 0 'no_leader.*again.*503' curl -sS -m 20 -w '%{http_code}' -X PUT \
    "$(at 0)/v1/namespaces/default/services/hello/scale" -d '{"replicas": 9}'
kill -CONT "$etcd_pid"
scaled writes_go_on_with_etcd 9
check somebody_leads_again wait_for 20 find_leader
for n in 0 1 2; do check "all_is_ready_on_$n" wait_for 40 ready_at "$n" 9; done

# --- what is left of all that ---
check nothing_was_stopped [ ! -s "$work/stopped" ]
check what_ran_at_first_runs [ -z "$(comm -23 "$work/ran_at_first" <(ids_at "$leader"))" ]
check no_more_ran_than_were_wanted [ "$(wc -l <"$work/ran")" = 9 ]
for n in 0 1 2; do
    check "they_agree_$n" [ "$(ids_at "$n")" = "$(cat "$work/ran")" ]
done
curl -fsS "$(at "$leader")/v1/events?after=0" >"$work/events"
check no_event_has_anothers_number [ -z "$(jq .sequence "$work/events" | sort | uniq -d)" ]
# A standby may not know yet what a new leader has told.
far=$((1 << 62))
for n in 0 1 2; do
    [ "$n" = "$leader" ] && continue
    expect "who_stands_by_calls_no_history_another_$n" 0 'no_leader.*503' \
        curl -sS -w '%{http_code}' "$(at "$n")/v1/events?after=$far"
done
expect the_leader_does 0 'compacted.*410' curl -sS -w '%{http_code}' "$(at "$leader")/v1/events?after=$far"
check each_change_of_leader_is_told [ "$(jq -c 'select(.what == "leads")' "$work/events" | wc -l)" -ge 6 ]
check no_node_was_given_up [ -z "$(jq -r 'select(.what == "suspect" or .what == "lost") | .message' "$work/events")" ]
expect the_cli_tells_who_leads 0 "$(at "$leader").*leads" shoal version
