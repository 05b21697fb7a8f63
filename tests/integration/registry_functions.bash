# shellcheck shell=bash
# A registry of the test's own, and OCI pieces made by hand. Sourced after lib.sh.
# shellcheck disable=SC2154 # work and started_pids are lib.sh's

# Those that run, each with its log: they must not end by themselves, and in a sanitizer build
# not complain.
declare -A registry_logs=()

# start_registry NAME [STATE [OPTION...]]: on a free port; sets url and registry_pid. Its log is
# $work/NAME.log.
start_registry() {
    local name=$1 state=${2:-$work/$1}
    shift $(($# < 2 ? $# : 2))
    : >"$work/$name.log" # or the line of the one before might be read
    "$BUILD/bin/shoal-registry" --port 0 --state "$state" "$@" 2>>"$work/$name.log" &
    registry_pid=$!
    started_pids="$started_pids $registry_pid"
    registry_logs[$registry_pid]=$work/$name.log
    wait_for 20 grep -q 'registry started' "$work/$name.log" || {
        fail "start_registry" "$(cat "$work/$name.log")"
        exit 1
    }
    local scheme=http
    [[ " $* " == *" --tls-cert "* ]] && scheme=https
    url=$scheme://127.0.0.1:$(sed -n 's/.*registry started.* port=\([0-9]*\).*/\1/p' "$work/$name.log")
}

# end_registry PID SIGNAL: fails the script when it had died before, or ends in another way than
# by the signal (TERM: with 0).
end_registry() {
    local pid=$1 signal=$2 log=${registry_logs[$1]:-} status wanted=0
    [ "$signal" = KILL ] && wanted=137
    unset "registry_logs[$pid]"
    kill "-$signal" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    # 127: the script has waited for it, and knows.
    [ "$status" -eq "$wanted" ] || [ "$status" -eq 127 ] ||
        fail a_registry_ends_only_when_told "status $status at SIG$signal: $(tail -n 5 "$log")"
    [ -z "$log" ] || no_sanitizer_report "$log" || fail no_sanitizer_complains "see above"
}

kill_registry() { end_registry "$registry_pid" "${1:-TERM}"; } # [SIGNAL]

before_end() {
    local pid
    for pid in "${!registry_logs[@]}"; do end_registry "$pid" TERM; done
}

digest_of() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }
size_of() { stat -c %s "$1"; }

# http WANTED-STATUS CURL-ARGUMENTS...: the answer's headers and body are in $work/headers and
# $work/body. Speaks up when the status is another.
http() {
    local wanted=$1 status
    shift
    status=$(curl -sS -o "$work/body" -D "$work/headers" -w '%{http_code}' --max-time 60 "$@") ||
        echo "curl failed: $?"
    [ "$status" = "$wanted" ] && return 0
    echo "status $status instead of $wanted for $*: $(head -c 300 "$work/body")"
    return 1
}

# The value of a header of the last answer.
header() { tr -d '\r' <"$work/headers" | sed -n "s/^$1: //Ip" | tail -n 1; }
header_is() { [ "$(header "$1")" = "$2" ] || { echo "$1: $(header "$1"), not $2"; return 1; }; }
error_is() { [ "$(jq -r '.errors[0].code' "$work/body")" = "$1" ] || { cat "$work/body"; return 1; }; }
body_is() { cmp "$work/body" "$1"; }

# start_upload REPOSITORY: prints the upload's location.
start_upload() {
    http 202 -X POST "$url/v2/$1/blobs/uploads/" >&2 && header Location
}

push_blob() { # REPOSITORY FILE
    local location
    location=$(start_upload "$1") || return 1
    http 201 -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" \
        "$url$location?digest=$(digest_of "$2")"
}

manifest_type=application/vnd.oci.image.manifest.v1+json
index_type=application/vnd.oci.image.index.v1+json
unikernel_type=application/vnd.shoal.unikernel

# write_manifest FILE CONFIG LAYER [MORE JSON MEMBERS]: an artifact of two blobs.
write_manifest() {
    printf '{ "schemaVersion": 2, "mediaType": "%s", "artifactType": "%s.v1",\n' \
        "$manifest_type" "$unikernel_type" >"$1"
    printf '  "config": {"mediaType": "%s.config.v1+json", "digest": "%s", "size": %s},\n' \
        "$unikernel_type" "$(digest_of "$2")" "$(size_of "$2")" >>"$1"
    printf '  "layers": [{"mediaType": "%s.kernel.v1", "digest": "%s", "size": %s}]%s}\n' \
        "$unikernel_type" "$(digest_of "$3")" "$(size_of "$3")" "${4:+, $4}" >>"$1"
}

# Makes in the working folder what most tests push: the blobs config, kernel and hello, and the
# manifest of the first two. Sets kernel, its digest, and absent, one of nothing.
# shellcheck disable=SC2034 # used by those that source this
make_pieces() {
    printf '{"architecture": "amd64"}\n' >config
    head -c 300000 /dev/urandom >kernel
    printf 'hello' >hello
    write_manifest manifest config kernel
    kernel=$(digest_of kernel)
    absent=sha256:$(printf '%064d' 0)
}

put_manifest() { # STATUS REPOSITORY REFERENCE FILE [TYPE]
    http "$1" -X PUT -H "Content-Type: ${5:-$manifest_type}" --data-binary "@$4" \
        "$url/v2/$2/manifests/$3"
}

# blobs_are_whole STATE: every file of a blob has its name's digest.
blobs_are_whole() {
    local path count=0
    while read -r path; do
        count=$((count + 1))
        [ "$(sha256sum "$path" | cut -d' ' -f1)" = "${path##*/}" ] || { echo "$path is not whole"; return 1; }
    done < <(find "$1/blobs/sha256" -type f)
    [ $count -gt 0 ]
}
