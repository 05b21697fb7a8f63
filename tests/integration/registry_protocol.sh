#!/bin/bash
# The registry's answers, request by request, as the OCI distribution spec has them.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry registry
cd "$work" || exit 1
printf '{"architecture": "amd64"}\n' >config
head -c 300000 /dev/urandom >kernel
printf 'hello' >hello
write_manifest manifest config kernel
kernel=$(digest_of kernel)
absent=sha256:$(printf '%064d' 0)

# --- the basics ---
version_check() { http 200 "$url/v2/" && http 200 "$url/healthz" && http 200 "$url/version"; }
check version_check version_check

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

# --- ranges ---
range_parts() {
    http 206 -r 1000-1999 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c +1001 kernel | head -c 1000) &&
        header_is Content-Range "bytes 1000-1999/300000" && header_is Content-Length 1000 &&
        http 206 -r 299990- "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 10 kernel) &&
        http 206 -r -7 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 7 kernel) &&
        http 206 -r 299999-400000 "$url/v2/a/b/blobs/$kernel" && body_is <(tail -c 1 kernel)
}
check ranges_are_served range_parts
range_outside() {
    http 416 -r 300000- "$url/v2/a/b/blobs/$kernel" && header_is Content-Range "bytes */300000" &&
        http 200 -H 'Range: lines=1-2' "$url/v2/a/b/blobs/$kernel" && body_is kernel
}
check a_range_outside_is_416 range_outside

# --- uploads ---
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

wrong_chunk_length() {
    local location
    location=$(start_upload lengths) && patch_part 202 "$location" 0 9 &&
        http 400 -X PATCH -H 'Content-Range: 10-19' --data-binary '12345' "$url$location" &&
        error_is SIZE_INVALID &&
        http 400 -X PATCH -H 'Content-Range: 10-11' --data-binary '12345' "$url$location" &&
        error_is SIZE_INVALID &&
        http 400 -X PATCH -H 'Content-Range: ten' --data-binary '12345' "$url$location" &&
        error_is BLOB_UPLOAD_INVALID && http 204 "$url$location" && header_is Range 0-9
}
check a_chunk_of_another_length_is_taken_back wrong_chunk_length

whole_post() {
    http 201 -X POST --data-binary @hello "$url/v2/whole/blobs/uploads/?digest=$(digest_of hello)" &&
        http 200 "$url/v2/whole/blobs/$(digest_of hello)" && body_is hello
}
check a_whole_blob_in_one_post whole_post

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

# --- manifests ---
manifest_round_trip() {
    local digest
    digest=$(digest_of manifest)
    push_blob a/b config && put_manifest 201 a/b v1 manifest &&
        header_is Docker-Content-Digest "$digest" && header_is Location "/v2/a/b/manifests/$digest" &&
        http 200 "$url/v2/a/b/manifests/v1" && body_is manifest &&
        header_is Content-Type "$manifest_type" && header_is Docker-Content-Digest "$digest" &&
        http 200 "$url/v2/a/b/manifests/$digest" && body_is manifest &&
        http 200 -I "$url/v2/a/b/manifests/v1" && header_is Content-Length "$(size_of manifest)" &&
        header_is Docker-Content-Digest "$digest" && put_manifest 201 a/b "$digest" manifest
}
check manifests_keep_their_bytes_and_type manifest_round_trip

manifest_refused() {
    put_manifest 400 a/b "$absent" manifest && error_is DIGEST_INVALID &&
        put_manifest 400 empty v1 manifest && error_is MANIFEST_BLOB_UNKNOWN &&
        http 404 "$url/v2/empty/manifests/v1" && error_is MANIFEST_UNKNOWN &&
        put_manifest 400 a/b v2 hello && error_is MANIFEST_INVALID &&
        put_manifest 400 a/b v2 manifest application/x-other && error_is MANIFEST_INVALID &&
        put_manifest 400 a/b .dot manifest && put_manifest 400 a/b md5:00 manifest &&
        printf '{"schemaVersion": 2, "layers": [{"digest": "../../etc/passwd"}]}' >bad &&
        put_manifest 400 a/b v2 bad && error_is MANIFEST_INVALID &&
        http 404 "$url/v2/a/b/manifests/v2" && error_is MANIFEST_UNKNOWN
}
check bad_manifests_are_refused manifest_refused

big_manifest() {
    { printf '{"schemaVersion": 2, "annotations": {"x": "'; head -c 4300000 /dev/zero | tr '\0' x; printf '"}}'; } >big
    put_manifest 413 a/b big big && error_is SIZE_INVALID
    { printf '{"schemaVersion": 2, "annotations": {"x": "'; head -c 4000000 /dev/zero | tr '\0' x; printf '"}}'; } >big
    put_manifest 201 a/b big big && http 200 "$url/v2/a/b/manifests/big" && body_is big
}
check a_manifest_over_4_MiB_is_413 big_manifest

