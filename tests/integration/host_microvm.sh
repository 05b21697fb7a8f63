#!/usr/bin/env bash
# The host half of the agent by itself: host_driver plays the deciding half against it. Boots real
# microVMs, routes to them through HAProxy, kills what can die, and looks for what is left.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"
trap 'host_end; host_clean; finish' EXIT

subnet=10.64.77
first=0001000000a1 second=0001000000a2 third=0001000000a3
web=$(free_port) raw=$(free_port) taken=$(free_port)

boot() { # ID LAST-OF-ADDRESS [COMMAND-LINE-ADDRESS]
    say boot "$1" "$digest" "$subnet.$2" 16777216 \
        "--ip=${3:-$subnet.$2}/24 --gateway=$subnet.1 --instance=$1"
}

haproxy_of() { pgrep -f "^haproxy -db -f $run/p/$1-"; }
# Which instance answers on a published port.
who() { curl -fsS -m 10 "http://127.0.0.1:$1/" | grep -oE 'instance [0-9a-f]{12}' | cut -d' ' -f2; }

data_plane() { # SERVER-LINES...: the frontend web with these servers, and a tcp one
    local line
    say begin >/dev/null && say frontend default.hello "$web" http >/dev/null || return 1
    for line in "$@"; do say "server $line" >/dev/null || return 1; done
    say frontend default.raw "$raw" tcp >/dev/null || return 1
    for line in "$@"; do say "server $line" >/dev/null || return 1; done
    say commit
}

# ---- start, images
host_start
says host_welcome '^ok amd64/tcg( arm64/tcg)? tcg was asked for$' hello
says network_is_made '^ok' network "$subnet.0/24"
says network_is_idempotent '^ok' network "$subnet.0/24"

cp "$kernel" "$state/staging/$hex"
printf x | dd of="$state/staging/$hex" bs=1 seek=100 conv=notrunc status=none
says altered_image_refused "^error signature_rejected .*expected $digest.*sha256:" \
    import "$digest" "$size"
cp "$kernel" "$work/elsewhere" && ln -sf "$work/elsewhere" "$state/staging/$hex"
says linked_image_refused '^error ' import "$digest" "$size"
rm "$state/staging/$hex" && cp "$kernel" "$state/staging/$hex"
says short_image_refused '^error signature_rejected' import "$digest" $((size + 1))
says image_imported '^ok' import "$digest" "$size"
check image_is_read_only test "$(stat -c '%a %u' "$state/host/images/$hex")" = '444 0'
says unknown_image_does_not_boot '^error not_found' boot $third \
    "sha256:$(printf 0%.0s {1..64})" "$subnet.9" 16777216 x

# ---- boot
boot $first 2 >/dev/null && boot $second 3 >/dev/null
says first_answers "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
says second_answers "^ok HTTP/1.1 200 .*$second" get "$subnet.3" 8080 /
says running_does_not_boot_again '^error conflict' boot $first "$digest" "$subnet.2" 16777216 x
uid_of() { ps -o uid= -p "$(qemu_of "$1")" | tr -d ' '; }
check qemu_has_its_own_user test "$(uid_of $first)" -ge 1879048192
check qemu_users_differ test "$(uid_of $first)" != "$(uid_of $second)"
net_of() { readlink "/proc/$1/ns/net"; }
guests_net=net:[$(stat -L -c %i "/run/netns/$space")]
check qemu_is_in_neither_namespace test "$(net_of "$(qemu_of $first)")" != "$guests_net" -a \
    "$(net_of "$(qemu_of $first)")" != "$(net_of $$)"
# The limit of its cgroup: 16 MiB of guest, 48 MiB of overhead, the kernel.
memory_limit() {
    local path
    path=$(sed -n 's/^[0-9]*:\(memory\|\):\(.*\)$/\1\2/p' "/proc/$(qemu_of "$1")/cgroup" |
        grep -E 'machine|shoal' | head -n 1)
    cat "/sys/fs/cgroup/memory${path#memory}/memory.limit_in_bytes" \
        "/sys/fs/cgroup${path%/emulator}/memory.max" 2>/dev/null
}
if [ -n "$(memory_limit $first)" ]; then
    check qemu_memory_is_limited test "$(memory_limit $first)" -ge 67108864 -a \
        "$(memory_limit $first)" -le $((67108864 + size))
else
    skip qemu_memory_is_limited "no memory controller"
fi
isolated() { ip netns exec "$space" bridge -d link show dev "sh$1" | grep -q 'isolated on'; }
check taps_are_isolated isolated $first
check guests_namespace_forwards_nothing test "$(ip netns exec "$space" \
    cat /proc/sys/net/ipv4/ip_forward)" = 0
