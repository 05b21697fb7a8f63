#!/bin/bash
# Referrers as the OCI distribution spec has them.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry referrers
cd "$work" || exit 1
make_pieces
check the_blobs_are_pushed eval "push_blob a/b kernel && push_blob a/b config"

referrers() {
    local subject
    subject=$(digest_of manifest)
    write_manifest signature config kernel \
        "\"subject\": {\"mediaType\": \"$manifest_type\", \"digest\": \"$subject\", \"size\": 1}, \"annotations\": {\"k\": \"v\"}"
    put_manifest 201 a/b v1 manifest &&
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

never_404() {
    local digest
    for digest in "$absent" "sha512:$(printf '0%.0s' {1..128})"; do
        http 200 "$url/v2/never/seen/referrers/$digest" && header_is Content-Type "$index_type" &&
            jq -e --arg type "$index_type" '.schemaVersion == 2 and .mediaType == $type and .manifests == []' body ||
            return 1
    done
}
check an_unknown_subject_has_an_empty_list never_404

bad_subjects() {
    local digest
    for digest in x v1 sha256:abc md5:00; do
        http 400 "$url/v2/a/b/referrers/$digest" && error_is DIGEST_INVALID || return 1
    done
    http 400 "$url/v2/A/referrers/$absent" && error_is NAME_INVALID
}
check a_bad_digest_is_400 bad_subjects

write_referrer() { # FILE SUBJECT MEMBERS: of no blobs but the config
    printf '{"schemaVersion": 2, "mediaType": "%s", "config": {"mediaType": "application/x-config", "digest": "%s", "size": 26}, "layers": [], "subject": {"mediaType": "%s", "digest": "%s", "size": 1}%s}' \
        "$manifest_type" "$(digest_of config)" "$manifest_type" "$2" "${3:+, $3}" >"$1"
}
early() {
    echo later >later
    write_referrer early "$(digest_of later)" '"annotations": {"a": "1", "b": "2"}'
    put_manifest 201 a/b early early && header_is OCI-Subject "$(digest_of later)" &&
        http 200 "$url/v2/a/b/referrers/$(digest_of later)" &&
        jq -e --arg digest "$(digest_of early)" --arg type "$manifest_type" --argjson size "$(size_of early)" \
            '.manifests == [{mediaType: $type, digest: $digest, size: $size,
             artifactType: "application/x-config", annotations: {a: "1", b: "2"}}]' body
}
check a_subject_may_come_later_and_the_config_names_the_type early

index_referrer() {
    local subject
    echo subject-of-index >subject && subject=$(digest_of subject)
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [], "subject": {"digest": "%s"}}' \
        "$index_type" "$subject" >untyped
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [], "artifactType": "application/x-set", "subject": {"digest": "%s"}}' \
        "$index_type" "$subject" >typed
    put_manifest 201 a/b "$(digest_of untyped)" untyped "$index_type" && header_is OCI-Subject "$subject" &&
        put_manifest 201 a/b "$(digest_of typed)" typed "$index_type" &&
        http 200 "$url/v2/a/b/referrers/$subject" &&
        jq -e '.manifests | length == 2 and (.[0] | has("artifactType") | not) and
            .[1].artifactType == "application/x-set"' body
}
check an_index_may_have_a_subject index_referrer

filters() {
    local subject
    echo filtered >filtered && subject=$(digest_of filtered)
    write_referrer one "$subject" '"artifactType": "application/x-one"'
    write_referrer two "$subject" '"artifactType": "application/x-two+json"'
    put_manifest 201 a/b one one && put_manifest 201 a/b two two &&
        http 200 "$url/v2/a/b/referrers/$subject?artifactType=application%2Fx-two%2Bjson" &&
        header_is OCI-Filters-Applied artifactType &&
        jq -e --arg digest "$(digest_of two)" '[.manifests[].digest] == [$digest]' body &&
        http 200 "$url/v2/a/b/referrers/$subject?artifactType=" && header_is OCI-Filters-Applied '' &&
        jq -e '.manifests | length == 2' body && http 200 "$url/v2/a/b/referrers/$subject" &&
        header_is OCI-Filters-Applied '' && jq -e '.manifests | length == 2' body
}
check a_filter_leaves_one_artifact_type filters

deleted_referrer() {
    local subject
    subject=$(digest_of filtered)
    http 202 -X DELETE "$url/v2/a/b/manifests/$(digest_of one)" &&
        http 200 "$url/v2/a/b/referrers/$subject" &&
        jq -e --arg digest "$(digest_of two)" '[.manifests[].digest] == [$digest]' body &&
        http 200 "$url/v2/other/referrers/$subject" && jq -e '.manifests == []' body
}
check what_was_deleted_refers_to_nothing deleted_referrer

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
