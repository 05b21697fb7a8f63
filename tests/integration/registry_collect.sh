#!/bin/bash
# Garbage collection beside clients: what nobody refers to goes, what a client was told of stays.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

cat >"$work/settings.json" <<END
{"collection": {"every": "20ms", "grace": "2s", "uploads": "3s", "untagged": true}}
END
start_registry registry "$work/state" --config "$work/settings.json"
cd "$work" || exit 1
printf '{"architecture": "amd64"}\n' >config
head -c 100000 /dev/urandom >kernel
printf 'nobody wants this' >unused
write_manifest manifest config kernel
kernel=$(digest_of kernel)
manifest=$(digest_of manifest)

is_gone() { http 404 "$url$1"; }

# --- blobs ---
used_blobs() {
    push_blob r config && push_blob r kernel && put_manifest 201 r v1 manifest && push_blob r unused &&
        wait_for 60 is_gone "/v2/r/blobs/$(digest_of unused)" &&
        http 200 "$url/v2/r/blobs/$kernel" && body_is kernel &&
        http 200 "$url/v2/r/blobs/$(digest_of config)"
}
check a_blob_goes_when_no_manifest_refers_to_it used_blobs

no_file() { ! find "$work/state/blobs" -type f -name "${1#sha256:}" | grep -q .; }
check its_bytes_go_too wait_for 60 no_file "$(digest_of unused)"

mounted_blob() {
    http 201 -X POST "$url/v2/mounted/blobs/uploads/?mount=$kernel&from=r" &&
        wait_for 60 is_gone "/v2/mounted/blobs/$kernel" && http 200 "$url/v2/r/blobs/$kernel" &&
        body_is kernel
}
check a_blob_leaves_one_repository_and_stays_in_another mounted_blob

# A client that is told by HEAD that a blob is there pushes only the manifest, at once.
head_then_manifest() {
    local round told=0
    push_blob told config && push_blob told kernel || return 1
    for round in {1..40}; do
        if http 200 -I "$url/v2/told/blobs/$kernel" && http 200 -I "$url/v2/told/blobs/$(digest_of config)"; then
            told=$((told + 1))
            put_manifest 201 told "$manifest" manifest || return 1
            http 202 -X DELETE "$url/v2/told/manifests/$manifest" || return 1
        fi
        sleep 0.1
    done
    echo "told $told times of $round"
    [ "$told" -gt 0 ]
}
check what_head_told_of_stays_for_the_manifest head_then_manifest
check and_goes_when_nobody_asks_any_more wait_for 60 is_gone "/v2/told/blobs/$kernel"

# --- manifests ---
untagged() {
    local index
    write_manifest other config kernel '"annotations": {"other": "yes"}'
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "%s", "digest": "%s", "size": 1}]}' \
        "$index_type" "$manifest_type" "$(digest_of other)" >index
    index=$(digest_of index)
    put_manifest 201 r "$(digest_of other)" other && put_manifest 201 r multi index "$index_type" &&
        put_manifest 201 r v1 other && # manifest is untagged now
        wait_for 60 is_gone "/v2/r/manifests/$manifest" &&
        http 200 "$url/v2/r/manifests/multi" && http 200 "$url/v2/r/manifests/$(digest_of other)" &&
        http 202 -X DELETE "$url/v2/r/manifests/v1" && http 202 -X DELETE "$url/v2/r/manifests/multi" &&
        wait_for 60 is_gone "/v2/r/manifests/$index" &&
        wait_for 60 is_gone "/v2/r/manifests/$(digest_of other)" &&
        wait_for 60 is_gone "/v2/r/blobs/$kernel" && wait_for 60 no_file "$kernel"
}
check an_untagged_manifest_goes_and_takes_its_blobs_along untagged

# --- uploads ---
abandoned() {
    local location
    location=$(start_upload r) && http 202 -X PATCH -T config "$url$location" &&
        wait_for 60 is_gone "$location" && ! find "$work/state/uploads" -type f | grep -q .
}
check an_upload_that_nobody_ends_expires abandoned

# --- beside others ---
backup() {
    local collected
    exec 7<"$work/state/collect.lock"
    wait_for 60 flock -s -n 7 || return 1
    push_blob r unused && wait_for 60 grep -q 'a backup is being made' registry.log || return 1
    collected=$(curl -sS "$url/metrics" | sed -n 's/^shoal_registry_collected_blobs_total //p')
    sleep 3 # more than the grace: what is not collected now would be otherwise
    [ "$collected" = "$(curl -sS "$url/metrics" | sed -n 's/^shoal_registry_collected_blobs_total //p')" ] &&
        http 200 "$url/v2/r/blobs/$(digest_of unused)" && flock -u 7 &&
        wait_for 60 is_gone "/v2/r/blobs/$(digest_of unused)"
}
check nothing_goes_while_a_backup_holds_the_lock backup
exec 7<&-

# Pushers of their own, each with new blobs, while the collector never rests.
push_many() { # NUMBER
    local i answers=$work/answers-$1
    mkdir -p "$answers" && cd "$answers" || return 1
    for i in {1..25}; do
        (
            work=$answers
            printf 'blob %s of pusher %s' "$i" "$1" >"blob-$i"
            printf '{}' >config
            write_manifest "manifest-$i" config "blob-$i"
            { push_blob many config && push_blob many "blob-$i" &&
                put_manifest 201 many "p$1-$i" "manifest-$i"; } || echo "$1-$i: not pushed"
        ) >>refused
    done
    [ ! -s refused ]
}
all_there() {
    local pusher i
    for pusher in 1 2 3; do
        for i in {1..25}; do
            http 200 "$url/v2/many/manifests/p$pusher-$i" && body_is "answers-$pusher/manifest-$i" &&
                http 200 "$url/v2/many/blobs/$(digest_of "answers-$pusher/blob-$i")" &&
                body_is "answers-$pusher/blob-$i" || return 1
        done
    done
}
push_beside_collections() {
    local pids='' pusher pid failed=0
    for pusher in 1 2 3; do
        push_many "$pusher" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || failed=1; done
    cat answers-*/refused
    [ "$failed" = 0 ] && sleep 3 && all_there
}
check pushes_beside_collections_lose_nothing push_beside_collections

collections_counted() {
    curl -sS "$url/metrics" >metrics
    awk '/^shoal_registry_collections_total / { runs = $2 } /^shoal_registry_collected_bytes_total / { bytes = $2 }
        /^shoal_registry_uploads_expired_total / { uploads = $2 }
        END { exit !(runs > 1 && bytes >= 100000 && uploads >= 1) }' metrics
}
check what_went_is_counted collections_counted
