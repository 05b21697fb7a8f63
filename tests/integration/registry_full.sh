#!/bin/bash
# On a full disk pushes are refused by 507 and all else goes on; what was acknowledged before stays
# whole, and once there is room the same registry takes pushes again.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

cd "$work" || exit 1
mkdir disk
trap 'status=$?; before_end; umount -l "$work/disk" 2>/dev/null; (exit $status); finish' EXIT

# new_disk NAME OPTIONS: a registry with its state alone on a small disk.
new_disk() {
    [ -z "${registry_pid:-}" ] || kill_registry TERM
    umount disk 2>/dev/null
    mount -t tmpfs -o "$2" tmpfs disk || return 1
    start_registry "$1" "$work/disk/state"
}
fill() { # all that is left
    dd if=/dev/zero of=disk/filler bs=4k conv=notrunc oflag=append 2>&1 | grep 'No space left'
}
make_room() { rm disk/filler; }
# status_of CURL-ARGUMENTS...: prints it; the body is in $work/body.
status_of() { curl -sS -o "$work/body" -w '%{http_code}' --max-time 60 "$@"; }
says_full() { jq -e '.errors[0] | .code == "UNKNOWN" and (.message | test("space|full"))' "$work/body"; }
full() { http 507 "$@" && says_full; }

head -c 20000000 /dev/urandom >kernel
printf '{}' >config
write_manifest manifest config config
if ! new_disk upload size=6m; then
    skip a_full_disk "cannot mount a tmpfs here"
    exit 0
fi

# --- in the middle of a body ---
while_a_body_comes() {
    local location
    push_blob small config && location=$(start_upload small) &&
        full -X PATCH --data-binary @kernel "$url$location" &&
        http 200 "$url/v2/small/blobs/$(digest_of config)" && http 204 -X DELETE "$url$location" &&
        printf 'again' >again && push_blob small again
}
check a_body_that_does_not_fit_is_507 while_a_body_comes
whole_body() {
    full -X POST --data-binary @kernel "$url/v2/small/blobs/uploads/?digest=$(digest_of kernel)" &&
        full -X POST --data-binary @kernel "$url/v2/small/blobs/uploads/?digest=$(digest_of kernel)" &&
        head -c 2000000 kernel >part && push_blob small part
}
check nothing_stays_of_a_whole_blob_that_did_not_fit whole_body

# --- while the metadata is written ---
new_disk metadata size=8m
before() { push_blob kept config && put_manifest 201 kept v1 manifest; }
check pushed_before_it_is_full before
write_manifest other config config '"annotations": {"a": "b"}'
# Manifests until one does not fit; those that were taken are listed.
until_full() {
    local number status
    : >taken
    fill || return 1
    for number in $(seq 400); do
        write_manifest "m$number" config config "\"annotations\": {\"n\": \"$number$(printf '%02000d' 0)\"}"
        status=$(status_of -X PUT -H "Content-Type: $manifest_type" --data-binary "@m$number" \
            "$url/v2/kept/manifests/t$number")
        case $status in
        201) echo "$number" >>taken ;;
        507) says_full && return 0 || return 1 ;;
        *) echo "status $status: $(cat body)" && return 1 ;;
        esac
    done
    echo "400 manifests fit on a full disk"
    return 1
}
check manifests_are_taken_until_one_is_507 until_full
goes_on_reading() {
    http 200 "$url/v2/kept/manifests/v1" && body_is manifest &&
        http 200 "$url/v2/kept/blobs/$(digest_of config)" && body_is config &&
        http 200 "$url/v2/kept/tags/list" && http 200 "$url/v2/" &&
        { http 200 "$url/healthz" || http 507 "$url/healthz"; }
}
check it_goes_on_reading goes_on_reading
full_everywhere() {
    local status
    printf 'new' >new
    for status in "$(status_of -X POST "$url/v2/kept/blobs/uploads/")" \
        "$(status_of -X POST --data-binary @new "$url/v2/kept/blobs/uploads/?digest=$(digest_of new)")" \
        "$(status_of -X POST "$url/v2/elsewhere/blobs/uploads/?mount=$(digest_of config)&from=kept")"; do
        if [ "$status" != 507 ] || ! says_full; then
            echo "status $status: $(cat body)"
            return 1
        fi
    done
    http 404 "$url/v2/kept/blobs/$(digest_of new)" && http 404 -I "$url/v2/elsewhere/blobs/$(digest_of config)"
}
check every_kind_of_push_is_507 full_everywhere
# Room for pushes: no restart.
after_room() {
    local number
    make_room
    push_blob kept new && put_manifest 201 kept v2 other &&
        http 200 "$url/v2/kept/manifests/v2" && body_is other || return 1
    while read -r number; do
        http 200 "$url/v2/kept/manifests/t$number" && body_is "m$number" || return 1
    done <taken
}
check with_room_it_takes_pushes_and_has_all_that_were_taken after_room

