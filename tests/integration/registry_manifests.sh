#!/bin/bash
# Manifests as the OCI distribution spec has them: storing, pulling, tags, deleting.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry manifests
cd "$work" || exit 1
make_pieces
check the_blobs_are_pushed eval "push_blob a/b kernel && push_blob a/b config"

manifest_round_trip() {
    local digest
    digest=$(digest_of manifest)
    put_manifest 201 a/b v1 manifest &&
        header_is Docker-Content-Digest "$digest" && header_is Location "/v2/a/b/manifests/$digest" &&
        http 200 "$url/v2/a/b/manifests/v1" && body_is manifest &&
        header_is Content-Type "$manifest_type" && header_is Docker-Content-Digest "$digest" &&
        http 200 "$url/v2/a/b/manifests/$digest" && body_is manifest &&
        http 200 -I "$url/v2/a/b/manifests/v1" && header_is Content-Length "$(size_of manifest)" &&
        header_is Docker-Content-Digest "$digest" && put_manifest 201 a/b "$digest" manifest
}
check manifests_keep_their_bytes_and_type manifest_round_trip

any_accept() {
    local digest
    digest=$(digest_of manifest)
    http 200 -H 'Accept: application/x-other' "$url/v2/a/b/manifests/v1" && body_is manifest &&
        header_is Content-Type "$manifest_type" &&
        http 200 -H "Accept: $index_type" -H "Accept: $manifest_type" -H 'Accept: */*;q=0.1' \
            "$url/v2/a/b/manifests/$digest" && body_is manifest && header_is Docker-Content-Digest "$digest"
}
check the_bytes_are_the_same_whatever_accept_says any_accept

bad_references() {
    local reference method
    for reference in md5:00 sha256:baddigeststring "sha256:$(printf 'F%.0s' {1..64})" "v1@$absent" ':'; do
        for method in GET DELETE PUT; do
            http 400 -X $method "$url/v2/a/b/manifests/$reference" && error_is DIGEST_INVALID || return 1
        done
    done
    for reference in .dot -dash 'with%20space' "$(printf 't%.0s' {1..129})" 'a+b' '%c3%a4'; do
        for method in GET DELETE; do
            http 404 -X $method "$url/v2/a/b/manifests/$reference" && error_is MANIFEST_UNKNOWN || return 1
        done
        put_manifest 400 a/b "$reference" manifest && error_is MANIFEST_INVALID || return 1
    done
    http 404 -I "$url/v2/a/b/manifests/.dot" && http 404 "$url/v2/nowhere/manifests/v1" &&
        error_is MANIFEST_UNKNOWN && put_manifest 201 a/b "$(printf 't%.0s' {1..128})" manifest
}
check bad_digests_are_400_and_odd_tags_404 bad_references

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

missing_blob_named() {
    put_manifest 400 empty v1 manifest &&
        jq -e --arg digest "$(digest_of config)" '.errors[0].detail.digest == $digest' body
}
check the_blob_that_is_missing_is_named missing_blob_named

types() {
    local type
    printf '{"schemaVersion": 2, "config": {"mediaType": "a/b", "digest": "%s", "size": 1}}' \
        "$(digest_of config)" >plain
    for type in application/vnd.docker.distribution.manifest.v2+json \
        application/vnd.docker.distribution.manifest.list.v2+json application/x-own "$manifest_type"; do
        put_manifest 201 a/b types plain "$type; charset=utf-8" &&
            http 200 "$url/v2/a/b/manifests/types" && header_is Content-Type "$type" || return 1
    done
    http 201 -X PUT -H 'Content-Type:' --data-binary @manifest "$url/v2/a/b/manifests/untyped" &&
        http 200 "$url/v2/a/b/manifests/untyped" && header_is Content-Type "$manifest_type" &&
        http 400 -X PUT -H 'Content-Type:' --data-binary @plain "$url/v2/a/b/manifests/untyped" &&
        error_is MANIFEST_INVALID &&
        printf '{"schemaVersion": 1}' >first && put_manifest 400 a/b first first && error_is MANIFEST_INVALID
}
check media_types_are_kept_without_their_parameters types

big_manifest() {
    { printf '{"schemaVersion": 2, "annotations": {"x": "'; head -c 4300000 /dev/zero | tr '\0' x; printf '"}}'; } >big
    put_manifest 413 a/b big big && error_is SIZE_INVALID
    { printf '{"schemaVersion": 2, "annotations": {"x": "'; head -c 4000000 /dev/zero | tr '\0' x; printf '"}}'; } >big
    put_manifest 201 a/b big big && http 200 "$url/v2/a/b/manifests/big" && body_is big
}
check a_manifest_over_4_MiB_is_413 big_manifest

