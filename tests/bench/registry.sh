#!/usr/bin/env bash
# How fast the registry is, beside Debian's docker-registry and, for reads, nginx on the same files:
# all in one run, on loopback and one file system, with one client (registry_load.c), kept-alive
# connections, medians of rounds that take turns.
#
#   BUILD=dir ROUNDS=5 SECONDS_EACH=0.5 tests/bench/registry.sh      (make bench-registry)
#   QUICK=1       one short round: shows that it works, not how fast
#   PEERS=present only peers that were fetched before; without them ours runs alone
#
# Ours runs with its defaults. docker-registry: files, deletion allowed, Debian's cache in memory,
# errors only logged, no access log. nginx: Debian's settings for sendfile and tcp_nopush, no access
# log, connections kept. Prints a table, writes BUILD/bench/registry.json. A goal that is not met
# is shown and is no failure.
set -eu

BUILD=${BUILD:-build}
mkdir -p "$BUILD/bench"
# The servers' files are to be on a disk, which /tmp need not be.
TMPDIR=$(cd "$BUILD/bench" && pwd)
export TMPDIR
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"
# shellcheck source=tests/bench/table.bash
. "$(dirname "$0")/table.bash"
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-0.5}
large_mib=256
portion=1 # of the pushes that a round makes, one in so many
if [ "${QUICK:-0}" = 1 ]; then
    rounds=1 seconds=0.1 portion=8 large_mib=32
fi
blob_sizes="65536 8388608 $((large_mib << 20))"
load=$BUILD/bench/registry_load
for file in "$load" "$BUILD/bin/shoal-registry"; do
    [ -x "$file" ] || {
        echo "$file is not built; run: make bench-registry" >&2
        exit 1
    }
done
peers=$BUILD/bench/peers
[ "${PEERS:-fetch}" = present ] || "$(dirname "$0")/registry_peers.sh" "$BUILD"
servers=ours
[ ! -e "$peers/.complete" ] || servers='ours docker nginx'

declare -A port pid digest
manifest_type=application/vnd.oci.image.manifest.v1+json

# --- the servers ---

write_docker_settings() {
    cat <<YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: $work/docker}
  delete: {enabled: true}
http: {addr: "127.0.0.1:${port[docker]}", secret: bench}
YAML
}

write_nginx_settings() {
    local kind
    cat <<CONF
daemon off;
user $(id -un) $(id -gn);
worker_processes auto;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 768; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type application/octet-stream;
CONF
    for kind in client_body proxy fastcgi uwsgi scgi; do
        echo "    ${kind}_temp_path $work/nginx-temp;"
    done
    cat <<CONF
    server {
        listen 127.0.0.1:${port[nginx]};
        root $work/nginx;
        location ~ /manifests/ { default_type $manifest_type; }
    }
}
CONF
}

# run_server NAME COMMAND...: its output is in $work/NAME.log.
run_server() {
    local name=$1
    shift
    "$@" >>"$work/$name.log" 2>&1 &
    pid[$name]=$!
    started_pids="$started_pids $!"
}

is_answering() { curl -s -o /dev/null "http://127.0.0.1:${port[$1]}/v2/"; }

start_servers() {
    local name
    for name in $servers; do port[$name]=$(free_port); done
    run_server ours "$BUILD/bin/shoal-registry" --port "${port[ours]}" --state "$work/ours"
    if [ "$servers" != ours ]; then
        mkdir "$work/docker" "$work/nginx"
        write_docker_settings >"$work/docker.yml"
        run_server docker "$peers/usr/bin/docker-registry" serve "$work/docker.yml"
        write_nginx_settings >"$work/nginx.conf"
        run_server nginx "$peers/usr/sbin/nginx" -c "$work/nginx.conf"
    fi
    for name in $servers; do
        wait_for 20 is_answering "$name" || {
            echo "$name did not start: $(tail -n 3 "$work/$name.log")" >&2
            exit 1
        }
    done
}

# memory NAME FIELD: of the process, in MiB.
memory() { awk -v field="$2:" '$1 == field { printf "%.1f", $2 / 1024 }' "/proc/${pid[$1]}/status"; }

# --- what is pulled: the same bytes everywhere ---

# make_file NAME: of what it reads; its digest is kept.
make_file() {
    cat >"$work/$1"
    digest[$1]=sha256:$(sha256sum "$work/$1" | cut -d' ' -f1)
}

