#!/usr/bin/env bash
# Policies with real daemons: who must have signed, how long ago, which families; what is refused at
# deploy and on the node, what a policy only warns of.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/policy_functions.bash
. "$here/policy_functions.bash"

check cluster_comes_up cluster_up
for name in ci release audit; do (cd "$work" && shoal keygen "$name") >/dev/null; done
for name in ci release; do check "trust_$name" shoal trust add "$work/$name.pub"; done
image 1 ci
image 2 ci release
image 3
manifest 1 1 >"$work/v1.yaml"
manifest 2 1 >"$work/v2.yaml"
manifest 3 1 >"$work/v3.yaml"

# --- documents ---
policy bad 'match: ["default/*"]' 'requires: 2' >"$work/bad.yaml"
expect an_unknown_key_has_a_position 1 'bad.yaml:3:1: .*requires' shoal policy apply -f "$work/bad.yaml"
policy bad 'match: ["default/*"]' 'keys: [ci, nobody]' >"$work/bad.yaml"
expect a_key_that_is_not_trusted_has_a_position 1 'bad.yaml:3:12: .*nobody.*shoal trust add' \
    shoal policy apply -f "$work/bad.yaml"
policy bad 'match: ["default/*"]' 'families: [shoal, unicorn]' >"$work/bad.yaml"
expect a_family_that_does_not_exist_has_a_position 1 'bad.yaml:3:19: .*unicorn' shoal policy apply -f "$work/bad.yaml"
policy bad 'match: ["default/*"]' 'attestations: [sbom]' >"$work/bad.yaml"
expect a_bad_attestation_has_a_position 1 'bad.yaml:3:16: .*spdx' shoal policy apply -f "$work/bad.yaml"
put() { # NAME BODY-FILE: the status
    curl -sS -o "$work/answer" -w '%{http_code}' -X PUT -H 'Content-Type: application/json' \
        --data-binary @"$2" "$SHOAL_ADDRESS/v1/policies/$1"
}
is_refused() { [ "$(put "$1" "$work/hostile")" = "$2" ]; }
hostile() { # NAME STATUS PATH: what stands in $work/hostile
    check "hostile_$1" is_refused "$3" "$2"
}
head -c 10000 /dev/zero | tr '\0' '[' >"$work/hostile"
hostile depth_is_refused 400 p
printf '{"name":"p","match":["%s"]}' "$(head -c 100000 /dev/zero | tr '\0' a)" >"$work/hostile"
hostile size_is_refused 413 p
printf '{"name":"p","match":["**"],"keys":[%s"x"]}' "$(printf '"k%d",' $(seq 100))" >"$work/hostile"
hostile count_is_refused 400 p
printf '{"name":"q","match":["**"]}' >"$work/hostile"
hostile other_name_is_refused 400 p
printf '{"name":"p\\u0000q","match":["**"]}' >"$work/hostile"
hostile nul_is_refused 400 p
hostile path_is_refused 400 ..%2f..%2fkeys
printf 'name: &a p\nmatch: [*a]\n' >"$work/bad.yaml"
expect anchors_are_refused 1 'bad.yaml:1:7: ' shoal policy apply -f "$work/bad.yaml"
printf 'name: p\nmatch: [hello]\n' >"$work/bad.yaml"
expect a_glob_that_matches_nothing_is_refused 1 'bad.yaml:2:9: .*"default/hello"' shoal policy apply -f "$work/bad.yaml"
expect no_policy_is_said 0 'one signature by any trusted key' shoal policy list
expect a_policy_that_is_not_there_is_named 1 'no policy nothing' shoal policy inspect nothing
check without_a_policy_one_signature_is_enough shoal policy test hello:1.0
expect without_a_policy_unsigned_is_refused 1 'no trusted key signed it' shoal policy test hello:3.0

# --- default deny ---
policy elsewhere 'match: ["team/*"]' >"$work/elsewhere.yaml"
expect the_first_policy_is_applied 0 'elsewhere: applied \(enforce\)' shoal policy apply -f "$work/elsewhere.yaml"
expect what_none_matches_does_not_deploy 1 'no policy matches the repository default/hello.*shoal policy apply -f' \
    shoal deploy -f "$work/v1.yaml"
expect what_none_matches_is_told_by_test 1 'no policy matches' shoal policy test hello:2.0
check a_policy_goes shoal policy rm elsewhere

# --- two of two ---
policy two 'match: ["default/*"]' 'keys: [ci, release]' 'require: 2' >"$work/two.yaml"
check two_of_two_is_applied shoal policy apply -f "$work/two.yaml"
expect the_same_again_is_no_change 0 'two: no change' shoal policy apply -f "$work/two.yaml"
expect one_of_two_is_refused 1 'policy two: 2 of the keys ci, release must have signed it; only 1 did: ci' \
    shoal deploy -f "$work/v1.yaml"
