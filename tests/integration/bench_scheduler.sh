#!/usr/bin/env bash
# A short run of the scheduler's bench: a small fleet, every row there in the form that all benches
# have. How fast it was is not judged.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

result=$BUILD/bench/scheduler.json
kept=$work/kept.json # a long run's figures are not this test's to lose
[ ! -e "$result" ] || cp "$result" "$kept"
rm -f "$result"
QUICK=1 "$(dirname "$0")/../bench/scheduler.sh" >"$work/table" 2>&1
check the_bench_runs test $? -eq 0
cp "$result" "$work/result.json"
[ ! -e "$kept" ] || cp "$kept" "$result"
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check bench_writes_its_result jq -e "length == 13 and $form" "$work/result.json"
check bench_measured_ours jq -e 'all(.[]; .ours > 0 or (.name | test("placed again|memory")))' \
    "$work/result.json"
expect bench_prints_a_table 0 'placements, 20 nodes +1/s +[0-9.]+ +3750  Nomad C1M' cat "$work/table"
expect the_load_ends_with_a_message_where_nobody_listens 1 'connect: connection refused' \
    "$BUILD/bench/scheduler_load" "$(free_port)" $$ hello:1.0 1 1 1 1000
expect the_load_says_how_it_is_used 2 'usage: scheduler_load' "$BUILD/bench/scheduler_load"
[ "$failures" -eq 0 ] || cat "$work/table"