make_image() {
    local size layers=
    printf '{"architecture": "amd64", "os": "linux"}' >"$work/seed"
    make_file config <"$work/seed"
    for size in $blob_sizes; do
        head -c "$size" /dev/urandom >"$work/seed"
        make_file "blob-$size" <"$work/seed"
        layers+=$(printf ', {"mediaType": "%s", "digest": "%s", "size": %s}' \
            application/vnd.oci.image.layer.v1.tar "${digest[blob-$size]}" "$size")
    done
    printf '{"schemaVersion": 2, "mediaType": "%s", "config": {"mediaType": "%s", "digest": "%s", "size": %s}, "layers": [%s]}' \
        "$manifest_type" application/vnd.oci.image.config.v1+json "${digest[config]}" \
        "$(stat -c %s "$work/config")" "${layers#, }" >"$work/seed"
    make_file manifest <"$work/seed"
}

upload() { # SERVER FILE
    local location base=http://127.0.0.1:${port[$1]}
    location=$(curl -fsS -X POST -D - -o /dev/null "$base/v2/bench/blobs/uploads/" |
        tr -d '\r' | sed -n 's/^Location: //Ip')
    [[ $location == http* ]] || location=$base$location
    [[ $location == *\?* ]] && location+='&' || location+='?'
    curl -fsS -H 'Content-Type: application/octet-stream' -T "$work/$2" \
        "${location}digest=${digest[$2]}"
}

upload_image() { # SERVER
    local size
    for size in $blob_sizes; do upload "$1" "blob-$size"; done
    upload "$1" config
    curl -fsS -X PUT -H "Content-Type: $manifest_type" --data-binary "@$work/manifest" \
        "http://127.0.0.1:${port[$1]}/v2/bench/manifests/latest"
}

