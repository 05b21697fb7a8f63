#!/usr/bin/env bash
# The main job on one machine: deploy, scale, upgrade under load, a broken version that rolls
# back, rollback to a revision, restart, history, removal.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

url=
answers() { curl -fsS --max-time 5 "$url/"; }

# Distinct instance ids that answer the published port.
answering_ids() {
    for _ in $(seq "${1:-12}"); do answers; done | grep -oE 'instance [0-9a-f]{12}' | sort -u
}

# load FILE: requests until FILE.stop exists; writes "requests failures" to FILE.
load() {
    local file=$1 requests=0 failed=0
    while [ ! -e "$file.stop" ] && [ $requests -lt 20000 ]; do
        requests=$((requests + 1))
        answers >/dev/null 2>>"$file.errors" || failed=$((failed + 1))
    done
    echo "$requests $failed" >"$file"
}

# Keep-alive clients: curl reuses one connection for a run of requests.
load_keepalive() {
    local file=$1 requests=0 failed=0
    while [ ! -e "$file.stop" ] && [ $requests -lt 20000 ]; do
        requests=$((requests + 50))
        failed=$((failed + 50 - $(curl -s --max-time 60 -o /dev/null -w '%{http_code}\n' "$url/?[1-50]" |
            grep -c '^200$')))
    done
    echo "$requests $failed" >"$file"
}

current_revision() { shoal history hello -o json | jq -r '.service.revision'; }
phase_of_last() { shoal history hello -o json | jq -r '.rollouts | max_by(.number) | .phase'; }

check cluster_comes_up cluster_up
url=http://127.0.0.1:$publish_port
check up_again_changes_nothing cluster_up_again
for version in 1 2 3; do check "build_and_push_v$version" build_and_push $version; done
check trust_key shoal trust add "$work/shoal.pub"

manifest 1 3 >"$work/v1.yaml"
manifest 2 3 >"$work/v2.yaml"
manifest 3 3 'boot_timeout: 3s' >"$work/v3.yaml"
sed -i 's/progress_deadline: 60s/progress_deadline: 20s/' "$work/v3.yaml"
# Replicas are left to what `scale` set last.
sed -i '/^replicas:/d' "$work/v2.yaml" "$work/v3.yaml"

check deploy_becomes_healthy shoal deploy -f "$work/v1.yaml"
check three_are_ready wait_for 30 ready_count_is 3
check three_instances_answer test "$(answering_ids 15 | wc -l)" -eq 3
expect same_spec_is_no_change 0 'no change|nothing to do|unchanged' shoal deploy -f "$work/v1.yaml"
check scale_to_five shoal scale hello=5
check five_are_ready wait_for 30 ready_count_is 5
expect published_port_says_version_1 0 'hello 1\.0' answers

load "$work/load" & load_pid=$!
load_keepalive "$work/keepalive" & keepalive_pid=$!
check upgrade_under_load shoal deploy -f "$work/v2.yaml"
touch "$work/load.stop" "$work/keepalive.stop"
wait $load_pid $keepalive_pid
read -r requests failed <"$work/load"
if [ "$failed" -eq 0 ] && [ "$requests" -gt 10 ]; then pass "upgrade_fails_no_request"; else fail upgrade_fails_no_request "$failed of $requests: $(tail -n 3 "$work/load.errors" | tr '\n' '|')"; fi
read -r requests failed <"$work/keepalive"
if [ "$failed" -eq 0 ] && [ "$requests" -gt 50 ]; then pass "upgrade_fails_no_keepalive_request"; else fail upgrade_fails_no_keepalive_request "$failed of $requests"; fi
check still_five wait_for 30 ready_count_is 5
expect published_port_says_version_2 0 'hello 2\.0' answers
kept=$(instances_in ready | sort)

expect broken_version_rolls_back 3 'rolled back|rolled_back' shoal deploy -f "$work/v3.yaml"
check rollout_says_rolled_back test "$(phase_of_last)" = rolled_back
expect after_rollback_version_2_answers 0 'hello 2\.0' answers
check healthy_old_instances_were_kept test "$(comm -12 <(echo "$kept") <(instances_in ready | sort) | wc -l)" -ge 5
expect status_tells_the_cause 0 'boot_timeout|unhealthy|progress' shoal status hello

check rollback_to_revision_1 shoal rollback hello --to 1
expect published_port_says_version_1_again 0 'hello 1\.0' answers
check rollback_never_rescales wait_for 30 ready_count_is 5
check history_names_revision_1 test "$(current_revision)" = 1
expect rollback_to_unknown_revision 1 'revision' shoal rollback hello --to 99

manifest 2 5 >"$work/canary.yaml"
sed -i '/^replicas:/d; s/progress_deadline: 60s/&, canary: 1, canary_weight: 20/' "$work/canary.yaml"
new_of_fifty() { for _ in $(seq 50); do answers; done | grep -c 'hello 2\.0'; }
expect canary_waits_to_be_promoted 0 'canaries of revision 2|1 of 1 canaries' shoal deploy -f "$work/canary.yaml"
check rollout_awaits_promotion test "$(phase_of_last)" = awaiting_promotion
of_fifty=$(new_of_fifty)
check canary_gets_its_part_of_the_requests test "$of_fifty" -ge 7 -a "$of_fifty" -le 13
expect pause_holds_the_rollout 0 'paused' shoal pause hello
expect promote_while_paused_is_refused 1 'resume it first' shoal promote hello
expect resume_waits_for_promotion_again 0 'shoal promote hello' shoal resume hello
expect abort_goes_back 0 'back at revision 1' shoal abort hello
check abort_took_the_canary_away test "$(new_of_fifty)" -eq 0
expect nothing_to_promote_when_none_runs 1 'nothing to promote' shoal promote hello

expect history_tells_what_changed 0 '^  image: "hello:1.0" -> "hello:2.0"' shoal history hello --diff
check history_has_changes_for_programs jq -e '.revisions[] | select(.number == 2) | .before == 1 and
    any(.changes[]; .path == "/image_digest")' <<<"$(shoal history hello -o json)"
expect diff_tells_what_a_manifest_changes 0 'image: "hello:1.0" -> "hello:2.0"' shoal diff -f "$work/canary.yaml"
check diff_changed_nothing test "$(current_revision)" = 1

before=$(instances_in ready | sort)
check scale_down shoal scale hello=2
check two_are_ready wait_for 30 ready_count_is 2
check restart_replaces_every_instance shoal restart hello
check two_again wait_for 30 ready_count_is 2
check restart_gave_new_ids test -z "$(comm -12 <(echo "$before") <(instances_in ready | sort))"
expect events_are_told 0 'ready' shoal events hello
expect logs_show_the_console 0 'listening' shoal logs hello
expect node_list_shows_the_node 0 "$node" shoal node list
check remove shoal rm hello
check removed_guests_are_gone wait_for 30 ready_count_is 0
expect removed_service_is_unknown 1 'hello' shoal status hello

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
