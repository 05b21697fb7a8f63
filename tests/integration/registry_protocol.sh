#!/bin/bash
# What holds for every request to the registry: names, methods, errors; and the daemon itself.
# registry_blobs.sh, _uploads, _manifests, _referrers and _lists have the endpoints.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry registry
cd "$work" || exit 1
make_pieces

# --- the basics ---
version_check() { http 200 "$url/v2/" && http 200 "$url/healthz" && http 200 "$url/version"; }
check version_check version_check

errors() { # the form of all of them
    http 404 "$url/v2/a/blobs/$absent" && header_is Content-Type application/json &&
        jq -e 'keys == ["errors"] and (.errors | length == 1) and
            (.errors[0] | .code == "BLOB_UNKNOWN" and (.message | length > 0))' body &&
        http 404 "$url/v2/a/nothing" && error_is NAME_UNKNOWN && http 404 "$url/nothing" && error_is NAME_UNKNOWN
}
check errors_have_the_form_of_the_spec errors

head_errors() {
    exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"
    printf 'HEAD /v2/a/blobs/%s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n' "$absent" >&3
    cat <&3 >raw
    exec 3>&-
    head -n 1 raw | grep -q '^HTTP/1.1 404' && ! grep -q errors raw && [ "$(tail -c 4 raw)" = $'\r\n\r' ]
}
check an_error_to_head_has_no_body head_errors

names() {
    local name
    for name in A a_ _a a__ a..b a.-b a/ a//b a/-b 'a%20b' "$(printf 'a%.0s' {1..256})" a___b; do
        http 400 "$url/v2/$name/tags/list" && error_is NAME_INVALID ||
            { http 404 "$url/v2/$name/tags/list" && error_is NAME_UNKNOWN && [[ $name == a/* ]]; } || return 1
    done
    for name in a a.b a_b a__b a-b a---b 0/1/2 "$(printf 'a%.0s' {1..255})" a/blobs/uploads manifests/tags/list; do
        http 202 -X POST "$url/v2/$name/blobs/uploads/" || return 1
    done
    http 400 -X POST "$url/v2/A/blobs/uploads/" && error_is NAME_INVALID &&
        put_manifest 400 A v1 manifest && error_is NAME_INVALID
}
check names_are_those_of_the_grammar names

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
    http 405 -X POST "$url/v2/" && error_is UNSUPPORTED && header_is Allow 'GET, HEAD' &&
        http 405 -X PUT "$url/v2/a/blobs/$absent" && header_is Allow 'GET, HEAD, DELETE' &&
        http 405 "$url/v2/a/blobs/uploads/" && header_is Allow POST &&
        http 405 -X OPTIONS "$url/v2/a/tags/list" && header_is Allow 'GET, HEAD'
}
check a_wrong_method_is_405 wrong_method

metrics() {
    push_blob counted kernel &&
        http 400 -X PUT --data-binary @hello "$url$(start_upload counted)?digest=$absent" && http 200 "$url/metrics" && grep -qE '^shoal_registry_blobs_pushed_total [1-9]' body &&
        grep -qE '^shoal_registry_uploads_refused_total 1$' body
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
