#!/usr/bin/env bash
# Removing a key with real daemons: what depends on it is told, what runs goes on or is stopped as
# its policy says, and a new signature mends it. Attestations; a node with a trust folder.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/policy_functions.bash
. "$here/policy_functions.bash"

check cluster_comes_up cluster_up
for name in ci release audit; do
    (cd "$work" && shoal keygen "$name") >/dev/null
    check "trust_$name" shoal trust add "$work/$name.pub"
done
image 1 ci
image 2 release
manifest 1 1 >"$work/v1.yaml"
manifest 2 1 >"$work/v2.yaml"
# The same image for another service, whose policy stops.
shoal build "$BUILD/examples/hello/v1" -t team/guarded:1.0 >/dev/null && shoal push team/guarded:1.0 >/dev/null 2>&1
shoal image sign team/guarded:1.0 --key "$work/ci.key" >/dev/null
sed -e 's/^service: hello/service: guarded/' -e 's/, publish: [0-9]*//' \
    -e 's|^image: .*|image: team/guarded:1.0|' "$work/v1.yaml" >"$work/guarded.yaml"

# --- attestations ---
attested() { policy attested 'match: ["default/*"]' "attestations: [$1]"; }
attested slsa >"$work/attested.yaml"
check an_attestation_is_demanded shoal policy apply -f "$work/attested.yaml"
expect without_it_is_refused 1 'policy attested: it needs an attestation slsa by a trusted key; it has none' \
    shoal deploy -f "$work/v1.yaml"
jq -n '{buildDefinition: {buildType: "https://example.org/b", externalParameters: {}},
    runDetails: {builder: {id: "https://example.org/builder"}}}' >"$work/provenance.json"
check attach_without_a_signature shoal attach hello:1.0 --type slsa "$work/provenance.json"
expect unsigned_it_does_not_count 1 'it has none' shoal deploy -f "$work/v1.yaml"
check attach_with_a_signature shoal attach hello:1.0 --type slsa "$work/provenance.json" --sign "$work/audit.key"
check with_it_the_image_is_allowed shoal policy test hello:1.0
attested '{type: slsa, keys: [release]}' >"$work/attested.yaml"
check by_another_key_is_demanded shoal policy apply -f "$work/attested.yaml"
expect by_the_wrong_key_is_refused 1 'slsa by release; it has https://slsa.dev/provenance/v1 by audit' \
    shoal policy test hello:1.0
attested '{type: slsa, keys: [audit]}' >"$work/attested.yaml"
check by_the_right_key_is_demanded shoal policy apply -f "$work/attested.yaml"
check by_the_right_key_it_deploys shoal deploy -f "$work/v1.yaml"

# --- what a removal would do ---
policy keeps 'match: ["default/*"]' >"$work/keeps.yaml"
policy stops 'match: ["team/*"]' 'on_revoke: stop' >"$work/stops.yaml"
check a_policy_that_keeps shoal policy apply -f "$work/keeps.yaml"
check a_policy_that_stops shoal policy apply -f "$work/stops.yaml"
check the_policy_of_attestations_goes shoal policy rm attested
check guarded_deploys shoal deploy -f "$work/guarded.yaml"
kept=$(instances_in ready hello) stopped=$(instances_in ready guarded)
expect a_key_nobody_needs_is_told 0 'nothing that is deployed depends on it' shoal trust rm release --dry-run
shoal trust rm ci --dry-run >"$work/dry.txt" 2>&1
check dry_run_tells_what_goes_on grep -qE 'default/hello revision 1 \(1 running\): would go on, but not boot again: policy keeps: ' "$work/dry.txt"
check dry_run_tells_what_is_stopped grep -qE 'default/guarded revision 1 \(1 running\): would be stopped: policy stops: ' "$work/dry.txt"
dry() { shoal trust rm ci --dry-run -o json | jq -c '[.result, .dry_run, ([.services[] | .service] | sort)]'; }
check dry_run_is_a_document [ "$(dry)" = '["unchanged",true,["guarded","hello"]]' ]
check dry_run_removed_nothing sh -c 'shoal trust list -o json | grep -q "\"ci\""'
expect another_key_of_that_name_is_refused 1 'trusted as ci: remove it first' shoal trust add "$work/audit.pub" --name ci