# nginx gets hard links to our files, so that both send the very same pages.
link_files() {
    local size name
    mkdir -p "$work/nginx/v2/bench/blobs" "$work/nginx/v2/bench/manifests"
    : >"$work/nginx/v2/index.html"
    for size in $blob_sizes; do
        name=${digest[blob-$size]}
        ln "$(find "$work/ours/blobs" -name "${name#sha256:}")" "$work/nginx/v2/bench/blobs/$name"
    done
    cp "$work/manifest" "$work/nginx/v2/bench/manifests/latest"
    cp "$work/manifest" "$work/nginx/v2/bench/manifests/${digest[manifest]}"
}

# One pull each of what is measured next, compared byte for byte.
check_pulls() {
    local name=$1 size
    for size in $blob_sizes; do
        curl -fsS "http://127.0.0.1:${port[$name]}/v2/bench/blobs/${digest[blob-$size]}" |
            cmp - "$work/blob-$size"
    done
    curl -fsS -H "Accept: $manifest_type" \
        "http://127.0.0.1:${port[$name]}/v2/bench/manifests/latest" | cmp - "$work/manifest"
}

# --- the cases ---

case_number=0

# measure SERVER ARGUMENTS...: of registry_load without the port; adds a line to the case's results.
measure() {
    local name=$1 mode=$2
    shift 2
    "$load" "$mode" "${port[$name]}" "$@" >>"$work/result-$case_number-$name"
}

median() { sort -n -k "$2,$2" "$1" | awk -v n="$2" '{ v[NR] = $n } END { print v[int((NR + 1) / 2)] }'; }

# add_row NAME UNIT FACTOR PEER PEER-NAME GOAL: the table's line of the case against one peer.
add_row() {
    local ours=$work/result-$case_number-ours peer=$work/result-$case_number-$4
    if [ ! -s "$peer" ]; then
        peer=$work/result-none
        echo 'null null null' >"$peer"
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$(median "$ours" 1)" \
        "$(median "$peer" 1)" "$5" "$6" "$(median "$ours" 3)" "$(median "$peer" 3)" >>"$work/rows"
}

# pull NAME UNIT FACTOR PATH LENGTH CONNECTIONS GOAL-DOCKER GOAL-NGINX; FACTOR: units an answer.
pull() {
    local name round
    case_number=$((case_number + 1))
    for name in $servers; do # to warm up
        "$load" get "${port[$name]}" "$4" "$5" "$6" 0.05 >"$work/warm"
    done
    for ((round = 0; round < rounds; round++)); do
        for name in $servers; do measure "$name" get "$4" "$5" "$6" "$seconds"; done
    done
    add_row "$1" "$2" "$3" docker docker-registry "$7"
    add_row "$1" "$2" "$3" nginx nginx "$8"
}

# push NAME UNIT MODE LENGTH AT-A-TIME COUNT GOAL
push() {
    local name round count=$(($6 / portion))
    case_number=$((case_number + 1))
    [ "$count" -ge "$5" ] || count=$5
    for ((round = 0; round < rounds; round++)); do
        for name in ${servers/nginx/}; do
            sync -f "$work" # what others have left to the kernel to write is not this one's
            measure "$name" "$3" bench "$4" "$5" "$count"
        done
    done
    add_row "$1" "$2" 1 docker docker-registry "$7"
}

# remember_memory FIELD NAME: a row of its own.
remember_memory() {
    local name
    case_number=$((case_number + 1))
    for name in ${servers/nginx/}; do
        echo "$(memory "$name" "$1") null null" >"$work/result-$case_number-$name"
    done
    add_row "$2" MiB 1 docker docker-registry 0.25
}

run_pulls() {
    local blobs=/v2/bench/blobs manifests=/v2/bench/manifests length
    length=$(stat -c %s "$work/manifest")
    pull 'manifest by tag, 16 connections' 1/s 1 $manifests/latest "$length" 16 20 0.8
    pull 'manifest by digest, 16 connections' 1/s 1 "$manifests/${digest[manifest]}" \
        "$length" 16 20 0.8
    local size connections name
    while read -r size connections; do
        name="$((size >> 20)) MiB"
        [ "$size" -ge 1048576 ] || name="$((size >> 10)) KiB"
        pull "blob of $name, $connections" MiB/s "$(jq -n "$size / 1048576")" \
            "$blobs/${digest[blob-$size]}" "$size" "${connections% *}" 1 0.95
    done <<CASES
65536 1 connection
65536 16 connections
8388608 1 connection
8388608 16 connections
$((large_mib << 20)) 1 connection
$((large_mib << 20)) 4 connections
CASES
}

run_pushes() {
    push 'push of 64 KiB, 1 at a time' 1/s push 65536 1 100 1.3
    push 'push of 64 KiB, 16 at a time' 1/s push 65536 16 320 1.3
    push 'push of 8 MiB, 1 at a time' 1/s push 8388608 1 12 1.3
    push 'push of 8 MiB, 16 at a time' 1/s push 8388608 16 32 1.3
    push 'push of an image of 64 KiB, 1 at a time' 1/s image 65536 1 24 1.3
    push 'push of an image of 64 KiB, 16 at a time' 1/s image 65536 16 96 1.3
}

# --- the table ---

write_result() {
    jq -R -n '
    def number: if . == "null" or . == "" then null else tonumber end;
    def rounded: if . == null then null elif . < 10 then . * 100 | round / 100
        else . * 10 | round / 10 end;
    [inputs | split("\t") | (.[2] | tonumber) as $factor |
     (.[3] | number * $factor) as $ours | (.[4] | number | if . then . * $factor else null end) as $peer |
     (.[6] | tonumber) as $goal | (if $peer then $ours / $peer else null end) as $ratio |
     {name: .[0], unit: .[1], ours: ($ours | rounded), peer: ($peer | rounded),
      peer_name: .[5], ratio: ($ratio | rounded), goal: $goal,
      met: (if $ratio == null then null elif .[1] == "MiB" then $ratio <= $goal
            else $ratio >= $goal end),
      p99_us: (.[7] | number), peer_p99_us: (.[8] | number)}]' "$work/rows" >"$work/registry.json"
    mv "$work/registry.json" "$BUILD/bench/registry.json"
}

print_table() {
    printf 'medians of %d rounds, taking turns\n' "$rounds"
    jq -r '["measure", "unit", "ours", "peer", "ratio", "goal", "met", "p99 ms", "peer", "peer is"],
        (.[] | [.name, .unit, .ours, .peer // "-", .ratio // "-",
                (if .unit == "MiB" then "<=" else ">=" end) + " \(.goal)",
                (if .met == null then "-" elif .met then "yes" else "NO" end),
                (.p99_us, .peer_p99_us | if . then . / 1000 else "-" end), .peer_name]) |
        @tsv' "$BUILD/bench/registry.json" | align_columns
    if [ "$servers" = ours ]; then
        echo 'ours alone: the peers were not fetched (tests/bench/registry_peers.sh)'
    else
        echo 'Pushes: both sync, ours each blob, its folder and the database before the answer,'
        echo 'docker-registry its files, 16 times a blob, and no folder.'
    fi
}

start_servers
make_image
sleep 0.5
remember_memory VmRSS 'memory at rest'
remember_memory RssAnon 'memory at rest, without pages of files'
for name in ${servers/nginx/}; do upload_image "$name"; done
[ "$servers" = ours ] || link_files
for name in $servers; do check_pulls "$name"; done
run_pulls
run_pushes
remember_memory VmHWM 'memory at its peak'
# A sanitizer build says in its log what it found under this load.
if grep -E -A 20 'Sanitizer|runtime error:' "$work/ours.log" >&2; then exit 1; fi
write_result
print_table
