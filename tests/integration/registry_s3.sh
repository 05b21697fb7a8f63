#!/bin/bash
# Blobs in an S3 bucket: the registry beside a real S3 server on this machine that checks signatures
# (tests/tools/s3), and what happens when that server refuses, dies or falls silent.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

root=$(cd "$here/../.." && pwd)
tools=$root/build/tools/s3
if [ ! -e "$tools/fetched" ]; then
    reason="npm was not asked: make check does"
    [ -e "$tools/npm.log" ] && reason=$(grep -m 1 -i 'err' "$tools/npm.log" || tail -n 1 "$tools/npm.log")
    command -v npm >/dev/null || reason="there is no npm"
    skip registry_on_s3 "the S3 server could not be fetched: $reason"
    exit 0
fi

access_key=AKIATEST
secret_key=secret/of+the/test
bucket=blobs
s3_pid=

requests() { grep -cE "$1" "$work/s3.log"; }
more_than() { [ "$(requests "$2")" -gt "$1" ]; }

# start_s3 [CERTIFICATE KEY]: on the port of before, if there was one; its log goes on.
start_s3() {
    local lines
    s3_port=${s3_port:-$(free_port)}
    touch "$work/s3.log"
    lines=$(requests '^ready')
    NODE_PATH=$tools/node_modules S3_ACCESS_KEY_ID=$access_key S3_SECRET_ACCESS_KEY=$secret_key \
        node --preserve-symlinks-main "$root/tests/tools/s3/server.js" \
        "$work/s3" "$s3_port" "$bucket" "$@" >>"$work/s3.log" 2>&1 &
    s3_pid=$!
    started_pids="$started_pids $s3_pid"
    wait_for 60 more_than "$lines" '^ready' || {
        fail start_s3 "$(tail -n 5 "$work/s3.log")"
        exit 1
    }
}

kill_s3() {
    kill -KILL "$s3_pid"
    wait "$s3_pid" 2>/dev/null
    return 0
}

# write_settings FILE [JQ EDIT OF .storage.s3]
write_settings() {
    jq -n --arg endpoint "http://127.0.0.1:$s3_port" --arg credentials "$work/credentials" \
        '{storage: {backend: "s3", s3: {endpoint: $endpoint, bucket: "blobs", prefix: "registry",
          credentials: $credentials, stall_timeout: "2s"}}} | .storage.s3 |= ('"${2:-.}"')' >"$work/$1"
}

write_credentials() { # FILE SECRET
    (umask 077 && printf 'aws_access_key_id = %s\naws_secret_access_key = %s\n' "$access_key" "$2" >"$work/$1")
}

# refuses_to_start PATTERN SETTINGS
refuses_to_start() {
    "$BUILD/bin/shoal-registry" --port 0 --state "$work/refused" --config "$work/$2" >"$work/refused.log" 2>&1 &&
        { echo "it started"; return 1; }
    grep -qE -- "$1" "$work/refused.log" || { cat "$work/refused.log"; return 1; }
}

write_credentials credentials "$secret_key"
start_s3
write_settings proxy.json
write_settings redirect.json '.reads = "redirect" | .redirect_lifetime = "1m"'
start_registry registry "$work/state" --config "$work/proxy.json"
cd "$work" || exit 1
head -c 300000 /dev/urandom >small
head -c 41943040 /dev/urandom >large
: >empty
printf '{"architecture": "amd64"}\n' >config
small=$(digest_of small)
large=$(digest_of large)
object_of() { echo "$work/s3/$bucket/registry/blobs/sha256/${1:7:2}/${1:7}._S3rver_object"; }

