#!/bin/bash
# Requests that no ordinary client sends: odd forms of HTTP are answered as the RFCs say, broken ones
# are refused, none of them gets out of the store or leaves anything in it.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

mkdir "$work/jail"
start_registry registry "$work/jail/state"
cd "$work" || exit 1
port=${url##*:}
head -c 3000000 /dev/urandom >kernel
printf '{}' >config
write_manifest manifest config kernel
kernel=$(digest_of kernel)
push_all() {
    push_blob default/hello config && push_blob default/hello kernel &&
        put_manifest 201 default/hello v1 manifest
}
check something_is_there push_all

# raw TEXT: sends it (with \r\n, \x00, ... undone); the answers are in $work/answer.
raw() {
    printf '%b' "$1" | socat -t 10 - "TCP:127.0.0.1:$port" >answer 2>/dev/null
    true # a connection that was reset is an answer too
}
statuses() { grep -aoE 'HTTP/1\.1 [0-9]{3} ' answer | cut -d' ' -f2 | xargs; }
# raw_is STATUSES TEXT: what is answered, in order, on one connection.
raw_is() {
    raw "$2"
    [ "$(statuses)" = "$1" ] || { echo "answers \"$(statuses)\", not \"$1\"; $(head -c 300 answer)"; return 1; }
}
# refused TEXT: by a status of 400 to 599, or by closing; nothing good comes of it.
refused() {
    raw "$1"
    ! statuses | grep -qE '(^| )[123]' && http 200 "$url/v2/"
}
host='Host: registry\r\n'
bye="${host}Connection: close\r\n\r\n"

# --- odd, and fine ---
check http_1_0_is_served http 200 --http1.0 "$url/v2/default/hello/manifests/v1"
push_by_1_0() {
    head -c 100000 /dev/urandom >old && location=$(start_upload default/hello) &&
        http 201 --http1.0 -X PUT --data-binary @old "$url$location?digest=$(digest_of old)"
}
check http_1_0_pushes push_by_1_0
check http_1_0_needs_no_host raw_is 200 'GET /v2/ HTTP/1.0\r\n\r\n'
check an_absolute_target raw_is 200 "GET http://registry/v2/default/hello/tags/list HTTP/1.1\r\n$bye"
check empty_lines_before_a_request raw_is 200 "\r\n\r\nGET /v2/ HTTP/1.1\r\n$bye"
pipelined() {
    raw_is '200 404 200 416 202' "GET /v2/ HTTP/1.1\r\n$host\r\nGET /v2/x/manifests/y HTTP/1.1\r\n$host\r\n\
HEAD /v2/default/hello/blobs/$kernel HTTP/1.1\r\n$host\r\n\
GET /v2/default/hello/blobs/$kernel HTTP/1.1\r\n${host}Range: bytes=3000000-\r\n\r\n\
POST /v2/default/hello/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n$bye"
}
check pipelined_requests_are_answered_in_order pipelined
expecting() {
    local location
    location=$(start_upload default/hello) &&
        http 202 -X PATCH -H 'Expect: 100-continue' -T kernel "$url$location" && header_is Range 0-2999999 &&
        http 201 -X PUT -H 'Expect: 100-continue' "$url$location?digest=$kernel"
}
check a_large_body_after_100_continue expecting
# What will be refused is refused before its bytes are sent.
expecting_in_vain() {
    local sent
    sent=$(curl -sS -o body -w '%{http_code} %{size_upload}' -X POST -H 'Expect: 100-continue' --expect100-timeout 20 \
        --data-binary @kernel "$url/v2/default/hello/blobs/uploads/?digest=sha256:none")
    [ "$sent" = '400 0' ] || { echo "$sent"; return 1; }
}
check a_refusal_comes_instead_of_100_continue expecting_in_vain
check escaped_letters_are_letters http 200 --path-as-is "$url/v2/d%65fault/h%65llo/m%61nifests/v%31"
chunk_details() {
    local location
    location=$(start_upload default/hello)
    raw_is 202 "PATCH $location HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${bye}3;name=value\r\nabc\r\n0\r\nTrailer: x\r\n\r\n" &&
        http 204 "$url$location" && header_is Range 0-2
}
check chunks_with_extensions_and_trailers chunk_details
check many_headers_of_one_name raw_is 200 "GET /v2/default/hello/manifests/v1 HTTP/1.1\r\nAccept: a/b\r\nAccept: c/d\r\nAccept: e/f\r\n$bye"

# --- refused, and nothing comes of it ---
find jail | grep -vE '/metadata\.db' | sort >tree.before
check an_unknown_version refused 'GET /v2/ HTTP/9.9\r\n\r\n'
check http_2_without_tls refused 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
check tls_where_there_is_none refused '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh\r\n\r\n'
check noise refused '\x00\x01\x02\xff\xfe\r\n\r\n'
check no_host refused 'GET /v2/ HTTP/1.1\r\n\r\n'
check two_hosts refused "GET /v2/ HTTP/1.1\r\nHost: a\r\n$bye"
check no_version refused 'GET /v2/\r\n\r\n'
check a_method_in_small_letters refused "get /v2/ HTTP/1.1\r\n$bye"
check trace refused "TRACE /v2/ HTTP/1.1\r\n$bye"
check connect refused "CONNECT other:443 HTTP/1.1\r\n$bye"
check a_nul_in_the_target refused "GET /v2/default/he\x00llo/tags/list HTTP/1.1\r\n$bye"
check an_escaped_nul refused "GET /v2/default/he%00llo/tags/list HTTP/1.1\r\n$bye"
check control_bytes_in_a_name refused "GET /v2/default/he\x01\x7fllo/tags/list HTTP/1.1\r\n$bye"
check a_line_end_in_a_name refused "GET /v2/default/hello%0d%0aX:y/tags/list HTTP/1.1\r\n$bye"
check a_broken_escape refused "GET /v2/default/h%6/tags/list HTTP/1.1\r\n$bye"
upload='POST /v2/default/hello/blobs/uploads/ HTTP/1.1\r\n'
check two_lengths refused "${upload}Content-Length: 3\r\nContent-Length: 5\r\n${bye}abcde"
check a_length_and_chunks refused "${upload}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n${bye}0\r\n\r\n"
check a_negative_length refused "${upload}Content-Length: -5\r\n$bye"
check a_length_with_a_sign refused "${upload}Content-Length: +0\r\n$bye"
check a_length_of_30_digits refused "${upload}Content-Length: 999999999999999999999999999999\r\n$bye"
check a_chunk_of_20_digits refused "${upload}Transfer-Encoding: chunked\r\n${bye}FFFFFFFFFFFFFFFFFFFF\r\nabc"
check a_chunk_of_no_number refused "${upload}Transfer-Encoding: chunked\r\n${bye}zz\r\nabc\r\n0\r\n\r\n"
check another_coding refused "${upload}Transfer-Encoding: gzip, chunked\r\n${bye}0\r\n\r\n"
long_header() {
    local letters
    letters=$(head -c 100000 /dev/zero | tr '\0' a)
    refused "GET /v2/ HTTP/1.1\r\nX-Long: $letters\r\n$bye" && refused "GET /v2/$letters HTTP/1.1\r\n$bye"
}
check a_header_or_a_target_of_100_kib long_header
many_values() {
    local query
    query=$(seq -s '&' 0 9999 | sed 's/[0-9][0-9]*/a&=b/g')
    refused "GET /v2/_catalog?${query:0:15000} HTTP/1.1\r\n$bye" && refused "GET /v2/_catalog?$query HTTP/1.1\r\n$bye"
}
check ten_thousand_values_in_a_query many_values
many_segments() { refused "GET /v2/$(printf 'a/%.0s' $(seq 2000))tags/list HTTP/1.1\r\n$bye"; }
check two_thousand_segments many_segments

# --- out of the store: by names, references, digests, ids, in every method ---
outside() {
    local target method
    while read -r target; do
        for method in GET HEAD PUT POST PATCH DELETE; do
            refused "$method $target HTTP/1.1\r\n${host}Content-Type: a/b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" ||
                { echo "$method $target"; return 1; }
        done
    done <<'TARGETS'
/v2/../../etc/passwd
/v2/../blobs/uploads/
/v2/a/../../b/blobs/uploads/
/v2//blobs/uploads/
/v2/a//b/blobs/uploads/
/v2/%2e%2e/%2e%2e/blobs/uploads/
/v2/..%2f..%2fetc/blobs/uploads/
/v2/a%2fb/blobs/uploads/
/v2/a/blobs/..
/v2/a/blobs/sha256:../../../metadata.db
/v2/a/blobs/sha256%3a..%2f..%2f..%2fmetadata.db
/v2/a/blobs/uploads/..
/v2/a/blobs/uploads/%2e%2e
/v2/a/blobs/uploads/..%2f..%2fmetadata.db
/v2/a/blobs/uploads/00000000000000000000000000000000
/v2/a/blobs/uploads/../../lock
/v2/a/manifests/../../../metadata.db
/v2/a/manifests/%2e%2e%2fv1
/v2/a/manifests/-v1
/v2/./manifests/v1
/v2/a/./manifests/v1
/v2/a/tags/../../../metadata.db
/v2/a/referrers/..%2f..
\\v2\\a\\blobs\\uploads\\
/V2/a/blobs/uploads/
TARGETS
}
check nothing_outside_the_store_answers outside
digest_queries() {
    local digest
    for digest in '' .. ../../../etc/passwd sha256: "sha256:${kernel#sha256:}/../x" "${kernel%?}" md5:abc 'sha256:%00'; do
        http 400 -g -X POST --data-binary @config "$url/v2/default/hello/blobs/uploads/?digest=$digest" || return 1
    done
}
check digests_that_are_none digest_queries
mount_from_outside() {
    local from
    for from in .. ../../etc default/../default/hello /etc '%2e%2e'; do
        http 202 -X POST "$url/v2/other/blobs/uploads/?mount=$kernel&from=$from" &&
            http 204 -X DELETE "$url$(header Location)" || return 1
    done
}
check a_mount_from_outside_is_an_upload mount_from_outside

find jail | grep -vE '/metadata\.db' | sort >tree.after
check the_files_are_the_same_as_before diff tree.before tree.after
still_there() { http 200 "$url/v2/default/hello/manifests/v1" && body_is manifest; }
check what_was_there_still_is still_there
nothing_new() { http 200 "$url/v2/_catalog" && jq -e '.repositories == ["default/hello"]' body; }
check no_repository_came_of_it nothing_new