# --- what was kept at deploy says no, the registry has more by now ---
policy keeps 'match: ["default/*"]' 'attestations: [spdx]' >"$work/spdx.yaml"
check more_is_demanded_of_what_runs shoal policy apply -f "$work/spdx.yaml"
check refused_anyway_it_is_not_the_keys_doing [ "$(dry)" = '["unchanged",true,["guarded"]]' ]
printf '{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"hello"}' >"$work/sbom.json"
check it_is_given_since shoal attach hello:1.0 --type spdx "$work/sbom.json" --sign "$work/audit.key"
check now_it_depends_on_the_key [ "$(dry)" = '["unchanged",true,["guarded","hello"]]' ]
check and_on_the_other_key sh -c 'shoal trust rm audit --dry-run -o json | jq -e ".services | map(.service) == [\"hello\"]"'
check less_is_demanded_again shoal policy apply -f "$work/keeps.yaml"

# --- a signature that was added since counts ---
check it_is_signed_by_another_key_too shoal image sign hello:1.0 --key "$work/release.key"
expect then_only_the_other_one_depends_on_it 0 '^ci: would no longer be trusted; what depends on it:$' shoal trust rm ci --dry-run
check and_it_is_guarded [ "$(dry)" = '["unchanged",true,["guarded"]]' ]
check that_key_is_taken_back shoal trust rm release

# --- keep and stop ---
expect removing_it_says_what_is_stopped 0 'default/guarded revision 1 .*: is stopped: policy stops' shoal trust rm ci
check what_is_to_stop_stops wait_for 60 instance_state_is "$stopped" stopped
check with_its_cause cause_is "$stopped" trust_revoked
check what_is_kept_goes_on instance_state_is "$kept" ready
nothing_runs() { [ -z "$(shoal ps guarded -o json | jq -r '.instances[].id')" ]; }
check nothing_new_is_started wait_for 10 nothing_runs
expect status_says_why 0 '^Warning +key ci was removed; policy stops: ' shoal status guarded
event_is() { shoal events "$1" -o json | grep -q "\"$2\""; }
check an_event_says_it_was_stopped event_is guarded trust_revoked
check an_event_says_it_was_kept event_is hello trust_refused
expect restart_is_refused 1 'revision 1 may not run: key ci was removed' shoal restart guarded
check its_microvm_dies crash "$kept"
check what_was_kept_does_not_boot_again wait_for 60 cause_is "$kept" signature_rejected

# --- mended ---
check a_new_signature shoal image sign team/guarded:1.0 --key "$work/audit.key"
check deployed_again_it_runs shoal deploy -f "$work/guarded.yaml"
check_gone() { ! shoal status guarded | grep -q '^Warning'; }
check the_warning_is_gone check_gone

# --- the registry does not answer ---
stop_pid "$(daemon_pid registry)"
expect without_the_registry_the_kept_evidence_counts 0 'default/guarded .*would be stopped: .*newer signatures could not be looked for' \
    shoal trust rm audit --dry-run
check registry_comes_back cluster_up_again

# --- a node with a trust folder: a policy does not widen it ---
mkdir "$work/folder" && cp "$work/ci.pub" "$work/folder"
mapfile -d '' -t agent_line <"/proc/$(daemon_pid agent)/cmdline"
stop_pid "$(daemon_pid agent)"
"${agent_line[@]}" --trust-dir "$work/folder" >"$work/agent.log" 2>&1 &
own_agent=$!
started_pids="$started_pids $own_agent"
policy stops 'match: ["team/*"]' 'mode: warn' >"$work/stops.yaml"
check a_policy_only_warns shoal policy apply -f "$work/stops.yaml"
shoal restart guarded --detach >/dev/null
folder_refuses() { shoal events guarded -o json | grep -qE 'signature_rejected|policy_refused'; }
running_again() { [ -n "$(instances_in ready guarded)" ]; }
check the_folder_s_node_refuses_it wait_for 60 folder_refuses
check the_agent_names_the_key_that_does_not_count grep -q 'does not count here: it is not in the trust folder' "$work/agent.log"
stop_pid "$own_agent"
check without_the_folder_it_boots cluster_up_again
check with_a_warning wait_for 90 running_again
