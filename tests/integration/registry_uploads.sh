#!/bin/bash
# Uploads as the OCI distribution spec has them: every way of pushing a blob.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry uploads
cd "$work" || exit 1
make_pieces

streamed_upload() {
    local location
    location=$(start_upload streamed) &&
        http 202 -X PATCH -H 'Transfer-Encoding: chunked' -H 'Content-Type: application/octet-stream' \
            --data-binary @kernel "$url$location" && header_is Range 0-299999 &&
        http 204 "$url$location" && header_is Range 0-299999 &&
        http 201 -X PUT "$url$location?digest=$kernel" &&
        http 200 "$url/v2/streamed/blobs/$kernel" && body_is kernel &&
        http 404 "$url$location" && error_is BLOB_UPLOAD_UNKNOWN
}
check streamed_upload streamed_upload

stream_by_length() { # a PATCH without Content-Range appends, however it says where it ends
    local location
    location=$(start_upload lengthy) && head -c 1000 kernel >part && tail -c +1001 kernel >rest &&
        http 202 -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @part \
            "$url$location" && header_is Range 0-999 &&
        http 202 -X PATCH -H 'Content-Type: application/octet-stream' -H 'Transfer-Encoding: chunked' \
            --data-binary @rest "$url$(header Location)" && header_is Range 0-299999 &&
        http 201 -X PUT -H 'Content-Length: 0' "$url$(header Location)?digest=$kernel" &&
        http 200 "$url/v2/lengthy/blobs/$kernel" && body_is kernel
}
check streamed_parts_are_put_together stream_by_length

upload_headers() {
    http 202 -X POST "$url/v2/headers/blobs/uploads/" && [ ! -s body ] && header_is Content-Length 0 &&
        header_is Range 0-0 && [[ $(header Location) == /v2/headers/blobs/uploads/?* ]] &&
        [[ $(header Location) == */"$(header Docker-Upload-UUID)" ]] &&
        http 204 "$url$(header Location)" && header_is Range 0-0 && http 204 -I "$url$(header Location)" &&
        http 202 -X POST "$url/v2/headers/blobs/uploads"
}
check a_new_upload_says_where_and_how_far upload_headers

patch_part() { # STATUS LOCATION FIRST LAST
    tail -c +$(($3 + 1)) kernel | head -c $(($4 - $3 + 1)) >part
    http "$1" -X PATCH -H 'Content-Type: application/octet-stream' -H "Content-Range: $3-$4" \
        --data-binary @part "$url$2"
}

chunked_upload() {
    local location
    location=$(start_upload chunked) && patch_part 202 "$location" 0 99999 &&
        header_is Range 0-99999 && patch_part 202 "$location" 100000 199999 &&
        tail -c 100000 kernel >part &&
        http 201 -X PUT -H 'Content-Range: 200000-299999' --data-binary @part \
            "$url$location?digest=$kernel" &&
        http 200 "$url/v2/chunked/blobs/$kernel" && body_is kernel
}
check chunked_upload chunked_upload

out_of_order() {
    local location
    location=$(start_upload disorder) && patch_part 202 "$location" 0 99999 &&
        patch_part 416 "$location" 200000 299999 && error_is BLOB_UPLOAD_INVALID &&
        header_is Range 0-99999 && header_is Location "$location" &&
        patch_part 416 "$location" 0 99999 &&
        patch_part 202 "$location" 100000 299999 &&
        http 201 -X PUT "$url$location?digest=$kernel"
}
check a_chunk_out_of_order_is_416_and_the_upload_survives out_of_order

out_of_order_put() {
    local location
    location=$(start_upload disorder/put) && patch_part 202 "$location" 0 99999 &&
        tail -c 100000 kernel >part &&
        http 416 -X PUT -H 'Content-Range: 200000-299999' --data-binary @part \
            "$url$location?digest=$kernel" && error_is BLOB_UPLOAD_INVALID && header_is Range 0-99999 &&
        http 204 "$url$location?digest=$kernel" && header_is Range 0-99999 &&
        tail -c 200000 kernel >part &&
        http 201 -X PUT -H 'Content-Range: 100000-299999' --data-binary @part \
            "$url$(header Location)?digest=$kernel" && http 200 "$url$(header Location)" && body_is kernel
}
check a_last_chunk_out_of_order_is_416_too out_of_order_put