indexes() {
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "%s", "digest": "%s", "size": 1}]}' \
        "$index_type" "$manifest_type" "$(digest_of manifest)" >index
    put_manifest 400 whole v1 index "$index_type" && error_is MANIFEST_BLOB_UNKNOWN &&
        put_manifest 201 a/b multi index "$index_type" &&
        http 200 "$url/v2/a/b/manifests/multi" && header_is Content-Type "$index_type"
}
check an_index_needs_its_manifests indexes

referrers() {
    local subject
    subject=$(digest_of manifest)
    write_manifest signature config kernel \
        "\"subject\": {\"mediaType\": \"$manifest_type\", \"digest\": \"$subject\", \"size\": 1}, \"annotations\": {\"k\": \"v\"}"
    put_manifest 201 a/b "$(digest_of signature)" signature && header_is OCI-Subject "$subject" &&
        http 200 "$url/v2/a/b/referrers/$subject" && header_is Content-Type "$index_type" &&
        jq -e --arg d "$(digest_of signature)" \
            '.manifests | length == 1 and (.[0] | .digest == $d and .annotations.k == "v" and
             .artifactType == "application/vnd.shoal.unikernel.v1")' body &&
        http 200 "$url/v2/a/b/referrers/$subject?artifactType=application/x-none" &&
        header_is OCI-Filters-Applied artifactType && jq -e '.manifests == []' body &&
        http 200 "$url/v2/a/b/referrers/$absent" && jq -e '.manifests == []' body &&
        http 400 "$url/v2/a/b/referrers/x" && error_is DIGEST_INVALID
}
check referrers_of_a_subject referrers

