#!/bin/bash
# What a client hears that would break a repository's rules: a quota, tags that must not change.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

cat >"$work/settings.json" <<'JSON'
{"policies": [{"repositories": ["small", "together"], "quota": "200Ki"},
              {"repositories": ["fixed/*"], "immutable": ["v*"]}]}
JSON
start_registry policies "$work/policies" --config "$work/settings.json"
cd "$work" || exit 1
make_pieces
is_over_quota() { error_is DENIED && [ "$(jq -r '.errors[0].detail.repository' body)" = small ]; }

announced() { # by Content-Length: before the bytes
    local location
    location=$(start_upload small) &&
        http 403 -X PUT --data-binary @kernel "$url$location?digest=$kernel" && is_over_quota &&
        http 403 -X POST --data-binary @kernel "$url/v2/small/blobs/uploads/?digest=$kernel" && is_over_quota &&
        http 404 "$url/v2/small/blobs/$kernel"
}
check a_blob_over_the_quota_is_403 announced

streamed() { # without a length: once there is no room
    local location
    location=$(start_upload small) &&
        http 403 -X PATCH -H 'Transfer-Encoding: chunked' --data-binary @kernel "$url$location" && is_over_quota &&
        http 204 "$url$location" && header_is Range 0-0 && [ "$(size_of "policies/uploads/${location##*/}")" = 0 ] &&
        http 403 -X POST -H 'Transfer-Encoding: chunked' --data-binary @kernel \
            "$url/v2/small/blobs/uploads/?digest=$kernel" && is_over_quota &&
        http 202 -X PATCH --data-binary @half "$url$location" &&
        http 403 -X PATCH -H 'Transfer-Encoding: chunked' --data-binary @half "$url$location" && is_over_quota &&
        http 204 "$url$location" && header_is Range 0-149999 && http 204 -X DELETE "$url$location"
}
head -c 150000 kernel >half
tail -c 150000 kernel >other_half
check one_without_a_length_is_403_as_soon_as_it_does_not_fit streamed

together_over() { # each fits, both do not: the second one's end is refused, and leaves nothing
    local one other hex
    hex=$(digest_of other_half)
    hex=${hex#sha256:}
    one=$(start_upload together) && other=$(start_upload together) &&
        http 202 -X PATCH --data-binary @half "$url$one" && http 202 -X PATCH --data-binary @other_half "$url$other" &&
        http 201 -X PUT "$url$one?digest=$(digest_of half)" &&
        http 403 -X PUT "$url$other?digest=$(digest_of other_half)" && error_is DENIED &&
        http 404 "$url/v2/together/blobs/$(digest_of other_half)" && http 404 "$url$other" &&
        test ! -e "policies/blobs/sha256/${hex:0:2}/$hex"
}
check the_second_of_two_that_fit_alone_is_403_at_its_end together_over

mounted() {
    push_blob large kernel && http 202 -X POST "$url/v2/small/blobs/uploads/?mount=$kernel&from=large" &&
        http 404 "$url/v2/small/blobs/$kernel" && http 200 "$url/v2/large/blobs/$kernel" && body_is kernel
}
check a_mount_over_the_quota_is_an_upload mounted

fitting() { push_blob small config && http 200 "$url/v2/small/blobs/$(digest_of config)"; }
check what_fits_is_stored fitting

immutable() {
    push_blob fixed/a kernel && push_blob fixed/a config && put_manifest 201 fixed/a v1 manifest &&
        put_manifest 201 fixed/a latest manifest && put_manifest 201 fixed/a v1 manifest || return 1
    write_manifest changed config kernel '"annotations": {"changed": "yes"}'
    put_manifest 403 fixed/a v1 changed && error_is DENIED &&
        [ "$(jq -r '.errors[0].detail.tag' body)" = v1 ] && put_manifest 201 fixed/a latest changed &&
        http 403 -X DELETE "$url/v2/fixed/a/manifests/v1" && error_is DENIED &&
        http 403 -X DELETE "$url/v2/fixed/a/manifests/$(digest_of manifest)" && error_is DENIED &&
        http 200 "$url/v2/fixed/a/manifests/v1" && body_is manifest
}
check a_tag_that_must_not_change_stays immutable

together() { # with one that must not change, none of them does
    http 403 -X PUT -H "Content-Type: $manifest_type" --data-binary @changed \
        "$url/v2/fixed/a/manifests/$(digest_of changed)?tag=new&tag=v1" && error_is DENIED &&
        http 404 "$url/v2/fixed/a/manifests/new"
}
check many_tags_change_together_or_not_at_all together
