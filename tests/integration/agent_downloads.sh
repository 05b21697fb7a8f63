#!/usr/bin/env bash
# What changes between an image's proof and its boot: the registry goes, the disk is full, a key is
# taken away. A rollout whose image is there before its turn. And what a guest writes on its
# console, whatever its bytes.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

cause_of() { shoal ps hello --all -o json | jq -r --argjson s "$1" '[.instances[] | select(.slot == $s)] | last | .cause'; }
cause_is() { [ "$(cause_of "$1")" = "$2" ]; }
no_escapes() { ! shoal logs hello -o json | jq -r '.lines[].line' | grep -q $'\033'; }
# The node still has the image's chain and signatures, but not its kernel, nor anybody to ask.
lose_kernel() {
    find "$cluster/agent/host/images" -type f -delete
    stop_pid "$(daemon_pid registry)"
}

# What the node tells of its images: cache_is FILTER
cache_is() { curl -s "http://127.0.0.1:$agent_port/v1/stats" | jq -e ".image_cache | $1"; }
metric() { curl -s "http://127.0.0.1:$agent_port/metrics" | grep -E "^$1 "; }
before_end() { mountpoint -q "$work/cluster/agent" && umount -l "$work/cluster/agent"; }

# A disk of its own, that can be filled: 16 MiB of it images do not get.
mkdir -p "$work/cluster/agent" && mount -t tmpfs -o size=24m,mode=755 tmpfs "$work/cluster/agent"
check cluster_comes_up cluster_up
check build_v1 build_and_push 1
check trust shoal trust add "$work/shoal.pub"
manifest 1 1 >"$work/v1.yaml"
check deploy shoal deploy -f "$work/v1.yaml"

# --- the registry goes between chain and kernel ---
lose_kernel
shoal scale hello=2 --detach >/dev/null
check lost_registry_is_the_cause wait_for 30 cause_is 1 registry_unreachable
check registry_comes_back cluster_up_again
check kernel_that_came_late_boots wait_for 60 ready_count_is 2

# --- a rollout's image is there before there is room for its first instance ---
came_early() { grep -q 'an image is here before it is needed' "$cluster/log/agent.log"; }
all_are_of() { shoal ps hello -o json | jq -e --argjson r "$1" '.instances | length == 2 and all(.state == "ready" and .revision == $r)'; }
check build_v2 build_and_push 2
manifest 2 2 >"$work/v2.yaml"
shoal node cordon "$node" >/dev/null
shoal deploy -f "$work/v2.yaml" --detach >/dev/null
check image_comes_before_its_instance wait_for 30 came_early
stop_pid "$(daemon_pid registry)"
shoal node uncordon "$node" >/dev/null
check rollout_needs_no_registry wait_for 60 all_are_of 2
check registry_comes_back_for_more cluster_up_again

# --- the disk is full when the kernel has to come ---
find "$cluster/agent/host/images" -type f -delete
fallocate -l 8M "$cluster/agent/filler"
shoal scale hello=3 --detach >/dev/null
check full_disk_is_the_cause wait_for 30 cause_is 2 no_space
expect what_is_missing_is_said 0 'no space for image file sha256:.* are needed, .* are missing' \
    shoal ps hello --all -o json
check what_runs_goes_on_with_a_full_disk ready_count_is 2
rm "$cluster/agent/filler"
check boots_when_there_is_room wait_for 60 ready_count_is 3
check room_was_made_of_what_nobody_used cache_is '.images == 1 and .evictions == 1 and .bytes > 50000'
expect its_images_are_listed 0 '^default/hello +[0-9a-f]{12} +amd64 .* in use' shoal node images "$node"
expect node_that_is_not_there_has_none 1 'no node nobody' shoal node images nobody
check cache_is_measured metric shoal_agent_image_cache_bytes

# --- a key is taken away between the proof and the kernel ---
lose_kernel
shoal scale hello=4 --detach >/dev/null
check fourth_waits_for_its_kernel wait_for 30 cause_is 3 registry_unreachable
check key_is_taken_away shoal trust rm shoal
check registry_comes_back_again cluster_up_again
check image_of_that_key_does_not_boot wait_for 60 cause_is 3 signature_rejected
check what_runs_goes_on ready_count_is 3

# --- bytes of no character on a console ---
id=$(instances_in ready | head -n 1)
printf '2026-11-26T02:14:50.123Z L bad \xff\xfe \033[31mred\000nul\n' >>"$cluster/agent/consoles/$id.log"
expect any_console_line_is_valid_json 0 'bad .. .\[31mred.nul' \
    sh -c 'shoal logs hello -o json | iconv -f utf-8 -t utf-8 | jq -er ".lines[].line"'
check no_control_character_in_json no_escapes

# --- an agent that starts again knows what it keeps ---
kept() { shoal node images "$node" -o json | jq -c '[.images[] | [.repository, .digest, .used]]'; }
before=$(kept)
stop_pid "$(daemon_pid agent)"
check agent_comes_back cluster_up_again
keeps_the_same() { [ "$(kept)" = "$before" ]; }
check it_knows_its_images wait_for 30 keeps_the_same

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
