#!/bin/bash
# A registry that is killed again and again while many clients push to it keeps all it acknowledged
# and shows nothing half-written. ROUNDS=15 and SEED=N from the environment.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

rounds=${ROUNDS:-15}
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed, $rounds rounds"
storm=$BUILD/tests/registry_storm
cd "$work" || exit 1

# Eight clients push; somewhere within a second the registry is killed in their middle.
round() { # NUMBER
    local pusher delay=$((50 + RANDOM % 950))
    "$storm" "${url##*:}" $((seed * 1000 + $1)) 8 "journal.$1" >"pusher.$1" 2>&1 &
    pusher=$!
    sleep "$((delay / 1000)).$(printf '%03d' $((delay % 1000)))"
    kill_registry KILL
    wait "$pusher" || { cat "pusher.$1"; return 1; }
}

start_registry registry
ids=0
for number in $(seq "$rounds"); do
    round "$number" || fail "round_$number" "seed $seed: an answer was wrong while it ran"
    ids=$((ids + $(wc -l <"journal.$number")))
    start_registry registry
    if ! "$storm"_check "${url##*:}" "journal.$number" >checked 2>&1; then
        fail "round_$number" "seed $seed: $(tr '\n' '|' <checked)"
        mkdir -p "$BUILD/test-logs" && cp "journal.$number" "$BUILD/test-logs/registry_kill.journal"
        break
    fi
done
check the_storms_pushed_something test $ids -gt $((rounds * 10))
[ $failures -gt 0 ] || pass "all_acknowledged_after_${rounds}_kills"

find . -name 'journal.*' | sort -V | xargs cat >journal
check and_all_of_it_at_the_end "$storm"_check "${url##*:}" journal
tail -n 1 check.out # how much it was
check every_blob_on_disk_is_whole blobs_are_whole registry
