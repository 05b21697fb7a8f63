#!/bin/bash
# What was acknowledged survives kill -9; what was cut off can go on.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry registry
cd "$work" || exit 1
head -c 20000000 /dev/urandom >kernel
printf '{}' >config
write_manifest manifest config kernel
kernel=$(digest_of kernel)

restart() {
    kill_registry "$1"
    start_registry registry
}

# --- acknowledged, then killed ---
push_all() { push_blob kept config && push_blob kept kernel && put_manifest 201 kept v1 manifest; }
check push_before_the_kill push_all
restart KILL
pull_all() {
    http 200 "$url/v2/kept/manifests/v1" && body_is manifest &&
        http 200 "$url/v2/kept/blobs/$kernel" && body_is kernel &&
        http 200 "$url/v2/kept/tags/list" && jq -e '.tags == ["v1"]' body
}
check a_push_survives_kill_9 pull_all

# --- an upload goes on where it was ---
location=$(start_upload resumed)
first_part() {
    head -c 7000000 kernel >part
    http 202 -X PATCH -H 'Content-Range: 0-6999999' --data-binary @part "$url$location" &&
        header_is Range 0-6999999
}
check first_part_of_an_upload first_part
restart KILL
rest_of_it() {
    http 204 "$url$location" && header_is Range 0-6999999 &&
        tail -c +7000001 kernel >part &&
        http 202 -X PATCH -H 'Content-Range: 7000000-19999999' --data-binary @part "$url$location" &&
        http 201 -X PUT "$url$location?digest=$kernel" &&
        http 200 "$url/v2/resumed/blobs/$kernel" && body_is kernel
}
check an_upload_goes_on_after_kill_9 rest_of_it

# --- killed in the middle of a body ---
location=$(start_upload midway)
path=registry/uploads/${location##*/}
curl -sS -o /dev/null --limit-rate 4M -X PATCH -H 'Content-Type: application/octet-stream' \
    -T kernel "$url$location" 2>/dev/null &
slow=$!
some_arrived() { [ "$(size_of "$path")" -gt 100000 ]; }
check bytes_arrive_before_the_end wait_for 30 some_arrived
kill_registry KILL
wait "$slow"
start_registry registry
go_on() { # REPOSITORY
    local have
    http 204 "$url$location" || return 1
    have=$(($(header Range | cut -d- -f2) + 1))
    if [ "$have" -lt 100000 ] || [ "$have" -ge 20000000 ]; then
        echo "has $have"
        return 1
    fi
    tail -c +$((have + 1)) kernel >part
    http 201 -X PUT --data-binary @part "$url$location?digest=$kernel" &&
        http 200 "$url/v2/$1/blobs/$kernel" && body_is kernel
}
check what_arrived_before_kill_9_counts go_on midway

# --- a client that vanishes ---
location=$(start_upload vanished)
path=registry/uploads/${location##*/}
curl -sS -o /dev/null --limit-rate 4M -X PATCH -T kernel "$url$location" 2>/dev/null &
slow=$!
check bytes_arrive_before_the_client_goes wait_for 30 some_arrived
kill -9 "$slow"
wait "$slow" 2>/dev/null
check an_upload_goes_on_after_its_client_vanished go_on vanished

# --- many at once ---
one_of_many() { # NUMBER: with answers in a folder of its own
    local work=$work/client$1 repository=many/r$(($1 % 2))
    mkdir "$work" && head -c 3000000 /dev/urandom >"$work/blob" &&
        push_blob "$repository" "$work/blob" &&
        http 200 "$url/v2/$repository/blobs/$(digest_of "$work/blob")" && body_is "$work/blob"
}
many() {
    local i pids='' pid
    for i in $(seq 8); do
        one_of_many "$i" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || return 1; done
}
check eight_clients_at_once many
