#!/usr/bin/env bash
# Jobs with a real guest: runs that succeed and fail, what of them is told and kept, stops.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

job() { # [EXTRA YAML LINES...]: a manifest of batch
    printf '%s\n' 'service: batch' 'type: job' 'image: batch:1.0' \
        'resources: {memory: 16Mi, vcpus: 1}' 'stop: {drain: 0s, grace: 2s}' \
        'reschedule: {backoff: 100ms}' "$@" >"$work/job.yaml"
}

push_batch() {
    (cd "$work" && shoal keygen shoal) && shoal trust add "$work/shoal.pub" &&
        shoal build "$BUILD/examples/batch" -t batch:1.0 &&
        shoal push batch:1.0 --sign "$work/shoal.key"
}

runs() { shoal job history batch -o json | jq -r "$1"; }
phase_is() { [ "$(runs ".runs[$1].phase")" = "$2" ]; }
instances() { shoal ps batch --all -o json | jq -r "[.instances[] | $1] | length"; }
is_ready() { [ "$(instances 'select(.run == 4 and .state == "ready")')" = 1 ]; }
finds_no_node() { shoal status batch | grep -A 1 'Its run finds no node' | grep -q 'node == nowhere'; }
nothing_runs() { [ "$(instances 'select(.state != "stopped" and .state != "failed")')" = 0 ]; }

check cluster_comes_up cluster_up
check batch_is_pushed push_batch

# --- a run that succeeds ---
job 'completions: 3' 'parallelism: 2'
expect deploying_a_job_follows_its_run 0 'run 1 succeeded, 3 of 3 succeeded' \
    shoal deploy -f "$work/job.yaml"
check each_completion_had_an_instance \
    test "$(instances 'select(.run == 1 and .cause == "completed")')" = 3
expect what_they_printed_is_kept 0 'share 2: .* primes from 40000 to 59999' shoal logs batch
expect the_same_manifest_again_runs_nothing 0 'no change' shoal deploy -f "$work/job.yaml"
expect status_tells_of_the_run 0 'Run +1 \(deploy, revision 1\): succeeded, 3 of 3' \
    shoal status batch
expect jobs_are_listed 0 'batch +1 .* succeeded +3/3' shoal job list
expect services_are_listed_without_jobs 0 '^NAMESPACE' shoal service list
check no_service_is_listed test "$(shoal service list | wc -l)" = 1
expect a_job_is_not_scaled 1 'is a job' shoal scale batch=3

# Killed before it may have written what the node said last.
check scheduler_is_killed kill -KILL "$(daemon_pid scheduler)"
check scheduler_comes_back cluster_up_again
check how_they_ended_is_known_after_it \
    test "$(instances 'select(.run == 1 and .cause == "completed")')" = 3

# --- a run that fails ---
job 'completions: 2' 'retries: 1' 'args: ["--fail-slot", "1"]'
expect a_run_fails_when_its_retries_are_used_up 3 \
    'run 2 failed: 2 failed, 1 retries are allowed; the last: completion 1: guest_panic' \
    shoal deploy -f "$work/job.yaml"
check what_succeeded_is_told_too test "$(runs '.runs[1] | "\(.succeeded)/\(.completions)"')" = 1/2
expect why_it_failed_is_in_the_log 0 'share 1 fails on request' shoal logs batch
expect a_run_can_be_asked_for 3 'run 3 failed' shoal run batch
expect the_runs_are_in_the_history 0 '3 +manual' shoal job history batch
expect its_end_is_an_event 0 'run_failed' shoal events batch

# --- a run that is stopped ---
job 'args: ["--forever"]'
expect a_run_goes_on_without_being_watched 0 'run 4 goes on' \
    shoal deploy --detach -f "$work/job.yaml"
expect another_one_is_forbidden 1 'forbid. allows one at a time' shoal run batch
check its_guest_is_up wait_for 60 is_ready
expect it_is_stopped 0 'run 4 is stopped' shoal job stop batch
check it_counts_as_stopped phase_is 3 stopped
check its_guest_ends wait_for 60 nothing_runs

# --- a schedule ---
job 'schedule: "30 4 * * mon-fri"' 'args: ["--forever"]'
expect a_plan_tells_of_the_schedule 0 'schedule' shoal deploy --plan -f "$work/job.yaml"
expect a_schedule_is_applied_in_place 0 'settings applied' shoal deploy -f "$work/job.yaml"
expect the_next_time_is_told 0 '30 4 \* \* mon-fri \(UTC\), next at ' shoal status batch
job 'schedule: "61 4 * * *"'
expect a_schedule_that_makes_no_sense_is_refused 1 \
    'job.yaml:[0-9]+:[0-9]+: .*character 1: minute: found 61' shoal deploy -f "$work/job.yaml"

# --- a run that has no place ---
job 'placement: {constraints: ["node == nowhere"]}'
expect a_run_without_a_place_begins 0 'goes on' shoal deploy --detach -f "$work/job.yaml"
check status_tells_what_is_in_its_way wait_for 20 finds_no_node
expect a_job_is_removed 0 'removed' shoal rm batch
check nothing_of_it_is_left test "$(shoal job list -o json | jq '.jobs | length')" = 0
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$node")"
