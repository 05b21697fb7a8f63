#!/usr/bin/env bash
# Events: whoever follows them misses none and sees none twice, over kills of the scheduler; what is
# not kept any more is said.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

port=$(free_port)
url=http://127.0.0.1:$port
export SHOAL_ADDRESS=$url XDG_CONFIG_HOME=$work/config
scheduler_pid=

# start_scheduler OPTION...
start_scheduler() {
    shoal-scheduler --port "$port" --state "$work/scheduler" "$@" >>"$work/scheduler.log" 2>&1 &
    scheduler_pid=$!
    started_pids="$started_pids $scheduler_pid"
    wait_for 20 curl -fsS "$url/healthz"
}

end_scheduler() {
    kill "-$1" "$scheduler_pid"
    wait "$scheduler_pid" 2>/dev/null
}

# join N TIMES: each join of a node is an event.
join() {
    local i
    for i in $(seq "$2"); do
        curl -fsS -X POST "$url/v1/nodes/node-$1/join" -d "{\"node\": \"node-$1\", \"epoch\": \"$i\",
            \"cluster\": \"\", \"address\": \"127.0.0.1:1\", \"machines\": [], \"memory\": 1, \"vcpus\": 1,
            \"overhead\": 0, \"labels\": {}, \"subnet\": \"\"}" >/dev/null || return 1
    done
}

stored() { curl -fsS "$url/v1/events" | jq -c .sequence; }
joins_followed() { grep -c joined "$work/followed" | grep -qx "$1"; }
same_as_stored() { diff <(stored) <(jq -c .sequence "$work/followed"); }

check starts start_scheduler
shoal events -f -o json >"$work/followed" 2>"$work/followed.errors" &
follower=$!
started_pids="$started_pids $follower"
check events_are_made join a 3
check a_follower_gets_them wait_for 20 joins_followed 3

end_scheduler KILL
check starts_after_a_kill start_scheduler
check more_events_are_made join b 3
check a_follower_goes_on_after_the_kill wait_for 30 joins_followed 6
check none_was_missed_and_none_came_twice same_as_stored
check a_follower_says_that_it_waited grep -q 'trying again' "$work/followed.errors"

third=$(stored | sed -n 3p)
rest=$(stored | sed -n '4,$p' | tr '\n' ' ')
check reading_goes_on_behind_an_event test "$(curl -fsS "$url/v1/events?after=$third" |
    jq -c .sequence | tr '\n' ' ')" = "$rest"
expect the_cli_too 0 "\"sequence\": ?${rest%% *}," shoal events --after "$third" -o json
stop_pid "$follower"

# Only two are kept: what is older goes at the next look, at the latest a minute later, or at a start.
end_scheduler TERM
check starts_with_little_kept start_scheduler --keep-events 2
two_are_left() { [ "$(stored | wc -l)" -eq 2 ]; }
check old_events_go wait_for 30 two_are_left
answer=$(curl -sS -w ' %{http_code}' "$url/v1/events?after=$third")
check an_old_watcher_is_told_410 grep -q '"compacted".* 410$' <<<"$answer"
expect the_cli_is_told_as_well 1 'not kept any more: read again' shoal events --after "$third"
timeout 3 shoal events -f -o json --after "$third" >"$work/late" 2>"$work/late.errors"
check a_late_follower_is_told_what_it_missed grep -q 'events were missed' "$work/late.errors"
check and_goes_on_with_what_there_is diff <(stored) <(jq -c .sequence "$work/late")
newest=$(stored | tail -n 1)
check the_newest_is_no_old_watcher test -z "$(curl -fsS "$url/v1/events?after=$newest")"
answer=$(curl -sS -w ' %{http_code}' "$url/v1/events?after=$((newest + (1 << 40)))")
check another_history_is_told_410 grep -q '"compacted".* 410$' <<<"$answer"
expect nonsense_is_refused 0 'after is the sequence' curl -sS "$url/v1/events?after=x"

# The state comes back from a backup: sequences of the future that was lost are not given out again.
end_scheduler TERM
check starts_from_a_backup start_scheduler --restored --keep-events 2
check events_go_on join c 1
newer() { [ "$(stored | tail -n 1)" -gt $((newest + (1 << 40))) ]; }
check sequences_skip_the_lost_future newer
end_scheduler TERM