wait_for 10 grep -q listening "$log/consoles/$first.log"
check console_is_logged grep -q "listening on $subnet.2:8080" "$log/consoles/$first.log"

# A guest that takes another's address is heard by nobody.
boot $third 4 "$subnet.9" >/dev/null
wait_for 10 grep -q listening "$log/consoles/$third.log"
says spoofed_address_is_dropped '^error connect' get "$subnet.9" 8080 /
says own_address_untouched "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
says kill_is_answered '^ok' stop $third kill 0
says killed_by_us_is_reported "event ended $third stop_killed" wait $third 30
says panic_guest_boots '^ok' boot $third "$digest" "$subnet.4" 16777216 --no-such-option
says panic_is_reported "event ended $third guest_panic" wait $third 30
says forget_ended '^ok' forget $third
forgotten() {
    [ ! -e "$log/consoles/$third.log" ] && ! ip netns exec "$space" ip link show "sh$third" &&
        ! ls "$run"/*/*"$third"* "$run"/v/log/qemu/*"$third"*
}
check forget_leaves_nothing forgotten

# ---- data plane
socat TCP-LISTEN:"$taken",bind=127.0.0.1,reuseaddr,fork /dev/null &
squatter=$!
started_pids="$started_pids $squatter"
wait_for 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$taken"
check data_plane_applied data_plane "$first $subnet.2 8080 ready" "$second $subnet.3 8080 ready"
both_answer() {
    local seen
    seen=$(for _ in 1 2 3 4; do who "$1"; done | sort -u | tr '\n' ' ')
    [ "$seen" = "$first $second " ]
}
check http_port_spreads both_answer "$web"
check tcp_port_spreads both_answer "$raw"
check haproxy_is_unprivileged test "$(ps -o user= -p "$(haproxy_of "$web")")" = haproxy
check haproxy_is_in_the_guests_namespace test \
    "$(net_of "$(haproxy_of "$web")")" = "$guests_net"
web_pid=$(haproxy_of "$web")
data_plane "$first $subnet.2 8080 drain" "$second $subnet.3 8080 ready" >/dev/null
only_second() { for _ in 1 2 3 4 5 6; do [ "$(who "$web")" = "$second" ] || return 1; done; }
check draining_gets_nothing_new only_second
says drained_has_no_connections '^ok 0$' count $first
check drain_starts_no_haproxy test "$(haproxy_of "$web")" = "$web_pid"

# Replacing an instance under load: new one in, old one drained, then stopped.
ask_for_ever() {
    local asked=0 failed=0
    while [ ! -e "$work/enough" ]; do
        asked=$((asked + 1))
        # Two on one connection: the second also meets what the first left open.
        curl -fsS -m 10 "http://127.0.0.1:$web/" "http://127.0.0.1:$web/" \
            >/dev/null 2>>"$work/failures" || failed=$((failed + 1))
    done
    echo "$asked $failed" >"$work/asked"
}
ask_for_ever &
asker=$!
for round in 1 2 3; do
    boot $first 2 >/dev/null # conflicts in the first round: it still runs
    for _ in $(seq 200); do say get "$subnet.2" 8080 /healthz | grep -q 200 && break; done
    data_plane "$first $subnet.2 8080 ready" "$second $subnet.3 8080 ready" >/dev/null
    sleep 0.3
    data_plane "$first $subnet.2 8080 drain" "$second $subnet.3 8080 ready" >/dev/null
    until say count $first | grep -q '^ok 0$'; do :; done
    data_plane "$second $subnet.3 8080 ready" >/dev/null
    say stop $first console 5000 >/dev/null
    if [ $round = 1 ]; then
        says console_stop_is_clean "event ended $first stopped" wait $first 30
    else
        say wait $first 30 >/dev/null
    fi
done
touch "$work/enough"
wait $asker
read -r asked failed <"$work/asked"
if [ "$failed" = 0 ] && [ "$asked" -gt 20 ]; then
    pass "replacing_fails_no_request"
else
    fail replacing_fails_no_request "$failed of $asked: $(sort "$work/failures" | uniq -c | head -3)"
fi
boot $first 2 >/dev/null
data_plane "$first $subnet.2 8080 ready" "$second $subnet.3 8080 ready" >/dev/null

# A guest whose QEMU is killed: reported, and its requests go to the other at once.
kill -9 "$(qemu_of $first)"
says killed_qemu_is_reported "event ended $first killed .*signal 9" wait $first 30
check dead_server_is_passed_over only_second
boot $first 2 >/dev/null
kill -STOP "$(qemu_of $first)"
says stopped_qemu_is_found_and_ended "event ended $first hung " wait $first 30
boot $first 2 >/dev/null
# Somebody else takes all memory of its group.
memory_group() {
    local path
    path=$(sed -n 's/^[0-9]*:memory:/memory/p; s/^0:://p' "/proc/$(qemu_of "$1")/cgroup" |
        grep -E 'machine|shoal' | head -n 1)
    echo "/sys/fs/cgroup/${path%/emulator}"
}
take_memory() { # GROUP BYTES
    (echo "$BASHPID" >"$1/cgroup.procs" && head -c "$2" /dev/zero | tail -n 1) >/dev/null 2>&1
    rmdir "$1" 2>/dev/null # nobody else could while we were in it
    return 0
}
limit=$(memory_limit $first)
if [ -n "$limit" ]; then
    echo 1000 >"/proc/$(qemu_of $first)/oom_score_adj"
    take_memory "$(memory_group $first)" $((limit - 8388608))
    says qemu_out_of_memory_is_told_apart "event ended $first oom .*limit of" wait $first 30
    boot $first 2 >/dev/null
else
    skip qemu_out_of_memory_is_told_apart "no memory controller"
fi
for _ in $(seq 200); do say get "$subnet.2" 8080 /healthz | grep -q 200 && break; done
check restarted_in_place_serves_again wait_for 20 both_answer "$web"

kill -9 "$(haproxy_of "$web")"
check haproxy_killed_port_stays_open test -n "$(who "$web")"

says taken_begin '^ok' begin
says taken_frontend '^ok' frontend default.taken "$taken" http
answer=$(say commit)
check taken_port_is_reported grep -q "event frontend $taken 0 port $taken .*taken" <<<"$answer"
kill $squatter
says freed_port_is_bound "event frontend $taken 1" wait "$taken" 30 1
check unpublished_port_is_closed wait_for 10 bash -c "! exec 3<>/dev/tcp/127.0.0.1/$raw"
data_plane "$first $subnet.2 8080 ready" "$second $subnet.3 8080 ready" >/dev/null

# ---- both halves killed
first_pid=$(qemu_of $first) web_pid=$(haproxy_of "$web")
uptime_before=$(ps -o etimes= -p "$first_pid" | tr -d ' ')
kill -9 "$(pgrep -P "$driver_pid" -f "^$driver $node ")" "$driver_pid"
wait "$driver_pid" 2>/dev/null
exec {host_in}>&- {host_out}<&-
check guests_serve_without_an_agent both_answer "$web"
ip netns exec "$space" ip tuntap add dev sh0001ffffffff mode tap
host_start
answer=$(say hello)
adopted_ms=$(grep -oE "event running $first [0-9]+" <<<"$answer" | cut -d' ' -f4)
check adopted_is_the_same_boot test "${adopted_ms:-0}" -ge $((uptime_before * 1000))
check adopted_second grep -q "event running $second " <<<"$answer"
check adopted_process_is_the_same test "$(qemu_of $first)" = "$first_pid"
check orphan_tap_is_removed wait_for 10 bash -c "! ip netns exec $space ip link show sh0001ffffffff"
says network_is_adopted '^ok' network "$subnet.0/24"
data_plane "$first $subnet.2 8080 drain" "$second $subnet.3 8080 ready" >/dev/null
check adopted_haproxy_is_the_same test "$(haproxy_of "$web")" = "$web_pid"
check adopted_haproxy_is_changed only_second
says adopted_stops_by_console '^ok' stop $first console 5000
says adopted_stop_is_clean "event ended $first stopped" wait $first 30
says grace_begins '^ok' stop $second console 0
says grace_passes "event ended $second" wait $second 30

# ---- killed at bad moments
host_again() { host_start && say hello && say network "$subnet.0/24" >/dev/null; }
boot $first 2 >/dev/null
one_web() { say begin && say frontend default.hello "$late" http &&
    say server $first $subnet.2 8080 ready; }
# While HAProxy starts: the next agent knows of it.
late=$(free_port)
one_web >/dev/null
echo commit >&"$host_in"
check haproxy_starts wait_for 10 haproxy_of "$late"
host_kill
host_again >/dev/null
one_web >/dev/null
answer=$(say commit)
check half_started_haproxy_is_adopted grep -q "event frontend $late 1" <<<"$answer"
check half_started_haproxy_is_one test "$(haproxy_of "$late" | wc -l)" = 1
# Written down as leaving, but never told to.
late_pid=$(haproxy_of "$late")
host_kill
mv "$run/p/$late-http.pid" "$run/p/$late-http.left-$late_pid"
host_again >/dev/null
one_web >/dev/null && say commit >/dev/null
late_is_new() { [ "$(haproxy_of "$late")" != "$late_pid" ] && [ "$(who "$late")" = "$first" ]; }
check left_haproxy_is_seen_off wait_for 20 late_is_new
# Its QEMU died meanwhile, and another process has the pid.
first_pid=$(qemu_of $first)
host_kill
sleep 600 &
innocent=$!
started_pids="$started_pids $innocent"
kill -9 "$first_pid"
if [ "$hypervisor" = libvirt ]; then
    sed -i "s/pid='$first_pid'/pid='$innocent'/" "$run/v/run/qemu/sh$first.xml"
    echo "$innocent" >"$run/v/run/qemu/sh$first.pid"
    check stale_pid_is_written grep -q "pid='$innocent'" "$run/v/run/qemu/sh$first.xml"
else
    sed -i "s/\"pid\":$first_pid/\"pid\":$innocent/" "$run/q/$first.json"
    check stale_pid_is_written grep -q "\"pid\":$innocent," "$run/q/$first.json"
fi
host_again >"$work/again"
check process_with_a_reused_pid_lives kill -0 "$innocent"
check dead_microvm_is_not_adopted bash -c "! grep -q running '$work/again'"
check console_socket_of_a_dead_microvm_is_removed test ! -e "$run/c/$first.sock"
says dead_microvm_boots_again '^ok' boot $first "$digest" "$subnet.2" 16777216 \
    "--ip=$subnet.2/24 --gateway=$subnet.1 --instance=$first"
says taken_address_does_not_boot '^error conflict .*address' boot $second "$digest" "$subnet.2" \
    16777216 x
# Another agent with the same node name takes nothing and cleans nothing.
mkdir -p "$work/other/state/staging" "$work/other/run" "$work/other/log"
other_start() { "$driver" "$node" "$work/other/state" "$work/other/run" "$work/other/log" tcg; }
other_clean() { "$driver" --clean "$node" "$work/other/state" "$work/other/run" "$work/other/log"; }
expect same_node_name_is_refused 1 "belongs on this machine to.*$state" other_start
expect same_node_name_is_not_cleaned 1 "belongs on this machine to.*$state" other_clean
check first_agent_is_untouched isolated $first
# libvirt's QEMU holds its pid file open: what it writes there gets nobody killed.
sleep 600 &
innocent=$!
started_pids="$started_pids $innocent"
if [ "$hypervisor" = libvirt ]; then
    echo "$innocent" >"$run/v/run/qemu/sh$first.pid"
    host_kill
    host_again >/dev/null
    says guest_that_altered_its_pid_is_ended "event ended $first" wait $first 30
else # ours has no file; one that lies all the same is of no use
    first_pid=$(qemu_of $first)
    begun=$(cut -d' ' -f22 "/proc/$innocent/stat")
    sed -i -E "s/\"pid\":[0-9]+,\"started\":[0-9]+/\"pid\":$innocent,\"started\":$begun/" \
        "$run/q/$first.json"
    host_kill
    host_again >/dev/null
    qemu_is_gone() { ! kill -0 "$first_pid" 2>/dev/null; }
    check guest_without_a_record_is_ended wait_for 10 qemu_is_gone
fi
check process_it_named_lives kill -0 "$innocent"
boot $first 2 >/dev/null
# Without its namespace a guest is of no use to anybody.
host_kill
umount -l "/run/netns/$space"
{ host_start && say hello && say network "$subnet.0/24"; } >"$work/again" # may hear of it
is_ended() { grep -q "event ended $first" "$work/again" || say wait "$first" 30; }
check guest_without_a_tap_is_ended is_ended

# ---- the end
boot $first 2 >/dev/null
host_end
check guests_outlive_the_agent qemu_of $first
check clean_works host_clean
mark_of() { printf %s "$1" | sha256sum | cut -c1-8; }
nothing_left() {
    [ -z "$(pgrep -f -- "$work/")" ] && [ ! -e "/run/netns/$space" ] && [ -z "$(ls "$run")" ] &&
        ! find /sys/fs/cgroup -maxdepth 4 \( -path "*/qemu-embed-$(mark_of "$run/v")-*" -o \
            -path "*/shoal/$(mark_of "$run")*" \) 2>/dev/null | grep -q .
}
check nothing_is_left wait_for 10 nothing_left
exit 0