# --- pushes and pulls ---
round_trip() {
    push_blob s3/a "$1" && http 200 "$url/v2/s3/a/blobs/$(digest_of "$1")" && body_is "$1" &&
        cmp "$(object_of "$(digest_of "$1")")" "$1" &&
        [ -z "$(find state/uploads -type f)" ]
}
check a_small_blob_goes_to_the_bucket_and_comes_back round_trip small
check a_large_blob_goes_in_parts_and_comes_back round_trip large
check a_blob_of_no_bytes_too round_trip empty
in_parts() { [ "$(requests '^200 PUT .*partNumber=')" -eq 3 ] && [ "$(requests '^200 POST .*uploads=')" -eq 1 ]; }
check forty_mebibytes_are_three_parts in_parts
once_only() {
    local before
    before=$(requests '^200 PUT')
    push_blob s3/b small && http 200 -I "$url/v2/s3/b/blobs/$small" && [ "$(requests '^200 PUT')" -eq "$before" ]
}
check what_the_bucket_has_is_not_sent_again once_only
head_and_ranges() {
    http 200 -I "$url/v2/s3/a/blobs/$large" && header_is Content-Length 41943040 &&
        http 206 -r 1000-1999 "$url/v2/s3/a/blobs/$large" && body_is <(tail -c +1001 large | head -c 1000) &&
        http 206 -r 20000000-39999999 "$url/v2/s3/a/blobs/$large" &&
        body_is <(tail -c +20000001 large | head -c 20000000) &&
        http 206 -r -7 "$url/v2/s3/a/blobs/$large" && body_is <(tail -c 7 large) &&
        http 416 -r 41943040- "$url/v2/s3/a/blobs/$large"
}
check ranges_are_read_from_the_bucket head_and_ranges
mount_blob() {
    http 201 -X POST "$url/v2/s3/c/blobs/uploads/?mount=$small&from=s3/a" &&
        http 200 "$url/v2/s3/c/blobs/$small" && body_is small
}
check a_blob_is_mounted mount_blob
delete_blob() {
    http 202 -X DELETE "$url/v2/s3/a/blobs/$(digest_of empty)" && http 404 "$url/v2/s3/a/blobs/$(digest_of empty)" &&
        [ ! -e "$(object_of "$(digest_of empty)")" ]
}
check the_object_goes_with_the_last_repository delete_blob

sha512_blob() {
    local location digest
    digest=sha512:$(sha512sum small | cut -d' ' -f1)
    http 202 -X POST "$url/v2/s3/a/blobs/uploads/?digest-algorithm=sha512" && location=$(header Location) &&
        http 201 -X PUT --data-binary @small -H 'Content-Type: application/octet-stream' \
            "$url$location$(case $location in *\?*) echo '&' ;; *) echo '?' ;; esac)digest=$digest" &&
        http 200 "$url/v2/s3/a/blobs/$digest" && body_is small
}
check sha512_blobs_are_kept_too sha512_blob

# --- real clients ---
skopeo_both_ways() {
    write_manifest manifest config small && push_blob skopeo/in config && push_blob skopeo/in small &&
        put_manifest 201 skopeo/in v1 manifest &&
        skopeo copy --src-tls-verify=false --dest-tls-verify=false \
            "docker://${url#http://}/skopeo/in:v1" "docker://${url#http://}/skopeo/out:v1" &&
        rm -rf layout && skopeo copy --src-tls-verify=false "docker://${url#http://}/skopeo/out:v1" "oci:layout:v1" &&
        cmp "layout/blobs/sha256/${small:7}" small
}
check skopeo_copies_in_and_out skopeo_both_ways

# --- uploads survive the registry ---
resume() {
    local location
    location=$(start_upload s3/resumed) &&
        http 202 -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @<(head -c 25000000 large) "$url$location" &&
        kill_registry KILL && start_registry again "$work/state" --config "$work/proxy.json" &&
        http 204 "$url$location" && header_is Range 0-24999999 &&
        http 202 -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @<(tail -c +25000001 large; cat small) "$url$location" &&
        http 201 -X PUT "$url$location?digest=$(cat large small | sha256sum | sed 's/ .*//; s/^/sha256:/')" &&
        http 200 "$url/v2/s3/resumed/blobs/$(cat large small | sha256sum | sed 's/ .*//; s/^/sha256:/')" &&
        body_is <(cat large small)
}
check an_upload_goes_on_after_the_registry_was_killed resume

# --- redirects ---
kill_registry
start_registry redirecting "$work/state" --config "$work/redirect.json"
redirect() {
    http 307 "$url/v2/s3/a/blobs/$large" && header_is Docker-Content-Digest "$large" &&
        http 200 "$(header Location)" && body_is large &&
        http 200 -I "$url/v2/s3/a/blobs/$large" && header_is Content-Length 41943040 &&
        http 200 -L "$url/v2/s3/a/blobs/$small" && body_is small &&
        http 206 -L -r 5-14 "$url/v2/s3/a/blobs/$small" && body_is <(tail -c +6 small | head -c 10)
}
check a_client_is_sent_to_the_bucket redirect
forged_url() {
    local location
    http 307 "$url/v2/s3/a/blobs/$small" && location=$(header Location) &&
        http 403 "${location/${small:7}/${large:7}}" && http 403 "${location/X-Amz-Expires=60/X-Amz-Expires=61}"
}
check a_url_is_for_its_object_and_time_only forged_url
kill_registry

