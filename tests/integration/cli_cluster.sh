#!/usr/bin/env bash
# `shoal` with a cluster: detaching and coming back, following, documents, refusals with their
# place, up and down in every order.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

# interrupt_after SECONDS COMMAND...: Ctrl-C for it, and its exit status.
interrupt_after() {
    local seconds=$1 pid
    shift
    set -m # a background job of a script ignores SIGINT otherwise
    "$@" &
    pid=$!
    set +m
    sleep "$seconds"
    kill -INT "$pid"
    wait "$pid"
}
# one_document JQ COMMAND...: standard output is exactly one JSON document, for which JQ holds.
one_document() {
    local filter=$1
    shift
    "$@" 2>/dev/null | jq -es "length == 1 and (.[0] | $filter)"
}
is_running() { [ "$(shoal history hello -o json | jq -r '.rollouts | max_by(.number) | .phase')" = progressing ]; }
has_line() { grep -q "$1" "$2"; }

# --- up ---
export XDG_CONFIG_HOME=$work/config
cluster_up -o json >"$work/up.json" 2>"$work/up.log"
check up_answers_one_document one_document '.result == "started"' cat "$work/up.json"
check up_again_changes_nothing one_document '.result == "unchanged"' cluster_up_again -o json
expect up_wrote_the_context 0 '"current": "local"' cat "$work/config/shoal/config.json"
expect the_context_is_enough 0 "$node" env -u SHOAL_ADDRESS shoal node list
check doctor_misses_nothing one_document '([.checks[] | select(.state == "failed")] == []) and
    ([.checks[] | select(.state == "ok") | .name] | contains(["qemu", "network", "scheduler", "nodes"]))' \
    shoal doctor --state "$cluster" -o json
expect the_node_tells_its_hypervisor 0 "\"hypervisor\": \"${SHOAL_HYPERVISOR:-qemu}\"" shoal inspect node "$node"
expect version_of_the_daemons 0 '^scheduler +[0-9]' shoal version
for version in 1 2; do check "build_and_push_v$version" build_and_push $version; done

# --- trust ---
check no_key_at_first one_document '.keys == []' shoal trust list -o json
expect a_private_key_is_not_trusted 1 'shoal.key' shoal trust add "$work/shoal.key"
expect trust_add 0 '^shoal: trusted, id [0-9a-f]{16}$' shoal trust add "$work/shoal.pub"
expect trust_under_another_name 0 '^second: trusted' shoal trust add --name second "$work/shoal.pub"
expect trust_rm 0 '^second: no longer trusted' shoal trust rm second
expect trust_rm_of_nothing 1 'second' shoal trust rm second
expect the_key_can_be_inspected 0 'BEGIN PUBLIC KEY' shoal inspect key shoal
expect verify_by_the_clusters_keys 0 'signed by shoal' shoal verify hello:1.0

# --- manifests, as the scheduler sees them ---
manifest 1 2 >"$work/v1.yaml"
manifest 2 2 'rollout: {min_healthy_time: 3s, progress_deadline: 60s}' |
    sed '0,/^rollout:/{/^rollout:/d}' >"$work/v2.yaml"
expect validate_with_the_cluster 0 'hello: valid' shoal validate --cluster -f "$work/v1.yaml"
check validating_deployed_nothing one_document '.services == []' shoal service list -o json
sed 's/port: http}/port: web}/' "$work/v1.yaml" >"$work/port.yaml"
expect a_schedulers_refusal_has_its_place 1 'port.yaml:8:[0-9]+: .*"web"' \
    shoal validate --cluster -f "$work/port.yaml"
{ sed 's/service: hello/service: one/' "$work/v1.yaml"; echo ---; sed 's/service: hello/service: two/; s/hello:1.0/hello:9.9/; /^ports:/,+1d; /^health:/,+1d' "$work/v1.yaml"; } >"$work/two.yaml"
expect one_bad_service_keeps_all_out 1 'two.yaml:13:8: .*hello:9.9' shoal deploy -f "$work/two.yaml"
check nothing_of_it_was_deployed one_document '.services == []' shoal service list -o json

# --- deploy, detach, come back ---
check deploy_answers_one_document one_document \
    '.services[0] | .result == "succeeded" and .rollout_view.phase == "succeeded"' \
    shoal deploy -f "$work/v1.yaml" -o json
