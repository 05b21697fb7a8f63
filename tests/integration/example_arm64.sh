#!/usr/bin/env bash
# An image for two architectures on a cluster: a service runs on the one it asks for, an arm64 guest
# lives and ends through libvirt as an amd64 one does, and what an image has not is refused.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

# The agent's log tells: other clusters on this machine may have instances of the same id.
emulator_pid() {
    sed -n "s/.*msg=\"microVM started\" id=$1 pid=\([0-9]*\).*/\1/p" "$cluster"/log/*agent* | tail -n 1
}
emulator_of() { basename "$(readlink "/proc/$(emulator_pid "$1")/exe")"; }
address_of() { shoal ps hello -o json | jq -r ".instances[] | select(.id == \"$1\") | .address"; }
# Asks the port that is never published, from within the guests' network.
ask_admin() {
    ip netns exec "shoal-$node" curl -s --max-time 10 "http://$(address_of "$1"):8081/$2"
}
cause_is() {
    [ "$(shoal ps hello -o json | jq -r ".instances[] | select(.id == \"$1\") | .cause")" = "$2" ]
}
is_ready() { instances_in ready | grep -qx "$1"; }
restarted_by() { cause_is "$1" "$2" && is_ready "$1"; }
answers_from() { curl -s --max-time 10 "http://127.0.0.1:$publish_port/" | grep -q "instance $1"; }
has_ended() { [ ! -e "/proc/$(emulator_pid "$1")/exe" ]; }

# An image of the same service for one architecture only: single ARCHITECTURE TAG
single() {
    shoal build "$BUILD/examples/hello/v1" -t "hello:$2" --arch "$1" >/dev/null &&
        shoal push "hello:$2" --sign "$work/shoal.key" >/dev/null 2>&1
}
# Of both, with layers that are packed.
both() {
    shoal build "$BUILD/examples/hello/v1" -t hello:1.0 --compress zstd >/dev/null &&
        shoal push hello:1.0 --sign "$work/shoal.key" >/dev/null 2>&1
}
service() { manifest 1 1 "${@:2}" | sed "s/hello:1.0/hello:$1/" >"$work/service.yaml"; }

if ! command -v qemu-system-aarch64 >/dev/null; then
    skip arm64 'qemu-system-aarch64 is not installed; run: make deps'
    exit 0
fi
check cluster_comes_up cluster_up
(cd "$work" && shoal keygen shoal) >/dev/null
check image_of_both_is_built_and_signed both
check image_of_amd64_is_built_and_signed single amd64 only-amd64
check image_of_arm64_is_built_and_signed single arm64 only-arm64
shoal trust add "$work/shoal.pub" >/dev/null
check image_of_both_lists_two_manifests bash -c 'shoal image inspect hello:1.0 -o json |
    jq -e "[.index.manifests[].platform.architecture] == [\"amd64\", \"arm64\"]"'
check node_says_what_it_boots bash -c 'shoal node list -o json |
    jq -e "[.nodes[0].machines[] | select(.families | index(\"shoal\")) | .arch] | sort == [\"amd64\", \"arm64\"]"'

# --- what is not there ---
service only-amd64 'arch: arm64'
expect image_without_the_architecture_is_refused 1 'hello:only-amd64 has nothing for arm64: it has amd64' \
    shoal deploy -f "$work/service.yaml"
check nothing_of_it_was_kept bash -c '! shoal ps hello -o json | jq -e ".instances | length > 0"'

# --- arm64 ---
service 1.0 'arch: arm64'
expect arm64_is_deployed 0 '1 of 1 healthy' shoal deploy -f "$work/service.yaml"
id=$(instances_in ready)
check arm64_runs_on_its_own_emulator test "$(emulator_of "$id")" = qemu-system-aarch64
check arm64_answers_on_the_published_port wait_for 30 answers_from "$id"
expect arm64_writes_to_the_console 0 'hello 1.0 listening on' shoal logs hello
export XDG_CACHE_HOME=$work/cache
look() { eval "timeout 120 $(shoal debug "$id" 2>/dev/null) -batch -nx -ex 'break answer_public' -ex continue -ex backtrace"; }
expect arm64_is_debugged_with_names 0 '^#[0-9]+ .*runtime_start \(.*examples/runtime/runtime.c' look
check arm64_is_let_go shoal debug --stop "$id"
check arm64_answers_after_that answers_from "$id"
check arm64_goes_unhealthy_on_request ask_admin "$id" fail
check arm64_instance_leaves_ready wait_for 60 bash -c \
    '! shoal ps hello -o json | jq -e ".instances[] | select(.healthy)"'
check arm64_service_restarts shoal restart hello
check arm64_is_ready_again wait_for 60 ready_count_is 1
id=$(instances_in ready)
check arm64_crashes ask_admin "$id" crash
check arm64_panic_is_told_from_an_end wait_for 60 restarted_by "$id" guest_panic
check arm64_ends ask_admin "$id" exit
check arm64_end_is_told_from_a_panic wait_for 60 restarted_by "$id" guest_exit
timeout 120 shoal logs -f hello >"$work/console" 2>&1 &
started_pids="$started_pids $!"
check arm64_console_is_followed wait_for 30 grep -q 'hello: ends on request' "$work/console"
shoal scale hello=0 >/dev/null 2>&1
check arm64_stops wait_for 60 has_ended "$id"
check arm64_drained_before_its_end wait_for 30 grep -q 'hello 1.0 stopped' "$work/console"

# --- either ---
service only-arm64
expect image_of_one_needs_no_word_about_it 0 '1 of 1 healthy' shoal deploy -f "$work/service.yaml"
id=$(instances_in ready)
check image_of_one_runs_on_it test "$(emulator_of "$id")" = qemu-system-aarch64
service 1.0 'arch: amd64'
expect service_moves_to_the_other_architecture 0 '1 of 1 healthy' shoal deploy -f "$work/service.yaml"
id=$(instances_in ready)
check amd64_runs_on_its_own_emulator test "$(emulator_of "$id")" = qemu-system-x86_64
check amd64_answers_on_the_published_port wait_for 30 answers_from "$id"
check nothing_is_left_after_down cluster_down