many_referrers() { # 1,001 of them: more than a page
    local i subject next
    subject=$(digest_of many-subject)
    for i in $(seq 1001); do
        printf '{"schemaVersion":2,"mediaType":"%s","artifactType":"application/x-note","subject":{"digest":"%s"},"annotations":{"i":"%s"}}' \
            "$manifest_type" "$subject" "$i" >"note-$i"
        printf 'url = "%s"\nupload-file = "note-%s"\nheader = "Content-Type: %s"\noutput = "noted"\nfail\n' \
            "$url/v2/noted/manifests/$(digest_of "note-$i")" "$i" "$manifest_type"
        [ "$i" = 1001 ] || echo next
    done >notes
    curl -sS -K notes && http 200 "$url/v2/noted/referrers/$subject?artifactType=application/x-note" &&
        jq -e '.manifests | length == 1000 and .[0].annotations.i == "1"' body || return 1
    next=$(header Link)
    [[ $next == *artifactType=application%2Fx-note* ]] || { echo "Link: $next"; return 1; }
    next=${next#<} next=${next%%>*}
    http 200 "$url$next" && header_is Link '' &&
        jq -e '.manifests | length == 1 and .[0].annotations.i == "1001"' body &&
        http 400 "$url/v2/noted/referrers/$subject?last=x"
}
echo subject >many-subject
check referrers_come_in_pages many_referrers

# --- lists ---
tags() {
    local tag
    push_blob paged config && push_blob paged kernel || return 1
    for tag in c a B d10 d2; do put_manifest 201 paged $tag manifest || return 1; done
    http 200 "$url/v2/paged/tags/list" &&
        jq -e '. == {"name": "paged", "tags": ["B", "a", "c", "d10", "d2"]}' body &&
        http 200 "$url/v2/paged/tags/list?n=2" && jq -e '.tags == ["B", "a"]' body &&
        header_is Link '</v2/paged/tags/list?n=2&last=a>; rel="next"' &&
        http 200 "$url/v2/paged/tags/list?n=2&last=a" && jq -e '.tags == ["c", "d10"]' body &&
        http 200 "$url/v2/paged/tags/list?n=2&last=d10" && jq -e '.tags == ["d2"]' body &&
        header_is Link '' && http 200 "$url/v2/paged/tags/list?n=0" && jq -e '.tags == []' body &&
        http 400 "$url/v2/paged/tags/list?n=x" &&
        http 404 "$url/v2/nowhere/tags/list" && error_is NAME_UNKNOWN
}
check tags_are_sorted_and_paged tags

catalog() {
    http 200 "$url/v2/_catalog?n=1" && jq -e '.repositories == ["a/b"]' body &&
        header_is Link '</v2/_catalog?n=1&last=a%2Fb>; rel="next"' &&
        http 200 "$url/v2/_catalog?last=a%2Fb" && jq -e '.repositories | index("paged")' body
}
check the_catalog_is_paged catalog

# --- deletion ---
listed_deletion() {
    local index child
    index=$(digest_of index) child=$(digest_of manifest)
    http 405 -X DELETE "$url/v2/a/b/manifests/$child" && error_is UNSUPPORTED &&
        jq -e --arg index "$index" '.errors[0].message | contains($index)' body &&
        http 200 "$url/v2/a/b/manifests/$child" && body_is manifest
}
check what_an_index_lists_is_not_deleted listed_deletion

deletion() {
    local digest
    digest=$(digest_of manifest)
    http 202 -X DELETE "$url/v2/paged/manifests/c" && http 404 "$url/v2/paged/manifests/c" &&
        http 200 "$url/v2/paged/manifests/a" && http 202 -X DELETE "$url/v2/paged/manifests/$digest" &&
        http 404 "$url/v2/paged/manifests/a" && http 404 -X DELETE "$url/v2/paged/manifests/$digest" &&
        error_is MANIFEST_UNKNOWN && http 200 "$url/v2/paged/tags/list" && jq -e '.tags == []' body &&
        http 202 -X DELETE "$url/v2/paged/blobs/$kernel" && http 404 "$url/v2/paged/blobs/$kernel" &&
        http 404 -X DELETE "$url/v2/paged/blobs/$kernel" && error_is BLOB_UNKNOWN &&
        http 200 "$url/v2/a/b/blobs/$kernel" && body_is kernel
}
check deletion_is_of_one_repository deletion

last_copy() {
    local hello hex
    hello=$(digest_of hello) hex=${hello#sha256:}
    test -f "$work/registry/blobs/sha256/${hex:0:2}/$hex" &&
        http 202 -X DELETE "$url/v2/whole/blobs/$hello" &&
        test -f "$work/registry/blobs/sha256/${hex:0:2}/$hex" &&
        http 202 -X DELETE "$url/v2/mounted/blobs/$hello" &&
        test ! -f "$work/registry/blobs/sha256/${hex:0:2}/$hex"
}
check the_file_goes_with_the_last_repository last_copy

lost_file() {
    local lost hex
    echo lost >lost && push_blob lost lost || return 1
    lost=$(digest_of lost) hex=${lost#sha256:}
    rm "$work/registry/blobs/sha256/${hex:0:2}/$hex"
    http 404 "$url/v2/lost/blobs/$lost" && error_is BLOB_UNKNOWN && push_blob lost lost &&
        http 200 "$url/v2/lost/blobs/$lost" && body_is lost
}
check a_blob_whose_file_is_lost_can_be_pushed_again lost_file

# --- hostile names ---
traversal() {
    touch secret
    local path
    for path in '/v2/../../secret/manifests/x' '/v2/..%2f..%2fsecret/blobs/x' \
        '/v2/a/blobs/..%2f..%2f..%2fsecret' '/v2/a/blobs/sha256:..%2f..%2fsecret' \
        '/v2/a/blobs/uploads/..%2f..%2fsecret' '/v2/a/blobs/uploads/../../../lock' \
        '/v2/a/../b/tags/list' '/v2/a//b/tags/list' '/v2/A/tags/list' '/v2/a%00b/tags/list' \
        '/v2/-a/tags/list' '/v2/a/manifests/%zz' '/v2//tags/list' "/v2/$(printf 'a%.0s' {1..300})/tags/list"; do
        curl -sS -o body -w '%{http_code}' --path-as-is "$url$path" >status
        grep -qE '^40[045]$' status || { echo "$path: $(cat status)"; return 1; }
        jq -e '.errors[0].code' body || { echo "$path"; cat body; return 1; }
    done
    curl -sS -o body --path-as-is -X PUT --data-binary @manifest -H "Content-Type: $manifest_type" \
        "$url/v2/../../../tmp/x/manifests/v1" && error_is NAME_INVALID
}
broken_text() { # what a client sent comes back as JSON that can be read
    http 404 "$url/v2/a/manifests/%ff%1b" && [ "$(jq -r '.errors[0].message' body)" = \
        'repository a has no manifest "??"' ]
}
check errors_about_broken_text_are_json broken_text
check names_never_lead_out_of_the_state_folder traversal

wrong_method() {
    http 405 -X POST "$url/v2/" && error_is UNSUPPORTED && header_is Allow 'GET, HEAD'
}
check a_wrong_method_is_405 wrong_method

metrics() {
    http 200 "$url/metrics" && grep -qE '^shoal_registry_blobs_pushed_total [1-9]' body &&
        grep -qE '^shoal_registry_uploads_refused_total 2$' body
}
check metrics_count metrics

# --- the daemon itself ---
expect a_second_registry_on_the_state_is_refused 1 'in use by another shoal-registry' \
    "$BUILD/bin/shoal-registry" --port 0 --state "$work/registry"
expect a_taken_port_is_named 1 "127.0.0.1:${url##*:} is taken" \
    "$BUILD/bin/shoal-registry" --port "${url##*:}" --state "$work/other"
expect a_wrong_option_is_2 2 'shoal-registry serve --help' "$BUILD/bin/shoal-registry" --nonsense
expect a_wrong_port_is_2 2 '70000 is no port' "$BUILD/bin/shoal-registry" --port 70000
expect help_is_0 0 'usage: shoal-registry' "$BUILD/bin/shoal-registry" --help
expect version_is_0 0 '^shoal-registry [0-9]' "$BUILD/bin/shoal-registry" --version

kill -TERM "$registry_pid"
wait "$registry_pid"
check sigterm_stops_it_with_0 test $? -eq 0
check and_the_log_says_so grep -q 'registry stopping' registry.log
