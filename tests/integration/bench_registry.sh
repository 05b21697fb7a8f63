#!/usr/bin/env bash
# A short run of the registry's bench: every row is there, in the form that all benches have. How
# fast it was is not judged. The peers take part where `make bench-registry` has fetched them.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"

result=$BUILD/bench/registry.json
kept=$work/kept.json # a long run's figures are not this test's to lose
[ ! -e "$result" ] || cp "$result" "$kept"
rm -f "$result"
QUICK=1 PEERS=present "$(dirname "$0")/../bench/registry.sh" >"$work/table" 2>&1
check the_bench_runs test $? -eq 0
cp "$result" "$work/result.json"
[ ! -e "$kept" ] || cp "$kept" "$result"
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check bench_writes_its_result jq -e "length == 25 and $form" "$work/result.json"
check bench_measured_ours jq -e 'all(.[]; .ours > 0)' "$work/result.json"
if [ -e "$BUILD/bench/peers/.complete" ]; then
    check bench_measured_the_peers jq -e 'all(.[]; .peer > 0 and .ratio > 0 and .met != null)' \
        "$work/result.json"
else
    check without_peers_no_goal_counts_as_met jq -e 'all(.[]; .peer == null and .met == null)' \
        "$work/result.json"
    expect bench_says_that_it_ran_alone 0 'ours alone' cat "$work/table"
fi
expect bench_prints_a_table 0 'push of 8 MiB, 16 at a time +1/s +[0-9.]+' cat "$work/table"
[ "$failures" -eq 0 ] || cat "$work/table"

# --- the client notices wrong answers: a bench that measures errors measures nothing ---

start_registry wrong
load=("$BUILD/bench/registry_load" get "${url##*:}")
printf 'twelve bytes' >"$work/blob"
check push_a_blob push_blob wrong "$work/blob"
path=/v2/wrong/blobs/$(digest_of "$work/blob")
expect a_pull_is_measured 0 '^[0-9.]+ [0-9]+ [0-9]+$' "${load[@]}" "$path" 12 2 0.05
expect another_length_is_refused 1 'body of 12 bytes instead of 13' "${load[@]}" "$path" 13 2 0.05
expect another_status_is_refused 1 'status 404 instead of 200' "${load[@]}" \
    "${path/wrong/none}" 12 2 0.05
