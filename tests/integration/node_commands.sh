#!/usr/bin/env bash
# `shoal node ...` with a real scheduler and nodes that only report: states, cordon, drain, removal,
# the freeze when most of them fall silent. What happens to instances is in tests/unit/scheduler.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

port=$(free_port)
export SHOAL_ADDRESS=http://127.0.0.1:$port
shoal-scheduler --port "$port" --state "$work/scheduler" --lease 2s --replace-after 1h \
    2>"$work/scheduler.log" &
scheduler_pid=$!
started_pids=$scheduler_pid
check starts wait_for 30 curl -fsS "$SHOAL_ADDRESS/healthz"

cluster_id=
sequence=0
join() { # NODE EPOCH [MEMORY]
    cluster_id=$(curl -sS "$SHOAL_ADDRESS/v1/nodes/$1/join" -d '{"node": "'"$1"'", "epoch": "'"$2"'",
        "address": "127.0.0.1:1", "machines": [{"arch": "amd64", "accel": "kvm"}],
        "hypervisor": "libvirt", "hypervisor_uri": "qemu:///system",
        "memory": '"${3:-1073741824}"', "vcpus": 4}' | tee "$work/answer" | jq -r '.cluster // empty')
    [ -n "$cluster_id" ]
}
report() { # NODE EPOCH [MORE]
    sequence=$((sequence + 1))
    curl -sS -o "$work/answer" -w '%{http_code}' "$SHOAL_ADDRESS/v1/nodes/$1/status" \
        -d '{"cluster": "'"$cluster_id"'", "node": "'"$1"'", "epoch": "'"$2"'",
            "sequence": '"$sequence${3:-}"'}' | grep -q 200
}
reports() { # NODE...: from now on, in the background
    while kill -0 "$scheduler_pid" 2>/dev/null; do
        for name in "$@"; do
            curl -sS -o /dev/null "$SHOAL_ADDRESS/v1/nodes/$name/status" -d '{"cluster":
                "'"$cluster_id"'", "node": "'"$name"'", "epoch": "0000000000000001",
                "sequence": '"$(date +%s%N)"'}'
        done
        sleep 0.3
    done
}
shows() { # NODE STATE
    shoal node list -o json | jq -e --arg name "$1" --arg state "$2" \
        '.nodes[] | select(.name == $name) | .state == $state'
}

is_cordoned() { shoal node inspect "$1" | jq -e '.eligibility == "cordoned"'; }

for name in a b c d; do check "node_${name}_joins" join $name 0000000000000001; done
for name in a b c d; do check "node_${name}_reports" report $name 0000000000000001; done
reports a b c d &
reporting_pid=$!
started_pids="$started_pids $reporting_pid"

expect the_hypervisor_is_listed 0 '^a .* libvirt qemu:///system +kvm ' shoal node list -o wide
expect and_inspected 0 '"hypervisor_uri": "qemu:///system"' shoal inspect node a

# --- cordon, drain ---
expect a_node_can_be_cordoned 0 'a: cordoned, nothing is placed' shoal node cordon a --reason "a disk fails"
expect the_list_says_so 0 '^a +ready,cordoned' shoal node list
expect and_why 0 'a disk fails' shoal node list -o wide
expect an_event_says_so 0 'cordoned .*a disk fails' shoal events
expect it_can_be_uncordoned 0 'a: eligible' shoal node uncordon a
expect a_node_that_nobody_knows 1 'no node nobody.*shoal node list' shoal node cordon nobody
expect a_reason_has_a_length 2 'at most 127' shoal node cordon a --reason "$(printf '%0200d' 0)"
expect an_empty_node_is_drained_at_once 0 'b: drained, it stays cordoned' shoal node drain b --timeout 60s
expect draining_answers_one_document 0 '"result": "drained"' shoal node drain b -o json --timeout 60s
expect a_drain_can_be_left_alone 0 'b: draining' shoal node drain b --detach --deadline 10m
expect a_deadline_makes_sense 1 'at least 1s' shoal node drain b --deadline 5ms
check one_node_can_be_inspected wait_for 30 is_cordoned b

# --- removal ---
expect one_that_reports_is_not_removed 1 'drain a. first.*--force' shoal node rm a
expect a_drained_one_is 0 'b: removed' shoal node rm b
expect it_is_gone 1 'no node b' shoal node inspect b
check its_agent_is_refused test "$(join b 0000000000000001; jq -r .error.code "$work/answer")" = denied
check until_it_is_started_anew join b 0000000000000002

# --- statuses that say what changed ---
kill "$reporting_pid"
wait "$reporting_pid" 2>/dev/null
sequence=$(date +%s%N)
check a_status_says_everything report a 0000000000000001
check the_next_says_what_changed report a 0000000000000001 ', "base": '"$sequence"', "same_data_plane": true'
check it_is_taken jq -e '.whole != true' "$work/answer"
check one_whose_base_is_not_known report a 0000000000000001 ', "base": 1'
check is_answered_with_whole jq -e '.whole' "$work/answer"

# --- the freeze ---
check a_node_that_is_not_heard_of_is_suspect wait_for 60 shows c suspect
check most_are_silent wait_for 60 sh -c "shoal node list | grep -q 'Rescheduling is frozen'"
expect the_freeze_is_an_event 0 'frozen' shoal events
check doctor_names_them sh -c "shoal doctor | grep -qE '^nodes +(warning|failed) +[34] of 4 silent: .*d for .*; start shoal-agent there again'"
expect one_can_be_given_up 0 'c: given up' shoal node give-up c
check it_is_lost wait_for 30 shows c lost
check and_may_be_removed shoal node rm c
check one_that_reports_again report d 0000000000000001
check is_ready wait_for 30 shows d ready
expect a_ready_one_is_not_given_up 1 'reports' shoal node give-up d

check it_ends_as_it_should kill -TERM "$scheduler_pid"
wait "$scheduler_pid"
check with_success test $? -eq 0
check no_sanitizer_complains no_sanitizer_report "$work/scheduler.log"
