#!/usr/bin/env bash
# A short run of the boot bench: it measures what it says and writes the form that all benches have.
# Times are not judged here, only that there are some; the images' sizes are.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

rm -f "$BUILD/bench/boot.json"
RUNS=1 "$(dirname "$0")/../bench/boot.sh" >"$work/table" 2>&1
result=$BUILD/bench/boot.json
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check bench_writes_its_result jq -e "length == 6 and $form" "$result"
check bench_measured_times jq -e 'all(.[]; .ours > 0 and .peer > 0)' "$result"
check images_are_within_their_size jq -e 'all(.[] | select(.unit == "bytes"); .met)' "$result"
expect bench_prints_a_table 0 'arm64: start .* through the agent +ms +[0-9.]+' cat "$work/table"