# --- while a blob is published ---
publish_when_full() {
    local location status
    head -c 1000000 kernel >part && location=$(start_upload kept) &&
        http 202 -X PATCH --data-binary @part "$url$location" && fill || return 1
    status=$(status_of -X PUT "$url$location?digest=$(digest_of part)")
    case $status in
    201) ;;
    507) says_full || return 1 ;;
    *) echo "status $status: $(cat body)" && return 1 ;;
    esac
    make_room
    [ "$status" = 201 ] || push_blob kept part || return 1
    http 200 "$url/v2/kept/blobs/$(digest_of part)" && body_is part
}
check a_blob_that_cannot_be_published_is_there_later_or_pushed_again publish_when_full

# --- many at once ---
new_disk many size=12m
one_of_many() { # NUMBER: writes its last status to many.NUMBER
    local work=$work/client$1 location status
    mkdir -p "$work" && head -c 3000000 /dev/urandom >"$work/blob"
    status=$(status_of -X POST --data-binary @"$work/blob" "$url/v2/many/blobs/uploads/?digest=$(digest_of "$work/blob")")
    [ "$status" != 507 ] || says_full >/dev/null || status=unclear
    echo "$status" >"$work/status"
}
many() {
    local i pids=()
    for i in $(seq 8); do
        one_of_many "$i" &
        pids+=($!)
    done
    wait "${pids[@]}"
    cat client*/status | sort | uniq -c
    ! cat client*/status | grep -vE '^(201|507)$'
}
check eight_pushes_that_do_not_all_fit many
some_of_each() { cat client*/status | grep -q 201 && cat client*/status | grep -q 507; }
check some_fit_and_some_do_not some_of_each
acknowledged_are_whole() {
    local i
    for i in $(seq 8); do
        grep -q 201 "client$i/status" || continue
        http 200 "$url/v2/many/blobs/$(digest_of "client$i/blob")" && body_is "client$i/blob" || return 1
    done
    blobs_are_whole disk/state
}
check those_that_were_taken_are_whole acknowledged_are_whole
# The rest of the room is there again: nothing is kept of those that were refused.
no_uploads() { [ -z "$(find disk/state/uploads -type f)" ]; }
check nothing_is_left_of_the_others wait_for 10 no_uploads

# --- no files left, only bytes ---
new_disk inodes size=64m
mount -o "remount,nr_inodes=$(($(df --output=iused disk | tail -n 1) + 30))" disk
no_more_files() {
    local number status
    for number in $(seq 100); do
        echo "$number" >blob
        status=$(status_of -X POST --data-binary @blob "$url/v2/files/blobs/uploads/?digest=$(digest_of blob)")
        [ "$status" = 201 ] || break
        cp blob last
    done
    if [ "$status" != 507 ] || ! says_full; then
        echo "status $status: $(cat body)"
        return 1
    fi
    http 200 "$url/v2/files/blobs/$(digest_of last)" && body_is last
}
check a_disk_without_room_for_files_is_507 no_more_files
file_by_file() {
    http 202 -X DELETE "$url/v2/files/blobs/$(digest_of last)" && push_blob files last
}
check a_deletion_makes_room_for_a_file file_by_file