expect interrupted_deploy_detaches 0 'Detached: hello goes on' \
    interrupt_after 1.5 shoal deploy -f "$work/v2.yaml"
check the_rollout_goes_on is_running
expect timeout_stops_waiting 1 'not done after 200ms; it goes on' \
    shoal deploy -f "$work/v2.yaml" --timeout 200ms
expect deploying_again_comes_back_to_it 0 'revision 2 runs, 2 of 2 healthy' \
    shoal deploy -f "$work/v2.yaml"
expect detached_at_once 0 'goes on; see .shoal status hello' shoal restart hello --detach
check rollback_supersedes_it shoal rollback hello --to 1
expect history_tells_all 0 'rollback +2 +1 +succeeded' shoal history hello
expect history_tells_the_signer 0 'shoal \([0-9a-f]{16}\)' shoal history hello

# --- output ---
id=$(instances_in ready | head -n 1)
expect ps_is_a_table 0 "^$id +hello +[01] +1 +$node +ready" shoal ps hello
expect wide_shows_addresses 0 '10\.64\.[0-9.]+ +run +ready' shoal ps -o wide
expect yaml_is_yaml 0 "^  - id: \"?$id\"?$" shoal ps -o yaml
expect ended_ones_show_with_all 0 'stopped' shoal ps --all
check ended_ones_are_left_out bash -c '! shoal ps | grep stopped'
expect another_namespace_has_none 0 '^ID .*[A-Z]$' shoal ps -n other
check inspect_instance one_document ".id == \"$id\" and .node == \"$node\"" shoal inspect instance "$id"
check inspect_node one_document '.state == "ready"' shoal node inspect "$node"
check inspect_service one_document '.spec.image == "hello:1.0"' shoal service inspect hello
expect inspect_of_nothing 1 'nothere' shoal inspect node nothere
check status_is_one_document one_document '.service.service == "hello" and (.events | length) > 0' \
    shoal status hello -o json
expect status_tells_the_port 0 "$publish_port -> http 8080" shoal status hello
expect logs_of_the_service 0 "^$id .*listening" shoal logs hello
expect logs_of_an_instance 0 '^hello 1.0 listening' shoal logs "$id"
check logs_as_a_document one_document '.lines | length > 0' shoal logs hello -o json
expect logs_of_nothing 1 'ffffffffffff' shoal logs ffffffffffff

# --- what they use ---
answer_often() { for _ in $(seq 60); do curl -fsS "http://127.0.0.1:$publish_port/" || return 1; done; }
# The guests are looked at every few seconds.
figures_move() {
    shoal top hello -o json | jq -e '.instances | length == 2 and
        all(.interval_ms > 0 and .cpu_us > 0 and .memory > .memory_private and
            .received_bytes > 4000 and .sent_bytes > 4000)'
}
check guests_answer answer_often
check figures_move_with_the_load wait_for 30 figures_move
expect top_is_a_table 0 "^$id +hello +$node +ready +[0-9.]+%.*/s" shoal top
expect top_of_services 0 '^default +hello +2 +[0-9.]+%' shoal top services
expect top_of_nodes 0 "^$node +2 +[0-9.]+% +[0-9]+ +[0-9.]+[MG]i/" shoal top nodes
expect top_of_nothing 1 'no service nothere.*WHAT may be instances, services or nodes' shoal top nothere
expect metrics_have_each_instance 0 \
    "^shoal_instance_cpu_seconds_total\{namespace=\"default\",service=\"hello\",instance=\"$id\"\} [0-9.]+$" \
    curl -fsS "http://127.0.0.1:$agent_port/metrics"
# Every line is a comment or a series with its value.
metrics_are_well_formed() {
    curl -fsS "http://127.0.0.1:$agent_port/metrics" >"$work/metrics" &&
        ! grep -vE '^(# (HELP|TYPE) .+|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+)$' "$work/metrics"
}
check metrics_can_be_read metrics_are_well_formed

# --- how they booted ---
# The steps from the order to boot on add up to the whole, within what clocks of milliseconds leave.
boot_is_told() {
    shoal inspect instance "$id" -o json | jq -e '.boot_ms as $whole | .boot_steps |
        .first_packet_us > 0 and .create_us > 0 and .verify_us > 0 and
        (([.queue_us, .create_us, .start_us, .first_packet_us, .ready_us] | add) / 1000 - $whole |
            fabs) < 2'
}
check boots_are_told_step_by_step boot_is_told
expect events_tell_the_steps 0 "$id +ready .* ms after its start: .*create [0-9.]+ ms, .*first packet" \
    shoal events hello
