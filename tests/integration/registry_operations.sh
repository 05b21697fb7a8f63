#!/bin/bash
# What who runs a registry uses: settings, limits, the access log, metrics, reloading.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"
cd "$work" || exit 1
printf 'hello' >hello

# --- settings ---
expect settings_with_an_unknown_key_are_refused_with_the_place 2 '/listen/prot' \
    "$BUILD/bin/shoal-registry" serve --config <(echo '{"listen": {"prot": 5000}}')
expect settings_that_are_not_there_are_named 2 '/nowhere.json' \
    "$BUILD/bin/shoal-registry" --config /nowhere.json
expect what_belongs_together_is_named_by_its_options 2 \
    '^shoal-registry: serve: tls.certificate \(--tls-cert\) and tls.key \(--tls-key\)' \
    "$BUILD/bin/shoal-registry" --tls-cert one.crt
echo '{"limits": {"burst": 1}}' >apart.json
expect and_by_the_file 2 '^shoal-registry: serve: settings apart.json: limits.burst' \
    "$BUILD/bin/shoal-registry" --config apart.json
echo '{"collection": {"grace": "4w"}}' >weeks.json
expect a_duration_in_weeks_is_refused_with_one_in_days 2 'weeks.json, at /collection/grace: .*30d' \
    timeout 20 "$BUILD/bin/shoal-registry" --config weeks.json
echo '{"collection": {"grace": "400d"}}' >days.json
expect days_are_understood_and_more_than_a_year_refused 2 'days.json, at /collection/grace: .*"400d"' \
    timeout 20 "$BUILD/bin/shoal-registry" --config days.json
cat >settings.json <<JSON
{"state": "$work/wrong", "listen": {"port": 1},
 "limits": {"requests_per_second": 1, "burst": 30}, "log": {"access": "$work/access.log"}}
JSON
start_registry limited "$work/limited" --config settings.json
options_win() { [ -f limited/metadata.db ] && [ ! -e wrong ]; }
check options_come_on_top_of_the_file options_win

# --- the access log ---
push_blob logged hello || fail push_for_the_log "no blob"
last_line() { tail -n 1 access.log | grep -E "$1"; }
has_line() { grep -qE "$1" access.log; }
check a_request_is_a_line wait_for 5 has_line \
    'client=127.0.0.1 user="" method=PUT path=/v2/logged/blobs/uploads/[0-9a-f]+ status=201 in=5 out=0 ms=[0-9.]+$'
mv access.log access.log.1
kill -HUP "$registry_pid"
log_comes_anew() { [ -f access.log ]; }
check sighup_opens_the_log_anew wait_for 5 log_comes_anew
http 200 "$url/healthz"
check and_lines_go_there wait_for 5 has_line 'path=/healthz status=200 in=0 out=3'

# --- the rate limit ---
over_the_rate() {
    for _ in $(seq 200); do
        http 429 "$url/v2/" >/dev/null && error_is TOOMANYREQUESTS &&
            [ "$(header Retry-After)" -ge 1 ] && return 0
    done
    return 1
}
check over_the_rate_is_429_with_a_time over_the_rate
check a_probe_is_answered_all_the_same http 200 "$url/healthz"
passes_again() { http 200 "$url/v2/"; }
check and_passes_again_later wait_for 10 passes_again
kill_registry TERM

# --- reloading ---
last_log() { tail -n 1 reload.log | grep -E "$1"; }
reload_gives() { # PATTERN: the last line after SIGHUP
    kill -HUP "$registry_pid" && wait_for 5 last_log "$1"
}
cat >reload.json <<JSON
{"limits": {"connections": 100}, "log": {"access": "$work/reload-access.log"},
 "policies": [{"repositories": ["small"], "quota": "10"}]}
JSON
cp reload.json reload-first.json
start_registry reload "$work/reload" --config reload.json
check a_reload_of_the_same_is_plain reload_gives 'level=info .*msg="settings reloaded"$'
jq '.limits.connections = 200 | .limits.requests_per_second = 5 | .log.level = "debug"' \
    reload-first.json >reload.json
check what_counts_at_the_next_start_is_named reload_gives \
    'level=warn .*next start only" settings="limits.connections, limits.requests_per_second, log.level"$'
jq ".log.access = \"$work/elsewhere.log\" | .policies = []" reload-first.json >reload.json
goes_elsewhere() {
    reload_gives 'level=info .*msg="settings reloaded"$' && push_blob small/not hello &&
        push_blob small hello && wait_for 5 grep -q 'method=PUT' elsewhere.log
}
check another_access_log_is_opened_on_sighup goes_elsewhere
jq '.log.access = "/nowhere/at/all" | .listen.port = 1 | .listen.address = "127.0.0.2"' \
    reload-first.json >reload.json
check a_part_that_cannot_be_reloaded_is_the_last_word reload_gives \
    'level=warn .*in part, and some .*as_before="access log" settings=listen.address$'
http 200 "$url/healthz"
check and_the_log_goes_on_where_it_was wait_for 5 grep -q path=/healthz elsewhere.log
printf 'no users\n' >reload.users
jq ".access = {\"htpasswd\": \"$work/reload.users\"}" reload-first.json >reload.json
check users_that_come_with_a_reload_are_said_to_wait reload_gives \
    'level=warn .*as_before="users and rules" settings=access.htpasswd$'
