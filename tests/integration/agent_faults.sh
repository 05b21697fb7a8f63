#!/usr/bin/env bash
# What an agent's instances and their node can meet, and what is told of it: a microVM that is
# stopped, a host half that stands still, a guest that ends again and again, a second agent, a scheduler that is away, a host that
# was rebooted.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

field_of() { shoal ps "${3:-hello}" -o json | jq -r --arg i "$1" ".instances[] | select(.id == \$i) | .$2"; }
restarts_at_least() { [ "$(field_of "$1" restarts)" -ge "$2" ]; }
is_ready() { instances_in ready | grep -qx "$1"; }
guest() { ip netns exec "shoal-$node" curl -sS --max-time 2 "http://$1:8081/$2"; }
# As the hypervisor has written it down: others on this machine may have an instance of that id.
qemu_of() { jq -r .pid "$run/q/$1.json" 2>/dev/null || cat "$run/v/run/qemu/sh$1.pid"; }

check cluster_comes_up cluster_up
run=$(tr '\0' '\n' <"/proc/$(daemon_pid agent)/cmdline" | sed -n '/^--run$/{n;p}')
check build_v1 build_and_push 1
check trust shoal trust add "$work/shoal.pub"
# Ready by what it writes; alive by a status and a text of its own.
manifest 1 1 | sed 's/^  readiness:.*/  readiness: {console: {pattern: "listening on *:8080"}, every: 100ms}\n  liveness: {http: {path: \/healthz, port: http, status: "200-299", body: ok, headers: {Host: hello}}, every: 500ms, start_grace: 1s}/' >"$work/v1.yaml"
check ready_by_what_it_writes shoal deploy -f "$work/v1.yaml"
id=$(instances_in ready)
check one_is_ready test -n "$id"

# --- its microVM is stopped: it answers nobody, and tells of nothing ---
manifest 1 1 >"$work/quiet.yaml"
check checks_are_changed_in_place shoal deploy -f "$work/quiet.yaml"
check it_is_the_same_boot test "$(field_of "$id" restarts)" = 0
kill -STOP "$(qemu_of "$id")"
check stopped_microvm_is_restarted wait_for 60 restarts_at_least "$id" 1
expect hung_is_told 0 'restarted +hung' shoal events hello
check stopped_microvm_serves_again wait_for 60 is_ready "$id"

# --- the agent's host half stands still: that is told, and nothing is done to what runs ---
half=$(daemon_pid agent)
restarts=$(field_of "$id" restarts)
kill -STOP "$half"
half_is_silent() { shoal node list | grep -q host-half-silent; }
check silent_host_half_is_seen wait_for 60 half_is_silent
silence='host half of the agent on node .* has said nothing for'
expect what_needs_it_is_refused_at_once 1 "$silence" timeout 10 shoal debug "$id"
expect its_agent_is_not_healthy 22 503 curl -fsS -m 5 "http://$(shoal node list -o json | jq -r '.nodes[0].address')/healthz"
expect old_figures_are_marked 0 '\(old [0-9]+s\)' shoal top nodes --once
expect doctor_names_it 1 'host half of the agent says nothing' shoal doctor
kill -CONT "$half"
half_speaks() { ! half_is_silent; }
check host_half_speaks_again wait_for 30 half_speaks
check nothing_was_restarted_for_it test "$(field_of "$id" restarts)" = "$restarts"

# --- a guest that ends again and again: a few times in place, then elsewhere or anew ---
sed 's/^service: hello/service: brief/; s/, publish: [0-9]*//; s/^stop:.*/restart: {attempts: 2, backoff: 50ms, max_backoff: 100ms}/' \
    "$work/quiet.yaml" >"$work/brief.yaml"
check deploy_brief shoal deploy -f "$work/brief.yaml"
brief=$(instances_in ready brief)
address=$(field_of "$brief" address brief)
end_it() { guest "$address" exit >/dev/null 2>&1; [ "$(shoal ps brief --all -o json | jq -r --arg i "$brief" '.instances[] | select(.id == $i) | .state')" = failed ]; }
check crash_loop_is_bounded wait_for 60 end_it
replaced() { [ "$(instances_in ready brief | grep -vcx "$brief")" = 1 ]; }
check what_failed_is_replaced wait_for 60 replaced
expect crash_loop_is_told 0 'failed +guest_exit' shoal events brief
check remove_brief shoal rm brief

# --- a second agent with the same state folder ---
mapfile -d '' -t words <"/proc/$(daemon_pid agent)/cmdline"
second() { timeout 20 "${words[@]}"; }
expect second_agent_is_refused 1 'state folder runs already, pid .*use another --state' second
check first_agent_goes_on is_ready "$id"

# --- nobody to be told: what dies is mended in place, and newer assignments apply later ---
restarts=$(field_of "$id" restarts)
qemu=$(qemu_of "$id")
kill -9 "$(daemon_pid scheduler)" "$qemu"
serves() { curl -fsS -m 5 "http://127.0.0.1:$publish_port/"; }
mended() { [ "$(qemu_of "$id")" != "$qemu" ] && serves; }
check mended_without_a_scheduler wait_for 60 mended
check scheduler_returns cluster_up_again
check scale_after_the_absence shoal scale hello=2
check newer_assignment_applies wait_for 60 ready_count_is 2
check restart_in_the_absence_is_counted restarts_at_least "$id" $((restarts + 1))
check back_to_one shoal scale hello=1
check first_one_stays wait_for 60 is_ready "$id"

# --- the host was rebooted: nothing runs, the state folder is as it was ---
restarts=$(field_of "$id" restarts)
qemu=$(qemu_of "$id")
# The agent first, or it would mend what goes; then all of its node.
kill -9 "$(daemon_pid agent)"
agent_is_gone() { ! pgrep -f -- "/shoal-agent .*$cluster"; }
check agent_is_killed wait_for 20 agent_is_gone
# shellcheck disable=SC2046
kill -9 "$qemu" $(pgrep -f -- "^(haproxy|[^ ]*dnsmasq) .*$run/")
qemu_is_gone() { ! kill -0 "$qemu"; }
check microvm_is_killed wait_for 20 qemu_is_gone
ip netns del "shoal-$node"
find "$run" -mindepth 1 -maxdepth 1 ! -name '*.json' ! -name lock -exec umount -q -l {} \; -exec rm -rf {} +
check up_after_the_reboot cluster_up_again
check it_is_booted_again wait_for 60 restarts_at_least "$id" $((restarts + 1))
check it_is_ready_again wait_for 60 is_ready "$id"
expect reboot_is_told 0 'restarted +node_restarted' shoal events hello
check port_serves_after_the_reboot wait_for 30 serves

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
