#!/usr/bin/env bash
# The whole story on one machine: sign, push, deploy, scale, upgrade under load, a broken version
# that rolls itself back, a rollback by hand, a refused image. Everything it starts lives under a
# folder of its own and is gone at the end; it ends with 1 when any step fails.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac

if [ "$(id -u)" -ne 0 ]; then
    echo "demo: microVMs and their network need root: asking sudo"
    exec sudo -E env BUILD="$BUILD" bash "$0" "$@"
fi

PATH=$BUILD/bin:$PATH
work=$(mktemp -d /tmp/shoal-demo.XXXXXX)
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
node=demo
started=$(date +%s%N)
running=

milliseconds() { echo $((($(date +%s%N) - $1) / 1000000)); }

# step TITLE COMMAND...: says what it does, does it, says how long it took.
step() {
    local title=$1 begin
    shift
    printf '\n\033[1m== %s\033[0m\n' "$title"
    begin=$(date +%s%N)
    "$@"
    printf '   (%d ms)\n' "$(milliseconds "$begin")"
}

say() {
    printf '   $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/   /'
    return "${PIPESTATUS[0]}"
}

die() {
    echo "demo: FAILED: $*" >&2
    exit 1
}

# must_exit STATUS COMMAND...
must_exit() {
    local wanted=$1 status=0
    shift
    say "$@" || status=$?
    [ "$status" -eq "$wanted" ] || die "\"$*\" ended with $status instead of $wanted"
}

finish() {
    local status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        echo "demo: it failed; the daemons' last words:" >&2
        tail -n 15 "$work"/state/log/*.log 2>/dev/null >&2 || true
    fi
    if [ -n "$running" ]; then shoal down --state "$work/state" --node "$node" >/dev/null 2>&1 || true; fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

publish=$(free_port 8080)
registry=$(free_port 5000)
scheduler=$(free_port 7000)
agent=$(free_port 7100)

manifest() { sed "s/publish: 8080/publish: $publish/" "examples/hello/$1" >"$work/$1"; }

answers() { curl -fsS --max-time 5 "http://127.0.0.1:$publish/"; }

bring_up() {
    running=yes
    say shoal up --state "$work/state" --node "$node" --registry-port "$registry" \
        --scheduler-port "$scheduler" --agent-port "$agent"
}

make_keys() {
    cd "$work"
    say shoal keygen shoal
    cd - >/dev/null
    say shoal trust add "$work/shoal.pub"
}

build_and_push() {
    local version
    for version in 1 2 3; do
        say shoal build "$BUILD/examples/hello/v$version" -t "hello:$version.0"
        say shoal push "hello:$version.0" --sign "$work/shoal.key"
    done
}

three_ids() {
    local ids
    ids=$(for _ in $(seq 12); do answers; done | tee "$work/answers" | grep -oE 'instance [0-9a-f]{12}' | sort -u)
    sort -u "$work/answers" | sed 's/^/   /'
    [ "$(wc -l <<<"$ids")" -eq 3 ] || die "expected 3 instances to answer, saw: $ids"
}

# A client that asks again and again until told to stop; bounded at 50,000 requests.
client() {
    local requests=0 failed=0
    while [ ! -e "$work/stop" ] && [ "$requests" -lt 50000 ]; do
        requests=$((requests + 1))
        answers >/dev/null 2>>"$work/client.errors" || failed=$((failed + 1))
    done
    echo "$requests $failed" >"$work/client"
}

upgrade_under_load() {
    local client_pid requests failed
    client &
    client_pid=$!
    say shoal deploy -f "$work/service-v2.yaml" || die "the upgrade failed"
    touch "$work/stop"
    wait "$client_pid"
    read -r requests failed <"$work/client"
    echo "   requests during the upgrade: $requests, failures: $failed"
    [ "$failed" -eq 0 ] || die "$(head -n 3 "$work/client.errors")"
    say answers | grep -q 'hello 2.0' || die "version 2 does not answer"
}

broken_upgrade() {
    must_exit 3 shoal deploy -f "$work/service-v3.yaml"
    say answers
    answers | grep -q 'hello 2.0' || die "version 2 does not answer after the automatic rollback"
}

back_to_one() {
    say shoal rollback hello --to 1
    say answers
    answers | grep -q 'hello 1.0' || die "version 1 does not answer after the rollback"
}

refused_image() {
    # One more byte makes another digest, which nobody has signed.
    mkdir "$work/unsigned"
    cp "$BUILD"/examples/hello/v2/* "$work/unsigned/"
    printf '\n' >>"$work/unsigned/hello-amd64.elf"
    say shoal build "$work/unsigned" -t hello:unsigned
    say shoal push hello:unsigned
    sed 's/hello:1.0/hello:unsigned/' "$work/service.yaml" >"$work/unsigned.yaml"
    must_exit 1 shoal deploy -f "$work/unsigned.yaml"
}

tables() {
    say shoal ps hello
    say shoal history hello
}

everything_down() {
    say shoal down --state "$work/state" --node "$node"
    running=
}

nothing_left() {
    local left
    left=$(
        pgrep -af -- "$work" || [ $? -eq 1 ]
        ip netns list | grep -w "shoal-$node" || true
        ip -o link show | grep -E ' sh[0-9a-f]{12}' || true
    )
    [ -z "$left" ] || die "left behind: $left"
    echo "   no QEMU, no HAProxy, no namespace, no tap"
}

for file in service.yaml service-v2.yaml service-v3.yaml; do manifest "$file"; done
step "Start registry, scheduler and agent" bring_up
step "Make a signing key and trust it" make_keys
step "Build, sign and push versions 1, 2 and a broken 3" build_and_push
step "Deploy three replicas of version 1" say shoal deploy -f "$work/service.yaml"
step "The published port is answered by three instances" three_ids
step "Scale to five" say shoal scale hello=5
step "Upgrade to version 2 while a client keeps asking" upgrade_under_load
step "Deploy the broken version 3: it rolls itself back" broken_upgrade
step "Roll back to revision 1 by hand" back_to_one
step "An unsigned image is refused" refused_image
step "What runs, and how it came to be" tables
step "Stop everything" everything_down
step "Nothing is left behind" nothing_left
printf '\ndemo: done in %d ms: every step worked\n' "$(milliseconds "$started")"