kill_registry TERM

# --- metrics ---
start_registry plain
push_blob counted hello || fail push_for_metrics "no blob"
http 404 "$url/v2/counted/manifests/none"
http 404 "$url/token"
counted() {
    http 200 "$url/metrics" && header_is Content-Type 'text/plain; version=0.0.4' &&
        grep -q '^shoal_registry_requests_total{route="upload",method="PUT",code="201"} 1$' body &&
        grep -q '^shoal_registry_requests_total{route="manifest",method="GET",code="404"} 1$' body &&
        grep -q '^shoal_registry_requests_total{route="token",method="GET",code="404"} 1$' body &&
        grep -q '^shoal_registry_request_bytes_total{route="upload"} 5$' body &&
        grep -q '^shoal_registry_request_duration_seconds_count{route="upload"} 2$' body &&
        grep -q '^shoal_registry_blobs_pushed_total 1$' body &&
        grep -q '^shoal_registry_repositories 1$' body &&
        grep -q '^shoal_registry_used_bytes 5$' body && grep -q '^shoal_registry_uploads 0$' body
}
check requests_bytes_and_latencies_are_counted wait_for 5 counted
buckets_ascend() {
    awk -F'[ "]' '/duration_seconds_bucket\{route="upload"/ { if ($NF < last) exit 1; last = $NF; n++ }
        END { exit n != 17 }' body
}
check buckets_are_cumulative buckets_ascend

# --- slow clients, and too many connections ---
cat >slow.json <<JSON
{"limits": {"connections_per_address": 2, "slow_window": "1s"}, "log": {"access": "$work/slow.log"}}
JSON
start_registry slow "$work/slow" --config slow.json
place=/dev/tcp/127.0.0.1/${url##*:}
stalled_push() {
    exec 3<>"$place"
    printf 'POST /v2/slow/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe' \
        "$(digest_of hello)" >&3
    timeout 20 grep -m 1 ' 408 ' <&3
}
check a_push_that_stalls_is_given_up_by_408 stalled_push
is_logged_as_slow() { grep -q 'method=POST .* status=408 in=2 out=0' slow.log; }
check and_the_log_says_so wait_for 5 is_logged_as_slow
exec 3<>"$place" 4<>"$place" # they only sit there
third_is_refused() { http 503 "$url/v2/"; }
check an_address_has_as_many_connections_as_it_may wait_for 5 third_is_refused
exec 3>&- 4>&-
check and_is_served_again_when_it_closes_some wait_for 5 http 200 "$url/v2/"
kill_registry TERM

start_with_few_files() (
    ulimit -n 200
    timeout 20 "$BUILD/bin/shoal-registry" --port 0 --state "$work/few" 2>few.log &
    wait_for 10 grep -q 'registry started' few.log && kill "$!" && wait "$!"
)
too_few() { start_with_few_files && grep -q 'raise the limit of open files.*files=200 needed=1152' few.log; }
check too_few_open_files_are_warned_of too_few

# --- TLS ---
make_certificate() { # NAME: an authority of its own, NAME.ca, and what it signs
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -keyout "$1.ca.key" -out "$1.ca" 2>/dev/null &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
            -keyout "$1.key" -out "$1.csr" 2>/dev/null &&
        openssl x509 -req -in "$1.csr" -CA "$1.ca" -CAkey "$1.ca.key" -CAcreateserial -days 2 \
            -extfile <(echo subjectAltName=IP:127.0.0.1) -out "$1.crt" 2>/dev/null
}
{ make_certificate one && make_certificate two; } || fail certificates "openssl"
cp one.crt tls.crt && cp one.key tls.key
start_registry tls "$work/tls" --tls-cert tls.crt --tls-key tls.key
speaks_tls() { http 200 --cacert one.ca "$url/v2/"; }
check the_registry_speaks_tls speaks_tls
plain_is_refused() { ! curl -sS --max-time 5 "${url/https/http}/v2/"; }
check plain_http_gets_no_answer plain_is_refused
cp two.crt tls.crt && cp two.key tls.key
kill -HUP "$registry_pid"
speaks_two() { http 200 --cacert two.ca "$url/v2/"; }
check sighup_reads_the_certificate_anew wait_for 5 speaks_two
echo garbage >tls.crt
kill -HUP "$registry_pid"
says_why() {
    grep -q 'certificates stay as they were.*tls.crt' tls.log &&
        tail -n 1 tls.log | grep -q 'level=warn.*in part.*as_before=certificates$'
}
check a_bad_certificate_is_said wait_for 5 says_why
check and_the_old_one_stays speaks_two
kill_registry TERM
start_registry mutual "$work/mutual" --tls-cert one.crt --tls-key one.key --tls-client-ca two.ca
mutual() {
    http 200 --cacert one.ca --cert two.crt --key two.key "$url/v2/" &&
        http 403 --cacert one.ca "$url/v2/" && error_is DENIED &&
        http 403 --cacert one.ca -X POST "$url/v2/a/blobs/uploads/" &&
        http 403 --cacert one.ca --cert one.crt --key one.key "$url/v2/"
}
check clients_without_a_good_certificate_are_refused mutual