expect unsigned_is_refused_by_the_policy 1 'policy two: .*unsigned' shoal deploy -f "$work/v3.yaml"
check nothing_was_deployed_so_far deployed_count_is 0
check two_of_two_deploys shoal deploy -f "$work/v2.yaml"
verdict_of() { shoal policy test "$1" -o json 2>/dev/null | jq -r '[.verdict, .platforms[0].policy, .platforms[0].family] | join(" ")'; }
check the_verdict_is_a_document [ "$(verdict_of hello:2.0)" = "allowed two shoal" ]
check a_refusal_is_a_document_too [ "$(verdict_of hello:1.0)" = "refused two shoal" ]
check both_signers_are_recorded signers_are ci release
(cd "$work" && shoal image sign hello:1.0 --key audit.key) >/dev/null 2>&1
expect a_key_that_nobody_trusts_does_not_count 1 'only 1 did: ci' shoal deploy -f "$work/v1.yaml"
expect the_list_shows_it 0 '^two +default/\* +2 +ci,release' shoal policy list
check inspect_knows_the_kind sh -c 'shoal inspect policy two | grep -q release'
check inspect_gives_the_document [ "$(shoal policy inspect two | jq -c .keys)" = '["ci","release"]' ]

# --- families, registries ---
policy two 'match: ["default/*"]' 'registries: ["elsewhere:5000"]' >"$work/registry.yaml"
check a_registry_is_demanded shoal policy apply -f "$work/registry.yaml"
expect a_wrong_registry_is_refused 1 'comes from the registry 127.0.0.1:[0-9]+, allowed are elsewhere:5000' \
    shoal deploy -f "$work/v1.yaml"
policy two 'match: ["default/*"]' 'families: [linux, unikraft]' >"$work/family.yaml"
expect a_change_tells_what_would_not_boot_again 0 'default/hello revision 1 .*family is shoal' \
    shoal policy apply -f "$work/family.yaml"
expect a_wrong_family_is_refused 1 'its family is shoal, allowed are linux, unikraft' shoal deploy -f "$work/v1.yaml"

# --- the node judges before every boot ---
first=$(instances_in ready)
check its_microvm_dies crash "$first"
check the_node_refuses_a_restart_in_place wait_for 60 cause_is "$first" policy_refused
expect the_node_says_which_policy 0 'policy two: its family is shoal' shoal status hello
check mended_it_boots_again shoal policy apply -f "$work/two.yaml"
check by_a_restart shoal restart hello

# --- age ---
policy two 'match: ["default/*"]' 'keys: [ci]' 'max_age: 30d' >"$work/age.yaml"
check an_age_is_applied shoal policy apply -f "$work/age.yaml"
check a_new_signature_is_young_enough shoal deploy -f "$work/v1.yaml"
old_signature hello 3.0 ci 1600000000
expect an_old_signature_is_refused 1 'policy two: the key ci .*ci signed it [0-9]+d ago, max_age is 720h' \
    shoal deploy -f "$work/v3.yaml"
old_signature hello 3.0 ci null
expect a_signature_without_a_time_is_refused 1 'does not say when it was made.*sign --renew' shoal deploy -f "$work/v3.yaml"
check it_is_signed_anew shoal image sign hello:3.0 --key "$work/ci.key" --renew
check renewed_it_would_deploy shoal validate --cluster -f "$work/v3.yaml"

# --- warn ---
policy two 'match: ["default/*"]' 'keys: [release]' 'mode: warn' >"$work/warn.yaml"
check warning_is_applied shoal policy apply -f "$work/warn.yaml"
expect what_it_warns_of_deploys_with_a_warning 0 'warning: hello: .*policy two: the key release must have signed it' \
    shoal deploy -f "$work/v1.yaml"
expect status_warns 0 '^Warning +policy two: the key release' shoal status hello
check an_event_warns warning_event
check it_boots_with_the_warning shoal restart hello
check the_node_s_log_warns grep -q 'boots that its policy would refuse' "$cluster/log/agent.log"
check history_has_it [ "$(shoal history hello -o json | jq -r '[.revisions[].warning // empty] | length')" -ge 1 ]
check the_verdict_says_warned [ "$(verdict_of hello:1.0)" = "warned two shoal" ]
check test_of_what_is_warned_of_ends_well shoal policy test hello:1.0

# --- the most specific decides ---
printf 'name: exact\nmatch: [default/hello]\nkeys: [ci]\n---\nname: all\nmatch: ["**"]\nkeys: [release]\n' >"$work/several.yaml"
check two_in_one_file shoal policy apply -f "$work/several.yaml"
check the_exact_glob_decides [ "$(verdict_of hello:1.0)" = "allowed exact shoal" ]

# --- the number of keys is bounded ---
trust_until_full() {
    local i
    for i in $(seq 64); do
        shoal trust add "$work/ci.pub" --name "more-$i" >"$work/full.out" 2>&1 || return 0
    done
    return 1
}
check keys_are_trusted_until_there_are_64 trust_until_full
expect one_more_is_refused_with_the_remedy 1 '64 keys are trusted, more are not.*shoal trust rm' \
    shoal trust add "$work/ci.pub" --name more
check there_are_64 [ "$(shoal trust list -o json | jq '.keys | length')" -eq 64 ]
expect one_that_is_trusted_stays_so 0 'trusted' shoal trust add "$work/ci.pub" --name ci