unknown_fields() {
    write_manifest fields config kernel "\"org.example\": [1, {\"a\": null}],
        \"subject\": null, \"annotations\": {\"k\": \"v\"}, \"x\": {\"data\": \"e30=\"}"
    sed -i "s/\"size\": 300000/\"size\": 300000, \"data\": \"aGVsbG8=\", \"extra\": true/" fields
    put_manifest 201 a/b fields fields && http 200 "$url/v2/a/b/manifests/fields" && body_is fields
}
check unknown_fields_and_data_are_kept unknown_fields

no_layers() {
    printf '{"schemaVersion": 2, "mediaType": "%s", "config": {"mediaType": "a/b", "digest": "%s", "size": 26}, "layers": []}' \
        "$manifest_type" "$(digest_of config)" >layerless
    put_manifest 201 a/b layerless layerless && http 200 "$url/v2/a/b/manifests/layerless" && body_is layerless
}
check an_image_may_have_no_layers no_layers

elsewhere() {
    printf '{"schemaVersion": 2, "mediaType": "%s", "config": {"mediaType": "a/b", "digest": "%s", "size": 26}, "layers": [' \
        "$manifest_type" "$(digest_of config)" >foreign
    printf '{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "digest": "%s", "size": 7},' \
        "$absent" >>foreign
    printf '{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "%s", "size": 7, "urls": ["https://store.example/x"]}]}' \
        "${absent/0/1}" >>foreign
    put_manifest 201 a/b foreign foreign && http 200 "$url/v2/a/b/manifests/foreign" && body_is foreign
}
check layers_that_are_not_distributed_may_be_absent elsewhere

indexes() {
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "%s", "digest": "%s", "size": 1}]}' \
        "$index_type" "$manifest_type" "$(digest_of manifest)" >index
    put_manifest 400 whole v1 index "$index_type" && error_is MANIFEST_BLOB_UNKNOWN &&
        put_manifest 201 a/b multi index "$index_type" &&
        http 200 "$url/v2/a/b/manifests/multi" && header_is Content-Type "$index_type"
}
check an_index_needs_its_manifests indexes

nested_indexes() {
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": []}' "$index_type" >none
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "%s", "digest": "%s", "size": %s}, {"mediaType": "%s", "digest": "%s", "size": %s}]}' \
        "$index_type" "$index_type" "$(digest_of index)" "$(size_of index)" \
        "$index_type" "$(digest_of none)" "$(size_of none)" >nested
    put_manifest 400 a/b nested nested "$index_type" && error_is MANIFEST_BLOB_UNKNOWN &&
        put_manifest 201 a/b none none "$index_type" && put_manifest 201 a/b nested nested "$index_type" &&
        http 200 "$url/v2/a/b/manifests/nested" && body_is nested
}
check indexes_may_be_empty_and_nested nested_indexes

builders_cache() { # an index of blobs, as BuildKit pushes its cache
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "%s", "size": 300000}, {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": "%s", "size": 26}]}' \
        "$index_type" "$kernel" "$(digest_of config)" >cache
    put_manifest 201 a/b cache cache "$index_type" && http 200 "$url/v2/a/b/manifests/cache" && body_is cache
}
check an_index_may_list_blobs builders_cache

# --- tags by query ---
put_tags() { # STATUS REPOSITORY QUERY FILE [DIGEST]
    http "$1" -X PUT -H "Content-Type: $manifest_type" --data-binary "@$4" \
        "$url/v2/$2/manifests/${5:-$(digest_of "$4")}?$3"
}
many_tags() {
    local tag
    put_tags 201 a/b 'tag=one&tag=two&tag=one&tag=v1.2_3-x' manifest &&
        header_is Docker-Content-Digest "$(digest_of manifest)" &&
        [ "$(tr -d '\r' <headers | sed -n 's/^OCI-Tag: //Ip' | tr '\n' ' ')" = 'one two v1.2_3-x ' ] || return 1
    for tag in one two v1.2_3-x; do
        http 200 "$url/v2/a/b/manifests/$tag" && body_is manifest &&
            header_is Docker-Content-Digest "$(digest_of manifest)" || return 1
    done
}
check one_push_sets_many_tags many_tags

moved_tags() {
    put_tags 201 a/b 'tag=one&tag=three' layerless && http 200 "$url/v2/a/b/manifests/one" &&
        body_is layerless && http 200 "$url/v2/a/b/manifests/two" && body_is manifest
}
check it_moves_those_that_exist moved_tags