# --- garbage and damage ---
write_settings upkeep.json
scrub_store() { "$BUILD/bin/shoal-registry" scrub --state "$work/state" --config "$work/upkeep.json"; }
scrub_sound() { scrub_store >scrub.text && grep -q 'All is as it should be' scrub.text; }
check a_sound_bucket_is_said_to_be scrub_sound
scrub_damaged() {
    printf 'x' | dd of="$(object_of "$small")" bs=1 seek=1000 conv=notrunc 2>/dev/null
    ! scrub_store >scrub.text && grep -q "$small" scrub.text && [ ! -e "$(object_of "$small")" ] &&
        [ "$(find "$work/s3/$bucket/registry/quarantine" -name "sha256-${small:7}.*_object" | wc -l)" -eq 1 ]
}
check a_damaged_object_goes_to_quarantine scrub_damaged
mended() {
    start_registry mending "$work/state" --config "$work/proxy.json" && http 404 "$url/v2/s3/a/blobs/$small" &&
        push_blob s3/a small && http 200 "$url/v2/s3/c/blobs/$small" && body_is small && kill_registry && scrub_sound
}
check who_pushes_it_again_mends_it mended

# --- moving ---
write_settings other.json '.prefix = "other"'
backed_up() {
    "$BUILD/bin/shoal-registry" backup --state state --config proxy.json --to "$work/copy" -o json >report &&
        jq -e '.blobs > 0 and (.missing | length) == 0' report &&
        "$BUILD/bin/shoal-registry" restore --from copy --state moved --config other.json &&
        cmp "$work/s3/$bucket/other/blobs/sha256/${large:7:2}/${large:7}._S3rver_object" large &&
        "$BUILD/bin/shoal-registry" scrub --state moved --config other.json
}
check a_bucket_is_backed_up_and_restored_to_another_place backed_up
elsewhere() {
    ! "$BUILD/bin/shoal-registry" --port 0 --state moved 2>moved.log && grep -q 'blobs of moved are in .*s3 .*other' moved.log
}
check settings_of_another_place_are_refused elsewhere

# --- refusals at the start ---
write_credentials wrong "another"
write_settings wrong.json ".credentials = \"$work/wrong\""
check a_wrong_secret_is_said_at_the_start refuses_to_start 'SignatureDoesNotMatch.*check secret_access_key' wrong.json
write_settings absent.json '.bucket = "nothing-here"'
check a_missing_bucket_is_said_at_the_start refuses_to_start 'NoSuchBucket.*nothing-here|nothing-here.*NoSuchBucket' absent.json
cp credentials open-credentials && chmod 644 open-credentials
write_settings open.json ".credentials = \"$work/open-credentials\""
check credentials_that_others_may_read_are_refused refuses_to_start 'chmod 600' open.json
check secrets_are_in_no_log sh -c "! grep -rqF '$secret_key' '$work'/*.log"

# --- the endpoint dies, comes back, falls silent ---
start_registry faults "$work/state" --config "$work/proxy.json"
head -c 41943040 /dev/urandom >second
head -c 41943040 /dev/urandom >third
second=$(digest_of second)
third=$(digest_of third)

put_while_dead() {
    location=$(start_upload s3/faults) && kill_s3 &&
        http 503 -X PUT -H 'Content-Type: application/octet-stream' --data-binary @second \
            "$url$location?digest=$second" && error_is UNKNOWN &&
        grep -q 'storage cannot be reached' "$work/body" &&
        grep -q "request failed.*$bucket" "$work/faults.log"
}
check a_dead_endpoint_is_a_clear_503 put_while_dead
put_again() {
    start_s3 && http 204 "$url$location" && header_is Range 0-41943039 &&
        http 201 -X PUT "$url$location?digest=$second" &&
        http 200 "$url/v2/s3/faults/blobs/$second" && body_is second
}
check the_upload_stays_and_is_finished_later put_again

