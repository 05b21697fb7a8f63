#!/usr/bin/env bash
# A scheduler whose disk is full refuses changes by 507 and says why, goes on answering what it knows,
# and takes changes again once there is room, without a restart.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

mkdir "$work/disk"
trap 'status=$?; umount -l "$work/disk" 2>/dev/null; (exit $status); finish' EXIT
if ! mount -t tmpfs -o size=2m tmpfs "$work/disk"; then
    skip a_full_disk "cannot mount a tmpfs here"
    exit 0
fi
port=$(free_port)
address=http://127.0.0.1:$port
"$BUILD/bin/shoal-scheduler" --port "$port" --state "$work/disk/state" 2>"$work/scheduler.log" &
started_pids="$started_pids $!"
check starts wait_for 30 curl -fsS "$address/healthz"

# put NAME: the status of a new policy; the body is in $work/answer.
put() {
    jq -n --arg name "$1" '{name: $name, match: ["team/\($name)"]}' >"$work/policy"
    curl -sS -o "$work/answer" -w '%{http_code}' -X PUT -H 'Content-Type: application/json' \
        --data-binary @"$work/policy" "$address/v1/policies/$1"
}
is() { [ "$(put "$1")" = "$2" ] || { cat "$work/answer" && return 1; }; }
policies() { curl -fsS "$address/v1/policies" | jq -r '.policies[].name' | sort; }
fill() { dd if=/dev/zero of="$work/disk/filler" bs=4k 2>&1 | grep -q 'No space left'; }

check a_change_is_taken_before is first 200
check the_disk_is_filled fill
# What SQLite has reserved already still fits.
until_full() {
    local number status
    for number in $(seq 300); do
        status=$(put "p$number")
        [ "$status" = 200 ] || break
    done
    [ "$status" = 507 ] && jq -e '.error | .code == "storage_full" and
        (.message | test("disk of .* is full"))' "$work/answer"
}
check changes_are_refused_by_507_and_why until_full
policies >"$work/known"
check what_is_known_is_told grep -qx first "$work/known"
check the_events_are_told curl -fsS "$address/v1/events"
check it_is_healthy curl -fsS "$address/healthz"
check it_is_refused_as_long_as_it_is_full is another 507
check nothing_came_of_what_was_refused diff <(policies) "$work/known"

rm "$work/disk/filler"
check with_room_changes_are_taken is another 200
(cat "$work/known" && echo another) | sort >"$work/wanted"
check all_that_was_taken_is_there diff <(policies) "$work/wanted"
# Once where it began and once where it ended, not for each change.
check the_log_says_so_once [ "$(grep -c 'takes no changes' "$work/scheduler.log")" = 1 ]