first_out_of_order() {
    local location
    location=$(start_upload disorder/first) && patch_part 416 "$location" 100 199 &&
        header_is Range 0-0 && patch_part 202 "$location" 0 299999 &&
        http 201 -X PUT "$url$location?digest=$kernel"
}
check a_first_chunk_must_begin_at_0 first_out_of_order

wrong_chunk_length() {
    local location
    location=$(start_upload lengths) && patch_part 202 "$location" 0 9 &&
        http 400 -X PATCH -H 'Content-Range: 10-19' --data-binary '12345' "$url$location" &&
        error_is SIZE_INVALID &&
        http 400 -X PATCH -H 'Content-Range: 10-11' --data-binary '12345' "$url$location" &&
        error_is SIZE_INVALID &&
        http 416 -X PATCH -H 'Content-Range: ten' --data-binary '12345' "$url$location" &&
        error_is BLOB_UPLOAD_INVALID && http 204 "$url$location" && header_is Range 0-9
}
check a_chunk_of_another_length_is_taken_back wrong_chunk_length

whole_post() {
    http 201 -X POST --data-binary @hello "$url/v2/whole/blobs/uploads/?digest=$(digest_of hello)" &&
        http 200 "$url/v2/whole/blobs/$(digest_of hello)" && body_is hello
}
check a_whole_blob_in_one_post whole_post

post_then_put() {
    http 201 -X PUT -H 'Content-Type: application/octet-stream' --data-binary @kernel \
        "$url$(start_upload together)?digest=$kernel" && header_is Docker-Content-Digest "$kernel" &&
        header_is Location "/v2/together/blobs/$kernel" && http 200 "$url$(header Location)" && body_is kernel
}
check post_then_put post_then_put

post_with_body() {
    http 400 -X POST --data-binary @hello "$url/v2/whole/blobs/uploads/" && error_is BLOB_UPLOAD_INVALID
}
check a_post_with_bytes_and_no_digest_is_refused post_with_body

wrong_digest() {
    local location
    location=$(start_upload wrong) &&
        http 400 -X PUT --data-binary @hello "$url$location?digest=$absent" &&
        error_is DIGEST_INVALID && http 404 "$url/v2/wrong/blobs/$absent" &&
        http 404 "$url$location" &&
        http 400 -X POST --data-binary @hello "$url/v2/wrong/blobs/uploads/?digest=$absent" &&
        error_is DIGEST_INVALID && http 400 -X PUT "$url$location?digest=md5:00" &&
        error_is DIGEST_INVALID && http 400 -X PUT "$url$location" && error_is DIGEST_INVALID
}
check a_wrong_digest_is_400_and_leaves_nothing wrong_digest

bad_digest_late() { # the digest is found wrong before the upload is looked at
    local location
    location=$(start_upload late) && patch_part 202 "$location" 0 299999 &&
        http 400 -X PUT "$url$location?digest=sha256:abc" && error_is DIGEST_INVALID &&
        http 400 -X PUT "$url$location?digest=" && error_is DIGEST_INVALID &&
        http 201 -X PUT "$url$location?digest=$kernel" &&
        http 400 -X POST --data-binary @hello "$url/v2/late/blobs/uploads/?digest=sha256:abc" &&
        error_is DIGEST_INVALID && http 400 -X POST "$url/v2/late/blobs/uploads/?mount=abc&from=whole" &&
        error_is DIGEST_INVALID
}
check a_bad_digest_is_400_and_the_upload_survives bad_digest_late

bad_digest_chunked() {
    local location
    location=$(start_upload wrong/chunked) && patch_part 202 "$location" 0 99999 &&
        tail -c 200000 kernel >part && echo more >>part &&
        http 400 -X PUT --data-binary @part "$url$location?digest=$kernel" && error_is DIGEST_INVALID &&
        [ "$(jq -r '.errors[0].detail.digest' body)" = "$kernel" ] &&
        http 404 "$url/v2/wrong/chunked/blobs/$kernel"
}
check bytes_of_another_digest_are_no_blob bad_digest_chunked

mounts() {
    local hello
    hello=$(digest_of hello)
    http 201 -X POST "$url/v2/mounted/blobs/uploads/?mount=$hello&from=whole" &&
        header_is Location "/v2/mounted/blobs/$hello" &&
        http 200 "$url/v2/mounted/blobs/$hello" && body_is hello &&
        http 202 -X POST "$url/v2/mounted/blobs/uploads/?mount=$absent&from=whole" &&
        http 202 -X POST "$url/v2/mounted/blobs/uploads/?mount=$kernel&from=nowhere" &&
        http 404 "$url/v2/mounted/blobs/$kernel"
}
check mounting_links_or_falls_back_to_an_upload mounts