all_or_nothing() {
    put_tags 400 a/b 'tag=four&tag=.bad' manifest && error_is MANIFEST_INVALID &&
        put_tags 400 a/b 'tag=four' manifest "$absent" && error_is DIGEST_INVALID &&
        put_tags 400 empty 'tag=four' manifest && error_is MANIFEST_BLOB_UNKNOWN &&
        put_tags 400 a/b 'tag=four' manifest five && error_is UNSUPPORTED &&
        http 404 "$url/v2/a/b/manifests/four" && http 404 "$url/v2/a/b/manifests/five"
}
check all_of_the_tags_or_none all_or_nothing

how_many_tags() {
    put_tags 201 a/b "$(printf 'tag=n%s&' {1..32})" manifest &&
        [ "$(grep -ci '^OCI-Tag:' headers)" = 32 ] &&
        put_tags 414 a/b "$(printf 'tag=m%s&' {1..33})" manifest && error_is UNSUPPORTED &&
        put_tags 414 a/b "$(printf 'tag=m%s&' {1..70})" manifest &&
        http 404 "$url/v2/a/b/manifests/m1"
}
check more_than_32_are_414 how_many_tags

# --- sha512 ---
sha512_manifest() {
    local digest
    digest=sha512:$(sha512sum manifest | cut -d' ' -f1)
    put_tags 201 a/b tag=long manifest "$digest" && header_is Docker-Content-Digest "$digest" &&
        header_is Location "/v2/a/b/manifests/$digest" && http 200 "$url$(header Location)" && body_is manifest &&
        header_is Docker-Content-Digest "$digest" && http 200 "$url/v2/a/b/manifests/long" &&
        body_is manifest && header_is Docker-Content-Digest "$digest" &&
        put_tags 400 a/b tag=long layerless "$digest" && error_is DIGEST_INVALID &&
        printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [{"mediaType": "%s", "digest": "%s", "size": 1}]}' \
            "$index_type" "$manifest_type" "$digest" >long-index &&
        put_manifest 201 a/b long-index long-index "$index_type" &&
        http 405 -X DELETE "$url/v2/a/b/manifests/$digest" &&
        http 202 -X DELETE "$url/v2/a/b/manifests/$(digest_of long-index)" &&
        http 202 -X DELETE "$url/v2/a/b/manifests/$digest" && http 404 "$url/v2/a/b/manifests/long" &&
        http 200 "$url/v2/a/b/manifests/v1" && body_is manifest
}
check a_manifest_by_sha512_is_kept_by_sha512 sha512_manifest

# --- deleting ---
listed_deletion() {
    local index child
    index=$(digest_of index) child=$(digest_of manifest)
    put_manifest 201 a/b "$index" index "$index_type" || return 1
    http 405 -X DELETE "$url/v2/a/b/manifests/$child" && error_is UNSUPPORTED &&
        jq -e --arg index "$index" '.errors[0].detail.index == $index' body &&
        jq -e --arg index "$index" '.errors[0].message | contains($index)' body &&
        http 200 "$url/v2/a/b/manifests/$child" && body_is manifest
}
check what_an_index_lists_is_not_deleted listed_deletion

tag_deletion() {
    put_tags 201 a/b 'tag=gone&tag=stays' manifest && http 202 -X DELETE "$url/v2/a/b/manifests/gone" &&
        http 404 "$url/v2/a/b/manifests/gone" && error_is MANIFEST_UNKNOWN &&
        http 404 -X DELETE "$url/v2/a/b/manifests/gone" && error_is MANIFEST_UNKNOWN &&
        http 200 "$url/v2/a/b/manifests/stays" && http 200 "$url/v2/a/b/manifests/$(digest_of manifest)"
}
check a_tag_is_deleted_alone tag_deletion

manifest_deletion() {
    local digest
    digest=$(digest_of manifest)
    push_blob gone kernel && push_blob gone config && put_tags 201 gone 'tag=a&tag=b' manifest &&
        http 202 -X DELETE "$url/v2/gone/manifests/$digest" && http 404 "$url/v2/gone/manifests/$digest" &&
        http 404 "$url/v2/gone/manifests/a" && http 404 -I "$url/v2/gone/manifests/b" &&
        http 404 -X DELETE "$url/v2/gone/manifests/$digest" && error_is MANIFEST_UNKNOWN &&
        http 404 -X DELETE "$url/v2/nowhere/manifests/$digest" &&
        http 200 "$url/v2/gone/tags/list" && jq -e '.tags == []' body &&
        http 200 "$url/v2/a/b/manifests/$digest" && put_manifest 201 gone a manifest &&
        http 200 "$url/v2/gone/manifests/a" && body_is manifest
}
check a_manifest_goes_with_its_tags manifest_deletion
