#!/usr/bin/env bash
# SIGKILL of the agent, either half or both, at any moment of its instances' lives, round after
# round (ROUNDS, SEED): nothing is doubled, nothing is left of what is gone, and what ran and was
# not meant runs on in the same boot.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=${ROUNDS:-3} seed=${SEED:-$RANDOM}
RANDOM=$seed
settle_seconds=120

agent_pids() { pgrep -f -- "/shoal-agent .*$cluster" | sort -n; }
instances() { shoal ps hello -o json | jq -r "$1"; }

# --- what is there ---

# "PID ID" of every QEMU that is this node's: by its command line, or by its control group.
qemus() {
    local pid line
    for pid in $(pgrep -f '^[^ ]*qemu-system'); do
        line=$(tr '\0' ' ' <"/proc/$pid/cmdline") 2>/dev/null || continue
        if grep -q -- "$run/" <<<"$line" || { [ -n "$group" ] && grep -qs "$group" "/proc/$pid/cgroup"; }; then
            grep -oE '\bsh[0-9a-f]{12}\b|\b0001[0-9a-f]{8}\b' <<<"$line" | head -n 1 | sed "s/^sh//; s/^/$pid /"
        fi
    done
}
taps() { ip netns exec "shoal-$node" ip -o link | grep -oE 'sh[0-9a-f]{12}' | sed 's/^sh//' | sort; }
leases() { find "$run/d/leases" -name 'sh*' -printf '%f\n' | sed 's/^sh//' | sort; }
sockets() { find "$run/c" -name '*.sock' -printf '%f\n' | sed 's/\.sock$//' | sort; }
servers() {
    echo 'show servers state' | socat - "UNIX:$run/p/s/$publish_port-http.sock" |
        grep -oE '\bi[0-9a-f]{12}\b' | sed 's/^i//' | sort
}
haproxies() { pgrep -fc "^haproxy -db -f $run/p/"; }
halves() { agent_pids | wc -l; }

# --- what should be there ---

settled() { # WANTED
    shoal ps hello -o json >"$work/now.json" &&
        jq -e --argjson n "$1" '(.instances | length) == $n and all(.instances[]; .state == "ready")' \
            "$work/now.json" &&
        shoal history hello -o json |
        jq -e '(.rollouts | max_by(.number) | .phase) | . == "succeeded" or . == "rolled_back" or . == "failed" or . == "superseded"'
}
tidy() { # in $ids: those that are to be there, and nothing else
    local seen
    for seen in "$(qemus | cut -d' ' -f2 | sort)" "$(taps)" "$(leases)" "$(sockets)" "$(servers)"; do
        [ "$seen" = "$ids" ] || return 1
    done
    [ "$(haproxies)" = 1 ] && [ "$(halves)" = 2 ] && curl -fsS -m 5 "http://127.0.0.1:$publish_port/"
}
tell_untidy() {
    echo "wanted: $(tr '\n' ' ' <<<"$ids")"
    echo "qemus: $(qemus | tr '\n' ' ')"
    echo "taps: $(taps | tr '\n' ' ') leases: $(leases | tr '\n' ' ') sockets: $(sockets | tr '\n' ' ')"
    echo "servers: $(servers | tr '\n' ' ') haproxies: $(haproxies) halves: $(halves)"
}

# "ID RESTARTS PID" of what is ready.
boots() {
    local all id restarts
    all=$(qemus)
    shoal ps hello -o json | jq -r '.instances[] | select(.state == "ready") | "\(.id) \(.restarts)"' |
        while read -r id restarts; do
            echo "$id $restarts $(grep " $id\$" <<<"$all" | cut -d' ' -f1)"
        done | sort
}
# A boot that has counted no restart is the same process.
same_boots() { # BEFORE AFTER
    local id restarts pid other
    while read -r id restarts pid; do
        other=$(grep "^$id $restarts " "$2" | cut -d' ' -f3)
        [ -z "$other" ] || [ "$other" = "$pid" ] || return 1
    done <"$1"
}
# What nobody meant is there as before.
all_there() { # BEFORE AFTER
    ! comm -23 "$1" "$2" | grep .
}

# --- what happens ---