anonymous_mount() {
    local hello
    hello=$(digest_of hello)
    http 201 -X POST "$url/v2/mounted/anonymously/blobs/uploads/?mount=$hello" &&
        header_is Location "/v2/mounted/anonymously/blobs/$hello" &&
        header_is Docker-Content-Digest "$hello" &&
        http 200 "$url$(header Location)" && body_is hello &&
        http 202 -X POST "$url/v2/mounted/anonymously/blobs/uploads/?mount=$absent" &&
        http 201 -X PUT --data-binary @config "$url$(header Location)?digest=$(digest_of config)"
}
check mounting_without_from_finds_a_repository anonymous_mount

odd_mount() {
    http 202 -X POST "$url/v2/mounted/blobs/uploads/?mount=$kernel&from=NO" &&
        http 202 -X POST "$url/v2/mounted/blobs/uploads/?from=whole" &&
        http 202 -X POST "$url/v2/mounted/blobs/uploads/?mount=$kernel&from=mounted"
}
check what_cannot_be_mounted_is_uploaded odd_mount

cancelled() {
    local location
    location=$(start_upload cancelled) && http 204 -X DELETE "$url$location" &&
        http 404 "$url$location" && http 404 -X PATCH --data-binary x "$url$location" &&
        error_is BLOB_UPLOAD_UNKNOWN
}
check a_cancelled_upload_is_gone cancelled

foreign_upload() {
    local location
    location=$(start_upload mine) &&
        http 404 "$url/v2/yours/blobs/uploads/${location##*/}" && error_is BLOB_UPLOAD_UNKNOWN
}
check an_upload_belongs_to_its_repository foreign_upload

odd_uploads() {
    local id
    for id in x 00000000000000000000000000000000 ..%2e 'a?b=c'; do
        http 404 "$url/v2/odd/blobs/uploads/$id" && error_is BLOB_UPLOAD_UNKNOWN &&
            http 404 -X PATCH --data-binary x "$url/v2/odd/blobs/uploads/$id" &&
            http 404 -X DELETE "$url/v2/odd/blobs/uploads/$id" || return 1
    done
    http 404 -X PUT "$url/v2/odd/blobs/uploads/x?digest=$kernel" && error_is BLOB_UPLOAD_UNKNOWN
}
check an_unknown_upload_is_404 odd_uploads

# --- sha512 ---
sha512_everywhere() {
    local digest location
    digest=sha512:$(sha512sum kernel | cut -d' ' -f1)
    http 201 -X POST --data-binary @kernel "$url/v2/long/post/blobs/uploads/?digest=$digest" &&
        http 202 -X POST "$url/v2/long/patch/blobs/uploads/?digest-algorithm=sha512" &&
        location=$(header Location) && patch_part 202 "$location" 0 99999 &&
        patch_part 202 "$(header Location)" 100000 299999 &&
        http 201 -X PUT "$url$location?digest=$digest" && header_is Docker-Content-Digest "$digest" &&
        location=$(start_upload long/put) &&
        http 201 -X PUT --data-binary @kernel "$url$location?digest=$digest" &&
        http 201 -X POST "$url/v2/long/mount/blobs/uploads/?mount=$digest&from=long/put" || return 1
    for location in long/post long/patch long/put long/mount; do
        http 200 "$url/v2/$location/blobs/$digest" && body_is kernel &&
            header_is Docker-Content-Digest "$digest" &&
            http 206 -r 5-9 "$url/v2/$location/blobs/$digest" && http 404 "$url/v2/$location/blobs/$kernel" ||
            return 1
    done
    http 400 -X PUT --data-binary @hello "$url$(start_upload long/put)?digest=$digest" &&
        http 202 -X DELETE "$url/v2/long/put/blobs/$digest" && http 404 "$url/v2/long/put/blobs/$digest"
}
check sha512_is_as_good_as_sha256 sha512_everywhere

unknown_algorithm() {
    http 400 -X POST "$url/v2/long/blobs/uploads/?digest-algorithm=md5" && error_is DIGEST_INVALID
}
check an_unknown_algorithm_is_400 unknown_algorithm