killed_in_the_middle() {
    local before client
    before=$(requests '^200 POST .*uploads=')
    location=$(start_upload s3/faults) || return 1
    http 202 -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @third "$url$location" || return 1
    curl -sS -o "$work/client.body" -w '%{http_code}' --max-time 120 -X PUT "$url$location?digest=$third" >"$work/client.status" &
    client=$!
    wait_for 20 more_than "$before" '^200 POST .*uploads=' || { echo "no multipart upload began"; return 1; }
    kill_s3
    wait "$client"
    # The server may have been quicker than the signal.
    case $(cat "$work/client.status") in 503 | 201) ;; *) cat "$work/client.status" "$work/client.body"; return 1 ;; esac
    start_s3
    [ "$(cat "$work/client.status")" = 201 ] || http 201 -X PUT "$url$location?digest=$third" || return 1
    http 200 "$url/v2/s3/faults/blobs/$third" && body_is third
}
check an_endpoint_killed_amid_parts_loses_nothing killed_in_the_middle

# As when the bucket's keys are changed and the registry's are not: no fault of the client's.
put_while_refused() {
    local secret_key=another/one
    kill_s3 && start_s3 && location=$(start_upload s3/faults) &&
        http 500 -X PUT -H 'Content-Type: application/octet-stream' --data-binary @small \
            "$url$location?digest=$small" && error_is UNKNOWN && http 204 "$url$location" && header_is Range 0-299999
}
check a_bucket_that_refuses_is_no_quota_and_costs_no_upload put_while_refused
put_when_allowed() {
    kill_s3 && start_s3 && http 201 -X PUT "$url$location?digest=$small"
}
check the_upload_is_finished_when_the_bucket_lets_it put_when_allowed

acknowledged_are_whole() {
    local file
    for file in small large; do
        http 200 "$url/v2/s3/a/blobs/$(digest_of $file)" && body_is $file || return 1
    done
    http 200 "$url/v2/s3/faults/blobs/$second" && body_is second
}
check what_was_acknowledged_is_there acknowledged_are_whole

stalled() {
    local status client
    location=$(start_upload s3/faults) && kill -STOP "$s3_pid" || return 1
    head -c 100000 /dev/urandom >fourth
    curl -sS -o "$work/client.body" -w '%{http_code}' --max-time 60 -X PUT -H 'Content-Type: application/octet-stream' \
        --data-binary @fourth "$url$location?digest=$(digest_of fourth)" >"$work/client.status" &
    client=$!
    # Meanwhile, what needs no bucket is answered.
    http 200 --max-time 2 "$url/v2/" && http 200 --max-time 2 "$url/v2/s3/faults/tags/list" &&
        http 200 --max-time 2 "$url/v2/skopeo/in/manifests/v1"
    status=$?
    wait "$client"
    kill -CONT "$s3_pid"
    [ $status -eq 0 ] || return 1
    [ "$(cat "$work/client.status")" = 503 ] || { cat "$work/client.status"; return 1; }
    http 201 -X PUT "$url$location?digest=$(digest_of fourth)" &&
        http 200 "$url/v2/s3/faults/blobs/$(digest_of fourth)" && body_is fourth
}
check a_silent_endpoint_ends_in_503_while_others_go_on stalled
kill_registry

# --- TLS, and the bucket in the host's name ---
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,DNS:blobs.s3.localhost' -keyout tls.key -out tls.crt 2>/dev/null
kill_s3
start_s3 "$work/tls.crt" "$work/tls.key"
write_settings tls.json ".endpoint = \"https://localhost:$s3_port\" | .ca = \"$work/tls.crt\""
write_settings host.json ".endpoint = \"https://s3.localhost:$s3_port\" | .ca = \"$work/tls.crt\" | .addressing = \"host\" | .reads = \"redirect\""
write_settings untrusted.json ".endpoint = \"https://localhost:$s3_port\""
over_tls() {
    start_registry tls "$work/state" --config "$work/tls.json" && http 200 "$url/v2/s3/a/blobs/$large" && body_is large &&
        kill_registry
}
check the_bucket_is_read_over_tls over_tls
bucket_in_host() {
    start_registry host "$work/state" --config "$work/host.json" &&
        http 307 "$url/v2/s3/a/blobs/$small" && grep -q "^https://blobs.s3.localhost:$s3_port/registry/" <<<"$(header Location)" &&
        http 200 --cacert tls.crt --resolve "blobs.s3.localhost:$s3_port:127.0.0.1" "$(header Location)" && body_is small
}
check the_bucket_may_be_in_the_host_name bucket_in_host
check an_endpoint_that_nobody_vouches_for_is_refused refuses_to_start 'certificate' untrusted.json
