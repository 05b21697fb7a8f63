#!/bin/bash
# Blobs as the OCI distribution spec has them: pulling, ranges, deleting.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry blobs
cd "$work" || exit 1
make_pieces

blob_round_trip() {
    http 404 "$url/v2/a/b/blobs/$kernel" && error_is BLOB_UNKNOWN &&
        push_blob a/b kernel && header_is Docker-Content-Digest "$kernel" &&
        header_is Location "/v2/a/b/blobs/$kernel" &&
        http 200 "$url$(header Location)" && body_is kernel &&
        header_is Docker-Content-Digest "$kernel"
}
check blob_round_trip blob_round_trip

blob_head() {
    http 200 -I "$url/v2/a/b/blobs/$kernel" && header_is Content-Length 300000 &&
        header_is Docker-Content-Digest "$kernel" && http 404 -I "$url/v2/a/b/blobs/$absent"
}
check blob_head_has_length_and_digest blob_head

another_repository() { http 404 "$url/v2/other/blobs/$kernel" && error_is BLOB_UNKNOWN; }
check a_blob_of_another_repository_is_unknown another_repository

bad_blob_digest() {
    local digest method
    for digest in x sha256:abc md5:d41d8cd98f00b204e9800998ecf8427e "sha256:$(printf 'A%.0s' {1..64})" \
        "sha256:$(printf '0%.0s' {1..63})" "sha512:$(printf '0%.0s' {1..64})" "${kernel}0"; do
        for method in GET DELETE; do
            http 400 -X $method "$url/v2/a/b/blobs/$digest" && error_is DIGEST_INVALID || return 1
        done
        http 400 -I "$url/v2/a/b/blobs/$digest" || return 1
    done
}
check a_bad_digest_is_400 bad_blob_digest

range_parts() {
    http 206 -r 1000-1999 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c +1001 kernel | head -c 1000) &&
        header_is Content-Range "bytes 1000-1999/300000" && header_is Content-Length 1000 &&
        http 206 -r 299990- "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 10 kernel) &&
        http 206 -r -7 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 7 kernel) &&
        http 206 -r 299999-400000 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 1 kernel)
}
check ranges_are_served range_parts

range_headers() {
    http 206 -r 100-199 "$url/v2/a/b/blobs/$kernel" && header_is Content-Length 100 &&
        header_is Content-Range bytes\ 100-199/300000 && header_is Docker-Content-Digest "$kernel" &&
        http 200 "$url/v2/a/b/blobs/$kernel" && header_is Accept-Ranges bytes
}
check a_part_says_where_it_belongs range_headers

range_outside() {
    http 416 -r 300000- "$url/v2/a/b/blobs/$kernel" && header_is Content-Range "bytes */300000" &&
        http 200 -H 'Range: lines=1-2' "$url/v2/a/b/blobs/$kernel" && body_is kernel
}
check a_range_outside_is_416 range_outside

range_backwards() {
    http 416 -r 500-0 "$url/v2/a/b/blobs/$kernel" && header_is Content-Range "bytes */300000" &&
        http 416 -H 'Range: bytes=-0' "$url/v2/a/b/blobs/$kernel"
}
check a_range_that_ends_before_it_begins_is_416 range_backwards

resumed_pull() {
    head -c 123456 kernel >pulled
    curl -sS -C - -o pulled "$url/v2/a/b/blobs/$kernel" && cmp pulled kernel
}
check a_broken_pull_is_resumed resumed_pull

# --- no bytes at all ---
empty_blob() {
    local empty location
    : >empty
    empty=$(digest_of empty)
    http 201 -X POST -H 'Content-Length: 0' "$url/v2/empty/post/blobs/uploads/?digest=$empty" &&
        location=$(start_upload empty/put) && http 201 -X PUT "$url$location?digest=$empty" &&
        location=$(start_upload empty/patch) &&
        http 202 -X PATCH -H 'Transfer-Encoding: chunked' --data-binary @empty "$url$location" &&
        http 201 -X PUT -H 'Content-Length: 0' "$url$location?digest=$empty" || return 1
    for location in empty/post empty/put empty/patch; do
        http 200 "$url/v2/$location/blobs/$empty" && [ ! -s body ] && header_is Content-Length 0 &&
            http 200 -I "$url/v2/$location/blobs/$empty" && header_is Content-Length 0 &&
            http 416 -r 0-0 "$url/v2/$location/blobs/$empty" || return 1
    done
}
check a_blob_of_no_bytes_is_one_like_others empty_blob

# --- deleting ---
blob_deletion() {
    push_blob deleted kernel && push_blob kept kernel &&
        http 202 -X DELETE "$url/v2/deleted/blobs/$kernel" &&
        http 404 "$url/v2/deleted/blobs/$kernel" && error_is BLOB_UNKNOWN &&
        http 404 -X DELETE "$url/v2/deleted/blobs/$kernel" && error_is BLOB_UNKNOWN &&
        http 404 -X DELETE "$url/v2/nowhere/blobs/$kernel" && error_is BLOB_UNKNOWN &&
        http 200 "$url/v2/kept/blobs/$kernel" && body_is kernel
}
check a_blob_is_deleted_from_one_repository blob_deletion

last_copy() {
    local hello hex
    push_blob whole hello && push_blob mounted hello || return 1
    hello=$(digest_of hello) hex=${hello#sha256:}
    test -f "$work/blobs/blobs/sha256/${hex:0:2}/$hex" &&
        http 202 -X DELETE "$url/v2/whole/blobs/$hello" &&
        test -f "$work/blobs/blobs/sha256/${hex:0:2}/$hex" &&
        http 202 -X DELETE "$url/v2/mounted/blobs/$hello" &&
        test ! -f "$work/blobs/blobs/sha256/${hex:0:2}/$hex"
}
check the_file_goes_with_the_last_repository last_copy

lost_file() {
    local lost hex
    echo lost >lost && push_blob lost lost || return 1
    lost=$(digest_of lost) hex=${lost#sha256:}
    rm "$work/blobs/blobs/sha256/${hex:0:2}/$hex"
    http 404 "$url/v2/lost/blobs/$lost" && error_is BLOB_UNKNOWN && push_blob lost lost &&
        http 200 "$url/v2/lost/blobs/$lost" && body_is lost
}
check a_blob_whose_file_is_lost_can_be_pushed_again lost_file
