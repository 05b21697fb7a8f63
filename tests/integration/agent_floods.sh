#!/usr/bin/env bash
# Guests that do what they can to their node: one sends frames as fast as its device takes them, in
# others' names too, one writes to its console. Their neighbour serves, the agent does its work, and
# both end when they are told to.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

field_of() { shoal ps "$2" -o json | jq -r --arg i "$1" ".instances[] | select(.id == \$i) | $3"; }
guests() { ip netns exec "shoal-$node" "$@"; }
# frames LINK rx|tx: what came from its guest, or went to it; of the bridge: what the host was given.
frames() { guests ip -s -j link show "$1" | jq ".[0].stats64.$2.packets"; }
ticks_of() { cat /proc/{"$1","$2"}/stat | awk '{ sum += $14 + $15 } END { print sum }'; }
memory_of() { cat /proc/{"$1","$2"}/status | awk '/^VmRSS/ { sum += $2 } END { print sum }'; }
type_to() { echo "$2" | shoal console "$1"; }

build_flood() {
    mkdir "$work/flood" && cp "$BUILD/examples/flood/flood-amd64.elf" "$work/flood" || return 1
    cat >"$work/flood/Unikernel.yaml" <<'YAML'
family: shoal
architectures: {amd64: {kernel: flood-amd64.elf}}
memory: {min: 8Mi, default: 16Mi}
cmdline: ["--ip=${net.address}/${net.prefix}", "--gateway=${net.gateway}"]
ports: [{name: http, port: 8080}]
YAML
    shoal build "$work/flood" -t flood:1.0 && shoal push flood:1.0 --sign "$work/shoal.key"
}

check cluster_comes_up cluster_up
check build_hello build_and_push 1
check build_flood build_flood
check trust shoal trust add "$work/shoal.pub"
manifest 1 1 | sed 's/timeout: 500ms/timeout: 5s/' >"$work/hello.yaml"
cat >"$work/flood.yaml" <<'YAML'
service: flood
image: flood:1.0
replicas: 2
resources: {memory: 16Mi, vcpus: 1}
health:
  readiness: {http: {path: /healthz, port: http}, every: 500ms, timeout: 5s, rise: 1, fall: 5}
rollout: {min_healthy_time: 100ms}
stop: {drain: 0s, grace: 1s}
YAML
check deploy_hello shoal deploy -f "$work/hello.yaml"
check deploy_floods shoal deploy -f "$work/flood.yaml"
hello=$(instances_in ready)
mapfile -t floods < <(instances_in ready flood)
sender=${floods[0]} writer=${floods[1]}
address=$(field_of "$hello" hello .address)
mac_of() { guests ip neigh show "$1" | grep -oE 'lladdr [0-9a-f:]+' | cut -d' ' -f2; }
mac=$(mac_of "$address") mac_of_sender=$(mac_of "$(field_of "$sender" flood .address)")

# --- they flood ---
host=$(daemon_pid agent)
decider=$(pgrep -P "$host" -f /shoal-agent | head -n 1)
memory=$(memory_of "$host" "$decider")
of_sender=$(frames "sh$sender" rx) to_hello=$(frames "sh$hello" tx) to_host=$(frames shoal0 rx)
type_to "$writer" write >/dev/null 2>&1
type_to "$sender" "send $address $mac" >/dev/null 2>&1
began=$(ticks_of "$host" "$decider") spent=$(ticks_of "$(qemu_of "$sender")" "$(qemu_of "$writer")")
has_sent() { [ $(($(frames "sh$sender" rx) - of_sender)) -ge "$1" ]; }
check it_sends wait_for 60 has_sent 100000
has_written() { [ "$(shoal logs "$writer" --tail 1000 | wc -l)" -ge 500 ]; }
check it_writes wait_for 60 has_written
served() { for _ in $(seq 20); do curl -fsS -m 10 "http://127.0.0.1:$publish_port/" || return 1; done; }
check its_neighbour_serves served
check its_neighbour_is_healthy test "$(field_of "$hello" hello '"\(.state) \(.restarts)"')" = 'ready 0'

# --- what passes ---
of_sender=$(($(frames "sh$sender" rx) - of_sender)) to_hello=$(($(frames "sh$hello" tx) - to_hello))
to_host=$(($(frames shoal0 rx) - to_host))
check nothing_of_it_reaches_its_neighbour test $((to_hello * 20)) -lt "$of_sender"
# Two frames of nine are honest ones to the gateway.
check forged_frames_reach_nobody test $((to_host * 10)) -lt $((of_sender * 3))
learned() { guests bridge fdb show br shoal0 | grep "dev $1 " | grep -v permanent | cut -d' ' -f1; }
check the_bridge_learns_no_forged_name test "$(learned "sh$sender")" = "$mac_of_sender"
check nobody_takes_its_neighbours_place test "$(mac_of "$address")" = "$mac"

# --- what it costs ---
began=$(($(ticks_of "$host" "$decider") - began))
spent=$(($(ticks_of "$(qemu_of "$sender")" "$(qemu_of "$writer")") - spent))
check the_agent_works_less_than_they_do test $((began * 3)) -lt "$spent"
check its_memory_stays test "$(memory_of "$host" "$decider")" -lt $((memory + 8192))

# --- the end, which neither hears of ---
check they_are_removed timeout 60 shoal rm flood
killed() { [ "$(shoal events flood | grep -c 'stopped  *stop_killed')" = 2 ]; }
check they_were_killed wait_for 30 killed
tap_is_gone() { ! guests ip link show "sh$1"; }
check the_senders_tap_is_gone wait_for 30 tap_is_gone "$sender"
check the_writers_tap_is_gone wait_for 30 tap_is_gone "$writer"
check its_neighbour_still_serves served

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
