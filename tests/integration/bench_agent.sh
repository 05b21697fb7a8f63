#!/usr/bin/env bash
# A short run of the agent's bench: it measures what it says and writes the form that all benches
# have. Times are not judged here, only that there are some.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

rm -f "$BUILD/bench/agent.json"
RUNS=1 CROWD=2 FLEET=3 REST=1 HYPERVISORS=qemu "$(dirname "$0")/../bench/agent.sh" >"$work/table" 2>&1
result=$BUILD/bench/agent.json
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check bench_writes_its_result jq -e "length == 15 and $form" "$result"
check bench_measured_times jq -e 'all(.[] | select(.unit == "ms"); .ours > 0 and .peer > 0)' "$result"
check bench_measured_memory jq -e 'all(.[] | select(.unit == "KiB" and (.name | contains("one more") | not)); .ours > 0)' "$result"
expect bench_prints_a_table 0 'qemu: assignment to ready +ms +[0-9.]+' cat "$work/table"