expect metrics_have_the_steps 0 '^shoal_boot_step_seconds_count\{step="first_packet"\} [1-9]' \
    curl -fsS "http://127.0.0.1:$agent_port/metrics"

# --- following ---
shoal events -f hello >"$work/events" 2>&1 &
events_pid=$!
shoal events -f -o json >"$work/events.json" 2>&1 &
json_pid=$!
shoal logs -f hello >"$work/logs" 2>&1 &
logs_pid=$!
started_pids="$started_pids $events_pid $json_pid $logs_pid"
check follow_begins wait_for 20 has_line listening "$work/logs"
check scale shoal scale hello=3
check followed_events_arrive wait_for 20 has_line 'scaled .*from 2 to 3' "$work/events"
check followed_events_as_json wait_for 20 bash -c \
    "jq -es 'any(.[]; .what == \"scaled\")' '$work/events.json'"
kill "$events_pid" "$json_pid" "$logs_pid"
expect following_ends_well_by_interrupt 0 'listening' interrupt_after 1 shoal logs -f hello

# --- down and up again ---
check down_keeps_the_guests shoal down --keep --state "$cluster"
expect guests_serve_without_daemons 0 'hello 1.0' curl -fsS --max-time 5 "http://127.0.0.1:$publish_port/"
expect the_silence_has_a_remedy 1 'shoal up' shoal ps
check up_adopts_them cluster_up_again
expect an_agent_that_runs_keeps_its_options 0 'was not started with --accelerator auto' \
    cluster_up_again --accelerator auto
expect nor_is_another_name_taken 0 'agent runs already, and was not started with --node another' \
    shoal up --state "$cluster" --node another
expect two_daemons_on_a_port_are_refused 2 '--registry-port and --agent-port are both 5999' \
    shoal up --state "$cluster" --registry-port 5999 --agent-port 5999
check adopted_guests_are_ready wait_for 60 ready_count_is 3
expect the_same_guest_runs_on 0 "^$id .* ready +0 " shoal ps hello
check down_keeps_the_guests_again shoal down --keep --state "$cluster"
# As after a crash of the machine's /run: up.json still names the node.
rm "$(grep -lF "$cluster/agent" /run/shoal/*/agent.json)"
check down_ends_everything_without_a_record shoal down --state "$cluster"
check nothing_is_left_after_down test -z "$(leftovers "$node")"
expect down_again_is_fine 0 'Nothing was running' shoal down --state "$cluster"
expect down_of_no_cluster 1 'no-such-folder' shoal down --state "$work/no-such-folder"
expect its_state_is_no_other_nodes 1 "is node $node's.*--node $node" shoal up --state "$cluster" --node another
expect up_need_not_be_told_again 0 "scheduler on $scheduler_port, node $node is ready" shoal up --state "$cluster"
check services_are_back wait_for 60 ready_count_is 3

# --- the only node drains: nothing else can take what it runs ---
expect what_is_left_stops_at_the_deadline 0 "$node: drained, it stays cordoned" \
    shoal node drain "$node" --deadline 1s --timeout 60s
expect status_says_why_it_waits 0 'no_capacity' shoal status hello
expect uncordon 0 "$node: eligible" shoal node uncordon "$node"
check what_waited_is_placed wait_for 60 ready_count_is 3
check remove shoal rm hello
check down_for_good shoal down --state "$cluster"

# --- up that cannot ---
shoal-registry --port "$registry_port" --state "$work/other" >/dev/null 2>&1 &
other_pid=$!
started_pids="$started_pids $other_pid"
wait_for 20 curl -fsS "$SHOAL_REGISTRY/healthz"
expect port_in_use_is_named 1 "port $registry_port, which registry wants, is in use" cluster_up_again
stop_pid "$other_pid"
mv "$cluster/scheduler" "$work/kept" && : >"$cluster/scheduler"
expect a_daemon_that_ends_shows_its_log 1 'shoal-scheduler ended.*' cluster_up_again
expect the_log_says_why 1 'Not a directory' cluster_up_again
check what_was_started_is_stopped_again test -z "$(daemon_pid registry)"
rm "$cluster/scheduler" && mv "$work/kept" "$cluster/scheduler"
