#!/usr/bin/env bash
# What happens when parts die: registry, agent, scheduler, guests.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

answers() { curl -fsS --max-time 5 "http://127.0.0.1:$publish_port/"; }
guest() { ip netns exec "shoal-$node" curl -sS --max-time 2 "http://$1:8081/$2"; }
address_of() { shoal ps hello -o json | jq -r --arg i "$1" '.instances[] | select(.id == $i) | .address'; }
field_of() { shoal ps hello -o json | jq -r --arg i "$1" ".instances[] | select(.id == \$i) | .$2"; }
restarts_at_least() { [ "$(field_of "$1" restarts)" -ge "$2" ]; }
is_ready() { instances_in ready | grep -qx "$1"; }
one_ready() { instances_in ready | head -n 1; }
# An image that no node has: version 1's kernel with another byte behind it.
build_fresh() {
    mkdir -p "$work/fresh" && cp "$BUILD"/examples/hello/v1/* "$work/fresh/" &&
        printf 'x' >>"$work/fresh/hello-amd64.elf" &&
        shoal build "$work/fresh" -t hello:4.0 && shoal push hello:4.0 --sign "$work/shoal.key" &&
        manifest 4 2 >"$work/fresh.yaml"
}

check cluster_comes_up cluster_up
check build_v1 build_and_push 1
check build_v2 build_and_push 2
check trust shoal trust add "$work/shoal.pub"
manifest 1 2 >"$work/v1.yaml"
manifest 2 2 >"$work/v2.yaml"
check deploy shoal deploy -f "$work/v1.yaml"

# --- a guest that exits by itself ---
id=$(one_ready)
guest "$(address_of "$id")" exit >/dev/null
check exited_guest_is_restarted_and_counted wait_for 60 restarts_at_least "$id" 1
check exited_guest_serves_again wait_for 60 is_ready "$id"
expect exit_cause_in_status 0 'guest_exit' shoal status hello
expect exit_cause_in_events 0 'guest_exit' shoal events hello

# --- a guest that stops answering ---
printf '  liveness: {http: {path: /healthz, port: http}, every: 500ms, timeout: 500ms, fall: 3}\n' >"$work/liveness"
sed "/^  readiness:/r $work/liveness" "$work/v1.yaml" >"$work/live.yaml"
check deploy_with_liveness shoal deploy -f "$work/live.yaml"
id=$(instances_in ready | tail -n 1)
guest "$(address_of "$id")" hang >/dev/null
check hanging_guest_is_restarted wait_for 60 restarts_at_least "$id" 1
check hanging_guest_serves_again wait_for 60 is_ready "$id"
expect hang_cause_in_status 0 'unhealthy' shoal status hello
expect hang_cause_in_events 0 'unhealthy' shoal events hello

# --- a guest that hangs at boot: it never passes its check ---
check build_v3 build_and_push 3
manifest 3 1 'boot_timeout: 1s' 'restart: {backoff: 100ms, max_backoff: 100ms}' |
    sed -e 's/^service: hello/service: stuck/' -e 's/, publish: [0-9]*//' >"$work/stuck.yaml"
expect guest_that_hangs_at_boot_fails_the_rollout 3 'boot_timeout' shoal deploy -f "$work/stuck.yaml"
expect hang_at_boot_is_restarted_and_told 0 'restarted +boot_timeout' shoal events stuck
expect hang_at_boot_is_in_its_log 0 'ended: stopped by force: boot_timeout: not ready within' shoal logs stuck
expect hang_at_boot_cause_in_status 0 'boot_timeout' shoal status stuck
check hang_at_boot_is_counted test "$(shoal ps stuck --all -o json | jq '[.instances[].restarts] | add')" -ge 1
check remove_what_hung shoal rm stuck

# --- a guest's microVM that somebody kills ---
check both_ready_before_the_kill wait_for 60 ready_count_is 2
id=$(one_ready)
count=$(field_of "$id" restarts)
kill -9 "$(qemu_of "$id")"
check killed_microvm_is_restarted wait_for 60 restarts_at_least "$id" $((count + 1))
check killed_microvm_serves_again wait_for 60 is_ready "$id"

# --- kill -9 of the agent: the guests go on, the new agent adopts them ---
check both_ready_before_the_agent_dies wait_for 60 ready_count_is 2
pids_before=$(for id in $(instances_in ready | sort); do qemu_of "$id"; done)
kill -9 "$(daemon_pid agent)"
check guests_serve_without_an_agent answers
sleep 1
check guests_still_serve answers
check the_microvms_are_the_same test "$pids_before" = "$(for id in $(shoal ps hello -o json | jq -r '.instances[].id' | sort); do qemu_of "$id"; done)"
ids_before=$(shoal ps hello -o json | jq -r '.instances[].id' | sort)
check up_starts_a_new_agent cluster_up_again
check adopted_instances_are_ready wait_for 60 ready_count_is 2
check adopted_under_the_same_ids test "$ids_before" = "$(instances_in ready | sort)"
check adopted_in_the_same_boot test "$pids_before" = "$(for id in $(instances_in ready | sort); do qemu_of "$id"; done)"
check port_serves_after_adoption wait_for 30 answers

# --- kill -9 of the scheduler in the middle of a rollout ---
shoal deploy --detach -f "$work/v2.yaml" >/dev/null
sleep 1
kill -9 "$(daemon_pid scheduler)"
check guests_serve_without_a_scheduler answers
check up_starts_a_new_scheduler cluster_up_again
rollout_is_over() { [ "$(shoal history hello -o json | jq -r '.rollouts | max_by(.number) | .phase')" = succeeded ]; }
check rollout_goes_on_after_the_restart wait_for 120 rollout_is_over
expect new_version_serves 0 'hello 2\.0' answers

# --- registry down: running instances untouched, the pull retries ---
kill -9 "$(daemon_pid registry)"
check guests_serve_without_a_registry answers
check instances_stay_ready_without_a_registry ready_count_is 2
expect deploy_without_a_registry_says_so 1 'registry' shoal deploy -f "$work/v1.yaml"
check up_starts_a_new_registry cluster_up_again
# The scheduler has resolved the image, and the registry dies before the node pulls it.
waits_for_the_registry() { shoal ps hello -o json | jq -e '.instances[] | select(.cause == "registry_unreachable")'; }
check build_fresh_image build_fresh
agent_pids=$(pgrep -f -- "/shoal-agent .*$cluster")
# shellcheck disable=SC2086
kill -STOP $agent_pids
check deploy_fresh_image shoal deploy --detach -f "$work/fresh.yaml"
kill -9 "$(daemon_pid registry)"
# shellcheck disable=SC2086
kill -CONT $agent_pids
check pull_waits_for_the_registry wait_for 60 waits_for_the_registry
check what_ran_is_untouched_meanwhile test "$(instances_in ready | wc -l)" -eq 2
check registry_returns cluster_up_again
check pull_was_retried_until_it_came_back wait_for 120 rollout_is_over || shoal status hello

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