kill_agent() {
    local parent child
    parent=$(agent_pids | head -n 1) child=$(agent_pids | tail -n 1)
    case $((RANDOM % 3)) in
    0) kill -9 "$parent" ;;
    1) kill -9 "$child" ;;
    2) kill -9 "$parent" "$child" ;;
    esac 2>/dev/null
    wait_for 20 no_agent
}
no_agent() { [ -z "$(agent_pids)" ]; }
pause() { sleep "$(printf '0.%03d' $((RANDOM % 1000)))"; }

happen() { # sets meant: none | more | any
    local pid id
    meant=any
    case $((RANDOM % 7)) in
    0) meant=none happened=nothing ;;
    1)
        happened="scale up"
        wanted=$((wanted < 4 ? wanted + 1 : 4)) meant=more
        shoal scale --detach "hello=$wanted"
        ;;
    2)
        happened="scale down"
        wanted=$((wanted > 1 ? wanted - 1 : 1))
        shoal scale --detach "hello=$wanted"
        ;;
    3)
        happened="deploy"
        version=$((3 - version))
        manifest $version $wanted >"$work/next.yaml"
        shoal deploy --detach -f "$work/next.yaml"
        ;;
    4)
        happened="restart"
        shoal restart --detach hello
        ;;
    5)
        happened="QEMU killed"
        pid=$(qemus | head -n 1 | cut -d' ' -f1)
        [ -n "$pid" ] && kill -9 "$pid"
        ;;
    6)
        happened="guest exits"
        id=$(instances '.instances[0].address')
        ip netns exec "shoal-$node" curl -sS -m 2 "http://$id:8081/exit"
        ;;
    esac >/dev/null 2>&1
    return 0
}

round() { # NUMBER
    boots >"$work/before"
    happen
    pause
    kill_agent
    # Also while it finds out what there is.
    if [ $((RANDOM % 3)) = 0 ]; then
        cluster_up_again >/dev/null 2>&1 &
        local up=$!
        pause
        kill_agent
        wait $up
        no_agent || kill_agent
    fi
    cluster_up_again >"$work/up.log" 2>&1 || { fail "round_$1_agent_starts" "$(tail -n 3 "$work/up.log")"; return 1; }
    if ! wait_for $settle_seconds settled $wanted; then
        fail "round_$1_settles" "$happened, $wanted wanted: $(jq -c '[.instances[] | {id, state, cause, message}]' "$work/now.json")"
        return 1
    fi
    ids=$(instances '.instances[].id' | sort)
    if ! wait_for $settle_seconds tidy; then
        fail "round_$1_is_tidy" "$happened: $(tell_untidy | tr '\n' '|')"
        return 1
    fi
    boots >"$work/after"
    same_boots "$work/before" "$work/after" ||
        { fail "round_$1_keeps_boots" "$happened: $(tr '\n' '|' <"$work/before") became $(tr '\n' '|' <"$work/after")"; return 1; }
    [ $meant = any ] || all_there "$work/before" "$work/after" ||
        { fail "round_$1_touches_nothing_else" "$happened: $(tr '\n' '|' <"$work/before") became $(tr '\n' '|' <"$work/after")"; return 1; }
}

check cluster_comes_up cluster_up
run=$(tr '\0' '\n' <"/proc/$(daemon_pid agent)/cmdline" | sed -n '/^--run$/{n;p}') group=
check build_v1 build_and_push 1
check build_v2 build_and_push 2
check trust shoal trust add "$work/shoal.pub"
wanted=2 version=1
manifest 1 2 >"$work/v1.yaml"
check deploy shoal deploy -f "$work/v1.yaml"
# One that was started directly says where its kind is counted.
first=$(find "$run/q" -name '*.json' 2>/dev/null | head -n 1)
[ -z "$first" ] || group=$(grep -oE -m 1 '/shoal/[0-9a-f]{8}/' "/proc/$(jq -r .pid "$first")/cgroup")
ids=$(instances '.instances[].id' | sort)
check begins_tidy wait_for 30 tidy || tell_untidy

number=0
while [ $number -lt "$rounds" ]; do
    number=$((number + 1))
    round $number || break
    [ $((number % 10)) != 0 ] || echo "# $number rounds"
done
check "rounds_are_survived" test $number = "$rounds" -a $failures = 0
echo "# $number rounds, seed $seed"

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
